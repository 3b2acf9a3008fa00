// Package api is what generated API packages and the gateway agree on: the
// description of a service's shapes and operations, the call that a handler
// serves, and the errors that it may answer with.
//
// The packages below this one, one per AWS service, are generated from AWS's
// own models by internal/apigen and hold Go types together with the tables
// described here. Codecs and constraint checks walk the tables, so there is
// one of each for all services.
package api

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
)

// Kind is the wire type of a shape.
type Kind uint8

// The kinds of the C2J models. The Go type that stands for each is named
// behind it; a structure's members hold it behind a pointer unless it is an
// enumeration, a list, a map or a blob, whose zero value means "absent".
const (
	String    Kind = iota // string, or a named string type when the shape has an Enum
	Boolean               // bool
	Integer               // int32
	Long                  // int64
	Float                 // float32
	Double                // float64
	Blob                  // []byte
	Timestamp             // time.Time
	Structure             // a generated struct
	List                  // a slice
	Map                   // a map
	Document              // any: an open JSON value
)

// Location is where a member travels in HTTP. Only the REST protocols use
// anything but Body.
type Location uint8

// The locations of the C2J models.
const (
	Body Location = iota
	Header
	Headers // a map whose keys share the prefix LocationName
	URI
	QueryString
	StatusCode
)

// Shape describes one type of a service's model. The exported fields are
// written by the generator; the gateway must not change them.
type Shape struct {
	Name string
	Kind Kind

	// Members of a Structure, in the model's order.
	Members []Member
	// Element of a List, or value of a Map; Key of a Map. Names of shapes.
	Element, Key string
	// ElementName, KeyName and ValueName are the wire names inside lists and
	// maps of the XML protocols; empty means member, key and value.
	ElementName, KeyName, ValueName string
	// Flattened lists and maps repeat their own name on the wire.
	Flattened bool

	// HasMin and HasMax tell whether Min and Max are set: they limit the
	// length of strings (in runes), blobs (in bytes), lists and maps, and the
	// value of numbers.
	HasMin, HasMax bool
	Min, Max       float64
	// Pattern is a regular expression in AWS's (Java's) dialect that a whole
	// string must match.
	Pattern string
	// Enum lists the values of a string that are allowed.
	Enum []string

	// TimestampFormat is iso8601, rfc822 or unixTimestamp; empty means the
	// protocol's default.
	TimestampFormat string
	// Payload names the member that is the whole HTTP body.
	Payload string
	// Sensitive values never reach a log.
	Sensitive bool
	// Union structures hold exactly one member.
	Union bool
	// Error is set on shapes that are answered as errors.
	Error *ErrorInfo

	service *Service
	goType  reflect.Type
	element *Shape
	key     *Shape
	pattern func() *regexp.Regexp
}

// Member is one field of a structure.
type Member struct {
	// Name is the member's name in the model. The Go field of the generated
	// struct has the same index as the member.
	Name string
	// Shape names the member's type.
	Shape string
	// LocationName is the name on the wire where it differs from Name.
	LocationName string
	// QueryName is the name in an ec2query request where the model sets one.
	QueryName        string
	Location         Location
	Required         bool
	Flattened        bool
	XMLAttribute     bool
	XMLNamespace     string
	TimestampFormat  string
	IdempotencyToken bool
	// Streaming blobs are read and written as they come: the Go field is an
	// io.ReadCloser. In an input it is the gateway's to close.
	Streaming bool

	shape *Shape
}

// ErrorInfo is how an error shape travels.
type ErrorInfo struct {
	// Code is the wire code, which is the shape's name unless the model says
	// otherwise.
	Code string
	// Status is the HTTP status, 400 unless the model says otherwise.
	Status int
	// Fault marks errors that are the server's, not the caller's.
	Fault bool
}

// Wire is the member's name on the wire.
func (m *Member) Wire() string {
	if m.LocationName != "" {
		return m.LocationName
	}
	return m.Name
}

// Type is the member's linked shape.
func (m *Member) Type() *Shape { return m.shape }

