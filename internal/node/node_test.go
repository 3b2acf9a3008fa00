package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/model/acs"
)

const arn = "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef"

// control is a control plane that sends what a test says.
type control struct {
	mu      sync.Mutex
	send    chan acs.Message
	answers []acs.Message
	reports []acs.TaskStateChange
	refuse  error
}

func (c *control) Connect(context.Context) (Session, error) { return c, nil }

func (c *control) Receive(ctx context.Context) (acs.Message, error) {
	select {
	case m := <-c.send:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *control) Send(_ context.Context, m acs.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, m)
	return nil
}

func (c *control) Close() error { return nil }

func (c *control) SubmitTaskStateChange(_ context.Context, ch acs.TaskStateChange) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return c.refuse
	}
	c.reports = append(c.reports, ch)
	return nil
}

func (c *control) setRefuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = err
}

// last is the newest report.
func (c *control) last() acs.TaskStateChange {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reports) == 0 {
		return acs.TaskStateChange{}
	}
	return c.reports[len(c.reports)-1]
}

// network counts what is attached.
type network struct {
	mu       sync.Mutex
	attached map[string]bool
	places   map[string]Place
	err      error
}

func (n *network) Attach(_ context.Context, t *acs.Task) (Attached, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return Attached{}, n.err
	}
	n.attached[t.Arn] = true
	return Attached{Netns: "/netns/" + taskID(t.Arn), Containers: n.places}, nil
}

func (n *network) Detach(_ context.Context, t *acs.Task) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, t.Arn)
	return nil
}

// rig is a node on a fake engine, inside a synctest bubble.
type rig struct {
	t       *testing.T
	dir     string
	engine  *fake.State
	network *network
	control *control
	node    *Node
	stop    func()
}

func run(t *testing.T, f func(r *rig)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, dir: dir, engine: fake.NewState(), network: &network{attached: map[string]bool{}},
			control: &control{send: make(chan acs.Message)},
		}
		r.start()
		defer func() { r.stop() }()
		f(r)
	})
}

