package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model/acs"
)

// Config of a Node. Engine, Transport, StateDir, Clock and Log are needed.
type Config struct {
	// Name marks the node's containers, so that two nodes can share an engine.
	Name      string
	Engine    engine.Engine
	Transport Transport
	// Network nil gives tasks no namespace: they share the engine's default.
	Network Network
	// Interfaces are those that the control plane attaches to the machine for
	// tasks; nil means that each is there at once.
	Interfaces Interfaces
	// Registries nil pulls anonymously; Logs nil discards all output; Secrets
	// and EnvironmentFiles nil run no task that has any.
	Registries       RegistryCredentials
	Logs             Logs
	Secrets          Secrets
	EnvironmentFiles EnvironmentFiles
	// StateDir holds a file per task, and the tasks' own volumes.
	StateDir string
	// Volatile says that the engine only pretends: its containers end with the
	// process, and nobody in them reads files. Nothing is kept on disk then, and
	// the next process gets the tasks as new ones, which start again.
	Volatile bool
	// StopTimeout is how long containers have to end that say nothing of it; 0
	// means 30 s.
	StopTimeout time.Duration
	// CachedImages are taken without a look at their registry.
	CachedImages bool
	// APIEndpoint is the value of AWS_ENDPOINT_URL in containers; empty sets
	// none.
	APIEndpoint string
	// ExecutionCredentials, unless nil, is told the credentials of tasks'
	// execution roles, as they come.
	ExecutionCredentials func(taskArn string, c *acs.IAMRoleCredentials)
	// Tags reads a task's tags for the metadata endpoint; nil shows none.
	Tags func(ctx context.Context, taskArn string) (map[string]string, error)
	// RetryDelay is the first pause before something is tried again; 0 means a
	// second.
	RetryDelay time.Duration
	Clock      clock.Clock
	Log        *slog.Logger
}

// Node runs tasks.
type Node struct {
	cfg   Config
	files files
	creds *credentials
	// readings are what the metadata endpoint read last.
	readings readings

	mu    sync.Mutex
	tasks map[string]*task
	// ended remembers tasks that were here and are gone, so that a payload
	// that was on its way does not start them again.
	ended map[string]time.Time
	// awaited are the attachments of interfaces that are waited for.
	awaited map[string]bool
	// timeline is the newest manifest's.
	timeline int64
	// running is the context and the group of the tasks' goroutines.
	running context.Context
	wg      sync.WaitGroup
}

// New makes a node; Run starts it.
func New(cfg Config) (*Node, error) {
	if cfg.RetryDelay == 0 {
		cfg.RetryDelay = time.Second
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = defaultStopTimeout
	}
	n := &Node{
		cfg: cfg, files: files{dir: filepath.Join(cfg.StateDir, "tasks"), volatile: cfg.Volatile, log: cfg.Log}, creds: newCredentials(),
		tasks: map[string]*task{}, ended: map[string]time.Time{}, awaited: map[string]bool{},
	}
	if cfg.Volatile {
		return n, nil
	}
	for _, d := range []string{n.files.dir, filepath.Join(cfg.StateDir, "files")} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return nil, fmt.Errorf("make the node's folder: %w", err)
		}
	}
	return n, nil
}

// Run adopts what an earlier node left, then works until ctx ends. Tasks go
// on running then.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := n.adopt(ctx); err != nil {
		return err
	}
	defer n.wg.Wait()
	defer cancel()
	n.wg.Go(func() { n.collectImages(ctx) })
	return n.sessions(ctx)
}

