package acs

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnknownType tells that a frame's type is none of the protocol's.
var ErrUnknownType = errors.New("unknown message type")

// frame is the envelope of a message in a text frame.
type frame struct {
	Type    string          `json:"type"`
	Message json.RawMessage `json:"message"`
}

// types makes an empty message of each type of the wire.
var types = map[string]func() Message{
	"PayloadMessage":                     func() Message { return new(PayloadMessage) },
	"AckRequest":                         func() Message { return new(AckRequest) },
	"NackRequest":                        func() Message { return new(NackRequest) },
	"HeartbeatMessage":                   func() Message { return new(HeartbeatMessage) },
	"HeartbeatAckRequest":                func() Message { return new(HeartbeatAckRequest) },
	"IAMRoleCredentialsMessage":          func() Message { return new(IAMRoleCredentialsMessage) },
	"IAMRoleCredentialsAckRequest":       func() Message { return new(IAMRoleCredentialsAckRequest) },
	"TaskManifestMessage":                func() Message { return new(TaskManifestMessage) },
	"TaskStopVerificationMessage":        func() Message { return new(TaskStopVerificationMessage) },
	"TaskStopVerificationAck":            func() Message { return new(TaskStopVerificationAck) },
	"CloseMessage":                       func() Message { return new(CloseMessage) },
	"ErrorMessage":                       func() Message { return new(ErrorMessage) },
	"AttachTaskNetworkInterfacesMessage": func() Message { return new(AttachTaskNetworkInterfacesMessage) },
}

// TypeOf is the message's type on the wire.
func TypeOf(m Message) string {
	switch m.(type) {
	case *PayloadMessage:
		return "PayloadMessage"
	case *AckRequest:
		return "AckRequest"
	case *NackRequest:
		return "NackRequest"
	case *HeartbeatMessage:
		return "HeartbeatMessage"
	case *HeartbeatAckRequest:
		return "HeartbeatAckRequest"
	case *IAMRoleCredentialsMessage:
		return "IAMRoleCredentialsMessage"
	case *IAMRoleCredentialsAckRequest:
		return "IAMRoleCredentialsAckRequest"
	case *TaskManifestMessage:
		return "TaskManifestMessage"
	case *TaskStopVerificationMessage:
		return "TaskStopVerificationMessage"
	case *TaskStopVerificationAck:
		return "TaskStopVerificationAck"
	case *CloseMessage:
		return "CloseMessage"
	case *ErrorMessage:
		return "ErrorMessage"
	case *AttachTaskNetworkInterfacesMessage:
		return "AttachTaskNetworkInterfacesMessage"
	default:
		return ""
	}
}

// Encode writes a message as the text frame that the websocket carries.
func Encode(m Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", TypeOf(m), err)
	}
	return json.Marshal(frame{Type: TypeOf(m), Message: b})
}

// Decode reads a text frame. A type that is not known is ErrUnknownType,
// which a receiver may log and skip.
func Decode(b []byte) (Message, error) {
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	empty, ok := types[f.Type]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, f.Type)
	}
	m := empty()
	if err := json.Unmarshal(f.Message, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", f.Type, err)
	}
	return m, nil
}
