package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// TestTaskRunsWithItsRole runs a task to its end: it reads its metadata, gets
// its role's credentials and calls the API with them.
func TestTaskRunsWithItsRole(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	role := st.role(st.name + "-task")
	definition := st.register("whoami", func(in *ecs.RegisterTaskDefinitionInput) { in.TaskRoleArn = new(role) },
		st.container("caller"))
	arn := st.run(definition, st.group("closed", 0, ""))
	var task ecstypes.Task
	eventually(t, time.Minute, "the task ends", func() error {
		task = st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		return nil
	})
	c := task.Containers[0]
	if task.StopCode != ecstypes.TaskStopCodeEssentialContainerExited || c.ExitCode == nil || *c.ExitCode != 0 {
		t.Errorf("stop code %s (%s), exit code %v, want EssentialContainerExited and 0", task.StopCode, str(task.StoppedReason), c.ExitCode)
	}
	if str(task.StoppedReason) != "Essential container in task exited" {
		t.Errorf("stopped reason %q", str(task.StoppedReason))
	}
	for name, at := range map[string]*time.Time{"createdAt": task.CreatedAt, "pullStartedAt": task.PullStartedAt, "pullStoppedAt": task.PullStoppedAt, "startedAt": task.StartedAt, "stoppingAt": task.StoppingAt, "executionStoppedAt": task.ExecutionStoppedAt, "stoppedAt": task.StoppedAt} {
		if at == nil {
			t.Errorf("%s is not set", name)
		}
	}
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	want := "assumed-role/" + st.name + "-task/" + id
	eventually(t, 10*time.Second, "the log shows the role", func() error {
		if out := st.output(arn); !strings.Contains(out, want) {
			return errorf("no %q in %q", want, out)
		}
		return nil
	})
}

// TestOutOfMemoryIsReported lets a container use more than its task may have.
func TestOutOfMemoryIsReported(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	arn := st.run(st.register("eat", nil, st.container("eat", "-mb", "2048")), st.group("closed", 0, ""))
	var task ecstypes.Task
	eventually(t, time.Minute, "the task ends", func() error {
		task = st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		return nil
	})
	c := task.Containers[0]
	if c.ExitCode == nil || *c.ExitCode != 137 || !strings.HasPrefix(str(c.Reason), "OutOfMemoryError: ") {
		t.Errorf("exit code %v, reason %q, want 137 and OutOfMemoryError", c.ExitCode, str(c.Reason))
	}
}

// TestStopSendsTheSignalFirst stops a task that handles SIGTERM, and one that
// does not.
func TestStopSendsTheSignalFirst(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	group := st.group("closed", 0, "")
	stubborn := st.container("stubborn")
	stubborn.StopTimeout = new(int32(2))
	for _, tt := range []struct {
		name string
		def  ecstypes.ContainerDefinition
		code int32
		// ready is what the program says once it awaits the signal.
		ready string
	}{{"polite", st.container("graceful"), 0, "waiting for SIGTERM"}, {"stubborn", stubborn, 137, "ignoring SIGTERM"}} {
		t.Run(tt.name, func(t *testing.T) {
			arn := st.run(st.register(tt.name, nil, tt.def), group)
			st.await(arn, "RUNNING")
			st.logged(tt.ready)
			if _, err := st.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: new(st.name), Task: new(arn), Reason: new("enough")}); err != nil {
				t.Fatal(err)
			}
			var task ecstypes.Task
			eventually(t, 30*time.Second, "the task stops", func() error {
				task = st.task(arn)
				if *task.LastStatus != "STOPPED" {
					return errorf("it is %s", *task.LastStatus)
				}
				return nil
			})
			c := task.Containers[0]
			if c.ExitCode == nil || *c.ExitCode != tt.code {
				t.Errorf("the container is %+v, want exit code %d", c, tt.code)
			}
			if task.StopCode != ecstypes.TaskStopCodeUserInitiated || str(task.StoppedReason) != "enough" {
				t.Errorf("stopped with %s %q, want UserInitiated and the reason given", task.StopCode, str(task.StoppedReason))
			}
		})
	}
}

