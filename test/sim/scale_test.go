package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	api_ecs "roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TestLargeCluster brings twenty tasks for each instance of a large cluster up, rolls
// a part of them over while agents come and go and the server starts again,
// drains, kills and adds instances, and deletes everything, checked commit by
// commit. At full size, `make sim`, those are 5,000 instances and 100,000
// tasks.
func TestLargeCluster(t *testing.T) {
	n := scaleInstances
	switch {
	case *fullFlag:
		n = 5000
	case testing.Short():
		n = 50
	}
	seed := seedOf(t)
	in(t, seed, func(t *testing.T, w *world) {
		w.node.grid = 500 * time.Millisecond
		s := &scale{history: newHistory(w, nil), t: t, rand: rand.New(rand.NewPCG(seed, 6)), n: n}
		defer s.end()
		s.run()
	})
}

type scale struct {
	*history
	t    *testing.T
	rand *rand.Rand
	n    int
	// need is what a task of each service takes, by name; daemons are the
	// services that are DAEMON.
	need    map[string]model.Reservation
	daemons []string
	even    []string
	clock   stopwatch
}

// stopwatch tells real time, which a bubble has not.
type stopwatch struct {
	wall, cpu time.Duration
	fake      time.Time
	revision  uint64
}

func (s *scale) read() stopwatch {
	var now syscall.Timeval
	var used syscall.Rusage
	if err := syscall.Gettimeofday(&now); err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		s.t.Fatal(err)
	}
	return stopwatch{time.Duration(now.Nano()), time.Duration(used.Utime.Nano() + used.Stime.Nano()), time.Now(), s.store.Revision()}
}

// lap logs what a phase took.
func (s *scale) lap(phase string) {
	s.t.Helper()
	s.check()
	last := s.clock
	s.clock = s.read()
	s.t.Logf("%-34s %7.1f s, %7.1f s of CPU, %8v simulated, %7d commits, %d watches lagged", phase,
		(s.clock.wall - last.wall).Seconds(), (s.clock.cpu - last.cpu).Seconds(), s.clock.fake.Sub(last.fake).Round(time.Second),
		s.clock.revision-last.revision, s.lags.n.Swap(0))
}

func (s *scale) run() {
	s.clock = s.read()
	s.definitions()
	for len(s.ids) < s.n {
		s.add(min(500, s.n-len(s.ids)))
	}
	s.lap("register")
	s.services()
	s.settle("the first placement")
	for _, name := range s.even {
		for _, p := range s.audit.ledger.even(name, s.need[name]) {
			s.t.Error(p)
		}
	}
	s.agrees()
	s.lap(fmt.Sprintf("place %d tasks", s.audit.ledger.placed))

	s.roll()
	s.lap("roll a third over")
	s.drain(s.n / 10)
	s.lap("drain a tenth")
	s.killSome(s.n / 20)
	s.add(s.n / 50)
	s.settle("after the kill")
	s.agrees()
	s.lap("kill a twentieth, add a fiftieth")
	s.empty()
	s.lap("delete everything")
	s.forgotten()
	s.lap("forget the tasks")
}

// agrees fails where the book is not what the records say.
func (s *scale) agrees() {
	s.t.Helper()
	s.check()
	for i, p := range s.audit.ledger.against(s.world) {
		if i < 10 {
			s.t.Error(p)
		}
	}
}

func (s *scale) definitions() {
	tx := store.NewTxn()
	s.need = map[string]model.Reservation{}
	for _, d := range []struct {
		family, mode string
		cpu, memory  int
		port         int
	}{
		{"daemon", "bridge", 32, 64, 0},
		{"probe", "bridge", 16, 32, 9100},
		{"micro", "bridge", 8, 16, 0},
		{"small", "bridge", 64, 256, 0},
		{"medium", "bridge", 256, 512, 0},
		{"listen", "host", 64, 128, 8000},
		{"dynamic", "bridge", 64, 128, -1},
		{"vpc", "awsvpc", 128, 256, 0},
	} {
		for rev := range 3 {
			image := d.family
			c := model.ContainerDefinition{Name: "main", CPU: d.cpu, Memory: new(d.memory)}
			switch {
			case d.port > 0:
				c.PortMappings = []model.PortMapping{{ContainerPort: new(d.port), HostPort: new(d.port), Protocol: "tcp"}}
			case d.port < 0:
				image = "dyn"
				c.PortMappings = []model.PortMapping{{ContainerPort: new(80), HostPort: new(0), Protocol: "tcp"}}
			}
			c.Image = fmt.Sprintf("%s:%d", image, rev+1)
			tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID(d.family, rev+1), &model.TaskDefinition{
				TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, d.family, rev+1), Family: d.family, Revision: rev + 1,
				Status: model.ECSActive, NetworkMode: d.mode, Compatibilities: []string{"EC2"}, ContainerDefinitions: []model.ContainerDefinition{c},
			})
		}
		s.need[d.family] = model.Reservation{CPU: d.cpu, Memory: d.memory}
	}
	s.commit(tx)
}

