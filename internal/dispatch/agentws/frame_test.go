package agentws

import (
	"encoding/json"
	"testing"

	"roadstead.dev/internal/model/acs"
)

func TestParseFrame(t *testing.T) {
	for frame, want := range map[string]string{
		`{"type":"A","message":{}}`: "A",
		"Host: x\r\nAuthorization: y\r\n\r\n{\"type\":\"B\",\"message\":{\"a\":1}}": "B",
		"Host: x\r\n{\"type\":\"C\"}": "",
		"\r\n\r\n":                    "",
		"X: y\r\n\r\n{}":              "",
		"X: y\r\n\r\n[]":              "",
	} {
		e, err := parseFrame([]byte(frame))
		if e.Type != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", frame, e.Type, err)
		}
	}
}

func FuzzTelemetryFrame(f *testing.F) {
	f.Add([]byte("Host: x\r\n\r\n{\"type\":\"PublishHealthRequest\",\"message\":{\"tasks\":[{\"taskArn\":\"a\",\"containers\":[{\"containerName\":\"c\",\"healthStatus\":\"HEALTHY\"}]}]}}"))
	f.Add([]byte(`{"type":"PublishInstanceStatusRequest","message":{"statuses":[{"type":"CONTAINER_RUNTIME","status":"IMPAIRED"}]}}`))
	f.Add([]byte("\r\n\r\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseFrame(b)
		if err != nil {
			return
		}
		if e.Type == "" {
			t.Error("a message without a type")
		}
		var h publishHealth
		var s publishStatus
		_ = json.Unmarshal(e.Message, &h)
		if json.Unmarshal(e.Message, &s) == nil {
			impairment(&s)
		}
	})
}

// What an agent sends decodes to what is sent again, or not at all.
func FuzzControlFrame(f *testing.F) {
	f.Add([]byte(`{"type":"AckRequest","message":{"cluster":"c","containerInstance":"i","messageId":"m"}}`))
	f.Add([]byte(`{"type":"TaskStopVerificationMessage","message":{"messageId":"m","stopCandidates":[{"taskArn":"a"}]}}`))
	f.Add([]byte(`{"type":"IAMRoleCredentialsAckRequest","message":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := acs.Decode(b)
		if err != nil {
			return
		}
		again, err := acs.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := acs.Decode(again); err != nil {
			t.Error(err)
		}
	})
}
