package apigen

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var kinds = map[string]string{
	"string": "String", "character": "String", "boolean": "Boolean", "integer": "Integer", "long": "Long",
	"float": "Float", "double": "Double", "blob": "Blob", "timestamp": "Timestamp",
	"structure": "Structure", "list": "List", "map": "Map",
}

var locations = map[string]string{
	"header": "Header", "headers": "Headers", "uri": "URI", "querystring": "QueryString", "statusCode": "StatusCode",
}

// actionPrefixes are IAM's where they are not the signing name.
var actionPrefixes = map[string]string{"cloudwatch": "cloudwatch", "resourcegroupstaggingapi": "tag"}

// anonymous are the services whose resources may let in who does not sign.
var anonymous = map[string]bool{"s3": true}

// literal collects the fields of a composite literal that are not zero.
type literal []string

func (l *literal) add(name, value string) {
	if value != "" {
		*l = append(*l, name+": "+value)
	}
}

func (l *literal) str(name, value string) {
	if value != "" {
		l.add(name, strconv.Quote(value))
	}
}

func (l *literal) flag(name string, value bool) {
	if value {
		l.add(name, "true")
	}
}

func (l literal) String() string { return "{" + strings.Join(l, ", ") + "}" }

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, v := range list {
		q[i] = strconv.Quote(v)
	}
	return "[]string{" + strings.Join(q, ", ") + "}"
}

// tables writes the description of every reached shape.
func (s *service) tables() []byte {
	var b source
	s.header(&b)
	b.line("package %s\n", s.name)
	b.line("import \"roadstead.dev/internal/api\"\n")
	b.line("func shapes() []api.Shape {\nreturn []api.Shape{")
	for _, name := range s.sorted() {
		s.table(&b, name, s.model.Shapes[name])
	}
	b.line("}\n}")
	return b.formatted()
}

func (s *service) table(b *source, name string, sh *shape) {
	kind := kinds[sh.Type]
	if sh.Document {
		kind = "Document"
	}
	var l literal
	l.str("Name", name)
	if kind != "String" {
		l.add("Kind", "api."+kind)
	}
	if sh.Member != nil {
		l.str("Element", sh.Member.Shape)
		l.str("ElementName", sh.Member.LocationName)
	}
	if sh.Value != nil {
		l.str("Element", sh.Value.Shape)
		l.str("ValueName", sh.Value.LocationName)
	}
	if sh.Key != nil {
		l.str("Key", sh.Key.Shape)
		l.str("KeyName", sh.Key.LocationName)
	}
	l.flag("Flattened", sh.Flattened)
	if sh.Min != nil {
		l.flag("HasMin", true)
		l.add("Min", number(*sh.Min))
	}
	if sh.Max != nil {
		l.flag("HasMax", true)
		l.add("Max", number(*sh.Max))
	}
	l.str("Pattern", sh.Pattern)
	if len(sh.Enum) > 0 {
		l.add("Enum", quoted(sh.Enum))
	}
	l.str("TimestampFormat", sh.TimestampFormat)
	l.str("Payload", sh.Payload)
	l.flag("Sensitive", sh.Sensitive)
	l.flag("Union", sh.Union)
	if sh.Exception {
		l.add("Error", "&api.ErrorInfo"+errorInfo(name, sh).String())
	}
	if sh.Members == nil || len(sh.Members.Names) == 0 || sh.Document {
		b.line("%s,", l)
		return
	}
	fields := strings.TrimSuffix(l.String(), "}")
	b.line("%s, Members: []api.Member{", fields)
	for _, n := range sh.Members.Names {
		m := member(n, sh.Members.Refs[n], slices.Contains(sh.Required, n))
		m.flag("Streaming", s.streams(sh.Members.Refs[n]))
		b.line("%s,", m)
	}
	b.line("}},")
}

