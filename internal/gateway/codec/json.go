package codec

import (
	"bytes"
	"errors"
	"reflect"
	"sync"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// JSON is the awsJson protocol, version 1.0 or 1.1.
type JSON struct{ Version string }

var _ Codec = JSON{}

// scratches are what answers grow in, so that each is allocated once, in its
// size.
var scratches = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

const maxScratch = 256 << 10

func (c JSON) contentType() string {
	v := c.Version
	if v == "" {
		v = "1.1"
	}
	return "application/x-amz-json-" + v
}

// Decode reads the body, a JSON object.
func (c JSON) Decode(op *api.Operation, r *Request, in any) error {
	v, ok := structOf(in)
	if !ok || op.InputShape() == nil {
		return nil
	}
	return decodeJSON(r.Body, op.InputShape(), v)
}

// Encode writes the output as a JSON object; an operation without output has
// an empty body.
func (c JSON) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	v, ok := structOf(out)
	if !ok || op.OutputShape() == nil {
		return newResponse(op.Status, c.contentType(), requestID, nil), nil
	}
	scratch := scratches.Get().(*[]byte)
	e := jsonEncoder{b: (*scratch)[:0]}
	if err := e.structure(typed.Of(op.OutputShape()), v, true, nil); err != nil {
		return nil, err
	}
	body := bytes.Clone(e.b)
	if cap(e.b) <= maxScratch {
		*scratch = e.b
		scratches.Put(scratch)
	}
	return newResponse(op.Status, c.contentType(), requestID, body), nil
}

// EncodeError writes __type, the message and the error's own members.
func (c JSON) EncodeError(svc *api.Service, err api.Error, requestID string) *Response {
	e := jsonEncoder{b: make([]byte, 0, 256)}
	e.b = append(e.b, `{"__type":`...)
	e.str(err.ErrorCode())
	e.errorMembers(svc, err)
	e.b = append(e.b, '}')
	r := newResponse(err.HTTPStatus(), c.contentType(), requestID, e.b)
	r.Header["X-Amzn-Errortype"] = []string{err.ErrorCode()}
	return r
}

// errorMembers writes the message and what else the model gives the error,
// each behind a comma.
func (e *jsonEncoder) errorMembers(svc *api.Service, err api.Error) {
	message := err.ErrorMessage()
	if n, v, ok := modelled(svc, err); ok {
		start := len(e.b)
		wrote := false
		encErr := func() error {
			for i := range n.Fields {
				f := &n.Fields[i]
				if isMessage(f.Member) || f.Absent(v.Field(f.Index)) {
					continue
				}
				e.b = append(e.b, ',')
				e.str(f.Member.Wire())
				e.b = append(e.b, ':')
				if err := e.value(f.Node, timestampFormat(f), f.Value(v)); err != nil {
					return err
				}
			}
			return nil
		}()
		if encErr != nil {
			e.b = e.b[:start]
		}
		for i := range n.Fields {
			if isMessage(n.Fields[i].Member) {
				e.member(n.Fields[i].Member.Wire(), message)
				wrote = true
				break
			}
		}
		if wrote {
			return
		}
	}
	if message != "" {
		e.member("message", message)
	}
}

func (e *jsonEncoder) member(name, value string) {
	e.b = append(e.b, ',')
	e.str(name)
	e.b = append(e.b, ':')
	e.str(value)
}

func isMessage(m *api.Member) bool {
	return m.Name == "message" || m.Name == "Message" || m.Name == "errorMessage"
}

// modelled finds the shape and struct of an error that the service's model
// describes.
func modelled(svc *api.Service, err api.Error) (*typed.Node, reflect.Value, bool) {
	if svc == nil {
		return nil, reflect.Value{}, false
	}
	if _, fault := errors.AsType[*api.Fault](err); fault {
		return nil, reflect.Value{}, false
	}
	v, ok := structOf(err)
	if !ok {
		return nil, reflect.Value{}, false
	}
	shape := svc.Shape(v.Type().Name())
	if shape == nil || shape.GoType() != v.Type() {
		return nil, reflect.Value{}, false
	}
	return typed.Of(shape), v, true
}
