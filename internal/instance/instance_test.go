package instance

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine/cgroup"
)

// TestMain lets the test binary be the first process of instances.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:], os.Stderr))
	}
	os.Exit(m.Run())
}

// launch boots an instance with user data, and removes it with the test.
func launch(t *testing.T, userData string, services ...Service) (*Runtime, *Spec) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making an instance's namespaces takes root")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{Dir: t.TempDir(), Program: program}
	s := &Spec{
		ID: "i-0123456789abcdef0", Hostname: "ip-10-0-0-5.ec2.internal", VCPUs: 1, Memory: 256,
		Cgroup:   fmt.Sprintf("/rs-instance-test-%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))),
		UserData: []byte(userData), Services: services, Nameserver: "10.0.0.2",
		Files: map[string]File{"/etc/ecs/ecs.config": {[]byte("ECS_CLUSTER=default\n"), 0o644}},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.Remove(ctx, s.ID); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
		if groups, err := cgroup.Detect(); err == nil && groups.Exists(s.Cgroup) {
			t.Errorf("group %s is left", s.Cgroup)
		}
	})
	if err := r.Launch(t.Context(), s); err != nil {
		console, _, _ := r.Console(s.ID)
		t.Fatalf("%v\n%s", err, console)
	}
	return r, s
}

// eventually waits for something that takes its time.
func eventually(t *testing.T, r *Runtime, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			console, _, _ := r.Console("i-0123456789abcdef0")
			t.Fatalf("%s does not happen; the console:\n%s", what, console)
		}
	}
}

