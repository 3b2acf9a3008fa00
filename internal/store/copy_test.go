package store

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type inner struct {
	Name *string
	List []string
	At   time.Time
}

type whole struct {
	Own    inner
	Text   string
	Number *int
	Deep   []inner
	ByName map[string]*inner
	Tags   map[string]string
	Addr   netip.Prefix
	Pair   [2][]int
	Raw    json.RawMessage
	None   []inner
	Empty  []string
}

func draw(t *rapid.T) *whole {
	in := func(label string) inner {
		return inner{
			Name: rapid.Ptr(rapid.String(), true).Draw(t, label+" name"),
			List: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, label+" list"),
			At:   time.Unix(rapid.Int64Range(0, 1e9).Draw(t, label+" at"), 0),
		}
	}
	one := in("by name")
	w := &whole{
		Own: in("own"), Text: rapid.String().Draw(t, "text"), Number: rapid.Ptr(rapid.Int(), true).Draw(t, "number"),
		ByName: map[string]*inner{"one": &one, "nil": nil}, Tags: rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "tags"),
		Addr: netip.MustParsePrefix("10.0.0.0/8"), Pair: [2][]int{{1, 2}, nil}, Raw: json.RawMessage(`{"a":1}`), Empty: []string{},
	}
	for range rapid.IntRange(0, 3).Draw(t, "deep") {
		w.Deep = append(w.Deep, in("deep"))
	}
	return w
}

// TestDeepCopy: a copy equals what it is of, and shares nothing that can be
// changed with it.
func TestDeepCopy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := draw(t)
		before, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		c := deepCopy(v)
		if c == nil || !reflect.DeepEqual(v, c) {
			t.Fatalf("%+v became %+v", v, c)
		}
		for _, in := range append([]inner{c.Own, *c.ByName["one"]}, c.Deep...) {
			for i := range in.List {
				in.List[i] = "changed"
			}
			if in.Name != nil {
				*in.Name = "changed"
			}
		}
		for i := range c.Deep {
			c.Deep[i].At = time.Time{}
		}
		if c.Number != nil {
			*c.Number++
		}
		c.ByName["one"].At = time.Time{}
		c.ByName["new"], c.Pair[0][0], c.Raw[5] = nil, 7, '2'
		if c.Tags != nil {
			c.Tags["new"] = "tag"
		}
		if after, _ := json.Marshal(v); string(after) != string(before) {
			t.Fatalf("changing the copy changed %s to %s", before, after)
		}
	})
}

func TestDeepCopyRefuses(t *testing.T) {
	type hidden struct{ list []string }
	type self struct{ Next *self }
	if deepCopy(&hidden{list: []string{"a"}}) != nil {
		t.Error("copied what it cannot set")
	}
	if deepCopy(&self{Next: &self{}}) != nil {
		t.Error("copied a type that holds itself")
	}
	if deepCopy(&struct{ V any }{[]string{"a"}}) != nil {
		t.Error("copied an interface")
	}
	// A Row of such a type is copied by way of JSON.
	if c := (Row[self]{V: &self{Next: &self{}}}).Copy(); c.Next == nil {
		t.Errorf("got %+v", c)
	}
}
