package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/id"
)

// Harness is one engine under test.
type Harness struct {
	Engine engine.Engine
	// Reopen makes a new engine over the same state, as a restarted server
	// does.
	Reopen func(t *testing.T) engine.Engine
	// Images has the test program. A Registry's host when the engine pulls
	// for real, else "" and references mean nothing.
	Registry *Registry
	// Real engines run processes: output, limits and exec are tested.
	Real bool
	// End makes the running container of an engine that is not real end.
	End func(id string, exit engine.Exit)
}

// Run runs the suite. open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		real bool
		f    func(t *testing.T, s *suite)
	}{
		{"lifecycle", false, lifecycle},
		{"exit code is kept until removal", false, exitCode},
		{"a stopped container starts again", false, startsAgain},
		{"unknown ids", false, unknown},
		{"duplicate id", false, duplicate},
		{"wait before start", false, waitBeforeStart},
		{"wait ends with its context", false, waitCancelled},
		{"list by labels", false, listByLabels},
		{"adoption after a restart", false, adoption},
		{"removal of a running container", false, removeRunning},
		{"group is idempotent", false, groups},
		{"image is pulled and collected", false, images},
		{"private image", true, privateImage},
		{"missing image", true, missingImage},
		{"a tag that moves", true, movingTag},
		{"command that does not exist", true, badCommand},
		{"unknown user", true, badUser},
		{"SIGTERM and SIGKILL", true, stop},
		{"Docker's defaults", true, defaults},
		{"everything set", true, everything},
		{"volumes", true, volumes},
		{"init process", true, initProcess},
		{"shared process namespace", true, sharedPID},
		{"shared IPC", true, sharedIPC},
		{"the machine's namespaces", true, hostNamespaces},
		{"out of memory", true, outOfMemory},
		{"out of the group's memory", true, outOfGroupMemory},
		{"exec", true, execute},
		{"stats", true, stats},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			if c.real && !h.Real {
				t.Skip("the engine runs nothing")
			}
			c.f(t, newSuite(t, h))
		})
	}
}

type suite struct {
	Harness
	ctx   context.Context
	image string
	group string
	dir   string
}

