package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/platforms"
	"github.com/moby/sys/signal"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/imageref"
)

// Labels that the engine keeps for itself.
const (
	labelPrefix  = "roadstead.dev/engine."
	labelGroup   = labelPrefix + "group"
	labelLog     = labelPrefix + "log"
	labelTTY     = labelPrefix + "tty"
	labelStarted = labelPrefix + "started"
)

// lostExitCode is the code of a container whose exit nobody saw, as Docker
// has it.
const lostExitCode = 255

// CreateContainer makes the snapshot and the OCI spec.
func (e *Engine) CreateContainer(ctx context.Context, spec engine.ContainerSpec) error {
	ctx = e.context(ctx)
	ref, err := imageref.Parse(spec.Image)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRejected, err)
	}
	img, err := e.client.GetImage(ctx, ref.String())
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("find image %s: %w", ref, err)
	}
	f, err := e.read(ctx, img, platforms.DefaultSpec())
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	b := builder{engine: e, spec: spec, image: f.config}
	options, err := b.options(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRejected, err)
	}
	stop := spec.StopSignal
	if stop == "" {
		stop = f.config.StopSignal
	}
	if stop == "" {
		stop = "SIGTERM"
	}
	labels := userLabels(spec.Labels)
	maps.Copy(labels, map[string]string{
		labelGroup: spec.Group, labelLog: spec.LogURI, labelTTY: fmt.Sprint(spec.TTY), client.StopSignalLabel: stop,
	})
	if err := e.copyUp(ctx, f.chain, spec.Mounts); err != nil {
		return err
	}
	if ctx, err = e.leased(ctx); err != nil {
		return fmt.Errorf("create container %s: %w", spec.ID, err)
	}
	_, err = e.client.NewContainer(ctx, spec.ID,
		client.WithImage(img),
		client.WithSnapshotter(e.snapshotter),
		snapshot(spec.ID, f.chain),
		e.runtime(),
		client.WithContainerLabels(labels),
		client.WithNewSpec(options...),
	)
	if err == nil {
		return nil
	}
	if errdefs.IsAlreadyExists(err) {
		if _, lerr := e.client.LoadContainer(ctx, spec.ID); lerr == nil {
			return fmt.Errorf("container %s: %w", spec.ID, engine.ErrExists)
		}
	}
	// The snapshot is made before the container, and stays when that fails.
	if rerr := e.client.SnapshotService(e.snapshotter).Remove(ctx, spec.ID); rerr != nil && !errdefs.IsNotFound(rerr) {
		e.cfg.Log.Warn("remove the snapshot of a container that could not be made", "container", spec.ID, "error", rerr)
	}
	if b.userErr != nil {
		return fmt.Errorf("%w: %w", engine.ErrRejected, b.userErr)
	}
	return fmt.Errorf("create container %s: %w", spec.ID, err)
}

// snapshot gives a container a file system of its own, over the image's.
func snapshot(id, chain string) client.NewContainerOpts {
	return func(ctx context.Context, c *client.Client, container *containers.Container) error {
		s := c.SnapshotService(container.Snapshotter)
		_, err := s.Prepare(ctx, id, chain)
		if errdefs.IsAlreadyExists(err) {
			if _, gerr := c.ContainerService().Get(ctx, id); !errdefs.IsNotFound(gerr) {
				return err
			}
			// An attempt that was cut off left it.
			if err = s.Remove(ctx, id); err == nil {
				_, err = s.Prepare(ctx, id, chain)
			}
		}
		if err != nil {
			return err
		}
		container.SnapshotKey = id
		return nil
	}
}

// userLabels leaves out what this engine and containerd act on: the labels may
// be a user's, and some of those name programs that run on the host.
func userLabels(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(k, _ string) bool {
		return strings.HasPrefix(k, labelPrefix) || strings.HasPrefix(k, "containerd.io/") || strings.HasPrefix(k, "io.containerd.")
	})
	return out
}

