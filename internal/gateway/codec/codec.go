// Package codec turns requests into generated inputs and outputs into
// responses, one codec a protocol, all driven by the tables of package api.
package codec

import (
	"io"
	"net/http"
	"net/url"
	"reflect"

	"roadstead.dev/internal/api"
)

// Request is what a codec decodes: the request line, headers and whole body.
type Request struct {
	Method string
	// Path is the escaped path.
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	// Form is the decoded body or query of the query protocols, made by
	// ParseForm while routing.
	Form url.Values
	// Stream is the body of an operation that reads it as it comes; Body is
	// empty then.
	Stream io.ReadCloser
}

// Response is what a codec writes.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Stream, where it is set, is the body in Body's place, as long as the
	// header Content-Length says. Who writes it closes it.
	Stream io.ReadCloser
}

// Codec is a wire protocol.
type Codec interface {
	// Decode fills in, a pointer to the operation's generated input. It fails
	// with an *api.Fault in the protocol's own code.
	Decode(op *api.Operation, r *Request, in any) error
	// Encode renders the operation's output, a pointer to a generated struct
	// or nil where the operation has none.
	Encode(op *api.Operation, out any, requestID string) (*Response, error)
	// EncodeError renders an error. svc is nil where the service is not known.
	EncodeError(svc *api.Service, err api.Error, requestID string) *Response
}

// For is the codec of a service's protocol. It panics where there is none: a
// service must not be mounted before its protocol is.
func For(s *api.Service) Codec {
	switch s.Protocol {
	case api.Query:
		return Query{}
	case api.EC2Query:
		return EC2{}
	case api.RESTJSON:
		return RESTJSON{}
	case api.JSON:
		return JSON{Version: s.JSONVersion}
	case api.CBOR:
		return CBOR{}
	case api.RESTXML:
		return RESTXML{}
	}
	panic("codec: there is none yet for " + string(s.Protocol) + ", which " + s.Name + " speaks")
}

// maxDepth is how deeply values may nest.
const maxDepth = 64

// maxElements is how many elements all lists and maps of a body may have
// together: three bytes of JSON can stand for a structure of a kilobyte. The
// most that any operation takes are the 10,000 events of PutLogEvents.
const maxElements = 100_000

// structOf is the generated struct that v points to; ok is false for nil.
func structOf(v any) (reflect.Value, bool) {
	if v == nil {
		return reflect.Value{}, false
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return reflect.Value{}, false
	}
	return rv.Elem(), true
}

// requestIDHeader carries the request id in JSON and XML answers alike.
const requestIDHeader = "X-Amzn-Requestid"

func newResponse(status int, contentType, requestID string, body []byte) *Response {
	h := make(http.Header, 4)
	h[requestIDHeader] = []string{requestID}
	if contentType != "" {
		h["Content-Type"] = []string{contentType}
	}
	return &Response{Status: status, Header: h, Body: body}
}
