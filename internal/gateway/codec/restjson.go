package codec

import (
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// RESTJSON is the restJson1 protocol.
type RESTJSON struct{}

var _ Codec = RESTJSON{}

// Decode reads the members from where each travels: path, query, headers and
// body.
func (RESTJSON) Decode(op *api.Operation, r *Request, in any) error {
	v, ok := structOf(in)
	if !ok || op.InputShape() == nil {
		return nil
	}
	n := typed.Of(op.InputShape())
	if err := restBody(op.InputShape(), n, r.Body, v); err != nil {
		return err
	}
	return restHead(op, n, r, v)
}

// restHead reads the members that travel in the path, the query and the
// headers.
func restHead(op *api.Operation, n *typed.Node, r *Request, v reflect.Value) error {
	var failed error
	_, _ = matchPath(op.Path, r.Path, func(label, value string) error {
		for i := range n.Fields {
			f := &n.Fields[i]
			if f.Member.Location == api.URI && f.Member.Wire() == label {
				failed = firstError(failed, setText(f.Node, timestampFormat(f), f.Alloc(v), value))
			}
		}
		return nil
	})
	if failed != nil {
		return failed
	}
	return restQueryAndHeaders(n, r, v)
}

// restQueryAndHeaders reads those of the query and the headers.
func restQueryAndHeaders(n *typed.Node, r *Request, v reflect.Value) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		var err error
		switch f.Member.Location {
		case api.QueryString:
			err = restQuery(f, r.Query, v)
		case api.Header:
			if text := r.Header.Get(f.Member.Wire()); text != "" {
				err = setText(f.Node, orElse(timestampFormat(f), "rfc822"), f.Alloc(v), text)
			}
		case api.Headers:
			restHeaders(f, r.Header, v)
		case api.Body, api.URI, api.StatusCode:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// restBody reads the payload member, or the members that travel in the body.
func restBody(shape *api.Shape, n *typed.Node, body []byte, v reflect.Value) error {
	if shape.Payload != "" {
		for i := range n.Fields {
			f := &n.Fields[i]
			if f.Member.Name != shape.Payload || len(body) == 0 {
				continue
			}
			switch f.Node.Shape.Kind {
			case api.Blob:
				f.Alloc(v).SetBytes(body)
			case api.String:
				f.Alloc(v).SetString(string(body))
			default:
				return decodeJSON(body, f.Node.Shape, f.Alloc(v))
			}
		}
		return nil
	}
	// Members that travel elsewhere are not read from the body.
	inBody := typed.Node{Shape: n.Shape, Type: n.Type}
	for i := range n.Fields {
		if n.Fields[i].Member.Location == api.Body {
			inBody.Fields = append(inBody.Fields, n.Fields[i])
		}
	}
	if len(inBody.Fields) == 0 || len(body) == 0 {
		return nil
	}
	tmp := reflect.New(n.Type).Elem()
	if err := decodeJSON(body, shape, tmp); err != nil {
		return err
	}
	for _, f := range inBody.Fields {
		v.Field(f.Index).Set(tmp.Field(f.Index))
	}
	return nil
}

func restQuery(f *typed.Field, q url.Values, v reflect.Value) error {
	if f.Node.Shape.Kind == api.Map {
		m := reflect.MakeMap(f.Node.Type)
		for k, vs := range q {
			key := reflect.New(f.Node.Key.Type).Elem()
			key.SetString(k)
			e := reflect.New(f.Node.Elem.Type).Elem()
			if f.Node.Elem.Shape.Kind == api.List {
				for _, s := range vs {
					x := reflect.New(f.Node.Elem.Elem.Type).Elem()
					if err := setText(f.Node.Elem.Elem, "", x, s); err != nil {
						return err
					}
					e = reflect.Append(e, x)
				}
			} else if err := setText(f.Node.Elem, "", e, vs[0]); err != nil {
				return err
			}
			m.SetMapIndex(key, e)
		}
		f.Alloc(v).Set(m)
		return nil
	}
	vs, ok := q[f.Member.Wire()]
	if !ok {
		return nil
	}
	if f.Node.Shape.Kind != api.List {
		return setText(f.Node, orElse(timestampFormat(f), "iso8601"), f.Alloc(v), vs[0])
	}
	out := reflect.MakeSlice(f.Node.Type, len(vs), len(vs))
	for i, s := range vs {
		if err := setText(f.Node.Elem, "iso8601", out.Index(i), s); err != nil {
			return err
		}
	}
	v.Field(f.Index).Set(out)
	return nil
}

func restHeaders(f *typed.Field, h http.Header, v reflect.Value) {
	m := reflect.MakeMap(f.Node.Type)
	prefix := textproto.CanonicalMIMEHeaderKey(f.Member.Wire())
	for k, vs := range h {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			m.SetMapIndex(reflect.ValueOf(name).Convert(f.Node.Key.Type), reflect.ValueOf(vs[0]).Convert(f.Node.Elem.Type))
		}
	}
	if m.Len() > 0 {
		f.Alloc(v).Set(m)
	}
}

const restContent = "application/json"

// Encode writes headers, status and body from where each member travels.
func (RESTJSON) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	resp := newResponse(op.Status, restContent, requestID, nil)
	v, ok := structOf(out)
	if !ok || op.OutputShape() == nil {
		resp.Body = []byte("{}")
		return resp, nil
	}
	n := typed.Of(op.OutputShape())
	restHeadOut(resp, n, v)
	e := jsonEncoder{b: make([]byte, 0, 512)}
	if p := op.OutputShape().Payload; p != "" {
		return resp, restPayload(resp, n, p, v)
	}
	err := e.structure(n, v, true, func(f *typed.Field) bool { return f.Member.Location == api.Body })
	resp.Body = e.b
	return resp, err
}

