package enginetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"roadstead.dev/internal/engine"
)

func privateImage(t *testing.T, s *suite) {
	ref := s.Registry.Ref("private/app:latest")
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref}); err == nil {
		t.Error("pulled without credentials")
	}
	_, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref, Auth: &engine.RegistryAuth{Username: Username, Password: "wrong"}})
	if err == nil {
		t.Error("pulled with a wrong password")
	}
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref, Auth: &engine.RegistryAuth{Username: Username, Password: Password}}); err != nil {
		t.Error(err)
	}
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref}); err == nil {
		t.Error("what was pulled before is given to those without credentials")
	}
}

// movingTag: what a tag names is asked for each time.
func movingTag(t *testing.T, s *suite) {
	ref := s.Registry.Ref("moving:latest")
	pull := func(label string) engine.Image {
		t.Helper()
		s.Registry.Push(t, "moving:latest", v1.Config{Entrypoint: []string{"/app"}, Env: []string{"LABEL=" + label}})
		img, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	first, second, again := pull("one"), pull("two"), pull("two")
	if first.Digest == second.Digest || first.ID == second.ID || second != again {
		t.Errorf("%+v, %+v, %+v", first, second, again)
	}
	a := s.about(t, engine.ContainerSpec{Image: ref})
	if !slices.Contains(a.Env, "LABEL=two") {
		t.Errorf("environment %q", a.Env)
	}
}

func missingImage(t *testing.T, s *suite) {
	_, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: s.Registry.Ref("nothing:1")})
	ref := s.Registry.Ref("nothing:1")
	if !errors.Is(err, engine.ErrNotFound) || err.Error() != "failed to resolve ref "+ref+": "+ref+": not found" {
		t.Error(err)
	}
	s.Registry.PushIndex(t, "index:latest", v1.Config{})
	index := s.Registry.Ref("index:latest")
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: index}); err != nil {
		t.Error(err)
	}
	_, err = s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: index, Architecture: "s390x"})
	if err == nil || !strings.Contains(err.Error(), "does not contain descriptor matching platform 'linux/s390x'") {
		t.Error(err)
	}
}

func badCommand(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{EntryPoint: []string{"/no/such/file"}})
	err := s.Engine.StartContainer(s.ctx, id)
	if !errors.Is(err, engine.ErrRejected) || !strings.Contains(err.Error(), "/no/such/file") {
		t.Error(err)
	}
	if c := s.status(t, id); c.Status != engine.Created {
		t.Errorf("%+v", c)
	}
	s.Registry.Push(t, "nocommand:latest", v1.Config{})
	ref := s.Registry.Ref("nocommand:latest")
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	if err := s.tryCreate(&engine.ContainerSpec{Image: ref}); !errors.Is(err, engine.ErrRejected) {
		t.Error(err)
	}
}

func badUser(t *testing.T, s *suite) {
	spec := engine.ContainerSpec{User: "nobody-here"}
	if err := s.tryCreate(&spec, "serve"); !errors.Is(err, engine.ErrRejected) || !strings.Contains(err.Error(), "unable to find user nobody-here") {
		t.Error(err)
	}
	s.create(t, engine.ContainerSpec{ID: spec.ID}, "serve") // nothing of it is left
}

func stop(t *testing.T, s *suite) {
	polite := s.create(t, engine.ContainerSpec{}, "serve")
	stubborn := s.create(t, engine.ContainerSpec{}, "stubborn")
	other := s.create(t, engine.ContainerSpec{StopSignal: "SIGUSR1"}, "serve")
	for id, ready := range map[string]string{polite: "serving", stubborn: "ignoring", other: "serving"} {
		s.start(t, id)
		s.output(t, id, ready)
	}
	for id, c := range map[string]struct {
		timeout time.Duration
		code    int
	}{polite: {time.Minute, 0}, stubborn: {300 * time.Millisecond, 137}, other: {time.Minute, 10}} {
		if err := s.Engine.StopContainer(s.ctx, id, c.timeout); err != nil {
			t.Error(err)
		}
		if e := s.wait(t, id); e.Code != c.code || e.OOMKilled {
			t.Errorf("%+v, want code %d", e, c.code)
		}
	}
	s.output(t, polite, "got terminated")
}

func defaults(t *testing.T, s *suite) {
	a := s.about(t, engine.ContainerSpec{})
	if !slices.Contains(a.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") || !slices.Contains(a.Env, "HOME=/root") {
		t.Error("environment", a.Env)
	}
	// Docker's fourteen capabilities, no more and no fewer.
	if a.CapEff != "00000000a80425fb" || a.CapBnd != "00000000a80425fb" {
		t.Errorf("capabilities %s, bounding set %s", a.CapEff, a.CapBnd)
	}
	if a.NoNewPrivs != "0" || a.Seccomp != "2" || a.PID != 1 || a.UID != 0 || a.Cwd != "/" || !a.RootWritable {
		t.Errorf("%+v", a)
	}
	if a.ShmBytes != 64<<20 || !slices.Equal(a.Interfaces, []string{"lo"}) {
		t.Errorf("%+v", a)
	}
}

