package agentws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"roadstead.dev/internal/agent"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ecsinstance"
	"roadstead.dev/internal/controller/ecsservice"
	"roadstead.dev/internal/controller/ecstask"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// cable is a machine's network; what is cut stays dead.
type cable struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	cut   bool
	conns []*wire
}

// wire is a connection over a cable. Once it is cut, what is written is lost,
// and nothing comes.
type wire struct {
	net.Conn
	mu   sync.Mutex
	dead bool
}

func (w *wire) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *wire) Write(b []byte) (int, error) {
	if w.isDead() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *wire) Read(b []byte) (int, error) {
	for {
		n, err := w.Conn.Read(b)
		if err != nil || !w.isDead() {
			return n, err
		}
	}
}

func (c *cable) connect(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(3 * time.Minute): // the bubble's time
			return nil, errors.New("connection timed out")
		}
	}
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, w)
	return w, nil
}

// set cuts the cable, or mends it for new connections.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if !cut {
		return
	}
	for _, w := range c.conns {
		w.mu.Lock()
		w.dead = true
		w.mu.Unlock()
	}
}

// ec2 is an EC2 instance with Roadstead's agent, on a fake engine.
type ec2 struct {
	p          *plane
	id, dir    string
	cable      *cable
	containers *fake.State
	began      bool
	kill       func()
}

// instance makes an EC2 instance in a zone, and starts its agent.
func (p *plane) instance(id, zone, dir string) *ec2 {
	p.t.Helper()
	m := &ec2{p: p, id: id, dir: dir, cable: &cable{dial: p.dial}, containers: fake.NewState()}
	tx := store.NewTxn()
	tables.Instances.Put(tx, account, region, id, &model.Instance{
		ID: id, Spec: model.InstanceSpec{Type: "m5.large", Zone: region + zone},
		Desired: model.InstanceDesired{State: model.InstanceRunning}, Status: model.InstanceStatus{State: model.InstanceRunning},
	})
	if _, err := tx.Commit(p.t.Context(), p.store); err != nil {
		p.t.Fatal(err)
	}
	m.start()
	return m
}

// start starts the agent; it adopts what runs.
func (m *ec2) start() {
	t, log := m.p.t, slog.New(slog.DiscardHandler)
	t.Helper()
	settings, err := agent.SettingsFrom(func(name string) string { return map[string]string{"ECS_CLUSTER": "c"}[name] })
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: m.cable.connect, DisableKeepAlives: true}
	a, err := agent.New(agent.Config{
		Settings: settings,
		Machine: agent.Machine{
			CPU: 2048, Memory: 4096, Architecture: "x86_64",
			Document: fmt.Sprintf(`{"instanceId":%q,"accountId":%q,"region":%q}`, m.id, account, region), Signature: "signature",
		},
		API: &agent.API{
			Endpoint: "http://" + host, Region: region, Client: &http.Client{Transport: transport}, Clock: clock.System{},
			Credentials: credentials.NewStaticCredentialsProvider(m.id, secret, ""),
		},
		StateDir: m.dir, Version: "1.0.0", Hash: "h", Runtime: "containerd", Clock: clock.System{}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	again := m.began
	m.began = true
	lazy := &agent.LazyEngine{
		There: func(context.Context) bool { return again },
		Start: func(context.Context) (engine.Engine, error) { return fake.New(m.containers, nil), nil },
	}
	n, err := node.New(node.Config{
		Name: "machine", Engine: lazy, Transport: a, Network: agent.NewPretendedNetwork(agent.Settings{}), StateDir: m.dir,
		RetryDelay: 250 * time.Millisecond, Clock: clock.System{}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, n.Run) }()
	m.kill = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	}
}

// change changes the EC2 instance's record, as its controller does.
func (m *ec2) change(change func(*model.Instance)) {
	m.p.t.Helper()
	if _, err := tables.Instances.Update(m.p.t.Context(), m.p.store, account, region, m.id, func(i *model.Instance) error { change(i); return nil }); err != nil {
		m.p.t.Fatal(err)
	}
}

