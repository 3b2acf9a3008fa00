package agentws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Types of the telemetry protocol's messages.
const (
	typePublishMetrics = "PublishMetricsRequest"
	typePublishHealth  = "PublishHealthRequest"
	typePublishStatus  = "PublishInstanceStatusRequest"
	typeHeartbeat      = "HeartbeatMessage"
	typeAckMetric      = "AckPublishMetric"
	typeAckHealth      = "AckPublishHealth"
	typeAckStatus      = "AckPublishInstanceStatus"
)

// errFrame tells that a frame is not the protocol's.
var errFrame = errors.New("not a telemetry frame")

// envelope is a message in a frame.
type envelope struct {
	Type    string          `json:"type"`
	Message json.RawMessage `json:"message"`
}

// parseFrame reads an agent's frame: signed headers, an empty line, and the
// message. The signature says again what the connection's has said, and is not
// looked at. A frame without headers is taken too.
func parseFrame(b []byte) (envelope, error) {
	var e envelope
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		_, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		if !ok {
			return e, fmt.Errorf("%w: its headers do not end", errFrame)
		}
		b = body
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("%w: %w", errFrame, err)
	}
	if e.Type == "" {
		return e, fmt.Errorf("%w: it has no type", errFrame)
	}
	return e, nil
}

// publishHealth is a PublishHealthRequest.
type publishHealth struct {
	Tasks []struct {
		TaskArn    string `json:"taskArn"`
		Containers []struct {
			ContainerName string `json:"containerName"`
			HealthStatus  string `json:"healthStatus"`
		} `json:"containers"`
	} `json:"tasks"`
}

// publishStatus is a PublishInstanceStatusRequest.
type publishStatus struct {
	Statuses []struct {
		Type   string `json:"type"`
		Status string `json:"status"`
	} `json:"statuses"`
}

// answer is the server's frame.
func answer(kind string, message any) []byte {
	b, _ := json.Marshal(struct { // plain values always encode
		Type    string `json:"type"`
		Message any    `json:"message"`
	}{kind, message})
	return b
}