// add registers instances of three types, in three zones.
func (s *scale) add(n int) {
	types := []struct {
		name              string
		cpu, memory, enis int
	}{
		{"c5.large", 2048, 3700, 2}, {"m5.xlarge", 4096, 15600, 3}, {"c5.large", 2048, 3700, 2}, {"m5.4xlarge", 16384, 63000, 7}, {"m5.xlarge", 4096, 15600, 3},
	}
	tx := store.NewTxn()
	for range n {
		i := s.registered
		s.registered++
		typ := types[i%len(types)]
		id := fmt.Sprintf("i%05d", i)
		v := &model.ContainerInstance{
			ID: id, ARN: model.ECSContainerInstanceARN(region, account, cluster, id), ClusterName: cluster, Status: model.ContainerInstanceActive,
			EC2InstanceID: s.host(id, typ.name), CPU: typ.cpu, Memory: typ.memory, ENIs: typ.enis, Connection: model.AgentConnection{Connected: true}, RegisteredAt: time.Now(),
			ReservedPorts: []int{22, 2375, 2376, 51678, 51679},
			Attributes: map[string]string{
				model.AttributeZone: region + string(rune('a'+i%3)), "ecs.instance-type": typ.name,
				"disk": []string{"ssd", "hdd", "hdd"}[i/7%3], "rack": fmt.Sprint(i % 20),
			},
		}
		tables.ECSContainerInstances.Create(tx, account, region, cluster+"/"+id, v)
		s.ids = append(s.ids, id)
	}
	s.commit(tx)
}

// services creates all services and runs some tasks.
func (s *scale) services() {
	ssd := func(i *model.ContainerInstance) bool { return i.Attributes["disk"] == "ssd" }
	s.daemon("log", "daemon", nil, nil)
	s.daemon("probe", "probe", only("attribute:disk == ssd"), ssd)
	s.settle("the daemons")
	// The counts and sizes are those of 5,000 instances.
	s.replicas("huge", 1, 5000, "micro", true, nil, nil)
	s.replicas("web", 20, 1000, "medium", true, nil, nil)
	s.replicas("pack", 20, 1500, "small", false, func(spec *model.ServiceSpec) { spec.PlacementStrategy = chain("binpack=memory") }, nil)
	s.replicas("zone", 10, 1000, "medium", false, func(spec *model.ServiceSpec) {
		spec.PlacementStrategy = chain("spread=attribute:ecs.availability-zone", "binpack=cpu")
	}, nil)
	s.replicas("listen", 3, 700, "listen", false, nil, nil)
	s.replicas("apart", 5, 1000, "small", false, func(spec *model.ServiceSpec) {
		spec.PlacementConstraints = append(only("attribute:ecs.instance-type =~ m5.* and not(attribute:rack in [3, 7])"), model.ECSPlacementConstraint{Type: "distinctInstance"})
	}, func(i *model.ContainerInstance) bool {
		return strings.HasPrefix(i.Attributes["ecs.instance-type"], "m5.") && i.Attributes["rack"] != "3" && i.Attributes["rack"] != "7"
	})
	s.replicas("vpc", 4, 1000, "vpc", false, func(spec *model.ServiceSpec) {
		spec.NetworkConfiguration = &model.ECSNetworkConfiguration{AwsvpcConfiguration: &model.AwsvpcConfiguration{
			Subnets: []string{"subnet-a", "subnet-b", "subnet-c"}, SecurityGroups: []string{"sg-1"},
		}}
	}, nil)
	s.replicas("dynamic", 10, 500, "dynamic", true, nil, nil)
	s.replicas("random", 50, 100, "small", false, func(spec *model.ServiceSpec) { spec.PlacementStrategy = chain("random") }, nil)
	svc, ctx := s.api()
	for range s.n / 10 {
		out, err := svc.RunTask(ctx, &api_ecs.RunTaskInput{
			Cluster: new(cluster), TaskDefinition: new("small:1"), Count: new(int32(10)), LaunchType: api_ecs.LaunchTypeEc2,
			PlacementStrategy: []api_ecs.PlacementStrategy{{Type: api_ecs.PlacementStrategyTypeBinpack, Field: new("cpu")}},
		})
		if err != nil || len(out.Tasks) != 10 {
			s.t.Fatalf("RunTask: %v, %+v", err, out)
		}
	}
}

func (s *scale) daemon(name, family string, constraints []model.ECSPlacementConstraint, may func(*model.ContainerInstance) bool) {
	s.audit.ledger.rule(name, may)
	s.on(name, family, 0, func(spec *model.ServiceSpec) {
		daemon(spec)
		spec.DeploymentConfiguration.MinimumHealthyPercent = new(80)
		spec.PlacementConstraints = constraints
	})
	s.names, s.daemons = append(s.names, name), append(s.daemons, name)
	s.need[name] = s.need[family]
}