func (r *rig) start() {
	r.t.Helper()
	n, err := New(Config{
		Name: "test", Engine: fake.New(r.engine, nil), Transport: r.control, Network: r.network, StateDir: r.dir,
		APIEndpoint: "http://169.254.170.2:4566", Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	r.node = n
	r.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
	}
	synctest.Wait()
}

// restart is a new process over the same state.
func (r *rig) restart() {
	r.stop()
	r.start()
}

func (r *rig) send(m acs.Message) {
	r.control.send <- m
	synctest.Wait()
}

func (r *rig) payload(tasks ...acs.Task) { r.send(&acs.PayloadMessage{MessageID: "m", Tasks: tasks}) }

// id is the engine's id of a container.
func (r *rig) id(name string) string {
	r.t.Helper()
	t := r.node.task(arn)
	if t == nil {
		r.t.Fatal("the task is gone")
	}
	s := t.snapshot()
	return s.container(name).ID
}

func (r *rig) exit(name string, code int) {
	r.t.Helper()
	r.engine.Exit(r.id(name), engine.Exit{Code: code, At: time.Now()})
	synctest.Wait()
}

// want checks the newest report: "RUNNING a=RUNNING b=STOPPED(0)".
func (r *rig) want(want string) {
	r.t.Helper()
	synctest.Wait()
	ch := r.control.last()
	got := ch.Status
	for _, c := range ch.Containers {
		got += " " + c.ContainerName + "=" + c.Status
		if c.ExitCode != nil {
			got += fmt.Sprintf("(%d)", *c.ExitCode)
		}
	}
	if got != want {
		r.t.Errorf("report is %q, want %q (reason %q)", got, want, ch.Reason)
	}
}

// clean checks that nothing of any task is left.
func (r *rig) clean() {
	r.t.Helper()
	cs, err := fake.New(r.engine, nil).ListContainers(context.Background(), nil)
	if err != nil || len(cs) > 0 || len(r.engine.Groups()) > 0 || len(r.network.attached) > 0 {
		r.t.Errorf("left: %v, groups %v, network %v, %v", cs, r.engine.Groups(), r.network.attached, err)
	}
	for _, d := range []string{"tasks", "files"} {
		if e, err := os.ReadDir(filepath.Join(r.dir, d)); err != nil || len(e) > 0 {
			r.t.Errorf("left in %s: %v, %v", d, e, err)
		}
	}
}

func newTaskMessage(containers ...acs.Container) acs.Task {
	return acs.Task{
		Arn: arn, TaskClusterArn: "arn:aws:ecs:us-east-1:000000000000:cluster/default", DesiredStatus: acs.DesiredRunning,
		Family: "web", Version: "3", LaunchType: "FARGATE", NetworkMode: "awsvpc", CPU: 0.25, Memory: 512, Containers: containers,
		RoleCredentials: &acs.IAMRoleCredentials{CredentialsID: "cred", RoleArn: "arn:aws:iam::000000000000:role/r", AccessKeyID: "ASIA", SecretAccessKey: "s", SessionToken: "t", Expiration: "2030-01-01T00:00:00Z"},
		ElasticNetworkInterfaces: []acs.ElasticNetworkInterface{{
			EC2ID: "eni-1", AttachmentArn: "arn:aws:ecs:us-east-1:000000000000:attachment/1", VPCID: "vpc-1", MacAddress: "0a:00:00:00:00:01",
			IPv4Addresses:  []acs.IPv4AddressAssignment{{PrivateAddress: "172.31.0.10", Primary: true}},
			PrivateDNSName: "ip-172-31-0-10.ec2.internal", DomainName: []string{"ec2.internal"}, DomainNameServers: []string{"172.31.0.2"},
			SubnetGatewayIPv4Address: "172.31.0.1/20",
		}},
	}
}

func essential(name string) acs.Container {
	return acs.Container{Name: name, Image: "example.com/" + name, Essential: true}
}

func stopMessage() acs.Task { return acs.Task{Arn: arn, DesiredStatus: acs.DesiredStopped} }

func TestLifecycle(t *testing.T) {
	run(t, func(r *rig) {
		c := essential("web")
		c.Environment = map[string]string{"A": "1", "AWS_REGION": "mine"}
		r.payload(newTaskMessage(c))
		r.want("RUNNING web=RUNNING")
		ch := r.control.last()
		if ch.PullStartedAt == nil || ch.PullStoppedAt == nil || ch.StartedAt == nil || ch.Containers[0].RuntimeID != r.id("web") ||
			!strings.HasPrefix(ch.Containers[0].ImageDigest, "sha256:") || ch.Attachments[0].Status != "ATTACHED" || ch.HealthStatus != "UNKNOWN" {
			t.Errorf("%+v", ch)
		}
		spec, _ := r.engine.Spec(r.id("web"))
		for _, want := range []string{
			"A=1", "AWS_REGION=mine", "AWS_DEFAULT_REGION=us-east-1", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
			"AWS_ENDPOINT_URL=http://169.254.170.2:4566", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/cred",
			"ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/" + r.id("web"),
		} {
			if !slices.Contains(spec.Env, want) {
				t.Errorf("no %s in %v", want, spec.Env)
			}
		}
		if spec.NetNS != "/netns/"+taskID(arn) || spec.Hostname != "ip-172-31-0-10.ec2.internal" || spec.Group != taskID(arn) {
			t.Errorf("%+v", spec)
		}
		hosts, err := os.ReadFile(filepath.Join(r.node.dir(arn), "hosts"))
		if err != nil || string(hosts) != "127.0.0.1 localhost\n172.31.0.10 ip-172-31-0-10.ec2.internal\n" {
			t.Errorf("hosts %q, %v", hosts, err)
		}
		resolv, err := os.ReadFile(filepath.Join(r.node.dir(arn), "resolv.conf"))
		if err != nil || string(resolv) != "search ec2.internal\nnameserver 172.31.0.2\n" {
			t.Errorf("resolv.conf %q, %v", resolv, err)
		}
		if g := r.engine.Groups(); len(g) != 1 || g[0].CPUs != 0.25 || g[0].Memory != 512<<20 {
			t.Errorf("%+v", g)
		}
		r.payload(newTaskMessage(c)) // again: nothing happens
		r.want("RUNNING web=RUNNING")
		r.payload(stopMessage())
		r.want("STOPPED web=STOPPED(143)")
		if ch := r.control.last(); ch.Reason != "" || ch.ExecutionStoppedAt == nil || ch.Attachments[0].Status != "DETACHED" {
			t.Errorf("%+v", ch)
		}
		r.clean()
		r.payload(newTaskMessage(c)) // a late one: it does not start again
		r.clean()
		var acks int
		for _, a := range r.control.answers {
			if _, ok := a.(*acs.AckRequest); ok {
				acks++
			}
		}
		if acks != 4 {
			t.Errorf("%d payloads acknowledged", acks)
		}
	})
}

func TestEssentialContainerExits(t *testing.T) {
	run(t, func(r *rig) {
		side := essential("side")
		side.Essential = false
		r.payload(newTaskMessage(essential("web"), side))
		r.exit("side", 0)
		r.want("RUNNING web=RUNNING side=STOPPED(0)")
		r.exit("web", 3)
		r.want("STOPPED web=STOPPED(3) side=STOPPED(0)")
		if ch := r.control.last(); ch.Reason != "Essential container in task exited" {
			t.Error(ch.Reason)
		}
		r.clean()
	})
}

func TestOutOfMemory(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		r.engine.OOM(r.id("web"), time.Now())
		r.want("STOPPED web=STOPPED(137)")
		ch := r.control.last()
		if ch.Reason != "Essential container in task exited" || ch.Containers[0].Reason != "OutOfMemoryError: Container killed due to memory usage" {
			t.Errorf("%+v", ch)
		}
	})
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(r *rig, task *acs.Task)
		reason  string
	}{
		"image is missing": {
			func(r *rig, _ *acs.Task) {
				r.engine.FailNext(fake.Pull, fmt.Errorf("failed to resolve ref x: not found: %w", engine.ErrNotFound))
			},
			"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref x: not found",
		},
		"registry is away": {
			func(r *rig, _ *acs.Task) {
				for range 3 {
					r.engine.FailNext(fake.Pull, errors.New("connection refused"))
				}
			},
			"CannotPullContainerError: pull image manifest has been retried 3 time(s): connection refused",
		},
		"command is missing": {
			func(r *rig, _ *acs.Task) {
				r.engine.FailNext(fake.Start, fmt.Errorf("exec: %w", engine.ErrRejected))
			},
			"CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: exec",
		},
		"container can't be made": {
			func(r *rig, _ *acs.Task) { r.engine.FailNext(fake.Create, errors.New("no space left")) },
			"CannotCreateContainerError: no space left",
		},
		"limits can't be set": {
			func(r *rig, _ *acs.Task) { r.engine.FailNext(fake.Group, errors.New("no cgroup")) },
			"ResourceInitializationError: no cgroup",
		},
		"network": {
			func(r *rig, _ *acs.Task) { r.network.err = errors.New("no such interface") },
			"ResourceInitializationError: attach the network interface: no such interface",
		},
		"secrets": {
			func(_ *rig, task *acs.Task) {
				task.Containers[0].Secrets = []acs.Secret{{Name: "S", ValueFrom: "arn", Provider: "asm"}}
			},
			"ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm",
		},
		"volume of an unknown kind": {
			func(_ *rig, task *acs.Task) { task.Volumes = []acs.Volume{{Name: "v", Type: "efs"}} },
			"ResourceInitializationError: volume v: volumes of type efs are not there",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				task := newTaskMessage(essential("web"))
				c.arrange(r, &task)
				r.payload(task)
				time.Sleep(time.Minute)
				r.want("STOPPED web=STOPPED")
				if ch := r.control.last(); !strings.HasPrefix(ch.Reason, c.reason) {
					t.Errorf("reason %q", ch.Reason)
				}
				r.clean()
			})
		})
	}
}

