package sigv4

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// AWS's test suite for signers, aws-signing-test-suite/v4 of awslabs/aws-c-auth,
// is not part of this repository: with its folder in ROADSTEAD_SIGV4_SUITE,
// every case of it must verify, in the header and in the query, and must not
// with any byte of the signature changed.
func TestSuite(t *testing.T) {
	root := os.Getenv("ROADSTEAD_SIGV4_SUITE")
	if root == "" {
		t.Skip("ROADSTEAD_SIGV4_SUITE names no folder")
	}
	contexts, err := filepath.Glob(filepath.Join(root, "*", "context.json"))
	if err != nil || len(contexts) == 0 {
		t.Fatal("no cases:", err)
	}
	for _, file := range contexts {
		dir := filepath.Dir(file)
		var c struct {
			Credentials struct {
				Secret string `json:"secret_access_key"`
				Token  string `json:"token"`
			} `json:"credentials"`
			Normalize bool      `json:"normalize"`
			Timestamp time.Time `json:"timestamp"`
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"header", "query"} {
			t.Run(filepath.Base(dir)+"/"+kind, func(t *testing.T) {
				r := readRequest(t, filepath.Join(dir, kind+"-signed-request.txt"))
				if !c.Normalize {
					// That is S3's way; no other service signs so.
					canonical, err := os.ReadFile(filepath.Join(dir, kind+"-canonical-request.txt"))
					if err != nil {
						t.Fatal(err)
					}
					want := strings.Split(string(canonical), "\n")[1]
					if got := string(canonicalPath(nil, (&url.URL{Path: r.Path}).EscapedPath(), true)); got != want {
						t.Errorf("path %s, want %s", got, want)
					}
					return
				}
				q, err := url.ParseQuery(r.RawQuery)
				if err != nil {
					t.Fatal(err)
				}
				sig, err := Parse(r.Header, q)
				if err != nil {
					t.Fatal(err)
				}
				if err := sig.Verify(r, c.Credentials.Secret); err != nil {
					payload, _ := payloadHash(r, sig)
					t.Errorf("%v; canonical request\n%s", err, canonical(r, sig, payload))
				}
				if err := sig.CheckTime(c.Timestamp); err != nil {
					t.Error(err)
				}
				if err := sig.CheckScope("service"); err != nil {
					t.Error(err)
				}
				if sig.Presigned != (kind == "query") {
					t.Errorf("presigned: %v", sig.Presigned)
				}
				other := *sig
				other.Signature = "0" + sig.Signature[1:]
				if sig.Signature[0] == '0' {
					other.Signature = "1" + sig.Signature[1:]
				}
				if other.Verify(r, c.Credentials.Secret) == nil {
					t.Error("another signature is right")
				}
			})
		}
	}
}

// readRequest reads a request of the suite, whose lines end in \n and whose
// path may hold what HTTP's may not.
func readRequest(t *testing.T, file string) *Request {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(strings.NewReader(string(b)))
	r := &Request{Header: make(http.Header)}
	var last string
	for n := 0; in.Scan(); n++ {
		line := strings.TrimSuffix(in.Text(), "\r")
		if n == 0 {
			method, rest, _ := strings.Cut(line, " ")
			r.Method = method
			uri := strings.TrimSuffix(rest, " HTTP/1.1")
			r.Path, r.RawQuery, _ = strings.Cut(uri, "?")
			continue
		}
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			// net/http joins folded lines with a space.
			vs := r.Header[last]
			vs[len(vs)-1] += " " + strings.TrimSpace(line)
			continue
		}
		k, v, _ := strings.Cut(line, ":")
		last = http.CanonicalHeaderKey(k)
		r.Header[last] = append(r.Header[last], strings.TrimSpace(v))
	}
	var body []string
	for in.Scan() {
		body = append(body, in.Text())
	}
	r.Body = []byte(strings.Join(body, "\n"))
	r.ContentLength = int64(len(r.Body))
	r.Host = r.Header.Get("Host")
	r.Header.Del("Host")
	return r
}
