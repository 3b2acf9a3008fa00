package pagetoken

import (
	"testing"

	"pgregory.net/rapid"
)

func TestOnlyItsOwnListOpensAToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.String().Draw(t, "position")
		list := rapid.SliceOf(rapid.String()).Draw(t, "list")
		token := Make(position, list...)
		if got, ok := Open(token, list...); !ok || got != position {
			t.Fatalf("opened %q, %v", got, ok)
		}
		if _, ok := Open(token, append(list, "")...); ok {
			t.Fatal("another list's token was taken")
		}
	})
	// Parts do not run into each other.
	if _, ok := Open(Make("p", "ab", "c"), "a", "bc"); ok {
		t.Fatal("parts run into each other")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add("")
	f.Add(Make("cluster/1", "ListTasks"))
	f.Add(Make("", "ListTasks") + "=")
	f.Fuzz(func(t *testing.T, token string) {
		position, ok := Open(token, "ListTasks")
		if ok && Make(position, "ListTasks") != token {
			t.Fatalf("%q opens and is not what Make made", token)
		}
	})
}
