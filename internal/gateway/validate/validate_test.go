package validate

import (
	"encoding/json"
	"strings"
	"testing"

	"roadstead.dev/internal/api"
)

type item struct {
	Key    *string
	Secret *string
}

type input struct {
	Name  *string
	Mode  mode
	Size  *int32
	Names []string
	Items []item
	Tags  map[string]string
	Token *string
}

type mode string

func service() *api.Service {
	s := &api.Service{
		Name: "test",
		Shapes: []api.Shape{
			{Name: "In", Kind: api.Structure, Members: []api.Member{
				{Name: "Name", Shape: "Name", Required: true},
				{Name: "Mode", Shape: "Mode"},
				{Name: "Size", Shape: "Size"},
				{Name: "Names", Shape: "Names"},
				{Name: "Items", Shape: "Items"},
				{Name: "Tags", Shape: "Tags"},
				{Name: "Token", Shape: "Plain", IdempotencyToken: true},
			}},
			{Name: "Item", Kind: api.Structure, Members: []api.Member{{Name: "Key", Shape: "Name", Required: true}, {Name: "Secret", Shape: "Secret"}}},
			{Name: "Name", Kind: api.String, HasMin: true, Min: 1, HasMax: true, Max: 3, Pattern: "[a-zü]*"},
			{Name: "Secret", Kind: api.String, HasMax: true, Max: 1, Sensitive: true},
			{Name: "Mode", Kind: api.String, Enum: []string{"A", "B"}},
			{Name: "Size", Kind: api.Integer, HasMin: true, Min: 1, HasMax: true, Max: 9},
			{Name: "Plain", Kind: api.String},
			{Name: "Names", Kind: api.List, Element: "Name", HasMax: true, Max: 2},
			{Name: "Items", Kind: api.List, Element: "Item"},
			{Name: "Tags", Kind: api.Map, Key: "Name", Element: "Plain"},
		},
	}
	return s.Link(map[string]any{"In": input{}})
}

func TestMessages(t *testing.T) {
	shape := service().Shape("In")
	const one = "1 validation error detected: "
	tests := []struct {
		name string
		in   input
		want string
	}{
		{"good", input{Name: new("aüb"), Mode: "B", Size: new(int32(9)), Names: []string{"a"}, Items: []item{{Key: new("k")}}, Tags: map[string]string{"k": ""}}, ""},
		{"required", input{}, one + "Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{"short", input{Name: new("")}, one + "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"long", input{Name: new("abcd")}, one + "Value 'abcd' at 'name' failed to satisfy constraint: Member must have length less than or equal to 3"},
		{"pattern", input{Name: new("a\n")}, one + "Value 'a\n' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zü]*"},
		{"enum", input{Name: new("a"), Mode: "C"}, one + "Value 'C' at 'mode' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"},
		{"range", input{Name: new("a"), Size: new(int32(10))}, one + "Value '10' at 'size' failed to satisfy constraint: Member must have value less than or equal to 9"},
		{
			"element",
			input{Name: new("a"), Names: []string{"ok", "B"}},
			one + "Value '[ok, B]' at 'names' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 3, " +
				"Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-zü]*]",
		},
		{"list", input{Name: new("a"), Names: []string{"a", "b", "c"}}, one + "Value '[a, b, c]' at 'names' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{"nested", input{Name: new("a"), Items: []item{{Key: new("a")}, {}}}, one + "Value null at 'items.2.member.key' failed to satisfy constraint: Member must not be null"},
		{"sensitive", input{Name: new("a"), Items: []item{{Key: new("a"), Secret: new("hidden")}}}, one + "Value at 'items.1.member.secret' failed to satisfy constraint: Member must have length less than or equal to 1"},
		{
			"two", input{Size: new(int32(0))}, "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; " +
				"Value '0' at 'size' failed to satisfy constraint: Member must have value greater than or equal to 1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if vs := Check(shape, &tt.in); len(vs) > 0 {
				got = Message(vs)
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestTooManyViolations(t *testing.T) {
	in := input{Name: new("a"), Items: make([]item, 100)}
	if vs := Check(service().Shape("In"), &in); len(vs) != maxFound {
		t.Errorf("%d violations", len(vs))
	}
}

// Whatever an input holds, what is wrong with it can be said, and what is said
// to be right is within the limits.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"Name":"a","Mode":"B","Size":9,"Names":["a"],"Items":[{"Key":"k","Secret":"s"}],"Tags":{"k":"v"}}`))
	f.Add([]byte(`{"Name":"","Mode":"x","Size":-1,"Names":["","\u0000",""],"Items":[{},{"Key":"toolong"}],"Tags":{"":"","TOO":"x"}}`))
	f.Add([]byte(`{"Name":"\ud800ü\n"}`))
	shape := service().Shape("In")
	f.Fuzz(func(t *testing.T, b []byte) {
		var in input
		if json.Unmarshal(b, &in) != nil {
			return
		}
		vs := Check(shape, &in)
		if len(vs) > maxFound {
			t.Errorf("%d violations", len(vs))
		}
		for i := range vs {
			if vs[i].Where() == "" || vs[i].Constraint() == "" {
				t.Errorf("%+v has no words", vs[i])
			}
		}
		if len(vs) > 0 && !strings.Contains(Message(vs), "failed to satisfy constraint") {
			t.Error(Message(vs))
		}
		if len(vs) == 0 && (in.Name == nil || len(*in.Name) == 0 || in.Size != nil && (*in.Size < 1 || *in.Size > 9) || len(in.Names) > 2) {
			t.Errorf("%s passes", b)
		}
	})
}

func TestFillTokens(t *testing.T) {
	shape := service().Shape("In")
	fill := func() string { return "new" }
	in, given := input{}, input{Token: new("mine")}
	FillTokens(shape, &in, fill)
	FillTokens(shape, &given, fill)
	if in.Token == nil || *in.Token != "new" || *given.Token != "mine" || in.Name != nil {
		t.Errorf("filled %+v and %+v", in, given)
	}
}
