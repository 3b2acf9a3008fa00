package agentws_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"roadstead.dev/internal/model"
)

// An agent that is registered itself speaks for its own tasks and for no
// others, by whichever operation.
func TestForgedReports(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, _, _ := p.begin("agent")
		p.register("mallory")
		id := strings.Repeat("a", 32)
		task := p.task(id, arn, "bridge")
		before := p.observed(id)
		for operation, body := range map[string]string{
			"SubmitTaskStateChange":      `{"cluster":"default","task":"` + task + `","status":"STOPPED","reason":"because"}`,
			"SubmitContainerStateChange": `{"cluster":"default","task":"` + task + `","containerName":"web","status":"STOPPED","exitCode":1}`,
		} {
			status, answer := p.call("mallory", operation, body)
			if status != http.StatusBadRequest || answer["__type"] != "AccessDeniedException" {
				t.Errorf("%s: %d %v", operation, status, answer)
			}
			if got := p.observed(id); !reflect.DeepEqual(got, before) {
				t.Errorf("%s: %+v", operation, got)
			}
		}
		// What cannot be true of a task is not believed even of its own agent.
		for _, container := range []string{
			`{"containerName":"other","status":"RUNNING"}`,
			`{"containerName":"web","status":"RUNNING","networkBindings":[{"containerPort":80,"hostPort":65536}]}`,
			`{"containerName":"web","status":"RUNNING","networkBindings":[{"containerPort":-1,"hostPort":80}]}`,
		} {
			status, answer := p.call("agent", "SubmitTaskStateChange", `{"cluster":"default","task":"`+task+`","status":"RUNNING","containers":[`+container+`]}`)
			if status != http.StatusBadRequest || answer["__type"] != "InvalidParameterException" {
				t.Errorf("%s: %d %v", container, status, answer)
			}
			if got := p.observed(id); !reflect.DeepEqual(got, before) {
				t.Errorf("%s: %+v", container, got)
			}
		}
		// A task that is not known any more is acknowledged: agents repeat
		// themselves for a day.
		p.must("agent", "SubmitTaskStateChange", `{"cluster":"default","task":"`+strings.Repeat("c", 32)+`","status":"STOPPED"}`)
	})
}

// Reports that come in any order lead to the same.
func TestReorderedReports(t *testing.T) {
	reports := []string{
		`"status":"RUNNING","containers":[{"containerName":"web","runtimeId":"abc","status":"RUNNING","networkBindings":[{"containerPort":80,"hostPort":49153,"protocol":"tcp"}]}]`,
		`"status":"STOPPED","reason":"Essential container in task exited"`,
		`"status":"STOPPED","containers":[{"containerName":"web","status":"STOPPED","exitCode":7}]`,
	}
	withPlane(t, func(p *plane) {
		arn, _, _ := p.begin("agent")
		var first model.TaskObserved
		for n, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2, 0, 1}, {2, 0, 0, 1, 2}} {
			id := strings.Repeat(string(rune('a'+n)), 32)
			task := p.task(id, arn, "bridge")
			for _, r := range order {
				p.must("agent", "SubmitTaskStateChange", `{"cluster":"default","task":"`+task+`",`+reports[r]+`}`)
			}
			o := p.observed(id)
			if c := o.Containers[0]; o.Status != "STOPPED" || c.LastStatus != "STOPPED" || *c.ExitCode != 7 || c.RuntimeID != "abc" || *c.NetworkBindings[0].HostPort != 49153 {
				t.Errorf("%v: %+v", order, o)
			}
			if n == 0 {
				first = o
			} else if !reflect.DeepEqual(o, first) {
				t.Errorf("%v: %+v, want %+v", order, o, first)
			}
		}
	})
}

// What an agent says on the control connection beyond the protocol ends the
// connection or nothing; others' tasks it cannot touch.
func TestForgedMessages(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, control, _ := p.begin("agent")
		mine := p.register("mallory")
		task := p.task(strings.Repeat("a", 32), arn, "bridge")
		a, _, _ := p.connect("agent", control, controlQuery(arn))
		payload := a.next("PayloadMessage")
		payloads := a.listen()
		m, _, _ := p.connect("mallory", control, controlQuery(mine))
		m.next("TaskManifestMessage")

		// Somebody else's acknowledgment does not count: the payload comes again.
		m.send("AckRequest", map[string]any{"cluster": "default", "containerInstance": arn, "messageId": payload["messageId"]})
		// Nothing is told of a task of others but to stop it.
		m.send("TaskStopVerificationMessage", map[string]any{"messageId": "x", "stopCandidates": []any{map[string]any{"taskArn": task, "desiredStatus": "STOPPED"}}})
		if stop := m.next("TaskStopVerificationAck")["stopTasks"].([]any); len(stop) != 1 {
			t.Errorf("stops %v", stop)
		}
		m.send("PayloadMessage", map[string]any{"messageId": "y", "tasks": []any{map[string]any{"arn": task, "desiredStatus": "STOPPED"}}})
		m.send("NoSuchMessage", map[string]any{"anything": 1})
		m.send("AckRequest", map[string]any{"messageId": "nobody's"})
		m.next("HeartbeatMessage") // it is still served
		if again := <-payloads; again["tasks"].([]any)[0].(map[string]any)["desiredStatus"] != "RUNNING" {
			t.Errorf("%v", again)
		}

		for name, frame := range map[string]string{
			"no JSON":   "hello",
			"no object": `[1, 2]`,
			"too large": `{"type":"AckRequest","message":{"messageId":"` + strings.Repeat("x", 2<<20) + `"}}`,
		} {
			ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
			if err := m.conn.Write(ctx, websocket.MessageText, []byte(frame)); err == nil {
				for err == nil {
					_, _, err = m.conn.Read(ctx)
				}
			}
			if ctx.Err() != nil {
				t.Errorf("%s: the connection goes on", name)
			}
			cancel()
			_ = m.conn.CloseNow()
			synctest.Wait()
			if p.connected(mine) || !p.connected(arn) {
				t.Errorf("%s: connected %t, others %t", name, p.connected(mine), p.connected(arn))
			}
			m, _, _ = p.connect("mallory", control, controlQuery(mine))
		}
		_ = m.conn.CloseNow()
		_ = a.conn.CloseNow()
		for range payloads {
			continue // until the reader has ended
		}
	})
}

// listen answers heartbeats, and gives the payloads that come, until the
// connection ends.
func (a *stock) listen() <-chan map[string]any {
	payloads := make(chan map[string]any, 100)
	go func() {
		defer close(payloads)
		for {
			_, b, err := a.conn.Read(context.WithoutCancel(a.p.t.Context()))
			if err != nil {
				return
			}
			var f struct {
				Type    string
				Message map[string]any
			}
			if json.Unmarshal(b, &f) != nil {
				return
			}
			switch f.Type {
			case "PayloadMessage":
				payloads <- f.Message
			case "HeartbeatMessage":
				ack := `{"type":"HeartbeatAckRequest","message":{"messageId":"` + f.Message["messageId"].(string) + `"}}`
				if a.conn.Write(context.WithoutCancel(a.p.t.Context()), websocket.MessageText, []byte(ack)) != nil {
					return
				}
			}
		}
	}()
	return payloads
}