// StartContainer makes the task (containerd's word for the processes) and
// starts it.
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	ctx = e.context(ctx)
	c, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx, client.WithoutRefreshedMetadata)
	if err != nil {
		return fmt.Errorf("read container %s: %w", id, err)
	}
	if info.Labels[labelStarted] != "" {
		if running, err := removeLastRun(ctx, c); running || err != nil {
			return err
		}
	}
	out, err := output(info.Labels)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRejected, err)
	}
	// Written first: a start that nobody remembers would run a container
	// twice after a crash, one that did not happen only loses it.
	if _, err := c.SetLabels(ctx, map[string]string{labelStarted: "true"}); err != nil {
		return fmt.Errorf("mark container %s as started: %w", id, err)
	}
	restore := e.quotas.lift(info.Labels[labelGroup])
	t, err := c.NewTask(ctx, out)
	restore()
	if err == nil {
		if err = t.Start(ctx); err == nil {
			return nil
		}
	}
	// Not with ctx: it may be what ended the start.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	left := ""
	if t != nil {
		if _, derr := t.Delete(clean, client.WithProcessKill); derr != nil && !errdefs.IsNotFound(derr) {
			e.cfg.Log.Warn("remove a task that did not start", "container", id, "error", derr)
			left = "failed" // the next start removes it
		}
	}
	if _, lerr := c.SetLabels(clean, map[string]string{labelStarted: left}); lerr != nil {
		e.cfg.Log.Warn("mark container as not started", "container", id, "error", lerr)
	}
	if ctx.Err() != nil || unavailable(err) {
		return fmt.Errorf("start container %s: %w", id, err)
	}
	return &startError{err}
}

// removeLastRun makes room for a new run, unless the last one goes on.
func removeLastRun(ctx context.Context, c client.Container) (running bool, err error) {
	t, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find the task of container %s: %w", c.ID(), err)
	}
	st, err := t.Status(ctx)
	if err == nil && st.Status == client.Running {
		return true, nil
	}
	// One that ended, or one that was made and never started.
	if _, err := t.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("remove the last run of container %s: %w", c.ID(), err)
	}
	return false, nil
}

// startError keeps the runtime's text as it is, for the user to see.
type startError struct{ err error }

func (e *startError) Error() string   { return e.err.Error() }
func (e *startError) Unwrap() []error { return []error{e.err, engine.ErrRejected} }

func output(labels map[string]string) (cio.Creator, error) {
	tty := labels[labelTTY] == "true"
	if labels[labelLog] == "" {
		if !tty {
			return cio.NullIO, nil
		}
		return cio.TerminalLogURI(&url.URL{Scheme: "file", Path: "/dev/null"}), nil
	}
	u, err := url.Parse(labels[labelLog])
	if err != nil {
		return nil, fmt.Errorf("log destination: %w", err)
	}
	if tty {
		return cio.TerminalLogURI(u), nil
	}
	return cio.LogURI(u), nil
}

