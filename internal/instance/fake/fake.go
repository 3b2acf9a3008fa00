// Package fake is a machine on which instances run nothing: it keeps the state
// that a real one would, and can be told what fails or ends next. It serves
// tests, the simulator, and servers without root.
package fake

import (
	"context"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/instance"
)

// Operations that FailNext knows.
const (
	Boot   = "boot"
	Stop   = "stop"
	Remove = "remove"
)

// Host pretends to run instances. Safe for concurrent use.
type Host struct {
	now func() time.Time

	mu        sync.Mutex
	instances map[string]*machine
	fail      map[string][]error
	// slow are those whose user data has not ended.
	slow map[string]bool
}

type machine struct {
	state instance.State
	boots int
	// ended is closed when the instance ends.
	ended chan struct{}
}

// New is a machine without instances. now nil means time.Now.
func New(now func() time.Time) *Host {
	if now == nil {
		now = time.Now
	}
	return &Host{now: now, instances: map[string]*machine{}, fail: map[string][]error{}, slow: map[string]bool{}}
}

// FailNext makes the next call of an operation return err. Calls queue up.
func (h *Host) FailNext(operation string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[operation] = append(h.fail[operation], err)
}

// failure is called with h.mu held.
func (h *Host) failure(operation string) error {
	if q := h.fail[operation]; len(q) > 0 {
		h.fail[operation] = q[1:]
		return q[0]
	}
	return nil
}

// Hold keeps an instance's user data from ending, until Finish.
func (h *Host) Hold(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow[id] = true
}

// Finish ends an instance's user data.
func (h *Host) Finish(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.slow, id)
	if m := h.instances[id]; m != nil && m.state.Running {
		m.state.Booted = true
	}
}

// End ends an instance that runs, as it does by itself.
func (h *Host) End(id string, how instance.End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.instances[id]; m != nil && m.state.Running {
		m.state.Running, m.state.Ended = false, how
		close(m.ended)
	}
}

// Booted counts the boots of an instance.
func (h *Host) Booted(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.instances[id]; m != nil {
		return m.boots
	}
	return 0
}

// Boot boots an instance. One that runs goes on.
func (h *Host) Boot(ctx context.Context, s instance.Spec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := h.failure(Boot); err != nil {
		return err
	}
	m := h.instances[s.ID]
	if m == nil {
		m = &machine{}
		h.instances[s.ID] = m
	}
	if m.state.Running {
		m.state.Spec.Interfaces = s.Interfaces
		return nil
	}
	m.boots++
	m.state = instance.State{Spec: s, Running: true, PID: 1, Booted: m.state.Booted || !h.slow[s.ID], Since: h.now()}
	m.ended = make(chan struct{})
	return nil
}

// Connect gives an instance that runs other interfaces.
func (h *Host) Connect(_ context.Context, s instance.Spec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.instances[s.ID]
	if m == nil {
		return instance.ErrNotFound
	}
	m.state.Spec.Interfaces = s.Interfaces
	return nil
}

// Stop shuts an instance down at once.
func (h *Host) Stop(_ context.Context, id string, _ time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.failure(Stop); err != nil {
		return err
	}
	h.stop(id)
	return nil
}

func (h *Host) stop(id string) {
	m := h.instances[id]
	if m == nil {
		return
	}
	if m.state.Running {
		m.state.Running = false
		close(m.ended)
	}
	m.state.Ended = ""
}

// Remove ends an instance and forgets it.
func (h *Host) Remove(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.failure(Remove); err != nil {
		return err
	}
	h.stop(id)
	delete(h.instances, id)
	return nil
}

// State is an instance's.
func (h *Host) State(id string) (instance.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.instances[id]
	if m == nil {
		return instance.State{}, instance.ErrNotFound
	}
	return m.state, nil
}

// List names the instances, in the order of their ids.
func (h *Host) List() ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id := range h.instances {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Wait returns when an instance does not run.
func (h *Host) Wait(ctx context.Context, id string) error {
	h.mu.Lock()
	m := h.instances[id]
	var ended chan struct{}
	if m != nil && m.state.Running {
		ended = m.ended
	}
	h.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Console says that there is no console.
func (h *Host) Console(id string) ([]byte, time.Time, error) {
	st, err := h.State(id)
	return nil, st.Since, err
}
