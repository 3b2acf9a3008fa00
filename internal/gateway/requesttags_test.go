package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddRequestTags(t *testing.T) {
	type tag struct{ Key, Value *string }
	type specification struct {
		ResourceType string
		Tags         []tag
	}
	for _, tt := range []struct {
		name  string
		in    any
		given map[string]string
		want  map[string]string
	}{
		{"list", &struct{ Tags []tag }{[]tag{{new("a"), new("1")}, {new("b"), nil}, {}}}, nil, map[string]string{"aws:RequestTag/a": "1", "aws:RequestTag/b": ""}},
		{"map", &struct{ Tags map[string]string }{map[string]string{"a": "1"}}, nil, map[string]string{"aws:RequestTag/a": "1"}},
		{"keys", &struct{ TagKeys []string }{[]string{"a", "b"}}, nil, map[string]string{"aws:TagKeys": "a,b"}},
		{"keys under another name", &struct{ Tags []string }{[]string{"a"}}, nil, map[string]string{"aws:TagKeys": "a"}},
		{"specifications", &struct{ TagSpecifications []specification }{[]specification{{"vpc", []tag{{new("a"), new("1")}}}}}, nil, map[string]string{"aws:RequestTag/a": "1"}},
		{"none", &struct{ Name *string }{}, map[string]string{"k": "v"}, map[string]string{"k": "v"}},
		{"something else", &struct{ Tags *string }{new("x")}, nil, nil},
		{"the service's own stay", &struct{ Tags []tag }{[]tag{{new("a"), new("1")}}}, map[string]string{"aws:RequestTag/a": "2", "k": "v"}, map[string]string{"aws:RequestTag/a": "2", "k": "v"}},
	} {
		if diff := cmp.Diff(tt.want, addRequestTags(tt.given, tt.in)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
