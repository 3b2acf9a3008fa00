package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/clock"
)

// Config of an Agent. All but Capabilities is needed.
type Config struct {
	Settings Settings
	Machine  Machine
	API      *API
	// StateDir keeps the registration; empty keeps none, and the next agent
	// registers as if it had never been.
	StateDir string
	// Version and Hash of the agent, and Runtime, the name and version of what
	// runs containers.
	Version, Hash, Runtime string
	// Capabilities are the attributes that tell what the agent can; nil means
	// all that Roadstead's node can.
	Capabilities []string
	Clock        clock.Clock
	Log          *slog.Logger
}

// Agent is a machine's registration and its connections; it is the transport
// of the node that runs there.
type Agent struct {
	cfg    Config
	health *healths

	mu sync.Mutex
	id identity
}

// New makes an agent.
func New(cfg Config) (*Agent, error) {
	if cfg.Capabilities == nil {
		cfg.Capabilities = slices.Clone(capabilities)
		if !cfg.Settings.External {
			// Interfaces are EC2's.
			cfg.Capabilities = append(cfg.Capabilities, "ecs.capability.task-eni")
		}
	}
	if cfg.StateDir != "" {
		if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
			return nil, err
		}
	}
	return &Agent{cfg: cfg, health: newHealths()}, nil
}

// Run registers the machine, then runs the node, whose transport the agent is,
// until ctx ends.
func (a *Agent) Run(ctx context.Context, runNode func(context.Context) error) error {
	if err := a.addInstanceTags(ctx); err != nil {
		// As the published agent does, it registers without them.
		a.cfg.Log.Error("the container instance does not get its EC2 instance's tags", "error", err)
	}
	id, err := a.register(ctx)
	if err != nil {
		return err
	}
	a.setIdentity(id)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return runNode(ctx) })
	g.Go(func() error { a.telemetry(ctx); return nil })
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *Agent) identity() identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id
}

func (a *Agent) setIdentity(id identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.id = id
}