// restHeadOut writes the members that travel in the status and the headers.
func restHeadOut(resp *Response, n *typed.Node, v reflect.Value) {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Absent(v.Field(f.Index)) {
			continue
		}
		switch f.Member.Location {
		case api.StatusCode:
			resp.Status = int(f.Value(v).Int())
		case api.Header:
			resp.Header.Set(f.Member.Wire(), headerText(f.Node, orElse(timestampFormat(f), "rfc822"), f.Value(v)))
		case api.Headers:
			m := f.Value(v)
			for _, k := range sortedKeys(m) {
				resp.Header.Set(f.Member.Wire()+k.String(), m.MapIndex(k).String())
			}
		case api.Body, api.URI, api.QueryString:
		}
	}
}

func restPayload(resp *Response, n *typed.Node, name string, v reflect.Value) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Member.Name != name || f.Absent(v.Field(f.Index)) {
			continue
		}
		switch f.Node.Shape.Kind {
		case api.Blob:
			resp.Header.Set("Content-Type", "application/octet-stream")
			resp.Body = f.Value(v).Bytes()
		case api.String:
			resp.Header.Set("Content-Type", "text/plain")
			resp.Body = []byte(f.Value(v).String())
		default:
			var e jsonEncoder
			if err := e.value(f.Node, timestampFormat(f), f.Value(v)); err != nil {
				return err
			}
			resp.Body = e.b
		}
	}
	return nil
}

func headerText(n *typed.Node, format string, v reflect.Value) string {
	switch n.Shape.Kind {
	case api.Boolean:
		return strconv.FormatBool(v.Bool())
	case api.Integer, api.Long:
		return strconv.FormatInt(v.Int(), 10)
	case api.Float, api.Double:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case api.Timestamp:
		return formatTime(v.Interface().(time.Time), format)
	case api.List:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = headerText(n.Elem, format, v.Index(i))
		}
		return strings.Join(parts, ", ")
	case api.String, api.Blob, api.Structure, api.Map, api.Document:
	}
	return v.String()
}

// EncodeError writes the message and the error's own members; the code travels
// in a header.
func (RESTJSON) EncodeError(svc *api.Service, err api.Error, requestID string) *Response {
	var e jsonEncoder
	e.errorMembers(svc, err)
	body := []byte{'{'}
	if len(e.b) > 0 {
		body = append(body, e.b[1:]...) // without the leading comma
	}
	r := newResponse(err.HTTPStatus(), restContent, requestID, append(body, '}'))
	r.Header["X-Amzn-Errortype"] = []string{err.ErrorCode()}
	return r
}