// replicas makes so many services; even ones are to be spread within one.
func (s *scale) replicas(name string, services, tasks int, family string, even bool, change func(*model.ServiceSpec), may func(*model.ContainerInstance) bool) {
	for i := range services {
		one := fmt.Sprintf("%s-%d", name, i)
		s.audit.ledger.rule(one, may)
		// Fewer than four are too few for some of the limits.
		s.on(one, family, max(4, tasks*s.n/5000), func(spec *model.ServiceSpec) {
			limits := [][2]int{{100, 200}, {50, 100}, {75, 125}, {0, 150}}[i%4]
			spec.DeploymentConfiguration = model.ServiceDeploymentConfiguration{MinimumHealthyPercent: &limits[0], MaximumPercent: &limits[1]}
			if change != nil {
				change(spec)
			}
		})
		s.names = append(s.names, one)
		s.need[one] = s.need[family]
		if even {
			s.even = append(s.even, one)
		}
	}
}

// settle waits until all services have their tasks, and no other ones.
func (s *scale) settle(what string) {
	s.t.Helper()
	why := ""
	for began := time.Now(); time.Since(began) < 6*time.Hour; time.Sleep(5 * time.Second) {
		s.check()
		if why = s.waits(); why == "" {
			return
		}
	}
	s.t.Fatalf("%s does not end: %s", what, why)
}

// waits tells what is not settled.
func (s *scale) waits() string {
	rows, err := tables.ECSServices.List(s.t.Context(), s.store, store.Query{Account: account, Region: region})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range rows {
		v, want := r.V, r.V.Spec.DesiredCount
		if isDaemon(&v.Spec) {
			want = s.eligible(v.ServiceName)
		}
		if v.Status != model.ECSActive {
			continue
		}
		if v.Counts.RunningCount != want || v.Counts.PendingCount != 0 || len(v.Deployments) != 1 || v.Deployments[0].RolloutState != model.RolloutCompleted {
			return fmt.Sprintf("%s has %+v of %d, %d deployments, %s; %q", v.ServiceName, v.Counts, want, len(v.Deployments), v.Deployments[0].RolloutState, s.events(v.ServiceName))
		}
	}
	return ""
}

// eligible is how many instances a daemon is to be on: those that have it and
// those that others have not filled.
func (s *scale) eligible(name string) int {
	l := s.audit.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	may, n := l.rules["service:"+name], 0
	for _, b := range l.instances {
		if b.Status == model.ContainerInstanceActive && (may == nil || may(b.ContainerInstance)) && (b.groups["service:"+name] > 0 || b.takes(s.need[name])) {
			n++
		}
	}
	return n
}

// roll makes every third service's tasks new ones, while a twentieth of the
// agents is away for a while and the server starts again.
func (s *scale) roll() {
	for i, name := range s.names {
		if i%3 == 0 || name == s.daemons[1] {
			s.update(name, func(spec *model.ServiceSpec) {
				spec.TaskDefinition = strings.TrimSuffix(spec.TaskDefinition, "1") + "2"
			})
		}
	}
	s.pass(10 * time.Second)
	away := s.some(s.n / 20)
	for _, id := range away {
		s.instance(id, func(i *model.ContainerInstance) { i.Connection.Connected = false })
	}
	s.pass(10 * time.Second)
	s.check()
	s.restart(30 * time.Second)
	s.pass(2 * time.Minute)
	for _, id := range away {
		s.instance(id, func(i *model.ContainerInstance) { i.Connection.Connected = true })
	}
	s.settle("the deployments")
	s.agrees()
}

// some are n instances.
func (s *scale) some(n int) []string {
	var out []string
	for _, i := range s.rand.Perm(len(s.ids))[:n] {
		out = append(out, s.ids[i])
	}
	return out
}

// drain drains n instances until only what no service has is there, and lets
// them take tasks again.
func (s *scale) drain(n int) {
	svc, ctx := s.api()
	leave := s.some(n)
	state := func(to api_ecs.ContainerInstanceStatus) {
		for _, id := range leave {
			if _, err := svc.UpdateContainerInstancesState(ctx, &api_ecs.UpdateContainerInstancesStateInput{Cluster: new(cluster), ContainerInstances: []string{id}, Status: to}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	state(api_ecs.ContainerInstanceStatusDraining)
	s.settle("draining")
	l := s.audit.ledger
	l.mu.Lock()
	for _, id := range leave {
		for group, n := range l.instances[id].groups {
			if strings.HasPrefix(group, "service:") {
				s.t.Errorf("%s drains, and has %d tasks of %s", id, n, group)
			}
		}
	}
	l.mu.Unlock()
	state(api_ecs.ContainerInstanceStatusActive)
	s.settle("after draining")
	s.agrees()
}

// killSome takes n instances away with all that is on them.
func (s *scale) killSome(n int) {
	svc, ctx := s.api()
	for _, id := range s.some(n) {
		s.toInstance(ctx, svc, "kill", id)
	}
}

// forgotten waits for the time that stopped tasks can be seen to pass.
func (s *scale) forgotten() {
	s.pass(2*time.Hour + time.Minute)
	s.check()
	rows, err := tables.ECSTasks.List(s.t.Context(), s.store, store.Query{})
	if err != nil || len(rows) > 0 {
		s.t.Errorf("%d tasks are left, %v", len(rows), err)
	}
}
