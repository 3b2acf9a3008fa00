package jsonfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	for _, want := range []string{`{"a":1}`, `[]`} {
		v := any(map[string]int{"a": 1})
		if want == "[]" {
			v = []int{}
		}
		if err := Write(path, v); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != want {
			t.Errorf("%s, %v", b, err)
		}
	}
	// What does not encode leaves the file as it was.
	if err := Write(path, func() {}); err == nil {
		t.Error("a function is JSON")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "[]" {
		t.Errorf("%s, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
