package codec

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// xmlEncoder appends elements to b.
type xmlEncoder struct {
	b []byte
	// millis: times have milliseconds even where those are zero.
	millis bool
}

func (e *xmlEncoder) open(name string) {
	e.b = append(append(append(e.b, '<'), name...), '>')
}

func (e *xmlEncoder) close(name string) {
	e.b = append(append(append(e.b, '<', '/'), name...), '>')
}

func (e *xmlEncoder) element(name, text string) {
	e.open(name)
	e.text(text)
	e.close(name)
}

// members writes the members of a struct. Absent lists of the top level are
// written as empty elements, as AWS does.
func (e *xmlEncoder) members(n *typed.Node, v reflect.Value, top bool) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Member.XMLAttribute {
			continue
		}
		fv := v.Field(f.Index)
		name := f.Member.Wire()
		if f.Absent(fv) {
			if top && f.Node.Shape.Kind == api.List && !e.flat(f) {
				e.b = append(append(append(e.b, '<'), name...), '/', '>')
			}
			continue
		}
		if e.flat(f) {
			if err := e.flattened(f, f.Value(v)); err != nil {
				return err
			}
			continue
		}
		if err := e.value(name, f.Node, timestampFormat(f), f.Value(v)); err != nil {
			return err
		}
	}
	return nil
}

func (e *xmlEncoder) flat(f *typed.Field) bool { return f.Member.Flattened || f.Node.Shape.Flattened }

