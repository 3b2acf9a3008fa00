package codec

import (
	"reflect"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// Query is the query protocol: forms in, XML out.
type Query struct{}

// EC2 is the dialect of it that EC2 speaks.
type EC2 struct{}

var (
	_ Codec = Query{}
	_ Codec = EC2{}
)

// Decode reads the form into the input.
func (Query) Decode(op *api.Operation, r *Request, in any) error {
	return decodeForm(queryForm{}, op, r, in)
}

// Decode reads the form into the input. Parameters that EC2 does not know are
// refused, as it does.
func (EC2) Decode(op *api.Operation, r *Request, in any) error {
	return decodeForm(ec2Form{}, op, r, in)
}

// formDialect is what the two query protocols differ in.
type formDialect interface {
	// member finds what the form holds for a member below n.
	member(n *formNode, m *api.Member) *formNode
	// none tells whether what the form holds for a member means that it is
	// not there.
	none(n *formNode, f *typed.Field) bool
	// elements lists the nodes of a list's elements.
	elements(n *formNode, s *api.Shape) []*formNode
	// entries lists the nodes of a map's entries.
	entries(n *formNode, s *api.Shape) []*formNode
	// invalid is the error for a value that does not fit its type.
	invalid(n *formNode, kind api.Kind) error
	// leftover is the error for a parameter that no member took.
	leftover(name string) error
}

func decodeForm(d formDialect, op *api.Operation, r *Request, in any) error {
	form := r.Form
	if form == nil {
		var err error
		if form, err = ParseForm(string(r.Body)); err != nil {
			return err
		}
	}
	root, err := formTree(form)
	if err != nil {
		return err
	}
	if v, ok := structOf(in); ok && op.InputShape() != nil {
		if err := formStruct(d, root, typed.Of(op.InputShape()), v); err != nil {
			return err
		}
	}
	if name := root.unused(); name != "" {
		return d.leftover(name)
	}
	return nil
}

func formStruct(d formDialect, at *formNode, n *typed.Node, v reflect.Value) error {
	at.used = true
	for i := range n.Fields {
		f := &n.Fields[i]
		c := d.member(at, f.Member)
		if c == nil {
			continue
		}
		if d.none(c, f) {
			c.used = true
			continue
		}
		if err := formValue(d, c, f.Node, timestampFormat(f), f.Alloc(v)); err != nil {
			return err
		}
	}
	return nil
}

func formValue(d formDialect, at *formNode, n *typed.Node, format string, v reflect.Value) error {
	at.used = true
	s := at.value
	ok := true
	switch n.Shape.Kind {
	case api.Structure:
		return formStruct(d, at, n, v)
	case api.List:
		elements := d.elements(at, n.Shape)
		out := reflect.MakeSlice(n.Type, len(elements), len(elements))
		for i, e := range elements {
			if err := formValue(d, e, n.Elem, "", out.Index(i)); err != nil {
				return err
			}
		}
		v.Set(out)
	case api.Map:
		return formMap(d, at, n, v)
	case api.String:
		v.SetString(s)
	case api.Boolean:
		switch {
		case strings.EqualFold(s, "true") || s == "1":
			v.SetBool(true)
		case strings.EqualFold(s, "false") || s == "0":
			v.SetBool(false)
		default:
			ok = false
		}
	case api.Integer, api.Long:
		bits := 32
		if n.Shape.Kind == api.Long {
			bits = 64
		}
		var i int64
		var err error
		i, err = strconv.ParseInt(strings.TrimSpace(s), 10, bits)
		ok = err == nil
		v.SetInt(i)
	case api.Float, api.Double:
		ok = setFloat(v, strings.TrimSpace(s))
	case api.Blob:
		var b []byte
		if b, ok = decodeBase64(s); ok {
			v.SetBytes(b)
		}
	case api.Timestamp:
		t, valid := formTime(s, format)
		v.Set(reflect.ValueOf(t))
		ok = valid
	case api.Document:
		v.Set(reflect.ValueOf(s))
	}
	if !ok {
		return d.invalid(at, n.Shape.Kind)
	}
	return nil
}

func formMap(d formDialect, at *formNode, n *typed.Node, v reflect.Value) error {
	m := reflect.MakeMap(n.Type)
	v.Set(m)
	keyName, valueName := orElse(n.Shape.KeyName, "key"), orElse(n.Shape.ValueName, "value")
	for _, e := range d.entries(at, n.Shape) {
		e.used = true
		kn := e.children[keyName]
		if kn == nil {
			return d.invalid(e, api.Map)
		}
		k := reflect.New(n.Key.Type).Elem()
		if err := formValue(d, kn, n.Key, "", k); err != nil {
			return err
		}
		val := reflect.New(n.Elem.Type).Elem()
		if vn := e.children[valueName]; vn != nil {
			if err := formValue(d, vn, n.Elem, "", val); err != nil {
				return err
			}
		}
		m.SetMapIndex(k, val)
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

type queryForm struct{}

func (queryForm) member(n *formNode, m *api.Member) *formNode {
	if s := m.Type(); (s.Flattened || m.Flattened) && s.Kind == api.List && s.ElementName != "" {
		return n.children[s.ElementName]
	}
	return n.children[m.Wire()]
}

// elements of a list stand below "member", or below the name that the model
// gives them, or directly below the list when it is flattened.
func (queryForm) elements(n *formNode, s *api.Shape) []*formNode {
	if c := n.children[orElse(s.ElementName, "member")]; c != nil {
		c.used = true
		return c.indexed()
	}
	if c := n.children["member"]; c != nil {
		c.used = true
		return c.indexed()
	}
	return n.indexed()
}

func (queryForm) entries(n *formNode, _ *api.Shape) []*formNode {
	if c := n.children["entry"]; c != nil {
		c.used = true
		return c.indexed()
	}
	return n.indexed()
}

func (queryForm) invalid(n *formNode, kind api.Kind) error {
	switch kind {
	case api.Timestamp:
		return api.NewFault("MalformedInput", "Invalid timestamp %q", n.value)
	case api.Map:
		return api.NewFault("MalformedInput", "Missing key in map %s", n.name)
	default:
		return api.NewFault("MalformedInput", "Unable to parse value %q of %s as %s", n.value, n.name, kindName(kind))
	}
}

func (queryForm) leftover(string) error { return nil }

func (queryForm) none(*formNode, *typed.Field) bool { return false }

type ec2Form struct{}

// none: a required parameter without a value is missing.
func (ec2Form) none(n *formNode, f *typed.Field) bool {
	return f.Member.Required && f.Node.Shape.Kind == api.String && n.value == "" && len(n.children) == 0
}

func (ec2Form) member(n *formNode, m *api.Member) *formNode { return n.children[EC2Name(m)] }

// EC2Name is the name of a member in an EC2 request.
func EC2Name(m *api.Member) string {
	if m.QueryName != "" {
		return m.QueryName
	}
	if m.LocationName != "" {
		return strings.ToUpper(m.LocationName[:1]) + m.LocationName[1:]
	}
	return m.Name
}

// elements stand directly below the list; a list's name with a value and no
// index is a list of one.
func (ec2Form) elements(n *formNode, _ *api.Shape) []*formNode {
	if n.value != "" && len(n.children) == 0 {
		return []*formNode{n}
	}
	return n.indexed()
}

func (ec2Form) entries(n *formNode, _ *api.Shape) []*formNode { return n.indexed() }

func (ec2Form) invalid(n *formNode, kind api.Kind) error {
	switch kind {
	case api.Boolean:
		return api.NewFault("InvalidParameterValue", "Invalid value '%s' for boolean parameter %s. The value must be true or false.", n.value, n.name)
	case api.Integer, api.Long:
		return api.NewFault("InvalidParameterValue", "Invalid value '%s' for %s. The value must be an integer.", n.value, n.name)
	default:
		return api.NewFault("InvalidParameterValue", "Invalid value '%s' for %s", n.value, n.name)
	}
}

func (ec2Form) leftover(name string) error {
	return api.NewFault("UnknownParameter", "The parameter %s is not recognized", name)
}
