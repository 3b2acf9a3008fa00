package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TestSimulation changes, breaks and deletes services at random while their
// tasks crash and fall ill and the controllers are restarted, checks every
// commit, and then lets all settle.
func TestSimulation(t *testing.T) {
	seed := seedOf(t)
	in(t, seed, func(t *testing.T, w *world) {
		a, end := w.audit()
		defer end()
		s := &simulation{world: w, rand: rand.New(rand.NewPCG(seed, 2)), observer: a.observer}
		s.run()
		s.settle()
		t.Logf("%d commits in %v of simulated time", s.observer.commits, time.Since(s.began))
	})
}

type simulation struct {
	*world
	rand     *rand.Rand
	observer *observer
	began    time.Time
	names    []string
	group    string
}

// check fails the test when the observer saw something wrong.
func (s *simulation) check() {
	s.t.Helper()
	synctest.Wait()
	if len(s.observer.broken) > 0 {
		for _, b := range s.observer.broken {
			s.t.Error(b)
		}
		s.t.FailNow()
	}
}

func (s *simulation) run() {
	s.began = time.Now()
	s.group = s.targetGroup("sim")
	for i := range simServices {
		name := fmt.Sprintf("s%03d", i)
		s.names = append(s.names, name)
		s.make(name)
	}
	for range simSteps {
		s.disturb()
		time.Sleep(time.Duration(s.rand.IntN(4000)) * time.Millisecond)
		s.check()
	}
}

// make creates a service of random shape.
func (s *simulation) make(name string) {
	s.create(name, s.rand.IntN(6), func(spec *model.ServiceSpec) {
		spec.DeploymentConfiguration.MaximumPercent = new([]int{100, 150, 200}[s.rand.IntN(3)])
		spec.DeploymentConfiguration.MinimumHealthyPercent = new([]int{0, 50, 100}[s.rand.IntN(3)])
		if *spec.DeploymentConfiguration.MaximumPercent == 100 {
			spec.DeploymentConfiguration.MinimumHealthyPercent = new(0)
		}
		if s.rand.IntN(2) == 0 {
			spec.DeploymentConfiguration.DeploymentCircuitBreaker = &model.DeploymentCircuitBreaker{Enable: true, Rollback: s.rand.IntN(2) == 0}
		}
		if s.rand.IntN(4) == 0 {
			spec.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: s.group, ContainerName: "main", ContainerPort: new(80)}}
		}
	})
}

// disturb does one thing to one service.
func (s *simulation) disturb() {
	name := s.names[s.rand.IntN(len(s.names))]
	status := s.service(name).Status
	if status == model.ECSInactive {
		s.make(name)
		return
	}
	if status != model.ECSActive {
		return
	}
	switch s.rand.IntN(20) {
	case 0, 1, 2, 3:
		n := s.rand.IntN(8)
		s.update(name, func(spec *model.ServiceSpec) { spec.DesiredCount = n })
	case 4, 5, 6, 7:
		def := taskDef("web", 1+s.rand.IntN(3))
		s.update(name, func(spec *model.ServiceSpec) { spec.TaskDefinition = def })
	case 8:
		def := taskDef([]string{"crash", "missing"}[s.rand.IntN(2)], 1+s.rand.IntN(3))
		s.update(name, func(spec *model.ServiceSpec) { spec.TaskDefinition = def })
	case 9:
		s.remove(name)
	case 10:
		s.stop()
		if s.rand.IntN(2) == 0 {
			time.Sleep(time.Duration(s.rand.IntN(60)) * time.Second)
		}
		s.start()
	case 11, 12:
		for _, t := range s.running(name) {
			s.must(s.balancer.sicken(s.t.Context(), t))
		}
	case 13:
		s.stopByUser(name)
	default:
		for _, t := range s.running(name) {
			if s.rand.IntN(3) == 0 {
				s.must(s.node.crash(s.t.Context(), cluster+"/"+t.TaskID))
			}
		}
	}
}

func (s *simulation) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *simulation) stopByUser(name string) {
	running := s.running(name)
	if len(running) == 0 {
		return
	}
	id := cluster + "/" + running[s.rand.IntN(len(running))].TaskID
	_, err := tables.ECSTasks.Update(s.t.Context(), s.store, account, region, id, func(t *model.Task) error {
		if !t.Stop(model.StopUserInitiated, "Task stopped by user", time.Now()) {
			return store.ErrUnchanged
		}
		return nil
	})
	s.must(err)
}

// settle mends everything and waits until every service is steady; then the
// records must agree with each other, and with nothing to do nothing is done.
func (s *simulation) settle() {
	s.must(s.balancer.heal(s.t.Context()))
	for i, name := range s.names {
		if s.service(name).Status != model.ECSActive {
			continue
		}
		// A new deployment each, that the percentages let through.
		s.update(name, func(spec *model.ServiceSpec) {
			spec.TaskDefinition = taskDef("web", 1+i%3)
			spec.DeploymentConfiguration.MaximumPercent = new(200)
		})
		if s.service(name).Primary().RolloutState == model.RolloutFailed {
			s.update(name, func(spec *model.ServiceSpec) { spec.TaskDefinition = taskDef("web", 1+(i+1)%3) })
		}
	}
	var waits string
	for range 120 {
		time.Sleep(30 * time.Second)
		s.check()
		waits = ""
		for _, name := range s.names {
			if svc := s.service(name); svc.Status == model.ECSDraining || svc.Status == model.ECSActive && !s.stable(name)() {
				waits = name
			}
		}
		if waits == "" {
			break
		}
	}
	if waits != "" {
		s.t.Fatalf("%s does not settle: %+v\n%v", waits, s.service(waits), s.events(waits))
	}
	time.Sleep(2 * time.Hour)
	s.check()
	s.compare()
	before := s.observer.commits
	time.Sleep(time.Hour)
	synctest.Wait()
	if n := s.observer.commits - before; n != 0 {
		s.t.Errorf("%d commits with nothing to do", n)
	}
}

// compare checks that tasks, interfaces and targets belong together, that
// nothing is left of what is gone.
func (s *simulation) compare() {
	q := store.Query{Account: account, Region: region}
	tasks, err := tables.ECSTasks.List(s.t.Context(), s.store, q)
	s.must(err)
	wanted, balanced, addresses := 0, 0, map[string]bool{}
	for _, name := range s.names {
		if svc := s.service(name); svc.Status == model.ECSActive {
			wanted += svc.Spec.DesiredCount
		}
		if n := len(s.events(name)); n > model.MaxServiceEvents {
			s.t.Errorf("%s has %d events", name, n)
		}
	}
	for _, row := range tasks {
		t := row.V
		if t.Status.LastStatus != model.TaskRunning {
			s.t.Errorf("%s is %s", t.TaskID, t.Status.LastStatus)
		}
		ip := t.ENI().Detail("privateIPv4Address")
		if addresses[ip] {
			s.t.Errorf("two tasks have %s", ip)
		}
		addresses[ip] = true
		if len(t.Spec.LoadBalancers) > 0 {
			balanced++
		}
	}
	if len(tasks) != wanted {
		s.t.Errorf("%d tasks, %d are wanted", len(tasks), wanted)
	}
	enis, err := tables.NetworkInterfaces.List(s.t.Context(), s.store, q)
	if err != nil || len(enis) != wanted {
		s.t.Errorf("%d interfaces for %d tasks, %v", len(enis), wanted, err)
	}
	targets, err := tables.Targets.List(s.t.Context(), s.store, q)
	if err != nil || len(targets) != balanced {
		s.t.Errorf("%d targets for %d tasks, %v", len(targets), balanced, err)
	}
}