func newSuite(t *testing.T, h Harness) *suite {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	s := &suite{Harness: h, ctx: ctx, image: "example.com/app:latest", group: "g" + id.Hex(12), dir: t.TempDir()}
	if h.Registry != nil {
		s.image = h.Registry.Ref("app:latest")
	}
	if _, err := s.Engine.PullImage(ctx, engine.PullRequest{Ref: s.image, IfNotPresent: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.EnsureGroup(ctx, engine.Group{ID: s.group, CPUs: 1, Memory: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		cs, err := s.Engine.ListContainers(ctx, map[string]string{"test-group": s.group})
		if err != nil {
			t.Error(err)
		}
		for _, c := range cs {
			if err := s.Engine.RemoveContainer(ctx, c.ID); err != nil {
				t.Error(err)
			}
		}
		if err := s.Engine.RemoveGroup(ctx, s.group); err != nil {
			t.Error(err)
		}
	})
	return s
}

// create makes a container that runs the test program with args.
func (s *suite) create(t *testing.T, spec engine.ContainerSpec, args ...string) string {
	t.Helper()
	if err := s.tryCreate(&spec, args...); err != nil {
		t.Fatal(err)
	}
	return spec.ID
}

func (s *suite) tryCreate(spec *engine.ContainerSpec, args ...string) error {
	if spec.ID == "" {
		spec.ID = s.group + "-" + id.Hex(6)
	}
	if spec.Image == "" {
		spec.Image = s.image
	}
	spec.Group = s.group
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	spec.Labels["test-group"] = s.group
	if args != nil {
		spec.Command = args
	}
	if s.Real && spec.LogURI == "" {
		spec.LogURI = "file://" + s.log(spec.ID)
	}
	return s.Engine.CreateContainer(s.ctx, *spec)
}

func (s *suite) log(id string) string { return filepath.Join(s.dir, id+".log") }

func (s *suite) start(t *testing.T, id string) {
	t.Helper()
	if err := s.Engine.StartContainer(s.ctx, id); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) wait(t *testing.T, id string) engine.Exit {
	t.Helper()
	e, err := s.Engine.Wait(s.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run runs a container to its end.
func (s *suite) run(t *testing.T, spec engine.ContainerSpec, args ...string) (engine.Exit, string) {
	t.Helper()
	writes := slices.Contains([]string{"about", "cat", "print", "eprint"}, args[0])
	for attempt := 1; ; attempt++ {
		id := s.create(t, spec, args...)
		s.start(t, id)
		e := s.wait(t, id)
		// The runtime may still be writing what the process wrote.
		if !writes || s.wrote(t, id) {
			return e, s.output(t, id, "")
		}
		// containerd's shim can lose what a process that ends at once wrote to
		// a file, the more often the busier the machine is. Loggers, which
		// tasks have, are not files.
		if attempt == 5 {
			t.Fatalf("no output of %s", id)
		}
		t.Logf("no output of %s; once more", id)
		spec.ID = ""
	}
}

// wrote waits a while for a container's output.
func (s *suite) wrote(t *testing.T, id string) bool {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	wrote := false
	s.poll(t, "no output of "+id, func() bool {
		wrote = s.output(t, id, "") != ""
		return wrote || time.Now().After(deadline)
	})
	return wrote
}

// poll waits until ok.
func (s *suite) poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-s.ctx.Done():
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

// output reads the log until it holds want.
func (s *suite) output(t *testing.T, id, want string) string {
	t.Helper()
	var out string
	s.poll(t, fmt.Sprintf("output of %s has no %q", id, want), func() bool {
		b, err := os.ReadFile(s.log(id))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		out = string(b)
		return strings.Contains(out, want)
	})
	return out
}

// end makes a serving container end with a code.
func (s *suite) end(t *testing.T, id string, code int) {
	t.Helper()
	if s.End != nil {
		s.End(id, engine.Exit{Code: code, At: time.Now().UTC()})
		return
	}
	if _, err := s.Engine.Wait(s.ctx, id); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) status(t *testing.T, id string) engine.Container {
	t.Helper()
	c, err := s.Engine.InspectContainer(s.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lifecycle(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{Labels: map[string]string{"a": "b"}}, "serve")
	if c := s.status(t, id); c.Status != engine.Created || c.Labels["a"] != "b" || c.Exit != nil || c.CreatedAt.IsZero() {
		t.Errorf("created: %+v", c)
	}
	s.start(t, id)
	s.start(t, id) // no error when it runs
	if c := s.status(t, id); c.Status != engine.Running || c.PID == 0 {
		t.Errorf("started: %+v", c)
	}
	if s.Real {
		s.output(t, id, "serving")
	}
	if err := s.Engine.StopContainer(s.ctx, id, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.StopContainer(s.ctx, id, 20*time.Second); err != nil {
		t.Errorf("stop once more: %v", err)
	}
	c := s.status(t, id)
	if c.Status != engine.Stopped || c.Exit == nil || c.Exit.OOMKilled || c.Exit.Lost || c.Exit.At.IsZero() {
		t.Errorf("stopped: %+v", c)
	}
	if err := s.Engine.RemoveContainer(s.ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.RemoveContainer(s.ctx, id); err != nil {
		t.Errorf("remove once more: %v", err)
	}
	if _, err := s.Engine.InspectContainer(s.ctx, id); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("inspect what was removed: %v", err)
	}
}

func exitCode(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "exit", "42")
	s.start(t, id)
	s.end(t, id, 42)
	for range 2 {
		if e := s.wait(t, id); e.Code != 42 || e.OOMKilled || e.Lost {
			t.Errorf("exit %+v", e)
		}
	}
	if c := s.status(t, id); c.Exit == nil || c.Exit.Code != 42 {
		t.Errorf("%+v", c)
	}
}

func startsAgain(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "exit", "3")
	for range 2 {
		s.start(t, id)
		s.end(t, id, 3)
		if e := s.wait(t, id); e.Code != 3 {
			t.Errorf("exit %+v", e)
		}
	}
}

func unknown(t *testing.T, s *suite) {
	const id = "nothing"
	e := s.Engine
	_, inspect := e.InspectContainer(s.ctx, id)
	_, wait := e.Wait(s.ctx, id)
	_, exec := e.Exec(s.ctx, id, engine.Command{Args: []string{"x"}})
	_, stats := e.Stats(s.ctx, id)
	for name, err := range map[string]error{
		"inspect": inspect, "wait": wait, "exec": exec, "stats": stats,
		"start": e.StartContainer(s.ctx, id), "stop": e.StopContainer(s.ctx, id, time.Second),
	} {
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := s.tryCreate(&engine.ContainerSpec{Image: "example.com/never/pulled:1"}, "serve")
	if !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("create from an image that is not there: %v", err)
	}
}

func duplicate(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "serve")
	if err := s.tryCreate(&engine.ContainerSpec{ID: id}, "serve"); !errors.Is(err, engine.ErrExists) {
		t.Error(err)
	}
	s.start(t, id) // the first one is whole
}

func waitBeforeStart(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "serve")
	if _, err := s.Engine.Wait(s.ctx, id); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	if _, err := s.Engine.Exec(s.ctx, id, engine.Command{Args: []string{"/app", "exit", "0"}}); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
	if _, err := s.Engine.Stats(s.ctx, id); !errors.Is(err, engine.ErrNotRunning) {
		t.Error(err)
	}
}

func waitCancelled(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "serve")
	s.start(t, id)
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error)
	go func() {
		_, err := s.Engine.Wait(ctx, id)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if c := s.status(t, id); c.Status != engine.Running {
		t.Errorf("%+v", c)
	}
}

func listByLabels(t *testing.T, s *suite) {
	a := s.create(t, engine.ContainerSpec{Labels: map[string]string{"aws.task": "arn:x/1", "n": "1"}}, "serve")
	s.create(t, engine.ContainerSpec{Labels: map[string]string{"aws.task": "arn:x/1", "n": "2"}}, "serve")
	for _, c := range []struct {
		labels map[string]string
		want   int
	}{
		{map[string]string{"test-group": s.group}, 2},
		{map[string]string{"test-group": s.group, "n": "1"}, 1},
		{map[string]string{"test-group": s.group, "n": "3"}, 0},
	} {
		cs, err := s.Engine.ListContainers(s.ctx, c.labels)
		if err != nil || len(cs) != c.want {
			t.Errorf("%v: %d containers, %v", c.labels, len(cs), err)
		}
		if c.want == 1 && len(cs) == 1 && (cs[0].ID != a || cs[0].Labels["aws.task"] != "arn:x/1") {
			t.Errorf("%+v", cs[0])
		}
	}
}

func adoption(t *testing.T, s *suite) {
	running := s.create(t, engine.ContainerSpec{}, "serve")
	ended := s.create(t, engine.ContainerSpec{}, "exit", "7")
	created := s.create(t, engine.ContainerSpec{}, "serve")
	s.start(t, running)
	s.start(t, ended)
	s.end(t, ended, 7)
	pid := s.status(t, running).PID

	before := s.Engine
	defer func() { s.Engine = before }()
	s.Engine = s.Reopen(t)
	if c := s.status(t, running); c.Status != engine.Running || c.PID != pid {
		t.Errorf("running: %+v, pid was %d", c, pid)
	}
	if e := s.wait(t, ended); e.Code != 7 {
		t.Errorf("ended: %+v", e)
	}
	if c := s.status(t, created); c.Status != engine.Created {
		t.Errorf("created: %+v", c)
	}
	s.start(t, created)
	if err := s.Engine.StopContainer(s.ctx, running, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if e := s.wait(t, running); e.Lost {
		t.Errorf("exit of the adopted container: %+v", e)
	}
}

func removeRunning(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "stubborn")
	s.start(t, id)
	if err := s.Engine.RemoveContainer(s.ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Engine.InspectContainer(s.ctx, id); !errors.Is(err, engine.ErrNotFound) {
		t.Error(err)
	}
	s.create(t, engine.ContainerSpec{ID: id}, "serve") // nothing of it is left
}

func groups(t *testing.T, s *suite) {
	g := engine.Group{ID: s.group + "x", CPUs: 0.25, Memory: 64 << 20}
	for range 2 {
		if err := s.Engine.EnsureGroup(s.ctx, g); err != nil {
			t.Fatal(err)
		}
		g.Memory *= 2
	}
	for range 2 {
		if err := s.Engine.RemoveGroup(s.ctx, g.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func images(t *testing.T, s *suite) {
	img, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: s.image})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(img.Digest, "sha256:") || img.Ref != s.image || img.Size <= 0 || !strings.HasPrefix(img.ID, "sha256:") {
		t.Errorf("%+v", img)
	}
	again, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: s.image, IfNotPresent: true})
	if err != nil || again.Digest != img.Digest {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := s.Engine.RemoveUnusedImages(s.ctx, time.Now().Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: "not a reference"}); err == nil {
		t.Error("a bad reference was pulled")
	}
}

// about runs the program that tells about itself.
func (s *suite) about(t *testing.T, spec engine.ContainerSpec) aboutResult {
	t.Helper()
	e, out := s.run(t, spec, "about")
	var a aboutResult
	if err := json.Unmarshal([]byte(out), &a); err != nil || e.Code != 0 {
		t.Fatalf("exit %+v, %v: %s", e, err, out)
	}
	return a
}

type aboutResult struct {
	Args, Env           []string
	Cwd, Hostname       string
	PID, UID, GID       int
	Groups              []int
	CapEff, CapBnd      string
	NoNewPrivs, Seccomp string
	NofileHard          uint64
	Interfaces          []string
	RootWritable        bool
	IPC                 string
	ShmBytes            int64
}