// TestSidecarsShareLocalhost runs two containers of which one asks the other
// by localhost, and which ends the task by its exit.
func TestSidecarsShareLocalhost(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	app, client := st.container("serve"), st.container("seq", "sleep", "2s", "--", "connect", "127.0.0.1:80")
	app.Essential = new(false)
	client.Name, client.PortMappings = new("client"), nil
	client.DependsOn = []ecstypes.ContainerDependency{{ContainerName: new("tool"), Condition: ecstypes.ContainerConditionStart}}
	arn := st.run(st.register("sidecar", nil, app, client), st.group("closed", 0, ""))
	eventually(t, time.Minute, "the task ends with its essential container", func() error {
		task := st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s: %s", *task.LastStatus, containers(task))
		}
		for _, c := range task.Containers {
			if *c.Name == "client" && (c.ExitCode == nil || *c.ExitCode != 0) {
				t.Fatalf("the client ended with %v: %s\n%s", c.ExitCode, str(c.Reason), st.output(arn))
			}
		}
		return nil
	})
}

// TestImageThatIsNotThere shows what a user with a typing mistake sees.
func TestImageThatIsNotThere(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	c := st.container("serve")
	c.Image = new(strings.TrimSuffix(st.image, ":v1") + ":nope")
	arn := st.run(st.register("typo", nil, c), st.group("closed", 0, ""))
	eventually(t, time.Minute, "the task fails to start", func() error {
		task := st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		if task.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.HasPrefix(str(task.StoppedReason), "CannotPullContainerError: ") {
			t.Fatalf("stopped with %s %q", task.StopCode, str(task.StoppedReason))
		}
		return nil
	})
}

// TestPullNeedsPermission runs a task whose execution role may do nothing.
func TestPullNeedsPermission(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	st.executionRole = st.role(st.name + "-powerless")
	arn := st.run(st.register("denied", nil, st.container("serve")), st.group("closed", 0, ""))
	eventually(t, time.Minute, "the task fails to start", func() error {
		task := st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		if task.StopCode != ecstypes.TaskStopCodeTaskFailedToStart || !strings.Contains(str(task.StoppedReason), "not authorized to perform: ecr:GetAuthorizationToken") {
			t.Fatalf("stopped with %s %q", task.StopCode, str(task.StoppedReason))
		}
		return nil
	})
}

// TestSecurityGroupForbids has one task connect to another whose group lets
// nobody in, then lets it in, without either of them restarting.
func TestSecurityGroupForbids(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	closed, client := st.group("closed", 0, ""), st.group("client", 0, "")
	web := st.await(st.run(st.register("web", nil, st.container("serve")), closed), "RUNNING")
	target := address(t, web) + ":80"

	shut := st.run(st.register("shut", nil, st.container("connect", "-timeout", "3s", target)), client)
	exit := func(arn string) int32 {
		var code int32
		eventually(t, time.Minute, "the client ends", func() error {
			task := st.task(arn)
			if *task.LastStatus != "STOPPED" {
				return errorf("it is %s", *task.LastStatus)
			}
			if task.Containers[0].ExitCode == nil {
				t.Fatalf("the client never ran: %s", str(task.StoppedReason))
			}
			code = *task.Containers[0].ExitCode
			return nil
		})
		return code
	}
	if code := exit(shut); code == 0 {
		t.Fatal("the connection was let in though no rule allows it")
	}
	st.allow(closed, 80, "172.31.0.0/16")
	open := st.run(st.register("open", nil, st.container("connect", "-timeout", "10s", target)), client)
	if code := exit(open); code != 0 {
		t.Fatalf("the connection was refused though a rule allows it:\n%s", st.output(open))
	}
}
