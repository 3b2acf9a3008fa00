package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
)

// watchContainer waits for a running container's end, and checks its health,
// in goroutines of their own. They end with the container or the task.
func (t *task) watchContainer(ctx context.Context, name string) {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	if end := t.watch[name]; end != nil {
		end()
	}
	t.watch[name] = cancel
	s := t.state.clone()
	t.mu.Unlock()
	id, def := s.container(name).ID, s.definition(name)
	t.helper.Go(func() {
		defer cancel()
		for {
			e, err := t.node.cfg.Engine.Wait(ctx, id)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, engine.ErrNotFound), errors.Is(err, engine.ErrNotRunning):
				e = engine.Exit{Code: 255, At: t.node.cfg.Clock.Now(), Lost: true}
			case err != nil:
				t.node.cfg.Log.Warn("wait for a container", "task", t.arn, "container", name, "error", err)
				if !clock.Sleep(ctx, t.node.cfg.Clock, t.node.cfg.RetryDelay) {
					return
				}
				continue
			}
			t.exit(name, e)
			poke(t.wake)
			return
		}
	})
	if check := healthcheck(def); check != nil {
		t.helper.Go(func() { t.checkHealth(ctx, name, id, check) })
	}
}

// Docker's defaults of health checks.
const (
	defaultInterval    = 30 * time.Second
	defaultTimeout     = 5 * time.Second
	defaultRetries     = 3
	maxHealthOutput    = 4096
	healthCheckSkipped = "NONE"
)

// healthcheck is a container's check with the defaults filled in, nil when
// there is none.
func healthcheck(c *acs.Container) *acs.DockerHealthcheck {
	if c.HealthCheckType == "" {
		return nil
	}
	config, _, err := c.DockerConfig.Parse()
	if err != nil || config.Healthcheck == nil || len(config.Healthcheck.Test) < 2 || config.Healthcheck.Test[0] == healthCheckSkipped {
		return nil
	}
	h := *config.Healthcheck
	if h.Interval <= 0 {
		h.Interval = defaultInterval
	}
	if h.Timeout <= 0 {
		h.Timeout = defaultTimeout
	}
	if h.Retries <= 0 {
		h.Retries = defaultRetries
	}
	return &h
}

func initialHealth(c *acs.Container) string {
	if healthcheck(c) == nil {
		return ""
	}
	return acs.HealthUnknown
}

// checkHealth runs the check every interval. A container is healthy after one
// success, and unhealthy after as many failures in a row as Retries, of which
// those in the start period do not count until the first success.
func (t *task) checkHealth(ctx context.Context, name, id string, h *acs.DockerHealthcheck) {
	args := slices.Clone(h.Test[1:])
	if h.Test[0] == "CMD-SHELL" {
		args = append([]string{"/bin/sh", "-c"}, args...)
	}
	s := t.snapshot()
	c := s.container(name)
	failures, healthy := 0, c.Health == acs.HealthHealthy
	for clock.Sleep(ctx, t.node.cfg.Clock, h.Interval) {
		probe, cancel := context.WithTimeout(ctx, h.Timeout)
		r, err := t.node.cfg.Engine.Exec(probe, id, engine.Command{Args: args, MaxOutput: maxHealthOutput})
		expired := probe.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return
		}
		now := t.node.cfg.Clock.Now()
		status := ""
		switch {
		case err == nil && r.Code == 0:
			failures, healthy, status = 0, true, acs.HealthHealthy
		case !healthy && now.Before(c.StartedAt.Add(h.StartPeriod)):
		default:
			failures++
			if failures >= h.Retries {
				status = acs.HealthUnhealthy
			}
		}
		out, code := r.Output, int32(r.Code)
		if expired {
			out, code = "Health check exceeded timeout ("+h.Timeout.String()+")", -1
		} else if err != nil {
			out, code = err.Error(), -1
		}
		t.post(func(s *taskState) {
			c := s.container(name)
			c.HealthOutput, c.HealthExit = out, code
			if status != "" && c.Health != status && c.Step == stepRunning {
				c.Health, c.HealthSince = status, now
			}
		})
	}
}
