package imageref

import (
	"errors"
	"strings"
	"testing"
)

const sha = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	for in, want := range map[string]Reference{
		"nginx":                                 {"docker.io", "library/nginx", "latest", ""},
		"nginx:1.27":                            {"docker.io", "library/nginx", "1.27", ""},
		"grafana/grafana":                       {"docker.io", "grafana/grafana", "latest", ""},
		"docker.io/nginx":                       {"docker.io", "library/nginx", "latest", ""},
		"index.docker.io/a/b":                   {"docker.io", "a/b", "latest", ""},
		"localhost/x":                           {"localhost", "x", "latest", ""},
		"localhost:5000/x:y":                    {"localhost:5000", "x", "y", ""},
		"[::1]:5000/x":                          {"[::1]:5000", "x", "latest", ""},
		"nginx@" + sha:                          {"docker.io", "library/nginx", "", sha},
		"nginx:1@" + sha:                        {"docker.io", "library/nginx", "1", sha},
		"public.ecr.aws/docker/library/nginx:1": {"public.ecr.aws", "docker/library/nginx", "1", ""},
		"000000000000.dkr.ecr.us-east-1.localhost:4566/team/app:v1": {"000000000000.dkr.ecr.us-east-1.localhost:4566", "team/app", "v1", ""},
		"a__b/c-d.e_f": {"docker.io", "a__b/c-d.e_f", "latest", ""},
	} {
		got, err := Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "Nginx", "nginx:", "nginx:bad tag", "nginx@sha256:1234", "nginx@md5:" + strings.Repeat("0", 32), "/nginx", "nginx/",
		"a//b", "-a", "http://x/y", "host:port/x", strings.Repeat("a", 64), strings.Repeat("b/", 200) + "c", "x:" + strings.Repeat("t", 129),
	} {
		if got, err := Parse(in); !errors.Is(err, ErrReference) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrReference", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:c", "localhost:5000/x@" + sha, "[::1]:5000/x", "x:y@z", "A/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %+v is written %q, which gives %+v, %v", s, r, r.String(), again, err)
		}
	})
}