func member(name string, r ref, required bool) literal {
	var l literal
	l.str("Name", name)
	l.str("Shape", r.Shape)
	if r.LocationName != name {
		l.str("LocationName", r.LocationName)
	}
	l.str("QueryName", r.QueryName)
	if r.Location != "" {
		l.add("Location", "api."+locations[r.Location])
	}
	l.flag("Required", required)
	l.flag("Flattened", r.Flattened)
	l.flag("XMLAttribute", r.XMLAttribute)
	l.str("XMLNamespace", r.XMLNamespace.URI)
	l.str("TimestampFormat", r.TimestampFormat)
	l.flag("IdempotencyToken", r.IdempotencyToken)
	return l
}

// number writes f so that Go reads the same value.
func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// errorCode is the wire code and HTTP status of an error shape.
func errorCode(name string, sh *shape) (code string, status int) {
	code, status = name, 400
	if sh.Fault {
		status = 500
	}
	if sh.Error != nil {
		if sh.Error.Code != "" {
			code = sh.Error.Code
		}
		if sh.Error.Status != 0 {
			status = sh.Error.Status
		}
	}
	return code, status
}

func errorInfo(name string, sh *shape) literal {
	code, status := errorCode(name, sh)
	var l literal
	l.str("Code", code)
	l.add("Status", strconv.Itoa(status))
	l.flag("Fault", sh.Fault || status >= 500)
	return l
}

// errors writes a Go type and a constructor for each error shape.
func (s *service) errors() []byte {
	var body source
	for _, name := range s.errorShapes() {
		s.errorType(&body, name, s.model.Shapes[name])
	}
	var b source
	s.header(&b)
	b.line("package %s\n", s.name)
	if body.Len() > 0 {
		imports := []string{"fmt", "roadstead.dev/internal/api"}
		if strings.Contains(body.String(), "time.Time") {
			imports = []string{"fmt", "time", "roadstead.dev/internal/api"}
		}
		b.line("import (")
		for _, i := range imports {
			if i == "roadstead.dev/internal/api" {
				b.line("")
			}
			b.line("%q", i)
		}
		b.line(")\n")
	}
	b.Write(body.Bytes())
	return b.formatted()
}

func (s *service) errorType(b *source, name string, sh *shape) {
	goName := s.goName(name)
	code, status := errorCode(name, sh)
	message := ""
	if sh.Members != nil {
		for _, n := range sh.Members.Names {
			if strings.EqualFold(n, "message") {
				message = exported(n)
			}
		}
	}
	b.line("// %s is answered with code %s and status %d.", goName, code, status)
	b.line("type %s struct {", goName)
	s.fields(b, sh)
	if message == "" {
		b.line("message string")
	}
	b.line("}\n")
	b.line("var _ api.Error = (*%s)(nil)\n", goName)
	b.line("// New%s makes the error with a message.", goName)
	b.line("func New%s(format string, args ...any) *%s {", goName, goName)
	if message == "" {
		b.line("return &%s{message: fmt.Sprintf(format, args...)}", goName)
	} else {
		b.line("return &%s{%s: new(fmt.Sprintf(format, args...))}", goName, message)
	}
	b.line("}\n")
	b.line("func (e *%s) Error() string { return %q + e.ErrorMessage() }\n", goName, code+": ")
	b.line("// ErrorCode is the code on the wire.")
	b.line("func (e *%s) ErrorCode() string { return %q }\n", goName, code)
	b.line("// HTTPStatus is the status of the answer.")
	b.line("func (e *%s) HTTPStatus() int { return %d }\n", goName, status)
	b.line("// ErrorMessage is what the caller reads.")
	b.line("func (e *%s) ErrorMessage() string {", goName)
	if message == "" {
		b.line("return e.message\n}\n")
	} else {
		b.line("if e.%s == nil {\nreturn \"\"\n}\nreturn *e.%s\n}\n", message, message)
	}
}

