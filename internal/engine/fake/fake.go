// Package fake is an engine that runs nothing: it keeps the state that a real
// one would, and can be told what fails or ends next. It serves tests, the
// simulator, and servers without root.
package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/imageref"
)

// State is what outlives an Engine: give it to the next one.
type State struct {
	mu         sync.Mutex
	images     map[string]image
	groups     map[string]engine.Group
	containers map[string]*container
	fail       map[string][]error
	exec       func(id string, cmd engine.Command) (engine.ExecResult, error)
	pid        int
	changed    chan struct{}
}

type image struct {
	engine.Image
	used time.Time
}

type container struct {
	engine.Container
	spec     engine.ContainerSpec
	stubborn bool
}

// Engine is a view of a State.
type Engine struct {
	s   *State
	now func() time.Time
}

var _ engine.Engine = (*Engine)(nil)

// NewState is a machine without containers.
func NewState() *State {
	return &State{
		images: map[string]image{}, groups: map[string]engine.Group{}, containers: map[string]*container{},
		fail: map[string][]error{}, pid: 1000, changed: make(chan struct{}),
	}
}

// New opens the state. now nil means time.Now.
func New(s *State, now func() time.Time) *Engine {
	if now == nil {
		now = time.Now
	}
	return &Engine{s: s, now: now}
}

// Operations that FailNext knows.
const (
	Pull   = "pull"
	Group  = "group"
	Create = "create"
	Start  = "start"
	Stop   = "stop"
	Remove = "remove"
)

// FailNext makes the next call of an operation return err. Calls queue up.
func (s *State) FailNext(operation string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[operation] = append(s.fail[operation], err)
}

// OnExec answers Exec; without it every command succeeds.
func (s *State) OnExec(f func(id string, cmd engine.Command) (engine.ExecResult, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exec = f
}

// Exit ends a running container's process.
func (s *State) Exit(id string, e engine.Exit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		s.end(c, e)
	}
}

// OOM ends a running container as the kernel does for want of memory.
func (s *State) OOM(id string, at time.Time) {
	s.Exit(id, engine.Exit{Code: 137, At: at, OOMKilled: true})
}

// Stubborn makes a container ignore its stop signal.
func (s *State) Stubborn(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		c.stubborn = true
	}
}

// Spec is what a container was made with.
func (s *State) Spec(id string) (engine.ContainerSpec, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[id]
	if c == nil {
		return engine.ContainerSpec{}, false
	}
	return c.spec, true
}

// Groups are the groups there are.
func (s *State) Groups() []engine.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.groups))
}

// end and the other unexported methods are called with the lock held.
func (s *State) end(c *container, e engine.Exit) {
	if c.Status != engine.Running {
		return
	}
	c.Status, c.PID, c.Exit = engine.Stopped, 0, &e
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *State) failure(operation string) error {
	q := s.fail[operation]
	if len(q) == 0 {
		return nil
	}
	s.fail[operation] = q[1:]
	return q[0]
}

func (s *State) find(id string) (*container, error) {
	c := s.containers[id]
	if c == nil {
		return nil, fmt.Errorf("container %s: %w", id, engine.ErrNotFound)
	}
	return c, nil
}

// PullImage pretends that every image exists.
func (e *Engine) PullImage(ctx context.Context, req engine.PullRequest) (engine.Image, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return engine.Image{}, err
	}
	ref, err := imageref.Parse(req.Ref)
	if err != nil {
		return engine.Image{}, err
	}
	if err := e.s.failure(Pull); err != nil {
		return engine.Image{}, err
	}
	sum := func(s string) string {
		h := sha256.Sum256([]byte(s))
		return "sha256:" + hex.EncodeToString(h[:])
	}
	i := image{engine.Image{Ref: ref.String(), Digest: sum(ref.String()), ID: sum("config of " + ref.String()), Size: 1 << 20}, e.now()}
	if ref.Digest != "" {
		i.Digest = ref.Digest
	}
	e.s.images[i.Ref] = i
	return i.Image, nil
}

// EnsureGroup remembers the limits.
func (e *Engine) EnsureGroup(_ context.Context, g engine.Group) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if err := e.s.failure(Group); err != nil {
		return err
	}
	e.s.groups[g.ID] = g
	return nil
}

// RemoveGroup refuses while the group has containers.
func (e *Engine) RemoveGroup(_ context.Context, id string) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	for _, c := range e.s.containers {
		if c.spec.Group == id {
			return fmt.Errorf("group %s still has container %s", id, c.ID)
		}
	}
	delete(e.s.groups, id)
	return nil
}

// CreateContainer needs the image and the group.
func (e *Engine) CreateContainer(_ context.Context, spec engine.ContainerSpec) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if err := e.s.failure(Create); err != nil {
		return err
	}
	ref, err := imageref.Parse(spec.Image)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRejected, err)
	}
	if _, ok := e.s.images[ref.String()]; !ok {
		return fmt.Errorf("image %s: %w", ref, engine.ErrNotFound)
	}
	if _, ok := e.s.groups[spec.Group]; !ok {
		return fmt.Errorf("group %s: %w", spec.Group, engine.ErrNotFound)
	}
	if _, ok := e.s.containers[spec.ID]; ok {
		return fmt.Errorf("container %s: %w", spec.ID, engine.ErrExists)
	}
	e.s.containers[spec.ID] = &container{spec: spec, Container: engine.Container{
		ID: spec.ID, Labels: maps.Clone(spec.Labels), Image: ref.String(), Status: engine.Created, CreatedAt: e.now(),
	}}
	return nil
}

