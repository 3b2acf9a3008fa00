package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	api_ecs "roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/ecs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// history is a world in which steps happen.
type history struct {
	*world
	flaky *flaky
	audit *auditor
	end   func()
	// ids are the container instances that are not gone; registered counts all.
	ids        []string
	registered int
	names      []string // of the services that are there
}

func newHistory(w *world, f *flaky) *history {
	w.boxes()
	h := &history{world: w, flaky: f}
	h.audit, h.end = w.audit()
	return h
}

// api serves the calls of the account's root on the server's store.
func (w *world) api() (*ecs.Service, context.Context) {
	return ecs.New(ecs.Config{Store: w.below, Placer: w.book, Fleet: w.book}), rootCall(w.t)
}

func rootCall(t tb) context.Context {
	return api.WithCall(t.Context(), &api.Call{
		Account: account, Region: region, Partition: "aws", Time: time.Now(), RequestID: "r",
		Identity:  api.Identity{ARN: "arn:aws:iam::" + account + ":root", Root: true},
		Authorize: func(context.Context, string, string, map[string]string) error { return nil },
	})
}

// must fails unless the store made the error up.
func (h *history) must(err error) {
	h.t.Helper()
	if err != nil && !errors.Is(err, errMadeUp) {
		h.t.Fatal(err)
	}
}

// instance is the nth there is, "" without any.
func (h *history) at(n int) string {
	if len(h.ids) == 0 {
		return ""
	}
	return h.ids[n%len(h.ids)]
}

// allOut tells whether no instance takes tasks.
func (h *history) allOut() bool {
	h.check()
	h.audit.ledger.mu.Lock()
	defer h.audit.ledger.mu.Unlock()
	return !slices.ContainsFunc(h.ids, func(id string) bool { return h.audit.ledger.instances[id].Status == model.ContainerInstanceActive })
}

// again repeats what failed for no reason of its own.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, errMadeUp) {
			return err
		}
	}
}

func (h *history) grow(room, n int) {
	h.registered++
	id := fmt.Sprintf("i%03d", h.registered)
	stack := "x"
	if n%3 == 0 {
		stack = "y"
	}
	i := &model.ContainerInstance{
		ID: id, ARN: model.ECSContainerInstanceARN(region, account, cluster, id), ClusterName: cluster, Status: model.ContainerInstanceActive,
		EC2InstanceID: h.host(id, "c5.large"), CPU: 200*room + 100, Memory: 300*room + 200, ENIs: 2, Connection: model.AgentConnection{Connected: true}, RegisteredAt: time.Now(),
		Attributes: map[string]string{model.AttributeZone: region + string(rune('a'+n%3)), "stack": stack}, ReservedPorts: []int{22},
	}
	tx := store.NewTxn()
	tables.ECSContainerInstances.Create(tx, account, region, cluster+"/"+id, i)
	h.commit(tx)
	h.ids = append(h.ids, id)
}

// host makes the EC2 instance of a container instance.
func (w *world) host(id, typ string) string {
	i := &model.Instance{ID: "i-" + id, Owner: account, Spec: model.InstanceSpec{Type: typ}}
	i.Desired.State, i.Status.State = model.InstanceRunning, model.InstanceRunning
	tx := store.NewTxn()
	tables.Instances.Create(tx, account, region, i.ID, i)
	w.commit(tx)
	return i.ID
}

// do makes a step happen.
func (h *history) do(s step) {
	h.t.Helper()
	svc, ctx := h.api()
	id := h.at(s.a)
	name := ""
	if len(h.names) > 0 {
		name = h.names[s.a%len(h.names)]
	}
	switch s.what {
	case "pass":
		h.pass(time.Duration(s.a) * time.Second)
		h.check()
		return
	case "register":
		if len(h.ids) < 30 {
			h.grow(1+s.a%6, s.b)
		}
		return
	case "create":
		h.make(kinds[s.a%len(kinds)], s.b)
		return
	case "run":
		in := &api_ecs.RunTaskInput{Cluster: new(cluster), TaskDefinition: new([]string{"box:1", "port:2", "dyn:3"}[s.b%3]), Count: new(int32(1 + s.a%4)), LaunchType: api_ecs.LaunchTypeEc2}
		if s.a%2 == 0 {
			in.PlacementConstraints = []api_ecs.PlacementConstraint{{Type: api_ecs.PlacementConstraintTypeDistinctInstance}}
			in.Group = new("apart")
		}
		if _, err := svc.RunTask(ctx, in); api.Code(err) != "InvalidParameterException" || len(h.ids) > 0 && !h.allOut() {
			h.must(err)
		}
		return
	case "restart":
		h.restart(time.Duration(s.b%60) * time.Second)
		return
	case "faults":
		h.flaky.fail(s.a%30, s.b%10)
		return
	case "calm":
		h.flaky.fail(0, 0)
		return
	case "stop", "crash":
		h.onTask(s)
		return
	}
	if id != "" {
		h.toInstance(ctx, svc, s.what, id)
	}
	if name != "" {
		h.toService(s, name)
	}
}