// StopContainer signals, waits and kills.
func (e *Engine) StopContainer(ctx context.Context, id string, timeout time.Duration) error {
	ctx = e.context(ctx)
	c, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	t, exited, err := exitOf(ctx, c)
	if t == nil || err != nil {
		return err
	}
	stop := syscall.SIGTERM
	if labels, err := c.Labels(ctx); err == nil {
		if s, err := signal.ParseSignal(labels[client.StopSignalLabel]); err == nil {
			stop = s
		}
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for _, s := range []syscall.Signal{stop, syscall.SIGKILL} {
		var opts []client.KillOpts
		if s == syscall.SIGKILL {
			opts = append(opts, client.WithKillAll)
		}
		if err := t.Kill(ctx, s, opts...); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
			return fmt.Errorf("send %s to container %s: %w", s, id, err)
		}
		expired := timer.C
		if s == syscall.SIGKILL {
			expired = nil
		}
		select {
		case st := <-exited:
			if st.Error() != nil {
				return fmt.Errorf("wait for container %s: %w", id, st.Error())
			}
			return nil
		case <-expired:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Wait blocks until the container's process has ended. A daemon that is away
// for a while is waited for too.
func (e *Engine) Wait(ctx context.Context, id string) (engine.Exit, error) {
	ctx = e.context(ctx)
	for {
		state, err := e.InspectContainer(ctx, id)
		if err == nil {
			switch state.Status {
			case engine.Created:
				return engine.Exit{}, fmt.Errorf("container %s: %w", id, engine.ErrNotRunning)
			case engine.Stopped:
				return *state.Exit, nil
			case engine.Running:
				err = e.waitTask(ctx, id)
			}
		}
		if ctx.Err() != nil {
			return engine.Exit{}, ctx.Err()
		}
		if err == nil {
			continue
		}
		if !unavailable(err) {
			return engine.Exit{}, err
		}
		select {
		case <-ctx.Done():
			return engine.Exit{}, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// unavailable tells that the daemon is away, or was for the length of a call.
// Errors of the client come as its own classes or as gRPC's statuses.
func unavailable(err error) bool {
	if errdefs.IsUnavailable(err) || errdefs.IsDeadlineExceeded(err) {
		return true
	}
	native := errgrpc.ToNative(err)
	return errdefs.IsUnavailable(native) || errdefs.IsDeadlineExceeded(native)
}

// exitOf finds a container's process, and where its end will be told. A
// container without one has a nil task.
func exitOf(ctx context.Context, c client.Container) (client.Task, <-chan client.ExitStatus, error) {
	t, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find the task of container %s: %w", c.ID(), err)
	}
	exited, err := t.Wait(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("wait for container %s: %w", c.ID(), err)
	}
	return t, exited, nil
}

func (e *Engine) waitTask(ctx context.Context, id string) error {
	c, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	t, exited, err := exitOf(ctx, c)
	if t == nil || err != nil {
		return err
	}
	select {
	case st := <-exited:
		if err := st.Error(); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("wait for container %s: %w", id, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RemoveContainer kills and removes.
func (e *Engine) RemoveContainer(ctx context.Context, id string) error {
	ctx = e.context(ctx)
	c, err := e.load(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := c.Info(ctx, client.WithoutRefreshedMetadata)
	if err != nil {
		return fmt.Errorf("read container %s: %w", id, err)
	}
	if t, err := c.Task(ctx, nil); err == nil {
		if _, err := t.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove the task of container %s: %w", id, err)
		}
	} else if !errdefs.IsNotFound(err) {
		return fmt.Errorf("find the task of container %s: %w", id, err)
	}
	var opts []client.DeleteOpts
	if info.SnapshotKey != "" {
		opts = append(opts, client.WithSnapshotCleanup)
	}
	if err := c.Delete(ctx, opts...); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	// runc removes it, unless it was killed in between.
	if err := e.cgroups.Remove(e.cgroupPath(info.Labels[labelGroup], id)); err != nil {
		e.cfg.Log.Warn("remove the container's cgroup", "container", id, "error", err)
	}
	return nil
}

// InspectContainer tells the state of one container.
func (e *Engine) InspectContainer(ctx context.Context, id string) (engine.Container, error) {
	ctx = e.context(ctx)
	c, err := e.load(ctx, id)
	if err != nil {
		return engine.Container{}, err
	}
	return e.state(ctx, c)
}

// ListContainers lists by labels.
func (e *Engine) ListContainers(ctx context.Context, labels map[string]string) ([]engine.Container, error) {
	ctx = e.context(ctx)
	var filters []string
	if len(labels) > 0 {
		var f []string
		for k, v := range labels {
			f = append(f, fmt.Sprintf("labels.%q==%q", k, v))
		}
		filters = append(filters, strings.Join(f, ","))
	}
	cs, err := e.client.Containers(ctx, filters...)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	list := make([]engine.Container, 0, len(cs))
	for _, c := range cs {
		if info, err := c.Info(ctx, client.WithoutRefreshedMetadata); err == nil && info.Labels[labelHolder] != "" {
			continue
		}
		st, err := e.state(ctx, c)
		if errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

func (e *Engine) load(ctx context.Context, id string) (client.Container, error) {
	c, err := e.client.LoadContainer(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("container %s: %w", id, engine.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, err)
	}
	return c, nil
}

func (e *Engine) state(ctx context.Context, c client.Container) (engine.Container, error) {
	info, err := c.Info(ctx, client.WithoutRefreshedMetadata)
	if err != nil {
		return engine.Container{}, fmt.Errorf("read container %s: %w", c.ID(), err)
	}
	s := engine.Container{
		ID: info.ID, Image: info.Image, CreatedAt: info.CreatedAt, Status: engine.Created, Labels: map[string]string{},
	}
	for k, v := range info.Labels {
		if !strings.HasPrefix(k, labelPrefix) && k != client.StopSignalLabel {
			s.Labels[k] = v
		}
	}
	t, err := c.Task(ctx, nil)
	if err == nil {
		var st client.Status
		if st, err = t.Status(ctx); err == nil {
			e.taskState(&s, info, t, st)
			return s, nil
		}
	}
	if !errdefs.IsNotFound(err) {
		return s, fmt.Errorf("find the task of container %s: %w", info.ID, err)
	}
	if info.Labels[labelStarted] == "true" {
		// It ran once, and what ran it is gone: the machine was restarted.
		s.Status = engine.Stopped
		s.Exit = &engine.Exit{Code: lostExitCode, At: info.UpdatedAt, Lost: true}
	}
	return s, nil
}

func (e *Engine) taskState(s *engine.Container, info containers.Container, t client.Task, st client.Status) {
	switch st.Status {
	case client.Created:
		s.Status = engine.Created
	case client.Stopped:
		s.Status = engine.Stopped
		s.Exit = &engine.Exit{
			Code: int(st.ExitStatus), At: st.ExitTime.UTC(),
			OOMKilled: e.cgroups.OOMKills(e.cgroupPath(info.Labels[labelGroup], info.ID)) > 0,
		}
	default:
		s.Status, s.PID = engine.Running, int(t.Pid())
	}
}
