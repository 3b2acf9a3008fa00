package containerd

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/id"
)

// Exec runs a command in a running container.
func (e *Engine) Exec(ctx context.Context, container string, cmd engine.Command) (engine.ExecResult, error) {
	ctx = e.context(ctx)
	c, err := e.load(ctx, container)
	if err != nil {
		return engine.ExecResult{}, err
	}
	t, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return engine.ExecResult{}, fmt.Errorf("container %s: %w", container, engine.ErrNotRunning)
	}
	if err != nil {
		return engine.ExecResult{}, fmt.Errorf("find the task of container %s: %w", container, err)
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		return engine.ExecResult{}, fmt.Errorf("read the spec of container %s: %w", container, err)
	}
	process := *spec.Process
	process.Args, process.Terminal, process.ConsoleSize = cmd.Args, false, nil
	out := &head{limit: cmd.MaxOutput}
	p, err := t.Exec(ctx, "exec-"+id.Hex(16), &process,
		cio.NewCreator(cio.WithStreams(nil, out, out), cio.WithFIFODir(filepath.Join(e.cfg.StateDir, "fifo"))))
	if err != nil {
		if errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) {
			return engine.ExecResult{}, fmt.Errorf("container %s: %w: %w", container, engine.ErrNotRunning, err)
		}
		return engine.ExecResult{}, fmt.Errorf("make a process in container %s: %w", container, err)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	defer func() {
		if _, err := p.Delete(clean, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			e.cfg.Log.Warn("remove a process", "container", container, "error", err)
		}
	}()
	exited, err := p.Wait(clean)
	if err != nil {
		return engine.ExecResult{}, fmt.Errorf("wait for a process in container %s: %w", container, err)
	}
	if err := p.Start(ctx); err != nil {
		return engine.ExecResult{}, &startError{err}
	}
	select {
	case st := <-exited:
		if st.Error() != nil {
			return engine.ExecResult{}, fmt.Errorf("wait for a process in container %s: %w", container, st.Error())
		}
		p.IO().Wait()
		return engine.ExecResult{Code: int(st.ExitCode()), Output: out.String()}, nil
	case <-ctx.Done():
		if err := p.Kill(clean, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
			e.cfg.Log.Warn("kill a process", "container", container, "error", err)
		}
		return engine.ExecResult{Output: out.String()}, ctx.Err()
	}
}

// head keeps the first bytes that are written to it.
type head struct {
	mu    sync.Mutex
	limit int
	b     []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), max(0, h.limit-len(h.b)))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}
