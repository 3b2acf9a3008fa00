package token

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
)

var now = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func signer(t *testing.T, fill byte) *Signer {
	t.Helper()
	s, err := NewSigner(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestToken(t *testing.T) {
	s := signer(t, 1)
	want := Claims{Account: "000000000000", Identity: api.Identity{ARN: "arn:x", UserID: "AIDA", SessionTags: map[string]string{"a": "b"}}, Expires: now.Add(Lifetime)}
	tok, err := s.Issue(want)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(tok, " \n:") {
		t.Errorf("token %q does not fit in a password", tok)
	}
	got, err := s.Verify(tok, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Verify(tok, now.Add(Lifetime)); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
	if _, err := signer(t, 2).Verify(tok, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("another key: %v", err)
	}
	for i := range len(tok) {
		c := byte('A')
		if tok[i] == c {
			c = 'B'
		}
		changed := tok[:i] + string(c) + tok[i+1:]
		if got, err := s.Verify(changed, now); err == nil && cmp.Diff(got, want) != "" {
			t.Fatalf("changed at %d, it says %+v", i, got)
		}
	}
}

func TestLoadSigner(t *testing.T) {
	path := t.TempDir() + "/registry/token.key"
	a, err := LoadSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadSigner(path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := a.Issue(Claims{Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(tok, now); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", fi.Mode(), err)
	}
	if _, err := NewSigner([]byte("short")); err == nil {
		t.Error("took a short key")
	}
}

func FuzzVerify(f *testing.F) {
	s, err := NewSigner(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	tok, err := s.Issue(Claims{Account: "1", Expires: now})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tok)
	f.Add("")
	f.Add("AAAA")
	other, err := NewSigner(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := other.Verify(token, now); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", token, err)
		}
	})
}