// registration is the container instance that the EC2 instance was last.
func (m *ec2) registration() *model.ContainerInstance {
	m.p.t.Helper()
	synctest.Wait()
	rows, err := tables.ECSContainerInstances.List(m.p.t.Context(), m.p.store, store.Query{
		Account: account, Region: region, Index: store.Index{Name: tables.ByEC2Instance, Value: m.id},
	})
	if err != nil || len(rows) == 0 {
		m.p.t.Fatal(rows, err)
	}
	slices.SortFunc(rows, func(a, b store.Row[model.ContainerInstance]) int { return int(b.Created) - int(a.Created) })
	return rows[0].V
}

// control runs the controllers beside the plane, with a service "s" of the
// cluster "c", until the returned function is called.
func (p *plane) control() (end func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- controller.Runtime{Store: p.store, Clock: clock.System{}}.Run(ctx,
			ecsservice.New(ecsservice.Config{Store: p.store, Clock: clock.System{}, Placer: p.book}),
			ecstask.New(ecstask.Config{Store: p.store, Clock: clock.System{}}),
			ecsinstance.New(ecsinstance.Config{Store: p.store, Clock: clock.System{}}))
	}()
	p.must("root", "CreateCluster", `{"clusterName":"c"}`)
	p.must("root", "RegisterTaskDefinition", `{"family":"web","networkMode":"host","containerDefinitions":[{"name":"web","image":"example.com/web:1","memory":64}]}`)
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			p.t.Error(err)
		}
	}
}

// on tells the tasks that ECS takes for running on the instance.
func (m *ec2) on() (ids []string) {
	m.p.t.Helper()
	synctest.Wait()
	for _, t := range m.p.tasks() {
		if t.Status.EC2InstanceID == m.id && t.Status.LastStatus == model.TaskRunning {
			ids = append(ids, t.TaskID)
		}
	}
	return ids
}

func (p *plane) tasks() (all []*model.Task) {
	p.t.Helper()
	rows, err := tables.ECSTasks.List(p.t.Context(), p.store, store.Query{Account: account, Region: region})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range rows {
		all = append(all, r.V)
	}
	return all
}

func (p *plane) get(id string) *model.Task {
	p.t.Helper()
	row, err := tables.ECSTasks.Get(p.t.Context(), p.store, account, region, "c/"+id)
	if err != nil {
		p.t.Fatal(err)
	}
	return row.V
}

// wait lets a time of the bubble's pass.
func wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

// withInstances runs f with two instances, each of which has one task of a
// service that wants two.
func withInstances(t *testing.T, f func(p *plane, a, b *ec2)) {
	dirs := []string{t.TempDir(), t.TempDir()}
	withPlane(t, func(p *plane) {
		end := p.control()
		a, b := p.instance("i-aaaaaaaaaaaaaaaaa", "a", dirs[0]), p.instance("i-bbbbbbbbbbbbbbbbb", "a", dirs[1])
		wait(5 * time.Second)
		p.must("root", "CreateService", `{"cluster":"c","serviceName":"s","taskDefinition":"web","desiredCount":2,"launchType":"EC2"}`)
		wait(2 * time.Minute)
		if len(a.on()) != 1 || len(b.on()) != 1 {
			p.t.Fatalf("tasks on the instances: %v %v", a.on(), b.on())
		}
		f(p, a, b)
		b.kill()
		end()
	})
}