// operations writes the handler's interface and the table of operations.
func (s *service) operations() []byte {
	var b source
	md := s.model.Metadata
	s.header(&b)
	b.line("// Package %s is the API of %s: its types, errors and operations.", s.name, md.FullName)
	b.line("package %s\n", s.name)
	b.line("import (\n\"context\"\n\n\"roadstead.dev/internal/api\"\n)\n")
	b.line("// Handler serves the operations.")
	b.line("type Handler interface {")
	for _, l := range s.ops {
		b.line("%s(ctx context.Context, in *%sInput) (*%sOutput, error)", l.Name, l.Name, l.Name)
	}
	b.line("}\n")
	b.line("// New describes the service and binds its operations to h. With a nil h the")
	b.line("// service is only described.")
	b.line("func New(h Handler) *api.Service {")
	b.line("s := &api.Service{")
	signing := md.SigningName
	if signing == "" {
		signing = md.EndpointPrefix
	}
	for _, f := range [][2]string{
		{"Name", s.name},
		{"ID", md.ServiceID},
		{"SigningName", signing},
		{"ActionPrefix", actionPrefixes[s.name]},
		{"EndpointPrefix", md.EndpointPrefix},
		{"APIVersion", md.APIVersion},
		{"Protocol", md.Protocol},
		{"JSONVersion", md.JSONVersion},
		{"TargetPrefix", md.TargetPrefix},
		{"XMLNamespace", md.XMLNamespace},
	} {
		if f[1] != "" {
			b.line("%s: %q,", f[0], f[1])
		}
	}
	b.line("Shapes: shapes(),")
	b.line("Operations: []api.Operation{")
	for _, l := range s.ops {
		b.line("%s,", s.operation(l.Name))
	}
	b.line("},")
	if len(s.refused) > 0 {
		b.line("Refused: []string{")
		for _, r := range s.refused {
			b.line("%q,", r)
		}
		b.line("},")
	}
	b.line("}")
	b.line("if h != nil {")
	for i, l := range s.ops {
		b.line("s.Operations[%d].Invoke = func(ctx context.Context, in any) (any, error) { return h.%s(ctx, in.(*%sInput)) }", i, l.Name, l.Name)
	}
	b.line("}")
	b.line("return s.Link(map[string]any{")
	types := map[string]string{}
	for _, l := range s.ops {
		op := s.model.Operations[l.Name]
		types[op.Input.Shape] = s.goName(op.Input.Shape)
		types[op.Output.Shape] = s.goName(op.Output.Shape)
	}
	for _, n := range s.errorShapes() {
		types[n] = s.goName(n)
	}
	for _, n := range slices.Sorted(maps.Keys(types)) {
		b.line("%q: %s{},", n, types[n])
	}
	b.line("})\n}")
	return b.formatted()
}

func (s *service) operation(name string) literal {
	op := s.model.Operations[name]
	var l literal
	l.str("Name", name)
	l.str("Method", op.HTTP.Method)
	l.str("Path", op.HTTP.RequestURI)
	l.str("Input", op.Input.Shape)
	l.str("Output", op.Output.Shape)
	l.str("ResultWrapper", op.Output.ResultWrapper)
	if op.HTTP.ResponseCode != 0 {
		l.add("Status", strconv.Itoa(op.HTTP.ResponseCode))
	}
	if len(op.Errors) > 0 {
		var es []string
		for _, e := range op.Errors {
			es = append(es, e.Shape)
		}
		l.add("Errors", quoted(es))
	}
	if p, ok := s.model.Pagination[name]; ok {
		var pl literal
		pl.str("InputToken", string(p.InputToken))
		pl.str("OutputToken", string(p.OutputToken))
		pl.str("LimitKey", string(p.LimitKey))
		pl.str("ResultKey", string(p.ResultKey))
		l.add("Paginated", "&api.Pagination"+pl.String())
	}
	l.flag("Unsigned", op.AuthType == "none" || slices.Contains(op.Auth, "smithy.api#noAuth") || anonymous[s.name])
	l.add("NewInput", fmt.Sprintf("func() any { return new(%sInput) }", name))
	return l
}