func TestTransientStartFailureIsRetried(t *testing.T) {
	run(t, func(r *rig) {
		r.engine.FailNext(fake.Start, errors.New("unavailable"))
		r.payload(newTaskMessage(essential("web")))
		r.want("PENDING web=PENDING")
		time.Sleep(2 * time.Second)
		r.want("RUNNING web=RUNNING")
	})
}

func TestDependencies(t *testing.T) {
	run(t, func(r *rig) {
		setup := acs.Container{Name: "setup", Image: "x"}
		db := acs.Container{Name: "db", Image: "x", Essential: true, HealthCheckType: "docker", DockerConfig: acs.NewDockerConfig(
			acs.DockerContainerConfig{Healthcheck: &acs.DockerHealthcheck{Test: []string{"CMD", "check"}, Interval: 10 * time.Second, Retries: 2}}, acs.DockerHostConfig{})}
		web := essential("web")
		web.DependsOn = []acs.ContainerDependency{{ContainerName: "setup", Condition: "SUCCESS"}, {ContainerName: "db", Condition: "HEALTHY"}}
		var code atomic.Int32
		code.Store(1)
		r.engine.OnExec(func(string, engine.Command) (engine.ExecResult, error) {
			return engine.ExecResult{Code: int(code.Load())}, nil
		})
		r.payload(newTaskMessage(web, setup, db))
		r.want("PENDING web=PENDING setup=RUNNING db=RUNNING")
		r.exit("setup", 0)
		r.want("PENDING web=PENDING setup=STOPPED(0) db=RUNNING")
		time.Sleep(25 * time.Second)
		r.want("PENDING web=PENDING setup=STOPPED(0) db=RUNNING")
		if h := r.control.last().Containers[2].HealthStatus; h != "UNHEALTHY" {
			t.Error(h)
		}
		code.Store(0)
		time.Sleep(10 * time.Second)
		r.want("RUNNING web=RUNNING setup=STOPPED(0) db=RUNNING")
		if ch := r.control.last(); ch.HealthStatus != "HEALTHY" || ch.Containers[2].HealthStatus != "HEALTHY" {
			t.Errorf("%+v", ch)
		}
	})
}