// A task goes on while nobody hears of its instance's agent: it is not
// replaced, and nothing new goes there.
func TestAgentKilled(t *testing.T) {
	withInstances(t, func(p *plane, a, b *ec2) {
		task := a.on()
		a.kill()
		wait(time.Second)
		if a.registration().Connection.Connected {
			t.Error("connected without an agent")
		}
		wait(30 * time.Minute)
		if got := a.on(); !slices.Equal(got, task) || len(p.tasks()) != 2 {
			t.Errorf("tasks %v of %d, want %v", got, len(p.tasks()), task)
		}
		p.must("root", "UpdateService", `{"cluster":"c","service":"s","desiredCount":4}`)
		out := p.must("root", "RunTask", `{"cluster":"c","taskDefinition":"web","launchType":"EC2","placementConstraints":[{"type":"memberOf","expression":"ec2InstanceId == `+a.id+`"}]}`)
		if failures := out["failures"].([]any); len(failures) != 2 || !strings.Contains(fmt.Sprint(failures), "AGENT") {
			t.Errorf("failures %v", failures)
		}
		wait(2 * time.Minute)
		if len(a.on()) != 1 || len(b.on()) != 3 {
			t.Errorf("tasks %v %v", a.on(), b.on())
		}
		// It comes back as what it was, with the task that it had.
		before := a.registration().ID
		a.start()
		wait(time.Minute)
		if i := a.registration(); i.ID != before || !i.Connection.Connected || !slices.Equal(a.on(), task) {
			t.Errorf("instance %+v with %v", i, a.on())
		}
		a.kill()
	})
}

// While the network is cut nothing is known, and nothing is done. What happened
// meanwhile is told afterwards.
func TestNetworkCut(t *testing.T) {
	withInstances(t, func(p *plane, a, b *ec2) {
		task := a.on()[0]
		a.cable.set(true)
		wait(5 * time.Minute)
		if a.registration().Connection.Connected {
			t.Error("connected by a cut cable")
		}
		wait(30 * time.Minute)
		if got := a.on(); !slices.Equal(got, []string{task}) || len(p.tasks()) != 2 {
			t.Fatalf("tasks %v of %d", got, len(p.tasks()))
		}
		// What is asked for is done when the instance hears of it.
		p.must("root", "StopTask", `{"cluster":"c","task":"`+task+`"}`)
		wait(10 * time.Minute)
		if s := p.get(task).Status.LastStatus; s != model.TaskStopping || len(b.on()) != 2 {
			t.Errorf("the task is %s, %v run", s, b.on())
		}
		a.cable.set(false)
		wait(10 * time.Minute)
		if s := p.get(task).Status.LastStatus; s != model.TaskStopped || !a.registration().Connection.Connected {
			t.Errorf("the task is %s, connected %t", s, a.registration().Connection.Connected)
		}
		a.kill()
	})
}

// An instance that terminates leaves its cluster once it is gone. Then its task
// has ended, and not before is it replaced.
func TestInstanceTerminated(t *testing.T) {
	withInstances(t, func(p *plane, a, b *ec2) {
		task := a.on()[0]
		a.change(func(i *model.Instance) {
			i.Desired.State, i.Status.State = model.InstanceTerminated, model.InstanceShuttingDown
		})
		a.kill()
		wait(10 * time.Minute)
		if len(p.tasks()) != 2 || a.registration().Status != model.ContainerInstanceActive {
			t.Fatalf("%d tasks, instance %+v", len(p.tasks()), a.registration())
		}
		a.change(func(i *model.Instance) { i.Status.State = model.InstanceTerminated })
		wait(time.Minute)
		if i := a.registration(); i.Status != model.ContainerInstanceInactive || i.Connection.Connected {
			t.Errorf("instance %+v", i)
		}
		ended := p.get(task)
		if ended.Status.LastStatus != model.TaskStopped || ended.Desired.StopCode != model.StopTerminationNotice ||
			ended.Desired.StoppedReason != "Host EC2 (instance "+a.id+") terminated." {
			t.Errorf("task %+v", ended.Desired)
		}
		if len(b.on()) != 2 || len(p.tasks()) != 3 {
			t.Errorf("%v run, of %d", b.on(), len(p.tasks()))
		}
		// An hour later nothing is left of it.
		wait(time.Hour)
		if rows, err := tables.ECSContainerInstances.List(t.Context(), p.store, store.Query{}); err != nil || len(rows) != 1 {
			t.Errorf("%d instances are left, %v", len(rows), err)
		}
		if rows, err := tables.ECSInstanceClaims.List(t.Context(), p.store, store.Query{}); err != nil || len(rows) != 1 {
			t.Errorf("%d claims are left, %v", len(rows), err)
		}
	})
}