// adopt loads the tasks' states, removes containers that belong to none, and
// starts the tasks' goroutines.
func (n *Node) adopt(ctx context.Context) error {
	states, err := n.files.load()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, s := range states {
		for _, c := range s.Containers {
			known[c.ID] = true
		}
	}
	n.mu.Lock()
	n.running = ctx
	for _, s := range states {
		n.creds.put(s.Task.Arn, s.Task.RoleCredentials)
		n.launch(s)
	}
	n.mu.Unlock()
	cs, err := n.cfg.Engine.ListContainers(ctx, map[string]string{labelNode: n.cfg.Name})
	if err != nil {
		return fmt.Errorf("list the node's containers: %w", err)
	}
	for _, c := range cs {
		if known[c.ID] {
			continue
		}
		n.cfg.Log.Warn("remove a container of no task", "container", c.ID, "task", c.Labels[labelTask])
		if err := n.cfg.Engine.RemoveContainer(ctx, c.ID); err != nil {
			n.cfg.Log.Error("remove a container of no task", "container", c.ID, "error", err)
		}
	}
	return nil
}

// launch starts a task's goroutine; n.mu is held.
func (n *Node) launch(s *taskState) {
	t := newTask(n, s)
	n.tasks[s.Task.Arn] = t
	n.execution(s.Task.Arn, s.Task.ExecutionRoleCredentials)
	n.wg.Go(func() {
		t.run(n.running)
		if n.running.Err() != nil {
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.tasks, s.Task.Arn)
		now := n.cfg.Clock.Now()
		n.ended[s.Task.Arn] = now
		for arn, at := range n.ended {
			if now.Sub(at) > time.Hour {
				delete(n.ended, arn)
			}
		}
	})
}

func (n *Node) execution(arn string, c *acs.IAMRoleCredentials) {
	if n.cfg.ExecutionCredentials != nil && c != nil {
		n.cfg.ExecutionCredentials(arn, c)
	}
}

// accept takes a task of a payload: a new one, or news of one that is here.
func (n *Node) accept(in *acs.Task) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.tasks[in.Arn]; t != nil {
		t.news(in)
		return nil
	}
	if _, gone := n.ended[in.Arn]; gone && in.DesiredStatus != acs.DesiredStopped {
		return nil
	}
	if in.Arn == "" {
		return errors.New("a task without an ARN")
	}
	now := n.cfg.Clock.Now()
	// By the time, so that the numbers grow even when the state was lost.
	s := &taskState{Task: *in, AcceptedAt: now, Sequence: now.UnixMilli()}
	switch {
	case in.DesiredStatus == acs.DesiredStopped:
		// Nothing of it is here: only the report is left.
		s.Stop, s.Cleaned = true, true
		s.Task.Containers = nil
	case len(in.Containers) == 0:
		return fmt.Errorf("task %s has no containers", in.Arn)
	}
	for _, c := range s.Task.Containers {
		s.Containers = append(s.Containers, containerState{
			Name: c.Name, ID: taskID(in.Arn) + "-" + digits(10), Image: c.Image, Health: initialHealth(&c),
		})
	}
	if err := n.files.save(s); err != nil {
		return err
	}
	n.creds.put(in.Arn, in.RoleCredentials)
	n.launch(s)
	return nil
}

// digits are n random decimal digits, as the ids of Fargate's containers end.
func digits(n int) string {
	b := []byte(id.Hex(n))
	for i, c := range b {
		if c >= 'a' {
			b[i] = '0' + (c-'a')%10
		}
	}
	return string(b)
}

func (n *Node) task(arn string) *task {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tasks[arn]
}

// list is every task that is here.
func (n *Node) list() []*task {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*task, 0, len(n.tasks))
	for _, t := range n.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *task) int { return a.accepted.Compare(b.accepted) })
	return all
}

// imageAge is how long an image that nothing uses is kept.
const imageAge = 24 * time.Hour

// collectImages removes images that were not used for a day.
func (n *Node) collectImages(ctx context.Context) {
	for clock.Sleep(ctx, n.cfg.Clock, time.Hour) {
		removed, err := n.cfg.Engine.RemoveUnusedImages(ctx, n.cfg.Clock.Now().Add(-imageAge))
		if err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("remove unused images", "error", err)
		}
		if removed > 0 {
			n.cfg.Log.Info("removed unused images", "count", removed)
		}
	}
}
