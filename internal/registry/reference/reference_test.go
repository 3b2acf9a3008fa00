package reference

import (
	"errors"
	"path"
	"strings"
	"testing"
)

var (
	hex64  = strings.Repeat("0a", 32)
	hex128 = strings.Repeat("0a", 64)
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"web":                           true,
		"team/web":                      true,
		"a/b/c/d":                       true,
		"a.b_c__d-e--f":                 true,
		"0a":                            true,
		strings.Repeat("a", 256):        true,
		"":                              false,
		"a":                             false,
		strings.Repeat("a", 257):        false,
		"Web":                           false,
		"web/":                          false,
		"/web":                          false,
		"web//x":                        false,
		"../etc":                        false,
		"web/../other":                  false,
		"web/./x":                       false,
		"web..x":                        false,
		"web_":                          false,
		"-web":                          false,
		"web:tag":                       false,
		"web@sha256":                    false,
		"web\x00":                       false,
		"web\n":                         false,
		"wéb":                           false,
		"web%2f..":                      false,
		"a___b":                         false,
		strings.Repeat("ab/", 100) + "": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok %t", name, err, ok)
		} else if err != nil && !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q) = %v, which is not ErrName", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]struct {
		ref Reference
		err error
	}{
		"latest":                           {ref: Reference{Tag: "latest"}},
		"_1.2-rc":                          {ref: Reference{Tag: "_1.2-rc"}},
		"sha256:" + hex64:                  {ref: Reference{Digest: Digest("sha256:" + hex64)}},
		"sha512:" + hex128:                 {ref: Reference{Digest: Digest("sha512:" + hex128)}},
		"sha256:" + hex128:                 {err: ErrDigest},
		"sha512:" + hex64:                  {err: ErrDigest},
		"sha256:baddigeststring":           {err: ErrDigest},
		"sha256:" + strings.ToUpper(hex64): {err: ErrDigest},
		"md5:" + hex64[:32]:                {err: ErrDigest},
		":":                                {err: ErrDigest},
		"":                                 {err: ErrTag},
		".hidden":                          {err: ErrTag},
		"..":                               {err: ErrTag},
		"a/b":                              {err: ErrTag},
		strings.Repeat("t", 129):           {err: ErrTag},
	} {
		got, err := Parse(in)
		if !errors.Is(err, want.err) || (want.err == nil && (err != nil || got != want.ref)) {
			t.Errorf("Parse(%q) = %v, %v; want %v, %v", in, got, err, want.ref, want.err)
		}
		if want.err == nil && got.String() != in {
			t.Errorf("Parse(%q).String() = %q", in, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"web", "a/b", "..", "sha256:" + hex64, "latest", "a//b", "a/../b", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckName(s) == nil {
			if path.Clean("/"+s) != "/"+s || strings.ContainsAny(s, ":@\\\x00") {
				t.Errorf("name %q is not safe", s)
			}
		}
		ref, err := Parse(s)
		if err != nil {
			return
		}
		if ref.String() != s || strings.ContainsAny(s, "/\\\x00") || s == "." || s == ".." {
			t.Errorf("reference %q became %q", s, ref)
		}
		if ref.Digest != "" && ref.Digest.Algorithm()+":"+ref.Digest.Hex() != s {
			t.Errorf("digest %q falls apart wrongly", s)
		}
	})
}