func (h *history) toInstance(ctx context.Context, svc *ecs.Service, what, id string) {
	h.t.Helper()
	state := func(to api_ecs.ContainerInstanceStatus) {
		h.must(again(func() error {
			_, err := svc.UpdateContainerInstancesState(ctx, &api_ecs.UpdateContainerInstancesStateInput{Cluster: new(cluster), ContainerInstances: []string{id}, Status: to})
			return err
		}))
	}
	switch what {
	case "drain":
		state(api_ecs.ContainerInstanceStatusDraining)
	case "activate":
		state(api_ecs.ContainerInstanceStatusActive)
	case "disconnect", "reconnect":
		h.instance(id, func(i *model.ContainerInstance) { i.Connection.Connected = what == "reconnect" })
	case "start":
		_, err := svc.StartTask(ctx, &api_ecs.StartTaskInput{Cluster: new(cluster), TaskDefinition: new("box:1"), ContainerInstances: []string{id}})
		h.must(err)
	case "terminate":
		_, err := tables.Instances.Update(h.t.Context(), h.store, account, region, "i-"+id, func(i *model.Instance) error {
			i.Desired.State, i.Status.State = model.InstanceTerminated, model.InstanceTerminated
			return nil
		})
		h.must(err)
		h.ids = slices.DeleteFunc(h.ids, func(o string) bool { return o == id })
	case "kill":
		h.must(again(func() error {
			_, err := svc.DeregisterContainerInstance(ctx, &api_ecs.DeregisterContainerInstanceInput{Cluster: new(cluster), ContainerInstance: new(id), Force: new(true)})
			return err
		}))
		h.ids = slices.DeleteFunc(h.ids, func(o string) bool { return o == id })
	}
}

func (h *history) toService(s step, name string) {
	h.t.Helper()
	switch s.what {
	case "scale":
		h.update(name, func(spec *model.ServiceSpec) {
			if !isDaemon(spec) {
				spec.DesiredCount = s.b % 8
			}
		})
	case "deploy":
		h.update(name, func(spec *model.ServiceSpec) {
			_, def, _ := strings.Cut(spec.TaskDefinition, "/")
			family, _, _ := strings.Cut(def, ":")
			spec.TaskDefinition = taskDef(family, 1+s.b%9)
		})
	case "delete":
		h.remove(name)
		h.names = slices.DeleteFunc(h.names, func(o string) bool { return o == name })
	}
}

func isDaemon(s *model.ServiceSpec) bool { return s.SchedulingStrategy == "DAEMON" }

// make creates a service of a kind, one of its name at a time.
func (h *history) make(k kind, n int) {
	if slices.Contains(h.names, k.name) {
		return
	}
	if row, err := tables.ECSServices.Get(h.t.Context(), h.store, account, region, cluster+"/"+k.name); err == nil && row.V.Status != model.ECSInactive {
		return // the one before still drains
	}
	h.audit.ledger.rule(k.name, k.may)
	limits := [][2]int{{100, 200}, {50, 100}, {0, 100}, {50, 150}, {100, 150}}[n%5]
	h.on(k.name, k.family, n%7, func(s *model.ServiceSpec) {
		s.DeploymentConfiguration = model.ServiceDeploymentConfiguration{MinimumHealthyPercent: &limits[0], MaximumPercent: &limits[1]}
		if n%2 == 0 {
			s.DeploymentConfiguration.DeploymentCircuitBreaker = &model.DeploymentCircuitBreaker{Enable: true, Rollback: n%4 == 0}
		}
		if k.change != nil {
			k.change(s)
		}
		if isDaemon(s) {
			s.DesiredCount = 0
		}
	})
	h.names = append(h.names, k.name)
}

// liveTasks are all that have not stopped, in the order of their ids.
func (h *history) liveTasks() []store.Row[model.Task] {
	rows, err := tables.ECSTasks.List(h.t.Context(), h.store, store.Query{Account: account, Region: region, Index: store.Index{Name: tables.ByCluster, Value: cluster}})
	if err != nil {
		h.t.Fatal(err)
	}
	return rows
}

func (h *history) onTask(s step) {
	h.t.Helper()
	rows := h.liveTasks()
	if len(rows) == 0 {
		return
	}
	row := rows[s.a%len(rows)]
	if s.what == "crash" {
		h.must(h.node.crash(h.t.Context(), row.Key.ID))
		return
	}
	svc, ctx := h.api()
	h.must(again(func() error {
		_, err := svc.StopTask(ctx, &api_ecs.StopTaskInput{Cluster: new(cluster), Task: new(row.V.TaskARN)})
		return err
	}))
}

// check ends the history when the auditor has found something.
func (h *history) check() {
	h.t.Helper()
	if p := h.audit.problems(); len(p) > 0 {
		h.t.Fatal(strings.Join(p, "\n\t"))
	}
}

