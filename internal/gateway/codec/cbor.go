package codec

import (
	"bytes"
	"errors"
	"net/http"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// CBOR is Smithy's protocol rpcv2Cbor.
// https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
type CBOR struct{}

var _ Codec = CBOR{}

const (
	// ProtocolHeader names the protocol, in requests and in responses.
	ProtocolHeader = "Smithy-Protocol"
	// ProtocolCBOR is what it names this one.
	ProtocolCBOR = "rpc-v2-cbor"

	contentCBOR = "application/cbor"
	// queryError tells clients the code that an error had while its service
	// spoke the query protocol.
	queryError = "X-Amzn-Query-Error"
)

// Decode reads the body, a map.
func (CBOR) Decode(op *api.Operation, r *Request, in any) error {
	v, ok := structOf(in)
	if !ok || op.InputShape() == nil || len(r.Body) == 0 {
		return nil
	}
	d := cborDecoder{b: r.Body}
	err := d.value(typed.Of(op.InputShape()), v)
	if err == nil && d.i != len(d.b) {
		err = errCBOR
	}
	if errors.Is(err, errCBOR) {
		return &api.Fault{Code: "SerializationException"}
	}
	return err
}

// Encode writes the output as a map; an operation without output has an empty
// body.
func (CBOR) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	v, ok := structOf(out)
	if !ok || op.OutputShape() == nil {
		return cborResponse(op.Status, requestID, nil), nil
	}
	var e cborEncoder
	e.structure(typed.Of(op.OutputShape()), v, true)
	return cborResponse(op.Status, requestID, e.b), nil
}

func cborResponse(status int, requestID string, body []byte) *Response {
	r := newResponse(status, contentCBOR, requestID, body)
	if body == nil {
		delete(r.Header, "Content-Type")
	}
	r.Header[ProtocolHeader] = []string{ProtocolCBOR}
	return r
}

// EncodeError writes __type, the message and the error's own members.
func (CBOR) EncodeError(svc *api.Service, err api.Error, requestID string) *Response {
	var e cborEncoder
	name, messageName := err.ErrorCode(), "message"
	n, v, ok := modelled(svc, err)
	var fields []*typed.Field
	if ok {
		name = n.Shape.Name
		for i := range n.Fields {
			f := &n.Fields[i]
			switch {
			case isMessage(f.Member):
				messageName = f.Member.Name
			case !f.Absent(v.Field(f.Index)):
				fields = append(fields, f)
			}
		}
	}
	e.head(cborMap, uint64(2+len(fields)))
	e.text("__type")
	e.text(name)
	e.text(messageName)
	e.text(err.ErrorMessage())
	for _, f := range fields {
		e.text(f.Member.Wire())
		e.value(f.Node, f.Value(v))
	}
	r := cborResponse(err.HTTPStatus(), requestID, e.b)
	compatible(r.Header, err)
	return r
}

// compatible adds the code that the query protocol has for an error.
func compatible(h http.Header, err api.Error) {
	fault := "Sender"
	if err.HTTPStatus() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	h[queryError] = []string{err.ErrorCode() + ";" + fault}
}

// CompatibleJSON is JSON as services speak it that spoke the query protocol
// before.
type CompatibleJSON struct{ JSON }

var _ Codec = CompatibleJSON{}

// EncodeError is JSON's, with the name of the error's shape in the body and
// its code in a header.
func (c CompatibleJSON) EncodeError(svc *api.Service, err api.Error, requestID string) *Response {
	r := c.JSON.EncodeError(svc, err, requestID)
	if n, _, ok := modelled(svc, err); ok {
		r.Body = bytes.Replace(r.Body, []byte(`"__type":"`+err.ErrorCode()+`"`), []byte(`"__type":"`+n.Shape.Name+`"`), 1)
		r.Header["X-Amzn-Errortype"] = []string{n.Shape.Name}
	}
	compatible(r.Header, err)
	return r
}
