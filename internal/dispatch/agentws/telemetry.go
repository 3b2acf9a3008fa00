package agentws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
)

// beat is how often a telemetry connection is shown to be alive.
const beat = 30 * time.Second

// Telemetry serves TCS. Metrics are acknowledged and dropped: nothing keeps
// them yet.
type Telemetry struct{ cfg Config }

// NewTelemetry makes the telemetry end.
func NewTelemetry(cfg Config) *Telemetry { return &Telemetry{withDefaults(cfg)} }

// ServeSigned takes an agent's connection.
func (h *Telemetry) ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error {
	q := r.URL.Query()
	i, key, err := h.cfg.admit(r.Context(), c, "ecs:StartTelemetrySession", q.Get("containerInstance"), q.Get("cluster"))
	if errors.Is(err, dispatch.ErrInactive) {
		inactive(w, q.Get("containerInstance"))
		return nil
	}
	if err != nil {
		return err
	}
	conn, ok := h.cfg.accept(w, r)
	if !ok {
		return nil // answered
	}
	t := &telemetry{cfg: &h.cfg, conn: conn, instance: i, key: key}
	if err := t.run(r.Context()); err != nil {
		h.cfg.Log.Debug("a telemetry connection ended", "instance", i.ARN, "error", err)
	}
	return nil
}

// telemetry is one connection.
type telemetry struct {
	cfg      *Config
	conn     *websocket.Conn
	instance *model.ContainerInstance
	key      store.Key
}

// run serves the connection until it ends.
func (t *telemetry) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.beat(ctx)
		cancel() // ends the reading too
	}()
	err := t.receive(ctx)
	cancel()
	<-done
	return errors.Join(err, t.conn.CloseNow())
}

// beat shows the agent that the server is there, for as long as the instance
// is registered.
func (t *telemetry) beat(ctx context.Context) {
	timer := t.cfg.Clock.NewTimer(beat)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := t.cfg.Dispatcher.Active(ctx, t.key); err != nil {
			return
		}
		if err := write(ctx, t.conn, answer(typeHeartbeat, map[string]bool{"healthy": true})); err != nil {
			return
		}
		timer.Reset(beat)
	}
}

func (t *telemetry) receive(ctx context.Context) error {
	for {
		b, err := read(ctx, t.conn, t.cfg.Silence)
		if err != nil {
			return err
		}
		e, err := parseFrame(b)
		if err != nil {
			return err
		}
		ack, err := t.take(ctx, e)
		if err != nil {
			return err
		}
		if ack == "" {
			continue
		}
		if err := write(ctx, t.conn, answer(ack, map[string]string{"message": "OK"})); err != nil {
			return err
		}
	}
}

// take does what a message says, and tells the type of the answer.
func (t *telemetry) take(ctx context.Context, e envelope) (string, error) {
	switch e.Type {
	case typePublishMetrics:
		return typeAckMetric, nil
	case typePublishHealth:
		var m publishHealth
		if err := json.Unmarshal(e.Message, &m); err != nil {
			return "", fmt.Errorf("%w: %w", errFrame, err)
		}
		return typeAckHealth, t.health(ctx, &m)
	case typePublishStatus:
		var m publishStatus
		if err := json.Unmarshal(e.Message, &m); err != nil {
			return "", fmt.Errorf("%w: %w", errFrame, err)
		}
		return typeAckStatus, t.cfg.Dispatcher.Impaired(ctx, t.key, impairment(&m))
	}
	t.cfg.Log.Debug("nothing to do for a telemetry message", "type", e.Type)
	return "", nil
}

// health records the health of the instance's tasks; what is said of others is
// left aside.
func (t *telemetry) health(ctx context.Context, m *publishHealth) error {
	for _, task := range m.Tasks {
		containers := map[string]string{}
		for _, c := range task.Containers {
			containers[c.ContainerName] = c.HealthStatus
		}
		err := t.cfg.Dispatcher.Health(ctx, t.instance.ID, task.TaskArn, containers)
		if errors.Is(err, acs.ErrUnknownTask) {
			t.cfg.Log.Warn("the health of a task that is not the instance's", "instance", t.instance.ARN, "task", task.TaskArn)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// impairment is what an instance's checks say is not well.
func impairment(m *publishStatus) string {
	for _, s := range m.Statuses {
		if s.Status == "IMPAIRED" {
			return s.Type + " is impaired"
		}
	}
	return ""
}