// ElementShape is the linked shape of a list's element or a map's value.
func (s *Shape) ElementShape() *Shape { return s.element }

// KeyShape is the linked shape of a map's key.
func (s *Shape) KeyShape() *Shape { return s.key }

// GoType is the generated struct of a Structure that is an operation's input,
// output or error, or that is reached from one.
func (s *Shape) GoType() reflect.Type { return s.goType }

// Regexp is the compiled Pattern, anchored to the whole string, or nil where
// there is none or where Go's regular expressions cannot say it.
func (s *Shape) Regexp() *regexp.Regexp {
	if s.pattern == nil {
		return nil
	}
	return s.pattern()
}

// Member finds a member by its model name.
func (s *Shape) Member(name string) *Member {
	for i := range s.Members {
		if s.Members[i].Name == name {
			return &s.Members[i]
		}
	}
	return nil
}

func compilePattern(p string) func() *regexp.Regexp {
	if p == "" {
		return nil
	}
	return sync.OnceValue(func() *regexp.Regexp {
		re, err := regexp.Compile(`^(?s:` + goPattern(p) + `)$`)
		if err != nil {
			return nil
		}
		return re
	})
}

// javaEscape is a character by its number, as Java writes it. The models write
// those beyond the first plane so, too.
var javaEscape = regexp.MustCompile(`\\u(10[0-9A-Fa-f]{4}|10000|[0-9A-Fa-f]{4})`)

// javaPairs are all characters beyond the first plane, as pairs of surrogates,
// which Go's strings do not have.
const javaPairs = `\uD800\uDC00-\uDBFF\uDFFF`

// withoutLookahead are the patterns that look ahead, which Go's cannot, said
// otherwise. Lengths are limited apart.
var withoutLookahead = map[string]string{
	`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: `[a-z0-9](-?[a-z0-9])*`,
	`^(?!\s*$).+`: `.*\S.*`,
	`(\*\.)?(((?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9])\.)+((?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9])`: `(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]`,
}

// goPattern is a pattern of Java's dialect in Go's.
func goPattern(p string) string {
	if other, ok := withoutLookahead[p]; ok {
		return other
	}
	return javaEscape.ReplaceAllString(strings.ReplaceAll(p, javaPairs, `\u10000-\u10FFFF`), `\x{$1}`)
}

// link resolves the names in a service's shapes to pointers and gives each
// structure that is reachable from roots its Go type.
func (s *Service) link() {
	s.byName = make(map[string]*Shape, len(s.Shapes))
	for i := range s.Shapes {
		sh := &s.Shapes[i]
		sh.service = s
		sh.pattern = compilePattern(sh.Pattern)
		s.byName[sh.Name] = sh
	}
	find := func(from, name string) *Shape {
		sh := s.byName[name]
		if sh == nil {
			panic(fmt.Sprintf("api: %s: shape %s names %s, which does not exist", s.Name, from, name))
		}
		return sh
	}
	for i := range s.Shapes {
		sh := &s.Shapes[i]
		if sh.Element != "" {
			sh.element = find(sh.Name, sh.Element)
		}
		if sh.Key != "" {
			sh.key = find(sh.Name, sh.Key)
		}
		for j := range sh.Members {
			sh.Members[j].shape = find(sh.Name, sh.Members[j].Shape)
		}
	}
}

// giveType records the Go type of s and of what it holds. Generated structs
// keep a field per member in the model's order, which this checks.
func (s *Shape) giveType(t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s.goType != nil {
		return
	}
	s.goType = t
	switch s.Kind {
	case Structure:
		if t.NumField() < len(s.Members) {
			panic(fmt.Sprintf("api: %s has %d members and Go type %s %d fields", s.Name, len(s.Members), t, t.NumField()))
		}
		for i := range s.Members {
			s.Members[i].shape.giveType(t.Field(i).Type)
		}
	case List:
		s.element.giveType(t.Elem())
	case Map:
		s.key.giveType(t.Key())
		s.element.giveType(t.Elem())
	case String, Boolean, Integer, Long, Float, Double, Blob, Timestamp, Document:
	}
}
