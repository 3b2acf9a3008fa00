package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func load(t *testing.T, path string) *Key {
	t.Helper()
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLoadKeepsTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "seal.key")
	sealed := load(t, path).Seal("a", []byte("hush"))
	if strings.Contains(sealed, "hush") {
		t.Error("the value is readable")
	}
	got, err := load(t, path).Open("a", sealed)
	if err != nil || string(got) != "hush" {
		t.Errorf("%q, %v", got, err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", i.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLoadRefusesAnotherSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("taken")
	}
}

func TestSealProperties(t *testing.T) {
	k, other := load(t, filepath.Join(t.TempDir(), "1")), load(t, filepath.Join(t.TempDir(), "2"))
	rapid.Check(t, func(t *rapid.T) {
		name, value := rapid.String().Draw(t, "name"), rapid.SliceOf(rapid.Byte()).Draw(t, "value")
		sealed := k.Seal(name, value)
		if got, err := k.Open(name, sealed); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%q, %v", got, err)
		}
		if sealed == k.Seal(name, value) {
			t.Fatal("the same text twice")
		}
		if _, err := k.Open(name+"x", sealed); !errors.Is(err, ErrOpen) {
			t.Fatal("opened under another name", err)
		}
		if _, err := other.Open(name, sealed); !errors.Is(err, ErrOpen) {
			t.Fatal("opened with another key", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k, err := New(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a", k.Seal("a", []byte("v")))
	f.Add("a", "")
	f.Add("", "AAAA")
	f.Fuzz(func(t *testing.T, name, sealed string) {
		if _, err := k.Open(name, sealed); err != nil && !errors.Is(err, ErrOpen) {
			t.Fatal(err)
		}
	})
}