// flattened writes a list or map whose elements repeat the member's name.
func (e *xmlEncoder) flattened(f *typed.Field, v reflect.Value) error {
	n := f.Node
	switch n.Shape.Kind {
	case api.List:
		name := orElse(n.Shape.ElementName, f.Member.Wire())
		for i := range v.Len() {
			if err := e.value(name, n.Elem, "", v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case api.Map:
		return e.entries(f.Member.Wire(), n, v)
	default:
		return e.value(f.Member.Wire(), n, timestampFormat(f), v)
	}
}

func (e *xmlEncoder) entries(name string, n *typed.Node, v reflect.Value) error {
	for _, k := range sortedKeys(v) {
		e.open(name)
		e.element(orElse(n.Shape.KeyName, "key"), k.String())
		if err := e.value(orElse(n.Shape.ValueName, "value"), n.Elem, "", v.MapIndex(k)); err != nil {
			return err
		}
		e.close(name)
	}
	return nil
}

func (e *xmlEncoder) value(name string, n *typed.Node, format string, v reflect.Value) error {
	e.b = append(append(e.b, '<'), name...)
	if n.Shape.Kind == api.Structure {
		e.attributes(n, v)
	}
	e.b = append(e.b, '>')
	switch n.Shape.Kind {
	case api.Structure:
		if err := e.members(n, v, false); err != nil {
			return err
		}
	case api.List:
		element := orElse(n.Shape.ElementName, "member")
		for i := range v.Len() {
			if err := e.value(element, n.Elem, "", v.Index(i)); err != nil {
				return err
			}
		}
	case api.Map:
		if err := e.entries("entry", n, v); err != nil {
			return err
		}
	case api.String:
		e.text(v.String())
	case api.Boolean:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case api.Integer, api.Long:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case api.Float:
		e.b = strconv.AppendFloat(e.b, v.Float(), 'f', -1, 32)
	case api.Double:
		e.b = strconv.AppendFloat(e.b, v.Float(), 'f', -1, 64)
	case api.Blob:
		e.b = base64.StdEncoding.AppendEncode(e.b, v.Bytes())
	case api.Timestamp:
		t := v.Interface().(time.Time).UTC()
		if e.millis && format == "" {
			e.b = t.AppendFormat(e.b, "2006-01-02T15:04:05.000Z")
		} else {
			e.b = append(e.b, formatTime(t, orElse(format, "iso8601"))...)
		}
	case api.Document:
		return fmt.Errorf("shape %s: XML has no documents", n.Shape.Name)
	}
	e.close(name)
	return nil
}

func (e *xmlEncoder) attributes(n *typed.Node, v reflect.Value) {
	for i := range n.Fields {
		f := &n.Fields[i]
		if !f.Member.XMLAttribute || f.Absent(v.Field(f.Index)) {
			continue
		}
		if strings.HasPrefix(f.Member.Wire(), "xsi:") {
			e.b = append(e.b, ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`...)
		}
		e.b = append(e.b, ' ')
		e.b = append(e.b, f.Member.Wire()...)
		e.b = append(e.b, '=', '"')
		e.text(f.Value(v).String())
		e.b = append(e.b, '"')
	}
}

// text escapes for content and for attributes in double quotes. Characters
// that XML cannot hold become U+FFFD.
func (e *xmlEncoder) text(s string) {
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		var esc string
		switch {
		case r == '&':
			esc = "&amp;"
		case r == '<':
			esc = "&lt;"
		case r == '>':
			esc = "&gt;"
		case r == '"':
			esc = "&quot;"
		case r == '\r':
			esc = "&#xD;"
		case r == utf8.RuneError && size == 1, !xmlChar(r):
			esc = "\ufffd"
		default:
			i += size
			continue
		}
		e.b = append(e.b, s[start:i]...)
		e.b = append(e.b, esc...)
		i += size
		start = i
	}
	e.b = append(e.b, s[start:]...)
}

func xmlChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

const xmlContent = "text/xml"

// Encode writes <OpResponse><OpResult>…</OpResult><ResponseMetadata>…
func (Query) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	e := xmlEncoder{b: make([]byte, 0, 1024)}
	root := op.Name + "Response"
	e.openNS(root, op.Service().XMLNamespace)
	if v, ok := structOf(out); ok && op.OutputShape() != nil {
		if op.ResultWrapper != "" {
			e.open(op.ResultWrapper)
		}
		if err := e.members(typed.Of(op.OutputShape()), v, true); err != nil {
			return nil, err
		}
		if op.ResultWrapper != "" {
			e.close(op.ResultWrapper)
		}
	}
	e.open("ResponseMetadata")
	e.element("RequestId", requestID)
	e.close("ResponseMetadata")
	e.close(root)
	return newResponse(op.Status, xmlContent, requestID, e.b), nil
}

func (e *xmlEncoder) openNS(name, ns string) {
	e.b = append(append(e.b, '<'), name...)
	if ns != "" {
		e.b = append(e.b, ` xmlns="`...)
		e.text(ns)
		e.b = append(e.b, '"')
	}
	e.b = append(e.b, '>')
}

// EncodeError writes <ErrorResponse><Error>…
func (Query) EncodeError(svc *api.Service, err api.Error, requestID string) *Response {
	e := xmlEncoder{b: make([]byte, 0, 512)}
	ns := ""
	if svc != nil {
		ns = svc.XMLNamespace
	}
	e.openNS("ErrorResponse", ns)
	e.open("Error")
	if err.HTTPStatus() >= 500 {
		e.element("Type", "Receiver")
	} else {
		e.element("Type", "Sender")
	}
	e.element("Code", err.ErrorCode())
	e.element("Message", err.ErrorMessage())
	e.errorMembers(svc, err)
	e.close("Error")
	e.element("RequestId", requestID)
	e.close("ErrorResponse")
	return newResponse(err.HTTPStatus(), xmlContent, requestID, e.b)
}

// errorMembers writes what the model gives the error beyond its message.
func (e *xmlEncoder) errorMembers(svc *api.Service, err api.Error) {
	n, v, ok := modelled(svc, err)
	if !ok {
		return
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if isMessage(f.Member) || f.Absent(v.Field(f.Index)) {
			continue
		}
		start := len(e.b)
		if e.value(f.Member.Wire(), f.Node, timestampFormat(f), f.Value(v)) != nil {
			e.b = e.b[:start]
		}
	}
}

const xmlProlog = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// Encode writes <OpResponse><requestId>…</requestId>members</OpResponse>; an
// operation without output returns true.
func (EC2) Encode(op *api.Operation, out any, requestID string) (*Response, error) {
	e := xmlEncoder{b: make([]byte, 0, 1024), millis: true}
	e.b = append(e.b, xmlProlog...)
	root := op.Name + "Response"
	ns := op.Service().XMLNamespace
	if ns != "" && !strings.HasSuffix(ns, "/") {
		ns += "/"
	}
	e.openNS(root, ns)
	e.element("requestId", requestID)
	if op.OutputShape() == nil {
		e.element("return", "true")
	} else if v, ok := structOf(out); ok {
		if err := e.members(typed.Of(op.OutputShape()), v, true); err != nil {
			return nil, err
		}
	}
	e.close(root)
	return newResponse(op.Status, xmlContent+";charset=UTF-8", requestID, e.b), nil
}

// EncodeError writes <Response><Errors><Error>…
func (EC2) EncodeError(_ *api.Service, err api.Error, requestID string) *Response {
	e := xmlEncoder{b: make([]byte, 0, 512)}
	e.b = append(e.b, xmlProlog...)
	e.b = append(e.b, "<Response><Errors><Error>"...)
	e.element("Code", err.ErrorCode())
	e.element("Message", err.ErrorMessage())
	e.b = append(e.b, "</Error></Errors>"...)
	e.element("RequestID", requestID)
	e.close("Response")
	return newResponse(err.HTTPStatus(), xmlContent+";charset=UTF-8", requestID, e.b)
}