// settled waits until f holds, looking every second.
func (h *history) settled(d time.Duration, f func() string) {
	h.t.Helper()
	why := ""
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Second) {
		h.check()
		if why = f(); why == "" {
			return
		}
	}
	h.t.Fatalf("not within %v: %s", d, why)
}

// peace mends everything and gives room to all: services settle, the book and
// the records agree, and a new service is spread within one.
func (h *history) peace() {
	h.t.Helper()
	h.flaky.fail(0, 0)
	for _, id := range h.ids {
		h.instance(id, func(i *model.ContainerInstance) {
			i.Status, i.Connection.Connected = model.ContainerInstanceActive, true
		})
	}
	for n := range 9 {
		h.grow(8, n+4)
	}
	for _, name := range h.names {
		h.update(name, func(s *model.ServiceSpec) {
			if !isDaemon(s) {
				s.DeploymentConfiguration.MaximumPercent = new(200)
			}
		})
	}
	h.settled(3*time.Hour, func() string {
		for _, name := range h.names {
			why := h.unsettled(name)
			if why != "" && h.service(name).Primary().RolloutState == model.RolloutFailed {
				h.toService(step{"deploy", 0, h.seq}, name) // it failed before, and is tried again
			}
			if why != "" {
				return why
			}
		}
		return ""
	})
	h.pass(time.Minute)
	for _, p := range h.audit.ledger.against(h.world) {
		h.t.Error(p)
	}
	const fresh = "even"
	h.on(fresh, "box", 10, nil)
	h.settled(10*time.Minute, func() string { return h.unsettled(fresh) })
	for _, p := range h.audit.ledger.even(fresh, model.Reservation{CPU: 200, Memory: 300}) {
		h.t.Error(p)
	}
	h.names = append(h.names, fresh)
}

// unsettled tells what a service waits for.
func (h *history) unsettled(name string) string {
	s := h.service(name)
	if !isDaemon(&s.Spec) {
		if len(s.Deployments) == 1 && s.Counts.PendingCount == 0 && s.Counts.RunningCount == s.Spec.DesiredCount {
			return ""
		}
		return fmt.Sprintf("%s: %+v %+v %q", name, s.Counts, s.Deployments, h.events(name))
	}
	on := h.audit.ledger.on(name)
	h.audit.ledger.mu.Lock()
	defer h.audit.ledger.mu.Unlock()
	may := h.audit.ledger.rules["service:"+name]
	need := model.Reservation{CPU: 200, Memory: 300}
	if strings.Contains(s.Spec.TaskDefinition, "/gate:") {
		need.Ports = []model.HostPort{{Number: 8081}}
	}
	for _, id := range h.ids {
		b := h.audit.ledger.instances[id]
		// One that others have filled has no room for the daemon.
		if n := on[id]; may == nil || may(b.ContainerInstance) {
			if n > 1 || n == 0 && b.takes(need) {
				return fmt.Sprintf("%s has %d tasks on %s", name, n, id)
			}
		} else if n > 0 {
			return fmt.Sprintf("%s is on %s", name, id)
		}
	}
	return ""
}

// empty deletes all services and stops all tasks: nothing may be left of them.
func (h *history) empty() {
	h.t.Helper()
	for _, name := range h.names {
		h.remove(name)
	}
	h.settled(time.Hour, func() string {
		for _, name := range h.names {
			if s := h.service(name); s.Status != model.ECSInactive {
				return name + " is " + s.Status
			}
		}
		return ""
	})
	svc, ctx := h.api()
	for _, r := range h.liveTasks() {
		_, err := svc.StopTask(ctx, &api_ecs.StopTaskInput{Cluster: new(cluster), Task: new(r.V.TaskARN)})
		h.must(err)
	}
	h.settled(time.Hour, func() string {
		if rows := h.liveTasks(); len(rows) > 0 {
			return fmt.Sprintf("%d tasks live, %s is %s", len(rows), rows[0].V.TaskID, rows[0].V.Status.LastStatus)
		}
		return ""
	})
	for _, p := range append(h.audit.ledger.against(h.world), h.left()...) {
		h.t.Error(p)
	}
}

// left tells what is left although there is no task.
func (w *world) left() []string {
	var out []string
	q := store.Query{Account: account, Region: region}
	found := func(what string, n int, err error) {
		if n > 0 || err != nil {
			out = append(out, fmt.Sprintf("%d %s are left, %v", n, what, err))
		}
	}
	enis, err := tables.NetworkInterfaces.List(w.t.Context(), w.store, q)
	found("interfaces", len(enis), err)
	addresses, err := tables.PrivateAddressClaims.List(w.t.Context(), w.store, q)
	found("addresses", len(addresses), err)
	targets, err := tables.Targets.List(w.t.Context(), w.store, q)
	found("targets", len(targets), err)
	hosts, err := tables.Instances.List(w.t.Context(), w.store, q)
	attached := 0
	for _, i := range hosts {
		if i.V.Status.State != model.InstanceTerminated {
			attached += len(i.V.Spec.InterfaceIDs)
		}
	}
	found("attached interfaces", attached, err)
	return out
}
