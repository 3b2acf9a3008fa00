package codec

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

func encodeStruct(shape *api.Shape, v reflect.Value) ([]byte, error) {
	var e jsonEncoder
	err := e.structure(typed.Of(shape), v, false, nil)
	return e.b, err
}

func xmlText(b []byte) (string, error) {
	var v struct {
		Text string `xml:",chardata"`
	}
	err := xml.Unmarshal(b, &v)
	return v.Text, err
}

// The shapes of a REST API, made by hand.
type tagInput struct {
	Cluster *string
	List    []string
	N       *int32
	Name    *string
	Since   *time.Time
	Meta    map[string]string
	Token   *string
}

type tagOutput struct {
	Status *int32
	Name   *string
	Since  *time.Time
	Items  []string
	Tags   map[string]string
	Blob   []byte
	Ratio  *float64
	Doc    any
}

func restService() *api.Service {
	s := &api.Service{
		Name: "rest", SigningName: "rest", Protocol: api.RESTJSON,
		Shapes: []api.Shape{
			{Name: "In", Kind: api.Structure, Members: []api.Member{
				{Name: "cluster", Shape: "S", Location: api.URI, LocationName: "name", Required: true},
				{Name: "list", Shape: "L", Location: api.QueryString, LocationName: "list"},
				{Name: "n", Shape: "I", Location: api.QueryString, LocationName: "n"},
				{Name: "name", Shape: "S"},
				{Name: "since", Shape: "T", Location: api.Header, LocationName: "If-Since"},
				{Name: "meta", Shape: "M", Location: api.Headers, LocationName: "X-Meta-"},
				{Name: "token", Shape: "S", IdempotencyToken: true},
			}},
			{Name: "Out", Kind: api.Structure, Members: []api.Member{
				{Name: "status", Shape: "I", Location: api.StatusCode},
				{Name: "name", Shape: "S", Location: api.Header, LocationName: "X-Name"},
				{Name: "since", Shape: "T"},
				{Name: "items", Shape: "L"},
				{Name: "tags", Shape: "M"},
				{Name: "blob", Shape: "B"},
				{Name: "ratio", Shape: "D"},
				{Name: "doc", Shape: "Doc"},
			}},
			{Name: "S", Kind: api.String},
			{Name: "I", Kind: api.Integer},
			{Name: "T", Kind: api.Timestamp},
			{Name: "B", Kind: api.Blob},
			{Name: "D", Kind: api.Double},
			{Name: "Doc", Kind: api.Document},
			{Name: "L", Kind: api.List, Element: "S"},
			{Name: "M", Kind: api.Map, Key: "S", Element: "S"},
		},
		Operations: []api.Operation{
			{
				Name: "Tag", Method: "POST", Path: "/clusters/{name}/tags", Input: "In", Output: "Out",
				NewInput: func() any { return new(tagInput) },
				Invoke:   func(context.Context, any) (any, error) { return nil, nil },
			},
			{Name: "Greedy", Method: "GET", Path: "/tags/{arn+}"},
			{Name: "Fixed", Method: "GET", Path: "/tags/all"},
		},
	}
	return s.Link(map[string]any{"In": tagInput{}, "Out": tagOutput{}})
}

func TestRESTJSON(t *testing.T) {
	s := restService()
	op := MatchREST(s, "POST", "/clusters/a%2Fb/tags")
	if op == nil || op.Name != "Tag" {
		t.Fatalf("matched %v", op)
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	in := new(tagInput)
	err := RESTJSON{}.Decode(op, &Request{
		Path: "/clusters/a%2Fb/tags", Query: url.Values{"list": {"x", "y"}, "n": {"5"}},
		Header: http.Header{"If-Since": {at.Format(http.TimeFormat)}, "X-Meta-K": {"v"}},
		Body:   []byte(`{"name":"z","cluster":"not from here"}`),
	}, in)
	if err != nil {
		t.Fatal(err)
	}
	want := &tagInput{Cluster: new("a/b"), List: []string{"x", "y"}, N: new(int32(5)), Name: new("z"), Since: &at, Meta: map[string]string{"K": "v"}}
	if d := cmp.Diff(want, in); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
	r, err := RESTJSON{}.Encode(op, &tagOutput{
		Status: new(int32(202)), Name: new("n"), Since: new(at.Add(5 * time.Millisecond)), Tags: map[string]string{"b": "2", "a": "1"},
		Blob: []byte("hi"), Ratio: new(0.25), Doc: map[string]any{"x": []any{1.0}},
	}, "id")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(r.Body); r.Status != 202 || r.Header.Get("X-Name") != "n" ||
		got != `{"since":1700000000.005,"items":[],"tags":{"a":"1","b":"2"},"blob":"aGk=","ratio":0.25,"doc":{"x":[1]}}` {
		t.Errorf("encoded %d %v %s", r.Status, r.Header, got)
	}
	e := RESTJSON{}.EncodeError(s, &api.Fault{Code: "NotFound", Message: "no", Status: 404}, "id")
	if e.Status != 404 || e.Header.Get("X-Amzn-Errortype") != "NotFound" || string(e.Body) != `{"message":"no"}` {
		t.Errorf("error %d %v %s", e.Status, e.Header, e.Body)
	}
}

func TestMatchREST(t *testing.T) {
	s := restService()
	for path, want := range map[string]string{
		"/tags/all": "Fixed", "/tags/arn:a/b": "Greedy", "/tags/": "", "/clusters/x/tags": "", "/": "",
	} {
		got := ""
		if op := MatchREST(s, "GET", path); op != nil {
			got = op.Name
		}
		if got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestTimestamps(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for text, format := range map[string]string{
		"2026-01-02T03:04:05.678Z": "iso8601", "2026-01-02T04:04:05.678+01:00": "", "1767323045.678": "unixTimestamp",
	} {
		got, ok := parseTime(text, format)
		if !ok || !got.Equal(at) {
			t.Errorf("%s is %v", text, got)
		}
	}
	for _, text := range []string{"", "now", "NaN", "1e99", "2026-13-01T00:00:00Z"} {
		if got, ok := parseTime(text, ""); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	for format, want := range map[string]string{
		"iso8601": "2026-01-02T03:04:05.678Z", "rfc822": "Fri, 02 Jan 2026 03:04:05 GMT", "unixTimestamp": "1767323045.678",
	} {
		if got := formatTime(at, format); got != want {
			t.Errorf("%s writes %s, want %s", format, got, want)
		}
	}
}

func TestFormRefusals(t *testing.T) {
	for _, s := range []string{"%zz=1", "a=%ff", "%ff=1"} {
		if _, err := ParseForm(s); api.Code(err) != "MalformedQueryString" {
			t.Errorf("%s: %v", s, err)
		}
	}
}