func everything(t *testing.T, s *suite) {
	s.Registry.Push(t, "config:latest", v1.Config{
		Entrypoint: []string{"/app"}, Cmd: []string{"about", "image"}, Env: []string{"A=image", "B=image"},
		WorkingDir: "/data", User: "app",
	})
	ref := s.Registry.Ref("config:latest")
	if _, err := s.Engine.PullImage(s.ctx, engine.PullRequest{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	id := s.create(t, engine.ContainerSpec{Image: ref})
	s.start(t, id)
	s.wait(t, id)
	out := s.output(t, id, "\n")
	for _, want := range []string{
		`"args":["/app","about","image"]`, `"cwd":"/data"`, `"uid":1000`, `"gid":1000`, `2000`, `"A=image"`, `"HOME=/home/app"`,
		`"capEff":"0000000000000000"`, `"capBnd":"00000000a80425fb"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	a := s.about(t, engine.ContainerSpec{
		Image: ref, EntryPoint: []string{"/app"}, Env: []string{"B=task", "C=task=x"},
		User: "0:2000", WorkingDir: "/tmp/made", Hostname: "ip-10-0-0-1", ReadonlyRootfs: true, ShmSize: 8 << 20,
		CapAdd: []string{"SYS_PTRACE"}, CapDrop: []string{"MKNOD", "CAP_NET_RAW"},
		Ulimits: []engine.Ulimit{{Name: "nofile", Soft: 512, Hard: 1024}},
		Mounts:  []engine.Mount{{Target: "/scratch", Options: []string{"size=1048576"}}},
		Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"},
	})
	for _, e := range []string{"A=image", "B=task", "C=task=x", "HOSTNAME=ip-10-0-0-1"} {
		if !slices.Contains(a.Env, e) {
			t.Errorf("no %s in %v", e, a.Env)
		}
	}
	if a.UID != 0 || a.GID != 2000 || a.Cwd != "/tmp/made" || a.Hostname != "ip-10-0-0-1" || a.RootWritable ||
		a.ShmBytes != 8<<20 || a.NofileHard != 1024 {
		t.Errorf("%+v", a)
	}
	if a.CapEff != "00000000a00c05fb" {
		t.Errorf("capabilities %s", a.CapEff)
	}
	if e, out := s.run(t, engine.ContainerSpec{}, "eprint", "to", "stderr"); e.Code != 0 || out != "to stderr\n" {
		t.Errorf("%+v, %q", e, out)
	}
}

func volumes(t *testing.T, s *suite) {
	volume := filepath.Join(s.dir, "volume")
	hosts := filepath.Join(s.dir, "hosts")
	if err := errors.Join(os.Mkdir(volume, 0o755), os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	mounts := []engine.Mount{{Source: volume, Target: "/data", CopyUp: true}, {Source: hosts, Target: "/etc/hosts"}}
	if e, out := s.run(t, engine.ContainerSpec{Mounts: mounts}, "cat", "/data/seed"); e.Code != 0 || out != "from the image" {
		t.Errorf("%+v, %q", e, out)
	}
	if e, out := s.run(t, engine.ContainerSpec{Mounts: mounts}, "write", "/data/new", "text"); e.Code != 0 {
		t.Errorf("%+v, %q", e, out)
	}
	if e, out := s.run(t, engine.ContainerSpec{Mounts: mounts}, "cat", "/etc/hosts"); e.Code != 0 || out != "127.0.0.1 localhost\n" {
		t.Errorf("%+v, %q", e, out)
	}
	readOnly := []engine.Mount{{Source: volume, Target: "/elsewhere", ReadOnly: true}}
	if e, out := s.run(t, engine.ContainerSpec{Mounts: readOnly}, "cat", "/elsewhere/new"); e.Code != 0 || out != "text" {
		t.Errorf("%+v, %q", e, out)
	}
	if e, _ := s.run(t, engine.ContainerSpec{Mounts: readOnly}, "write", "/elsewhere/no", "x"); e.Code == 0 {
		t.Error("wrote to a read-only mount")
	}
}

func initProcess(t *testing.T, s *suite) {
	a := s.about(t, engine.ContainerSpec{Init: true})
	if a.PID == 1 {
		t.Error("the command is the first process")
	}
	id := s.create(t, engine.ContainerSpec{Init: true}, "serve")
	s.start(t, id)
	s.output(t, id, "serving")
	if err := s.Engine.StopContainer(s.ctx, id, time.Minute); err != nil {
		t.Fatal(err)
	}
	s.output(t, id, "got terminated")
	if e, _ := s.run(t, engine.ContainerSpec{Init: true}, "exit", "21"); e.Code != 21 {
		t.Errorf("%+v", e)
	}
}

func sharedPID(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{SharedPID: true}, "serve")
	s.start(t, id)
	s.output(t, id, "serving")
	a := s.about(t, engine.ContainerSpec{SharedPID: true})
	if a.PID < 3 {
		t.Errorf("process %d of its namespace", a.PID)
	}
	// It ended; the others go on.
	if c := s.status(t, id); c.Status != engine.Running {
		t.Errorf("%+v", c)
	}
	if err := s.Engine.StopContainer(s.ctx, id, time.Minute); err != nil {
		t.Error(err)
	}
	cs, err := s.Engine.ListContainers(s.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cs {
		if c.Labels["test-group"] == "" {
			t.Errorf("lists a container of the engine's own: %+v", c)
		}
	}
}

func sharedIPC(t *testing.T, s *suite) {
	a, b := s.about(t, engine.ContainerSpec{SharedIPC: true}), s.about(t, engine.ContainerSpec{SharedIPC: true})
	c := s.about(t, engine.ContainerSpec{})
	if a.IPC != b.IPC || a.IPC == c.IPC {
		t.Errorf("IPC namespaces %s, %s and %s", a.IPC, b.IPC, c.IPC)
	}
}

func hostNamespaces(t *testing.T, s *suite) {
	// Not the process's: its first thread may be the one that made a group's
	// namespace.
	own, err := os.Readlink("/proc/thread-self/ns/ipc")
	if err != nil {
		t.Fatal(err)
	}
	a := s.about(t, engine.ContainerSpec{HostPID: true, HostIPC: true})
	if a.PID < 3 || a.IPC != own {
		t.Errorf("process %d, IPC namespace %s; the machine's is %s", a.PID, a.IPC, own)
	}
	// Its processes end with it, though no namespace does.
	id := s.create(t, engine.ContainerSpec{HostPID: true}, "serve")
	s.start(t, id)
	s.output(t, id, "serving")
	if err := s.Engine.StopContainer(s.ctx, id, time.Minute); err != nil {
		t.Error(err)
	}
}

func outOfMemory(t *testing.T, s *suite) {
	e, out := s.run(t, engine.ContainerSpec{Resources: engine.Resources{Memory: 32 << 20}}, "alloc", "200")
	if e.Code != 137 || !e.OOMKilled {
		t.Errorf("%+v: %s", e, out)
	}
	if e, out := s.run(t, engine.ContainerSpec{Resources: engine.Resources{Memory: 64 << 20, CPUShares: 2}}, "alloc", "16"); e.Code != 0 || e.OOMKilled {
		t.Errorf("%+v: %s", e, out)
	}
}

func outOfGroupMemory(t *testing.T, s *suite) {
	if err := s.Engine.EnsureGroup(s.ctx, engine.Group{ID: s.group, CPUs: 1, Memory: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	bystander := s.create(t, engine.ContainerSpec{}, "serve")
	s.start(t, bystander)
	e, out := s.run(t, engine.ContainerSpec{}, "alloc", "300")
	if e.Code != 137 || !e.OOMKilled {
		t.Errorf("%+v: %s", e, out)
	}
	if c := s.status(t, bystander); c.Status != engine.Running {
		t.Errorf("the other container: %+v", c)
	}
}

func execute(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{}, "serve")
	s.start(t, id)
	r, err := s.Engine.Exec(s.ctx, id, engine.Command{Args: []string{"/app", "print", "hello", "there"}, MaxOutput: 8})
	if err != nil || r.Code != 0 || r.Output != "hello\nth" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Engine.Exec(s.ctx, id, engine.Command{Args: []string{"/app", "exit", "5"}}); err != nil || r.Code != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Engine.Exec(s.ctx, id, engine.Command{Args: []string{"/nothing"}}); !errors.Is(err, engine.ErrRejected) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := s.Engine.Exec(ctx, id, engine.Command{Args: []string{"/app", "sleep", "1h"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func stats(t *testing.T, s *suite) {
	id := s.create(t, engine.ContainerSpec{Resources: engine.Resources{Memory: 100 << 20}}, "spin")
	s.start(t, id)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := s.Engine.Stats(s.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if st.CPUTotal > 0 && st.MemoryUsage > 0 && st.MemoryLimit == 100<<20 && st.CPUSystem > st.CPUTotal && st.PIDs > 0 {
			return
		}
		select {
		case <-s.ctx.Done():
			t.Fatalf("%+v", st)
		case <-tick.C:
		}
	}
}
