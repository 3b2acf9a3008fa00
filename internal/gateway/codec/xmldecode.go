package codec

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// errXML is how S3 refuses a document, whatever is wrong with it.
var errXML = &api.Fault{Code: "MalformedXML", Message: "The XML you provided was not well-formed or did not validate against our published schema"}

// decodeXML reads a document whose root has the given name into v, a struct of
// the node's. What the schema does not know is refused.
func decodeXML(body []byte, root string, n *typed.Node, v reflect.Value) error {
	d := xmlDecoder{d: xml.NewDecoder(bytes.NewReader(body)), left: maxElements}
	start, err := d.root()
	if err != nil || start.Name.Local != root {
		return errXML
	}
	if err := d.value(n, "", v, start, 0); err != nil {
		return errXML
	}
	// Nothing but space and comments may follow.
	if _, err := d.next(); !errors.Is(err, io.EOF) {
		return errXML
	}
	return nil
}

type xmlDecoder struct {
	d    *xml.Decoder
	left int // elements that may come yet
}

// root is the document's first element.
func (d *xmlDecoder) root() (xml.StartElement, error) {
	t, err := d.next()
	if err != nil {
		return xml.StartElement{}, err
	}
	start, ok := t.(xml.StartElement)
	if !ok {
		return start, errXML
	}
	return start, nil
}

// next is the next start or end of an element. Text is not expected here.
func (d *xmlDecoder) next() (xml.Token, error) {
	for {
		t, err := d.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if d.left--; d.left < 0 {
				return nil, errXML
			}
			return t, nil
		case xml.EndElement:
			return t, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXML
			}
		case xml.Directive:
			return nil, errXML
		}
	}
}

// text is the text up to the end of the element that has begun.
func (d *xmlDecoder) text() (string, error) {
	var b []byte
	for {
		t, err := d.d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b = append(b, t...)
		case xml.EndElement:
			return string(b), nil
		case xml.StartElement, xml.Directive:
			return "", errXML
		}
	}
}

// value reads the element that has begun, up to its end.
func (d *xmlDecoder) value(n *typed.Node, format string, v reflect.Value, start xml.StartElement, depth int) error {
	if depth > maxDepth {
		return errXML
	}
	switch n.Shape.Kind {
	case api.Structure:
		return d.structure(n, v, start, depth)
	case api.List:
		return d.children(func(e xml.StartElement) error {
			if e.Name.Local != orElse(n.Shape.ElementName, "member") {
				return errXML
			}
			return d.element(n, v, e, depth)
		})
	case api.Map, api.Document:
		return errXML // S3 has neither
	case api.String, api.Boolean, api.Integer, api.Long, api.Float, api.Double, api.Blob, api.Timestamp:
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	if n.Shape.Kind == api.Boolean {
		b, err := strconv.ParseBool(strings.TrimSpace(text))
		v.SetBool(b)
		return err
	}
	if n.Shape.Kind != api.String {
		text = strings.TrimSpace(text)
	}
	return setText(n, orElse(format, "iso8601"), v, text)
}

// element appends what an element holds to a list.
func (d *xmlDecoder) element(n *typed.Node, v reflect.Value, start xml.StartElement, depth int) error {
	e := reflect.New(n.Elem.Type).Elem()
	if err := d.value(n.Elem, "", e, start, depth+1); err != nil {
		return err
	}
	v.Set(reflect.Append(v, e))
	return nil
}

// children calls f for each element in the one that has begun.
func (d *xmlDecoder) children(f func(xml.StartElement) error) error {
	for {
		t, err := d.next()
		if err != nil {
			return err
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			return nil
		}
		if err := f(start); err != nil {
			return err
		}
	}
}

func (d *xmlDecoder) structure(n *typed.Node, v reflect.Value, start xml.StartElement, depth int) error {
	for i := range n.Fields {
		f := &n.Fields[i]
		if !f.Member.XMLAttribute {
			continue
		}
		_, local, _ := strings.Cut(f.Member.Wire(), ":")
		for _, a := range start.Attr {
			if a.Name.Local == local {
				if err := setText(f.Node, "", f.Alloc(v), a.Value); err != nil {
					return err
				}
			}
		}
	}
	return d.children(func(e xml.StartElement) error {
		f := n.ByWire(e.Name.Local)
		if f == nil || f.Member.XMLAttribute || f.Member.Location != api.Body {
			return errXML
		}
		if f.Node.Shape.Kind == api.List && (f.Member.Flattened || f.Node.Shape.Flattened) {
			return d.element(f.Node, v.Field(f.Index), e, depth+1)
		}
		if !f.Absent(v.Field(f.Index)) {
			return errXML // twice
		}
		if f.Node.Shape.Kind == api.List {
			v.Field(f.Index).Set(reflect.MakeSlice(f.Node.Type, 0, 1))
		}
		return d.value(f.Node, timestampFormat(f), f.Alloc(v), e, depth+1)
	})
}