// An instance that was stopped stays in its cluster, without its tasks, and
// takes tasks again when it starts.
func TestInstanceStopped(t *testing.T) {
	withInstances(t, func(p *plane, a, b *ec2) {
		task, before := a.on()[0], a.registration().ID
		a.change(func(i *model.Instance) {
			i.Desired.State, i.Status.State = model.InstanceStopped, model.InstanceStopping
		})
		a.kill()
		wait(10 * time.Minute)
		if len(p.tasks()) != 2 {
			t.Fatalf("%d tasks while it stops", len(p.tasks()))
		}
		a.change(func(i *model.Instance) { i.Status.State = model.InstanceStopped })
		wait(time.Minute)
		ended := p.get(task)
		if ended.Status.LastStatus != model.TaskStopped || ended.Desired.StoppedReason != "Host EC2 (instance "+a.id+") stopped." {
			t.Errorf("task %s %+v", ended.Status.LastStatus, ended.Desired)
		}
		if i := a.registration(); i.Status != model.ContainerInstanceActive || i.Connection.Connected || len(b.on()) != 2 {
			t.Errorf("instance %+v, %v run", i, b.on())
		}
		a.change(func(i *model.Instance) {
			i.Desired.State, i.Status.State = model.InstanceRunning, model.InstanceRunning
		})
		a.containers = fake.NewState() // nothing outlives a stop
		a.start()
		wait(time.Minute)
		p.must("root", "UpdateService", `{"cluster":"c","service":"s","desiredCount":4}`)
		wait(2 * time.Minute)
		if i := a.registration(); i.ID != before || !i.Connection.Connected || len(a.on()) != 2 || len(b.on()) != 2 {
			t.Errorf("instance %+v; %v %v run", i, a.on(), b.on())
		}
		a.kill()
	})
}

// events are those of the service, the oldest first.
func (p *plane) events() (all []string) {
	p.t.Helper()
	row, err := tables.ECSServiceEvents.Get(p.t.Context(), p.store, account, region, "c/s")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range slices.Backward(row.V.Events) {
		all = append(all, e.Message)
	}
	return all
}

// A service is balanced over the zones that its cluster comes to have instances
// in, and over no zone that has no room.
func TestRebalance(t *testing.T) {
	dir := t.TempDir()
	withInstances(t, func(p *plane, a, b *ec2) {
		p.must("root", "RegisterTaskDefinition", `{"family":"fat","networkMode":"host","containerDefinitions":[{"name":"fat","image":"example.com/fat:1","memory":4090}]}`)
		// Nobody places on it before it is full.
		c := p.instance("i-ccccccccccccccccc", "b", dir)
		time.Sleep(100 * time.Millisecond)
		full := p.must("root", "StartTask", `{"cluster":"c","taskDefinition":"fat","containerInstances":["`+c.registration().ID+`"]}`)
		fat := full["tasks"].([]any)[0].(map[string]any)["taskArn"].(string)
		wait(30 * time.Minute)
		if len(p.tasks()) != 3 || len(a.on()) != 1 || len(b.on()) != 1 {
			t.Errorf("%d tasks; %v %v", len(p.tasks()), a.on(), b.on())
		}
		const unbalanced = "(service s) is not AZ balanced with 2 tasks in us-east-1a and 0 tasks in us-east-1b. AZ Rebalancing in progress."
		const stuck = "(service s) is unable to place a task in us-east-1b because no container instance met all of its requirements."
		if e := p.events(); !slices.Contains(e, unbalanced) || !slices.Contains(e, stuck) {
			t.Errorf("events %q", e)
		}
		p.must("root", "StopTask", `{"cluster":"c","task":"`+fat+`"}`)
		wait(5 * time.Minute)
		if len(c.on()) != 1 || len(a.on())+len(b.on()) != 1 {
			t.Errorf("run: %v %v %v", a.on(), b.on(), c.on())
		}
		if e := p.events(); !slices.Contains(e, "(service s) is AZ balanced with 1 tasks in us-east-1a and 1 tasks in us-east-1b.") {
			t.Errorf("events %q", e)
		}
		a.kill()
		c.kill()
	})
}
