package instance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// restartAfter is how long a service that ended is left alone.
const restartAfter = 2 * time.Second

// grace is how long processes have to end after a shutdown's SIGTERM.
const grace = 10 * time.Second

// withheld are capabilities that reach the machine itself: its kernel's
// modules, clock, memory and log.
var withheld = []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME, unix.CAP_SYS_RAWIO, unix.CAP_SYSLOG, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_WAKE_ALARM}

// machine is an instance seen from inside, by its first process.
type machine struct {
	spec    Spec
	console io.Writer
	// outside is the instance's folder on the machine.
	outside *os.Root
	first   bool // the first boot

	mu       sync.Mutex
	children map[int]chan unix.WaitStatus
}

// runInit is the instance's first process. It returns when the instance shuts
// down, which ends all that is left in it.
func runInit(dir string, console io.Writer) error {
	m := &machine{console: console, children: make(map[int]chan unix.WaitStatus)}
	if err := readJSON(filepath.Join(dir, specFile), &m.spec); err != nil {
		return err
	}
	var err error
	if m.outside, err = os.OpenRoot(dir); err != nil {
		return err
	}
	if _, err := m.outside.Stat(bootedFile); errors.Is(err, fs.ErrNotExist) {
		m.first = true
	}
	root, err := makeRoot(dir, &m.spec)
	if err != nil {
		return err
	}
	if err := pivot(root); err != nil {
		return err
	}
	if err := m.settle(); err != nil {
		return err
	}
	for _, c := range withheld {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("withhold capability %d: %w", c, err)
		}
	}
	m.say("booting %s", m.spec.ID)
	return m.run()
}

// say writes a line to the console.
func (m *machine) say(format string, args ...any) {
	_, _ = fmt.Fprintf(m.console, "[%s] %s\n", time.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))
}

// settle writes what makes the root folder this instance's.
func (m *machine) settle() error {
	name := m.spec.Hostname
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	short, _, _ := strings.Cut(name, ".")
	files := map[string]File{
		"/etc/hostname": {[]byte(name + "\n"), 0o644},
		"/etc/hosts":    {fmt.Appendf(nil, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s %s\n", name, short), 0o644},
	}
	if m.spec.Nameserver != "" {
		files["/etc/resolv.conf"] = File{fmt.Appendf(nil, "nameserver %s\n", m.spec.Nameserver), 0o644}
	}
	if m.first {
		maps.Copy(files, shutdownPrograms)
		maps.Copy(files, m.spec.Files)
	}
	for path, f := range files {
		if err := writeFile(path, f); err != nil {
			return err
		}
	}
	return nil
}

// shutdownPrograms are those that ask the first process for the instance's end
// or another boot, in place of the machine's, which ask a first process that is
// not there.
var shutdownPrograms = map[string]File{
	"/usr/sbin/halt":     {[]byte("#!/bin/sh\nkill -PWR 1\n"), 0o755},
	"/usr/sbin/poweroff": {[]byte("#!/bin/sh\nkill -PWR 1\n"), 0o755},
	"/usr/sbin/reboot":   {[]byte("#!/bin/sh\nkill -INT 1\n"), 0o755},
	"/usr/sbin/shutdown": {[]byte(`#!/bin/sh
# shutdown [-h|-P|-H|-r] [now|+MINUTES] [MESSAGE...]: no other times.
how=PWR
while :; do
	case "$1" in
	-r | --reboot) how=INT ;;
	-c) exit 0 ;;
	-*) ;;
	*) break ;;
	esac
	shift
done
time=${1:-+1}
case "$time" in
now | +0) kill -$how 1 ;;
+[1-9]*) (setsid sh -c "sleep ${time#+}m; kill -$how 1" >/dev/null 2>&1 &) ;;
*) echo "shutdown: want now or +MINUTES" >&2; exit 1 ;;
esac
`), 0o755},
}

// writeFile replaces a file, which may be a link on the machine.
func writeFile(path string, f File) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, f.Content, f.Mode); err != nil {
		return err
	}
	return os.Chmod(path, f.Mode)
}

// run keeps the instance going until it is told to shut down.
func (m *machine) run() error {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
	ctx, cancel := context.WithCancel(context.Background())
	var services sync.WaitGroup
	services.Go(func() { m.work(ctx) })
	end := EndedByShutdown
	for s := range signals {
		if s == unix.SIGCHLD {
			m.reap()
			continue
		}
		if s == unix.SIGINT { // what Ctrl-Alt-Delete sends
			end = EndedForReboot
		}
		break
	}
	m.say("shutting down")
	cancel()
	_ = unix.Kill(-1, unix.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		services.Wait()
		close(stopped)
	}()
	for deadline := time.After(grace); m.alive(); {
		select {
		case <-signals:
			m.reap()
		case <-deadline:
			_ = unix.Kill(-1, unix.SIGKILL)
			deadline = nil
		case <-time.After(20 * time.Millisecond):
			m.reap()
		}
	}
	<-stopped
	m.say("off")
	return m.outside.WriteFile(endedFile, []byte(end), 0o600)
}

// work runs the user data, then the services.
func (m *machine) work(ctx context.Context) {
	if m.first {
		m.runUserData(ctx)
		// User data that a shutdown cut short does not run again either.
		if err := m.outside.WriteFile(bootedFile, nil, 0o600); err != nil {
			m.say("write down that the first boot is over: %v", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
	var all sync.WaitGroup
	for _, s := range m.spec.Services {
		all.Go(func() { m.keep(ctx, s) })
	}
	all.Wait()
}

// keep runs a service, again and again.
func (m *machine) keep(ctx context.Context, s Service) {
	for ctx.Err() == nil {
		code, err := m.exec(ctx, s.Args, append(m.fileEnv(s.EnvFile), s.Env...), "")
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.say("%s: %v", s.Name, err)
		default:
			m.say("%s ended with code %d", s.Name, code)
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
}

// fileEnv reads NAME=VALUE lines; quotes around a value are taken off.
func (m *machine) fileEnv(path string) []string {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var env []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		env = append(env, strings.TrimSpace(strings.TrimPrefix(name, "export "))+"="+value)
	}
	return env
}

// exec runs a command to its end; its output goes to the console.
func (m *machine) exec(ctx context.Context, args, env []string, dir string) (int, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	if dir == "" {
		dir = "/"
	}
	ended := make(chan unix.WaitStatus, 1)
	m.mu.Lock()
	// Its end must not be collected before it is known here.
	p, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir: dir, Env: slices.Concat(os.Environ(), m.spec.Env, env), Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err == nil {
		m.children[p.Pid] = ended
	}
	m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case st := <-ended:
		if st.Signaled() {
			return 128 + int(st.Signal()), nil
		}
		return st.ExitStatus(), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// reap collects the processes that have ended: those that were started here,
// and orphans.
func (m *machine) reap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended := m.children[pid]; ended != nil {
			ended <- st
			delete(m.children, pid)
		}
	}
}

// alive tells whether the instance has a process besides this one.
func (m *machine) alive() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name()[0] >= '1' && e.Name()[0] <= '9' && e.Name() != "1"
	})
}
