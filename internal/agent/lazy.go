package agent

import (
	"context"
	"sync"
	"time"

	"roadstead.dev/internal/engine"
)

// LazyEngine is an engine that is started when the first container is asked
// for: an idle machine stays small. Until then there is nothing to list and
// nothing to remove.
type LazyEngine struct {
	// Start starts the engine, or connects to one that runs. It is called again
	// after an error.
	Start func(ctx context.Context) (engine.Engine, error)
	// There tells whether an engine of before runs, whose containers are to be
	// found again.
	There func(ctx context.Context) bool

	mu     sync.Mutex
	engine engine.Engine
}

var _ engine.Engine = (*LazyEngine)(nil)

func (l *LazyEngine) get(ctx context.Context) (engine.Engine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		e, err := l.Start(ctx)
		if err != nil {
			return nil, err
		}
		l.engine = e
	}
	return l.engine, nil
}

// running is the engine if it was started, by this process or one before.
func (l *LazyEngine) running(ctx context.Context) (engine.Engine, error) {
	l.mu.Lock()
	e := l.engine
	l.mu.Unlock()
	if e != nil || l.There == nil || !l.There(ctx) {
		return e, nil
	}
	return l.get(ctx)
}

// PullImage starts the engine.
func (l *LazyEngine) PullImage(ctx context.Context, req engine.PullRequest) (engine.Image, error) {
	e, err := l.get(ctx)
	if err != nil {
		return engine.Image{}, err
	}
	return e.PullImage(ctx, req)
}

// EnsureGroup starts the engine.
func (l *LazyEngine) EnsureGroup(ctx context.Context, g engine.Group) error {
	e, err := l.get(ctx)
	if err != nil {
		return err
	}
	return e.EnsureGroup(ctx, g)
}

// RemoveGroup does nothing without an engine.
func (l *LazyEngine) RemoveGroup(ctx context.Context, id string) error {
	e, err := l.running(ctx)
	if e == nil || err != nil {
		return err
	}
	return e.RemoveGroup(ctx, id)
}

// CreateContainer starts the engine.
func (l *LazyEngine) CreateContainer(ctx context.Context, spec engine.ContainerSpec) error {
	e, err := l.get(ctx)
	if err != nil {
		return err
	}
	return e.CreateContainer(ctx, spec)
}

// StartContainer starts the engine.
func (l *LazyEngine) StartContainer(ctx context.Context, id string) error {
	e, err := l.get(ctx)
	if err != nil {
		return err
	}
	return e.StartContainer(ctx, id)
}

// StopContainer does nothing without an engine.
func (l *LazyEngine) StopContainer(ctx context.Context, id string, timeout time.Duration) error {
	e, err := l.running(ctx)
	if e == nil || err != nil {
		return err
	}
	return e.StopContainer(ctx, id, timeout)
}

// Wait is engine.ErrNotFound without an engine.
func (l *LazyEngine) Wait(ctx context.Context, id string) (engine.Exit, error) {
	e, err := l.known(ctx)
	if err != nil {
		return engine.Exit{}, err
	}
	return e.Wait(ctx, id)
}

// Exec is engine.ErrNotFound without an engine.
func (l *LazyEngine) Exec(ctx context.Context, id string, cmd engine.Command) (engine.ExecResult, error) {
	e, err := l.known(ctx)
	if err != nil {
		return engine.ExecResult{}, err
	}
	return e.Exec(ctx, id, cmd)
}

// Stats is engine.ErrNotFound without an engine.
func (l *LazyEngine) Stats(ctx context.Context, id string) (engine.Stats, error) {
	e, err := l.known(ctx)
	if err != nil {
		return engine.Stats{}, err
	}
	return e.Stats(ctx, id)
}

// RemoveContainer does nothing without an engine.
func (l *LazyEngine) RemoveContainer(ctx context.Context, id string) error {
	e, err := l.running(ctx)
	if e == nil || err != nil {
		return err
	}
	return e.RemoveContainer(ctx, id)
}

// InspectContainer is engine.ErrNotFound without an engine.
func (l *LazyEngine) InspectContainer(ctx context.Context, id string) (engine.Container, error) {
	e, err := l.known(ctx)
	if err != nil {
		return engine.Container{}, err
	}
	return e.InspectContainer(ctx, id)
}

func (l *LazyEngine) known(ctx context.Context) (engine.Engine, error) {
	e, err := l.running(ctx)
	if err == nil && e == nil {
		err = engine.ErrNotFound
	}
	return e, err
}

// ListContainers lists nothing without an engine.
func (l *LazyEngine) ListContainers(ctx context.Context, labels map[string]string) ([]engine.Container, error) {
	e, err := l.running(ctx)
	if e == nil || err != nil {
		return nil, err
	}
	return e.ListContainers(ctx, labels)
}

// RemoveUnusedImages removes nothing without an engine.
func (l *LazyEngine) RemoveUnusedImages(ctx context.Context, before time.Time) (int, error) {
	e, err := l.running(ctx)
	if e == nil || err != nil {
		return 0, err
	}
	return e.RemoveUnusedImages(ctx, before)
}

// Close lets go of the engine, if it was started.
func (l *LazyEngine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil {
		return nil
	}
	return l.engine.Close()
}