func TestDependencyFails(t *testing.T) {
	for name, c := range map[string]struct {
		condition string
		act       func(r *rig)
		reason    string
	}{
		"SUCCESS with another code": {"SUCCESS", func(r *rig) { r.exit("setup", 1) }, "Container setup did not reach condition SUCCESS that container web depends on"},
		"COMPLETE takes too long":   {"COMPLETE", func(*rig) { time.Sleep(3*time.Minute + time.Second) }, "Container setup did not reach condition COMPLETE within 3m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *rig) {
				web := essential("web")
				web.DependsOn = []acs.ContainerDependency{{ContainerName: "setup", Condition: c.condition}}
				r.payload(newTaskMessage(web, acs.Container{Name: "setup", Image: "x"}))
				c.act(r)
				synctest.Wait()
				if ch := r.control.last(); ch.Status != "STOPPED" || ch.Reason != c.reason {
					t.Errorf("%+v", ch)
				}
				r.clean()
			})
		})
	}
}

func TestRestartPolicy(t *testing.T) {
	run(t, func(r *rig) {
		c := essential("web")
		c.RestartPolicy = &acs.RestartPolicy{Enabled: true, IgnoredExitCodes: []int32{7}, RestartAttemptPeriod: 60}
		r.payload(newTaskMessage(c))
		time.Sleep(time.Minute)
		r.exit("web", 1)
		r.want("RUNNING web=RUNNING")
		if n := r.control.last().Containers[0].RestartCount; n != 1 {
			t.Errorf("restarted %d times", n)
		}
		for _, ch := range r.control.reports {
			if ch.Containers[0].Status == "STOPPED" {
				t.Errorf("reported as stopped: %+v", ch)
			}
		}
		time.Sleep(59 * time.Second) // too soon
		r.exit("web", 1)
		r.want("STOPPED web=STOPPED(1)")
	})
}

