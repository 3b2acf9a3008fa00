package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model/acs"
)

// publishEvery is how often the health of containers is told.
const publishEvery = 20 * time.Second

// healths is the health of the containers that have a health check.
type healths struct {
	mu    sync.Mutex
	tasks map[string]map[string]string // by task's ARN, by container
	fresh chan struct{}
}

func newHealths() *healths {
	return &healths{tasks: map[string]map[string]string{}, fresh: make(chan struct{}, 1)}
}

// note takes what a report says of health.
func (h *healths) note(ch *acs.TaskStateChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ch.Status == acs.StatusStopped {
		delete(h.tasks, ch.Task)
		return
	}
	now := map[string]string{}
	for _, c := range ch.Containers {
		if c.HealthStatus != "" {
			now[c.ContainerName] = c.HealthStatus
		}
	}
	if len(now) == 0 || maps.Equal(now, h.tasks[ch.Task]) {
		return
	}
	h.tasks[ch.Task] = now
	select {
	case h.fresh <- struct{}{}:
	default:
	}
}

type (
	containerHealth struct {
		ContainerName string `json:"containerName"`
		HealthStatus  string `json:"healthStatus"`
	}
	taskHealth struct {
		TaskArn    string            `json:"taskArn"`
		Containers []containerHealth `json:"containers"`
	}
)

func (h *healths) list() []taskHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []taskHealth
	for _, arn := range slices.Sorted(maps.Keys(h.tasks)) {
		t := taskHealth{TaskArn: arn}
		for _, name := range slices.Sorted(maps.Keys(h.tasks[arn])) {
			t.Containers = append(t.Containers, containerHealth{name, h.tasks[arn][name]})
		}
		out = append(out, t)
	}
	return out
}

// telemetry keeps the telemetry connection until ctx ends.
func (a *Agent) telemetry(ctx context.Context) {
	for delay := firstDelay; ctx.Err() == nil; delay = min(2*delay, longestDelay) {
		begun := a.cfg.Clock.Now()
		err := a.publish(ctx)
		if ctx.Err() != nil {
			return
		}
		a.cfg.Log.Debug("the telemetry connection ended", "error", err)
		if a.cfg.Clock.Now().Sub(begun) > longestDelay {
			delay = firstDelay
		}
		if !clock.Sleep(ctx, a.cfg.Clock, delay) {
			return
		}
	}
}

// publish tells the health of containers for the life of one connection.
func (a *Agent) publish(ctx context.Context) error {
	_, endpoint, err := a.endpoints(ctx)
	if err != nil {
		return err
	}
	i := a.identity()
	conn, err := a.dial(ctx, endpoint, url.Values{
		"cluster": {i.Cluster}, "containerInstance": {i.ContainerInstanceArn}, "agentVersion": {a.cfg.Version}, "agentHash": {a.cfg.Hash}, "dockerVersion": {a.cfg.Runtime},
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, cancel := context.WithTimeout(ctx, connectionLife)
	defer cancel()
	received := make(chan error, 1)
	go func() { received <- drain(ctx, conn); cancel() }()
	err = a.publishTo(ctx, conn, i)
	cancel()
	if rerr := <-received; rerr != nil {
		err = rerr
	}
	return err
}

// drain reads acknowledgements and heartbeats, which say that somebody is
// there.
func drain(ctx context.Context, conn *websocket.Conn) error {
	for {
		one, cancel := context.WithTimeout(ctx, 2*silence)
		_, _, err := conn.Read(one)
		cancel()
		if err != nil {
			return err
		}
	}
}

func (a *Agent) publishTo(ctx context.Context, conn *websocket.Conn, i identity) error {
	timer := a.cfg.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-a.health.fresh:
		}
		for part := range slices.Chunk(a.health.list(), 10) {
			if err := conn.Write(ctx, websocket.MessageText, a.healthFrame(i, part)); err != nil {
				return err
			}
		}
		timer.Reset(publishEvery)
	}
}

// healthFrame is a frame with a header before it, as the protocol has it. The
// connection was signed: the header only tells the time.
func (a *Agent) healthFrame(i identity, tasks []taskHealth) []byte {
	now := a.cfg.Clock.Now()
	body, _ := json.Marshal(map[string]any{ // plain values always encode
		"type": "PublishHealthRequest",
		"message": map[string]any{
			"metadata": map[string]any{"cluster": i.Cluster, "containerInstance": i.ContainerInstanceArn, "messageId": id.UUID(), "fin": true},
			"tasks":    tasks, "timestamp": float64(now.UnixMilli()) / 1000,
		},
	})
	return fmt.Appendf(nil, "X-Amz-Date: %s\r\n\r\n%s", now.UTC().Format("20060102T150405Z"), body)
}
