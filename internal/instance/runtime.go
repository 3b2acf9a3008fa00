package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine/cgroup"
	"roadstead.dev/internal/jsonfile"
)

// Runtime runs the instances of one server. Its methods may be called by any
// number of goroutines, for one instance by one at a time.
type Runtime struct {
	// Dir holds a folder for each instance.
	Dir string
	// Program is this program: it runs again as an instance's first process.
	Program string
}

// Launch makes an instance and boots it. One that exists is left as it is, and
// booted if it does not run.
func (r *Runtime) Launch(ctx context.Context, s *Spec) error {
	dir, err := folder(r.Dir, s.ID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, specFile)); errors.Is(err, fs.ErrNotExist) {
		if err := jsonfile.Write(filepath.Join(dir, specFile), s); err != nil {
			return err
		}
	}
	return r.Start(ctx, s.ID)
}

// Reconfigure changes the spec of an instance that does not run, for its next
// boot.
func (r *Runtime) Reconfigure(s *Spec) error {
	st, err := r.State(s.ID)
	if err != nil {
		return err
	}
	if st.Running {
		return fmt.Errorf("instance %s runs", s.ID)
	}
	return jsonfile.Write(filepath.Join(r.Dir, s.ID, specFile), s)
}

// Rewire notes which interfaces an instance has. It may run.
func (r *Runtime) Rewire(id string, interfaces []Interface) error {
	st, err := r.State(id)
	if err != nil {
		return err
	}
	st.Spec.Interfaces = interfaces
	return jsonfile.Write(filepath.Join(r.Dir, id, specFile), &st.Spec)
}

// Start boots an instance that does not run.
func (r *Runtime) Start(ctx context.Context, id string) error {
	st, err := r.State(id)
	if err != nil || st.Running {
		return err
	}
	// What a crash of the instance left in its group must not count twice.
	if err := r.sweep(ctx, &st.Spec); err != nil {
		return err
	}
	dir := filepath.Join(r.Dir, id)
	for _, name := range []string{pidFile, endedFile, stoppingFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	console, err := os.OpenFile(filepath.Join(dir, consoleFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, r.Program, Subcommand, bootStage, dir)
	cmd.Stdout, cmd.Stderr = console, io.MultiWriter(console, &said)
	// The first process inherits the console alone, so this ends with boot.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("boot instance %s: %w: %s", id, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// State is an instance's.
func (r *Runtime) State(id string) (State, error) {
	dir, err := folder(r.Dir, id)
	if err != nil {
		return State{}, err
	}
	var st State
	if err := readJSON(filepath.Join(dir, specFile), &st.Spec); err != nil {
		return State{}, err
	}
	var p process
	switch err := readJSON(filepath.Join(dir, pidFile), &p); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return State{}, err
	default:
		if ticks, err := StartTicks(p.PID); err == nil && ticks == p.Ticks {
			st.Running, st.PID = true, p.PID
		}
		if i, err := os.Stat(filepath.Join(dir, pidFile)); err == nil {
			st.Since = i.ModTime()
		}
		if !st.Running && p.Boot == machineBoot() {
			st.Ended = endOf(dir)
		}
	}
	_, err = os.Stat(filepath.Join(dir, bootedFile))
	st.Booted = err == nil
	return st, nil
}

// endOf tells how an instance ended that has run in this boot of the machine.
func endOf(dir string) End {
	if _, err := os.Stat(filepath.Join(dir, stoppingFile)); err == nil {
		return ""
	}
	b, _ := os.ReadFile(filepath.Join(dir, endedFile))
	if end := End(b); end == EndedByShutdown || end == EndedForReboot {
		return end
	}
	return EndedByFailure
}

// List are all instances, running or not.
func (r *Runtime) List() ([]State, error) {
	entries, err := os.ReadDir(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []State
	for _, e := range entries {
		st, err := r.State(e.Name())
		if errors.Is(err, ErrNotFound) {
			continue // its launch never came to an end
		}
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// Stop shuts an instance down: its first process ends its services, and what
// is left after patience is killed. Its root folder stays.
func (r *Runtime) Stop(ctx context.Context, id string, patience time.Duration) error {
	st, err := r.State(id)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.Dir, id, stoppingFile), nil, 0o600); err != nil {
		return err
	}
	if st.Running {
		if err := end(ctx, st.PID, patience); err != nil {
			return fmt.Errorf("stop instance %s: %w", id, err)
		}
	}
	return r.sweep(ctx, &st.Spec)
}

// Wait returns when an instance does not run.
func (r *Runtime) Wait(ctx context.Context, id string) error {
	st, err := r.State(id)
	if err != nil || !st.Running {
		return err
	}
	return await(ctx, st.PID)
}

// Remove ends an instance at once and forgets it, its root folder included.
// One that there is not is no error.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	err := r.Stop(ctx, id, 0)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	dir, err := folder(r.Dir, id)
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// maxConsole is what EC2 keeps of an instance's console.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
const maxConsole = 64 << 10

// Console is the end of what an instance wrote to its console, and when it
// last did.
func (r *Runtime) Console(id string) ([]byte, time.Time, error) {
	dir, err := folder(r.Dir, id)
	if err != nil {
		return nil, time.Time{}, err
	}
	f, err := os.Open(filepath.Join(dir, consoleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, ErrNotFound
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if _, err := f.Seek(max(0, info.Size()-maxConsole), io.SeekStart); err != nil {
		return nil, time.Time{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxConsole))
	return b, info.ModTime(), err
}

// sweep kills what is left in an instance's group and removes the group.
func (r *Runtime) sweep(ctx context.Context, s *Spec) error {
	groups, err := cgroup.Detect()
	if err != nil {
		return err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left := groups.ProcessesBelow(s.Cgroup)
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(left) == 0 {
			if err = groups.Remove(s.Cgroup); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end what runs in %s: %w", s.Cgroup, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}