func TestStopOrderAndTimeout(t *testing.T) {
	run(t, func(r *rig) {
		db, web := essential("db"), essential("web")
		web.DependsOn = []acs.ContainerDependency{{ContainerName: "db", Condition: "START"}}
		web.StopTimeout = 5
		r.payload(newTaskMessage(db, web))
		r.engine.Stubborn(r.id("web"))
		begin := time.Now()
		r.payload(stopMessage())
		r.want("RUNNING db=RUNNING web=RUNNING") // db waits for web's end
		time.Sleep(6 * time.Second)
		r.want("STOPPED db=STOPPED(143) web=STOPPED(137)")
		ch := r.control.last()
		if d := ch.Containers[1].StoppedAt.Sub(begin); d != 5*time.Second {
			t.Errorf("killed after %s", d)
		}
	})
}

func TestAdoption(t *testing.T) {
	run(t, func(r *rig) {
		side := essential("side")
		side.Essential = false
		r.payload(newTaskMessage(essential("web"), side))
		r.want("RUNNING web=RUNNING side=RUNNING")
		web, sideID := r.id("web"), r.id("side")
		r.stop()
		r.engine.Exit(sideID, engine.Exit{Code: 9, At: time.Now()}) // while nobody looks
		r.start()
		r.want("RUNNING web=RUNNING side=STOPPED(9)")
		if r.id("web") != web {
			t.Error("the container is another one")
		}
		r.exit("web", 0)
		r.want("STOPPED web=STOPPED(0) side=STOPPED(9)")
		r.clean()
	})
}

func TestReportsAreKeptUntilTaken(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		r.control.setRefuse(errors.New("away"))
		r.exit("web", 4)
		r.want("RUNNING web=RUNNING")
		r.restart()
		r.control.setRefuse(nil)
		time.Sleep(time.Minute)
		r.want("STOPPED web=STOPPED(4)")
		r.clean()
	})
}

func TestUnknownTasks(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(stopMessage()) // never seen: it has stopped
		r.want("STOPPED")
		r.clean()
	})
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		r.control.setRefuse(acs.ErrUnknownTask)
		r.exit("web", 0)
		synctest.Wait()
		r.clean()
	})
}

func TestManifest(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		r.send(&acs.TaskManifestMessage{MessageID: "1", Timeline: 1, Tasks: []acs.TaskIdentifier{{TaskArn: arn, DesiredStatus: acs.DesiredRunning}}})
		r.send(&acs.TaskManifestMessage{MessageID: "2", Timeline: 2})
		var asked []string
		for _, a := range r.control.answers {
			if v, ok := a.(*acs.TaskStopVerificationMessage); ok {
				asked = append(asked, v.MessageID+" "+v.StopCandidates[0].TaskArn)
			}
		}
		if !slices.Equal(asked, []string{"2 " + arn}) {
			t.Errorf("asked %v", asked)
		}
		r.send(&acs.TaskStopVerificationAck{MessageID: "2", StopTasks: []acs.TaskIdentifier{{TaskArn: arn}}})
		r.want("STOPPED web=STOPPED(143)")
	})
}

func TestOrphansAreRemoved(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		r.stop()
		if err := os.WriteFile(r.node.files.path(arn), []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		cs, err := fake.New(r.engine, nil).ListContainers(context.Background(), nil)
		if err != nil || len(cs) != 0 {
			t.Errorf("%v, %v", cs, err)
		}
	})
}

func TestStopWhilePulling(t *testing.T) {
	run(t, func(r *rig) {
		for range 2 {
			r.engine.FailNext(fake.Pull, errors.New("away"))
		}
		r.payload(newTaskMessage(essential("web"))) // waits to try again
		r.want("PENDING web=PENDING")
		r.payload(stopMessage())
		r.want("STOPPED web=STOPPED")
		r.clean()
	})
}

func TestHeartbeat(t *testing.T) {
	run(t, func(r *rig) {
		r.send(&acs.HeartbeatMessage{MessageID: "h"})
		if a, ok := r.control.answers[0].(*acs.HeartbeatAckRequest); !ok || a.MessageID != "h" {
			t.Errorf("%+v", r.control.answers)
		}
	})
}