// inside is a path of the instance, through its first process.
func inside(t *testing.T, r *Runtime, path string) string {
	t.Helper()
	st, err := r.State("i-0123456789abcdef0")
	if err != nil || !st.Running {
		return ""
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", st.PID, path))
	if err != nil {
		return ""
	}
	return string(b)
}

func TestInstance(t *testing.T) {
	t.Parallel()
	r, s := launch(t, `#!/bin/bash
echo "hello from $(hostname)"
echo ECS_CLUSTER=blue > /etc/ecs/ecs.config
mkdir -p /var/lib/proof
ps -e -o pid= > /var/lib/proof/pids 2>/dev/null || ls /proc > /var/lib/proof/pids
grep MemTotal /proc/meminfo > /var/lib/proof/memory
cat /etc/shadow > /var/lib/proof/shadow 2>&1
ls /root /home > /var/lib/proof/homes
echo done
`, Service{Name: "agent", Args: []string{"/bin/sh", "-c", "echo $ECS_CLUSTER >> /var/lib/proof/starts; exec sleep 1000"}, EnvFile: "/etc/ecs/ecs.config"})
	eventually(t, r, "the agent's start", func() bool { return inside(t, r, "/var/lib/proof/starts") != "" })

	if got := inside(t, r, "/var/lib/proof/starts"); got != "blue\n" {
		t.Errorf("the agent started before the user data had ended: %q", got)
	}
	if got := inside(t, r, "/var/lib/proof/memory"); !strings.Contains(got, "262144 kB") {
		t.Errorf("memory inside: %q", got)
	}
	if got := inside(t, r, "/var/lib/proof/shadow"); !strings.Contains(got, "No such file") {
		t.Errorf("the machine's /etc/shadow is to be seen: %q", got)
	}
	if got := inside(t, r, "/var/lib/proof/homes"); strings.TrimSpace(got) != "/home:\n\n/root:" {
		t.Errorf("homes inside: %q", got)
	}
	if got := inside(t, r, "/etc/resolv.conf"); got != "nameserver 10.0.0.2\n" {
		t.Errorf("resolv.conf inside: %q", got)
	}
	console, _, err := r.Console(s.ID)
	if err != nil || !strings.Contains(string(console), "hello from ip-10-0-0-5.ec2.internal") {
		t.Errorf("console: %v\n%s", err, console)
	}
	st, err := r.State(s.ID)
	if err != nil || !st.Running || !st.Booted {
		t.Errorf("state: %+v, %v", st, err)
	}
	groups, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(groups.ProcessesBelow(s.Cgroup)); n < 2 {
		t.Errorf("%d processes in the instance's group", n)
	}

	// A stop keeps the root; a start boots without the user data.
	if err := r.Stop(t.Context(), s.ID, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if st, err := r.State(s.ID); err != nil || st.Running {
		t.Errorf("stopped, and yet: %+v, %v", st, err)
	}
	if err := r.Start(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, r, "the second start", func() bool { return inside(t, r, "/var/lib/proof/starts") == "blue\nblue\n" })
	console, _, _ = r.Console(s.ID)
	if n := strings.Count(string(console), "hello from"); n != 1 {
		t.Errorf("the user data ran %d times", n)
	}
}

func TestServicesAreStartedAgain(t *testing.T) {
	t.Parallel()
	r, _ := launch(t, "", Service{Name: "agent", Args: []string{"/bin/sh", "-c", "echo x >> /var/starts; exit 3"}})
	eventually(t, r, "another start", func() bool { return strings.Count(inside(t, r, "/var/starts"), "x") >= 2 })
	console, _, _ := r.Console("i-0123456789abcdef0")
	if !strings.Contains(string(console), "agent ended with code 3") {
		t.Errorf("console:\n%s", console)
	}
}

func TestUserDataThatNeverEnds(t *testing.T) {
	t.Parallel()
	r, s := launch(t, "#!/bin/sh\necho begun > /var/begun\nwhile :; do sleep 1; done\n", Service{Name: "agent", Args: []string{"/bin/true"}})
	eventually(t, r, "the user data", func() bool { return inside(t, r, "/var/begun") != "" })
	if st, err := r.State(s.ID); err != nil || !st.Running || st.Booted {
		t.Errorf("state: %+v, %v", st, err)
	}
	if err := r.Stop(t.Context(), s.ID, 30*time.Second); err != nil {
		t.Error(err)
	}
}

// TestKilled kills the first process, as a machine that dies does.
func TestKilled(t *testing.T) {
	t.Parallel()
	r, s := launch(t, "#!/bin/sh\n(setsid sleep 1000 &)\n", Service{Name: "agent", Args: []string{"/bin/sleep", "1000"}})
	eventually(t, r, "the boot", func() bool { st, err := r.State(s.ID); return err == nil && st.Booted })
	st, err := r.State(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Wait(context.Background(), s.ID) }()
	if err := unix.Kill(st.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// The next server finds it as it is.
	again := &Runtime{Dir: r.Dir, Program: r.Program}
	all, err := again.List()
	if err != nil || len(all) != 1 || all[0].Running || all[0].Ended != EndedByFailure {
		t.Errorf("list: %+v, %v", all, err)
	}
	if err := again.Start(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
}

// TestEndsByItself lets what runs in an instance shut it down, and boot it anew.
func TestEndsByItself(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]End{
		"shutdown -h now": EndedByShutdown, "poweroff": EndedByShutdown, "shutdown -r now": EndedForReboot, "reboot": EndedForReboot, "kill -9 $PPID": "",
	} {
		t.Run(command, func(t *testing.T) {
			r, s := launch(t, "#!/bin/sh\n"+command+"\n")
			if want == "" {
				// The first process heeds no SIGKILL from within.
				eventually(t, r, "the boot", func() bool { st, err := r.State(s.ID); return err == nil && st.Booted && st.Running })
				if err := r.Stop(t.Context(), s.ID, 20*time.Second); err != nil {
					t.Fatal(err)
				}
			} else if err := r.Wait(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
			if st, err := r.State(s.ID); err != nil || st.Running || st.Ended != want || !st.Booted {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

func TestBadIDs(t *testing.T) {
	r := &Runtime{Dir: t.TempDir()}
	for _, id := range []string{"", ".", "..", "a/b", "/etc"} {
		if _, err := r.State(id); err == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
	if _, err := r.State("i-nothere"); err != ErrNotFound { //nolint:errorlint // it comes as it is
		t.Errorf("an instance that is not there: %v", err)
	}
	if err := r.Remove(t.Context(), "i-nothere"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestParseUserData(t *testing.T) {
	archive := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"==B==\"\r\n\r\n--==B==\r\nContent-Type: text/cloud-config\r\n\r\n#cloud-config\nruncmd: [ls]\r\n--==B==\r\nContent-Type: text/x-shellscript\r\nContent-Transfer-Encoding: base64\r\n\r\nIyEvYmluL3NoCmVjaG8geAo=\r\n--==B==--\r\n"
	for name, tt := range map[string]struct {
		data string
		want []string
	}{
		"nothing": {" \n", nil},
		"script":  {"#!/bin/sh\n", []string{"#!/bin/sh\n"}},
		"archive": {archive, []string{"#cloud-config\nruncmd: [ls]", "#!/bin/sh\necho x\n"}},
	} {
		parts, err := parseUserData([]byte(tt.data))
		if err != nil || len(parts) != len(tt.want) {
			t.Errorf("%s: %v, %v", name, parts, err)
			continue
		}
		for i, p := range parts {
			if string(p.text) != tt.want[i] {
				t.Errorf("%s: part %d is %q", name, i, p.text)
			}
		}
	}
}

func TestCloudConfig(t *testing.T) {
	c, ignored, err := parseCloudConfig([]byte(`#cloud-config
packages: [htop]
write_files:
  - {path: /etc/ecs/ecs.config, content: "ECS_CLUSTER=x\n", append: true, permissions: '0600'}
runcmd:
  - echo "it's" > /tmp/x
  - [printf, "it's %s", two words]
`))
	if err != nil || strings.Join(ignored, " ") != "packages" || len(c.WriteFiles) != 1 || !c.WriteFiles[0].Append {
		t.Fatalf("%+v, %v, %v", c, ignored, err)
	}
	want := "#!/bin/sh\necho \"it's\" > /tmp/x\n'printf' 'it'\\''s %s' 'two words'\n"
	if got := string(runScript(c.RunCmd)); got != want {
		t.Errorf("script %q, want %q", got, want)
	}
	path := filepath.Join(t.TempDir(), "f")
	for _, f := range []cloudFile{
		{Path: path, Content: "YQ==", Encoding: "b64", Permissions: "0600"},
		{Path: path, Content: "b\n", Append: true, Permissions: "0640"},
	} {
		if err := f.write(); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(path)
	if i, err := os.Stat(path); err != nil || string(b) != "ab\n" || i.Mode() != fs.FileMode(0o640) {
		t.Errorf("%q, %v, %v", b, i.Mode(), err)
	}
	for _, f := range []cloudFile{{Path: "relative"}, {Path: path, Permissions: "rw"}, {Path: path, Content: "*", Encoding: "base64"}} {
		if f.write() == nil {
			t.Errorf("%+v was written", f)
		}
	}
	if _, _, err := parseCloudConfig([]byte("#cloud-config\nruncmd: {a: b}\n")); err == nil {
		t.Error("a map of commands was read")
	}
}

func FuzzUserData(f *testing.F) {
	f.Add([]byte("#!/bin/sh\necho\n"))
	f.Add([]byte("#cloud-config\nruncmd: [[a, b], c]\nwrite_files: [{path: /x, content: y}]\n"))
	f.Add([]byte("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n"))
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Fuzz(func(_ *testing.T, b []byte) {
		parts, _ := parseUserData(b)
		for _, p := range parts {
			if c, _, err := parseCloudConfig(p.text); err == nil {
				runScript(c.RunCmd)
			}
		}
	})
}