// StartContainer starts pretending.
func (e *Engine) StartContainer(_ context.Context, id string) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	c, err := e.s.find(id)
	if err != nil {
		return err
	}
	if c.Status == engine.Running {
		return nil
	}
	if err := e.s.failure(Start); err != nil {
		return err
	}
	e.s.pid++
	c.Status, c.PID, c.Exit = engine.Running, e.s.pid, nil
	return nil
}

// StopContainer ends the container at once with code 143 as an unhandled
// SIGTERM does, or after the timeout with 137 when it is stubborn.
func (e *Engine) StopContainer(ctx context.Context, id string, timeout time.Duration) error {
	e.s.mu.Lock()
	c, err := e.s.find(id)
	if err == nil {
		err = e.s.failure(Stop)
	}
	if err != nil || c.Status != engine.Running || !c.stubborn {
		if err == nil {
			e.s.end(c, engine.Exit{Code: 143, At: e.now()})
		}
		e.s.mu.Unlock()
		return err
	}
	e.s.mu.Unlock()
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		e.s.Exit(id, engine.Exit{Code: 137, At: e.now()})
		return nil
	}
}

// Wait waits for Exit, OOM or StopContainer.
func (e *Engine) Wait(ctx context.Context, id string) (engine.Exit, error) {
	for {
		e.s.mu.Lock()
		c, err := e.s.find(id)
		if err != nil {
			e.s.mu.Unlock()
			return engine.Exit{}, err
		}
		status, exit, changed := c.Status, c.Exit, e.s.changed
		e.s.mu.Unlock()
		switch status {
		case engine.Created:
			return engine.Exit{}, fmt.Errorf("container %s: %w", id, engine.ErrNotRunning)
		case engine.Stopped:
			return *exit, nil
		case engine.Running:
		}
		select {
		case <-ctx.Done():
			return engine.Exit{}, ctx.Err()
		case <-changed:
		}
	}
}

// Exec answers what OnExec says.
func (e *Engine) Exec(_ context.Context, id string, cmd engine.Command) (engine.ExecResult, error) {
	e.s.mu.Lock()
	c, err := e.s.find(id)
	f := e.s.exec
	if err == nil && c.Status != engine.Running {
		err = fmt.Errorf("container %s: %w", id, engine.ErrNotRunning)
	}
	e.s.mu.Unlock()
	if err != nil || f == nil {
		return engine.ExecResult{}, err
	}
	return f(id, cmd)
}

// Stats are those of an idle container.
func (e *Engine) Stats(_ context.Context, id string) (engine.Stats, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	c, err := e.s.find(id)
	if err != nil {
		return engine.Stats{}, err
	}
	if c.Status != engine.Running {
		return engine.Stats{}, fmt.Errorf("container %s: %w", id, engine.ErrNotRunning)
	}
	return engine.Stats{
		Read: e.now().UTC(), CPUTotal: 1e6, CPUSystem: 1e9, MemoryUsage: 1 << 20, MemoryLimit: uint64(c.spec.Resources.Memory), PIDs: 1,
		Networks: map[string]engine.NetworkStats{"eth1": {}},
	}, nil
}

// RemoveContainer removes.
func (e *Engine) RemoveContainer(_ context.Context, id string) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	c := e.s.containers[id]
	if c == nil {
		return nil
	}
	if err := e.s.failure(Remove); err != nil {
		return err
	}
	e.s.end(c, engine.Exit{Code: 137, At: e.now()})
	delete(e.s.containers, id)
	return nil
}

// InspectContainer tells the state.
func (e *Engine) InspectContainer(_ context.Context, id string) (engine.Container, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	c, err := e.s.find(id)
	if err != nil {
		return engine.Container{}, err
	}
	return c.copy(), nil
}

func (c *container) copy() engine.Container {
	x := c.Container
	x.Labels = maps.Clone(x.Labels)
	if x.Exit != nil {
		exit := *x.Exit
		x.Exit = &exit
	}
	return x
}

// ListContainers lists in the order of the ids.
func (e *Engine) ListContainers(_ context.Context, labels map[string]string) ([]engine.Container, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	var list []engine.Container
	for _, id := range slices.Sorted(maps.Keys(e.s.containers)) {
		c := e.s.containers[id]
		match := true
		for k, v := range labels {
			match = match && c.Labels[k] == v
		}
		if match {
			list = append(list, c.copy())
		}
	}
	return list, nil
}

// RemoveUnusedImages forgets images.
func (e *Engine) RemoveUnusedImages(_ context.Context, before time.Time) (int, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	used := map[string]bool{}
	for _, c := range e.s.containers {
		used[c.Image] = true
	}
	n := len(e.s.images)
	maps.DeleteFunc(e.s.images, func(ref string, i image) bool { return !used[ref] && !i.used.After(before) })
	return n - len(e.s.images), nil
}

// Close does nothing.
func (e *Engine) Close() error { return nil }
