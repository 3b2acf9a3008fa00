// Package agentws is where the agents of container instances connect: the
// control websocket (ACS), which carries tasks to them, and the telemetry
// websocket (TCS), on which they tell how containers are. Roadstead's own
// agent and the one that AWS publishes speak the same here.
package agentws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Dispatcher serves agents. *dispatch.Dispatcher does.
type Dispatcher interface {
	Serve(ctx context.Context, a dispatch.Agent, conn acs.Session) error
	Active(ctx context.Context, instance store.Key) error
	Health(ctx context.Context, node, task string, containers map[string]string) error
	Impaired(ctx context.Context, instance store.Key, why string) error
}

// Owner tells whose agent a caller is.
type Owner interface {
	// SpeaksFor tells whether the caller of ctx is the agent of the container
	// instance.
	SpeaksFor(ctx context.Context, i *model.ContainerInstance) (bool, error)
}

// Config of both ends. All but Silence is needed.
type Config struct {
	Store      store.Store
	Dispatcher Dispatcher
	Owner      Owner
	Clock      clock.Clock
	Log        *slog.Logger
	// Silence is how long an agent may say nothing; 0 means 90 seconds, three
	// heartbeats that it did not answer.
	Silence time.Duration
}

const (
	defaultSilence = 90 * time.Second
	// maxFrame bounds an agent's frame: metrics of ten tasks fit many times.
	maxFrame = 1 << 20
	// writeWait is how long a frame may wait for an agent that does not read.
	writeWait = 10 * time.Second
)

// Control serves ACS.
type Control struct{ cfg Config }

// NewControl makes the control end.
func NewControl(cfg Config) *Control { return &Control{withDefaults(cfg)} }

func withDefaults(cfg Config) Config {
	if cfg.Silence == 0 {
		cfg.Silence = defaultSilence
	}
	return cfg
}

// ServeSigned takes an agent's connection.
func (h *Control) ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error {
	q := r.URL.Query()
	i, key, err := h.cfg.admit(r.Context(), c, "ecs:Poll", q.Get("containerInstanceArn"), q.Get("clusterArn"))
	if errors.Is(err, dispatch.ErrInactive) {
		inactive(w, q.Get("containerInstanceArn"))
		return nil
	}
	if err != nil {
		return err
	}
	conn, ok := h.cfg.accept(w, r)
	if !ok {
		return nil // answered
	}
	agent := dispatch.Agent{Instance: key, Version: q.Get("agentVersion"), Hash: q.Get("agentHash"), DockerVersion: dockerVersion(q.Get("dockerVersion"))}
	h.cfg.Log.Info("an agent is connected", "instance", i.ARN, "agent", agent.Version)
	err = h.cfg.Dispatcher.Serve(r.Context(), agent, &session{conn: conn, silence: h.cfg.Silence})
	h.cfg.Log.Info("an agent has gone", "instance", i.ARN, "error", err)
	return nil
}

// dockerVersion is shown as AWS shows it.
func dockerVersion(v string) string {
	if v == "" || strings.HasPrefix(v, "DockerVersion:") {
		return v
	}
	return "DockerVersion: " + v
}

// inactive answers an agent whose instance is not registered any more. It
// waits for an hour when it reads this.
func inactive(w http.ResponseWriter, arn string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"InactiveInstanceException": "The container instance is inactive: " + arn})
}

// admit finds the container instance and checks that the caller may speak for
// it.
func (cfg *Config) admit(ctx context.Context, c *api.Call, action, instance, cluster string) (*model.ContainerInstance, store.Key, error) {
	var key store.Key
	arn, err := model.ParseARN(instance)
	id, ok := strings.CutPrefix(arn.Resource, "container-instance/")
	if err != nil || !ok || arn.Service != "ecs" || arn.Account != c.Account || arn.Region != c.Region || strings.Count(id, "/") != 1 {
		return nil, key, ecs.NewInvalidParameterException("Invalid container instance: %s", instance)
	}
	name, _, _ := strings.Cut(id, "/")
	clusterARN := model.ECSClusterARN(c.Region, c.Account, name)
	if cluster != "" && cluster != name && cluster != clusterARN {
		return nil, key, ecs.NewInvalidParameterException("Container instance %s is not of cluster %s.", instance, cluster)
	}
	if err := c.Authorize(ctx, action, instance, map[string]string{"ecs:cluster": clusterARN}); err != nil {
		return nil, key, err
	}
	row, err := tables.ECSContainerInstances.Get(ctx, cfg.Store, c.Account, c.Region, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ContainerInstanceInactive {
		return nil, key, dispatch.ErrInactive
	}
	if err != nil {
		return nil, key, err
	}
	mine, err := cfg.Owner.SpeaksFor(ctx, row.V)
	if err != nil {
		return nil, key, err
	}
	if !mine {
		cfg.Log.WarnContext(ctx, "an agent connects for an instance that is not its own", "instance", instance, "caller", c.Identity.ARN)
		return nil, key, ecs.NewAccessDeniedException("User: %s is not the agent of the container instance %s", c.Identity.ARN, instance)
	}
	return row.V, row.Key, nil
}

// accept makes the request a websocket.
func (cfg *Config) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, bool) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		cfg.Log.Warn("no websocket", "path", r.URL.Path, "error", err)
		return nil, false
	}
	conn.SetReadLimit(maxFrame)
	return conn, true
}

// session is a control connection.
type session struct {
	conn    *websocket.Conn
	silence time.Duration
}

var _ acs.Session = (*session)(nil)

// Receive blocks for the next message, as long as the agent may be silent.
func (s *session) Receive(ctx context.Context) (acs.Message, error) {
	b, err := read(ctx, s.conn, s.silence)
	if err != nil {
		return nil, err
	}
	return acs.Decode(b)
}

// Send writes a message.
func (s *session) Send(ctx context.Context, m acs.Message) error {
	b, err := acs.Encode(m)
	if err != nil {
		return err
	}
	return write(ctx, s.conn, b)
}

// Close ends the connection.
func (s *session) Close() error { return s.conn.Close(websocket.StatusNormalClosure, "") }

func read(ctx context.Context, conn *websocket.Conn, silence time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	kind, b, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText && kind != websocket.MessageBinary {
		return nil, fmt.Errorf("a frame of type %s", kind)
	}
	return b, nil
}

func write(ctx context.Context, conn *websocket.Conn, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, b)
}
