package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

var _ node.Transport = (*Agent)(nil)

// The published agent's patience: a connection is left after 30 to 35 minutes
// and made anew, and when it is silent for one to two minutes.
const (
	connectionLife   = 30 * time.Minute
	connectionJitter = 5 * time.Minute
	silence          = time.Minute
	maxFrame         = 4 << 20
)

// endpoints are where the control plane awaits the agent.
func (a *Agent) endpoints(ctx context.Context) (control, telemetry string, err error) {
	var out struct {
		Endpoint          string `json:"endpoint"`
		TelemetryEndpoint string `json:"telemetryEndpoint"`
	}
	id := a.identity()
	err = a.cfg.API.Call(ctx, "DiscoverPollEndpoint", map[string]string{"cluster": id.Cluster, "containerInstance": id.ContainerInstanceArn}, &out)
	return out.Endpoint, out.TelemetryEndpoint, err
}

// dial opens a websocket. A refusal's text is in the error.
func (a *Agent) dial(ctx context.Context, endpoint string, query url.Values) (*websocket.Conn, error) {
	address, err := url.Parse(strings.TrimSuffix(endpoint, "/") + "/ws?" + query.Encode())
	if err != nil {
		return nil, err
	}
	header, err := a.cfg.API.signedHeader(ctx, address)
	if err != nil {
		return nil, err
	}
	//nolint:bodyclose // the connection's own; of a refusal it is in memory
	conn, resp, err := websocket.Dial(ctx, address.String(), &websocket.DialOptions{HTTPClient: a.cfg.API.Client, HTTPHeader: header})
	if err != nil {
		if resp == nil || resp.Body == nil {
			return nil, err
		}
		b, _ := io.ReadAll(io.LimitReader(resp.Body, maxFrame)) // what there is of it
		return nil, refusal(resp.StatusCode, b, err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, nil
}

// errInactive says that the machine is registered no more.
var errInactive = errors.New("the container instance is inactive")

func refusal(status int, body []byte, err error) error {
	var e map[string]any
	_ = json.Unmarshal(body, &e) // another body has no such member
	if _, inactive := e["InactiveInstanceException"]; inactive {
		return errInactive
	}
	if status == http.StatusSwitchingProtocols || len(e) == 0 {
		return err
	}
	return apiError("connect", status, body)
}

// Connect opens a control session. A machine that was deregistered registers
// anew, as what it is then.
func (a *Agent) Connect(ctx context.Context) (acs.Session, error) {
	s, err := a.connect(ctx)
	if !errors.Is(err, errInactive) {
		return s, err
	}
	a.cfg.Log.Warn("the container instance was deregistered: the machine registers anew")
	id, err := a.tryRegister(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := a.remember(id); err != nil {
		return nil, err
	}
	a.setIdentity(id)
	return a.connect(ctx)
}

func (a *Agent) connect(ctx context.Context) (acs.Session, error) {
	endpoint, _, err := a.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	id := a.identity()
	conn, err := a.dial(ctx, endpoint, url.Values{
		"clusterArn": {id.Cluster}, "containerInstanceArn": {id.ContainerInstanceArn}, "agentHash": {a.cfg.Hash}, "agentVersion": {a.cfg.Version},
		"seqNum": {"1"}, "protocolVersion": {"2"}, "dockerVersion": {a.cfg.Runtime}, "sendCredentials": {"true"},
	})
	if err != nil {
		return nil, err
	}
	a.cfg.Log.Info("connected", "endpoint", endpoint)
	life := connectionLife + rand.N(connectionJitter) //nolint:gosec // when to reconnect is no secret
	return &session{conn: conn, until: a.cfg.Clock.Now().Add(life), agent: a}, nil
}

// session is a control connection.
type session struct {
	agent *Agent
	conn  *websocket.Conn
	until time.Time
}

var errAged = errors.New("the connection is old enough to be made anew")

// Receive waits for a message, as long as the control plane may be silent.
func (s *session) Receive(ctx context.Context) (acs.Message, error) {
	left := s.until.Sub(s.agent.cfg.Clock.Now())
	if left <= 0 {
		return nil, errAged
	}
	patience := silence + rand.N(silence) //nolint:gosec // patience is no secret
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, b, err := s.conn.Read(ctx)
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
	return s.conn.Write(ctx, websocket.MessageText, b)
}

// Close ends the connection.
func (s *session) Close() error { return s.conn.Close(websocket.StatusNormalClosure, "") }

// SubmitTaskStateChange reports through the API, and keeps the health for the
// telemetry connection, which alone carries it.
func (a *Agent) SubmitTaskStateChange(ctx context.Context, ch acs.TaskStateChange) error {
	a.health.note(&ch)
	return a.cfg.API.Call(ctx, "SubmitTaskStateChange", report(&ch), nil)
}

// report is the operation's input.
func report(ch *acs.TaskStateChange) map[string]any {
	seconds := func(t *time.Time) any {
		if t == nil {
			return nil
		}
		return float64(t.UnixMilli()) / 1000
	}
	in := map[string]any{"cluster": ch.Cluster, "task": ch.Task}
	for name, v := range map[string]string{"status": ch.Status, "reason": ch.Reason} {
		if v != "" {
			in[name] = v
		}
	}
	if ch.Status == "" && len(ch.Attachments) > 0 {
		in["attachments"] = ch.Attachments
		return in
	}
	for name, t := range map[string]*time.Time{"pullStartedAt": ch.PullStartedAt, "pullStoppedAt": ch.PullStoppedAt, "executionStoppedAt": ch.ExecutionStoppedAt} {
		if t != nil {
			in[name] = seconds(t)
		}
	}
	containers := []map[string]any{}
	for _, c := range ch.Containers {
		m := map[string]any{"containerName": c.ContainerName, "status": c.Status, "reason": c.Reason, "imageDigest": c.ImageDigest, "runtimeId": c.RuntimeID}
		if c.ExitCode != nil {
			m["exitCode"] = *c.ExitCode
		}
		if len(c.NetworkBindings) > 0 {
			m["networkBindings"] = c.NetworkBindings
		}
		containers = append(containers, m)
	}
	in["containers"] = containers
	return in
}
