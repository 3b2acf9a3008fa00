package sigv4

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	exampleKey    = "AKIDEXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// The examples of AWS's documentation and of its test suite for signers:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html
func TestPublishedExamples(t *testing.T) {
	tests := []struct {
		name, method, path, query, host, service, signed string
		header                                           http.Header
		body, signature                                  string
	}{
		{
			name: "ListUsers", method: "GET", path: "/", query: "Action=ListUsers&Version=2010-05-08", host: "iam.amazonaws.com", service: "iam",
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
			signed: "content-type;host;x-amz-date", signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
		{
			name: "get-vanilla", method: "GET", path: "/", host: "example.amazonaws.com", service: "service",
			signed: "host;x-amz-date", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			name: "get-vanilla-query-order-key-case", method: "GET", path: "/", query: "Param2=value2&Param1=value1", host: "example.amazonaws.com", service: "service",
			signed: "host;x-amz-date", signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		{
			name: "get-header-value-trim", method: "GET", path: "/", host: "example.amazonaws.com", service: "service",
			header: http.Header{"My-Header1": {" value1"}, "My-Header2": {` "a   b   c"`}},
			signed: "host;my-header1;my-header2;x-amz-date", signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
		},
		{
			name: "post-x-www-form-urlencoded", method: "POST", path: "/", host: "example.amazonaws.com", service: "service",
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: "Param1=value1",
			signed: "content-type;host;x-amz-date", signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"X-Amz-Date": {"20150830T123600Z"}}
			maps.Copy(h, tt.header)
			h.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleKey+"/20150830/us-east-1/"+tt.service+
				"/aws4_request, SignedHeaders="+tt.signed+", Signature="+tt.signature)
			q, _ := url.ParseQuery(tt.query)
			sig, err := Parse(h, q)
			if err != nil {
				t.Fatal(err)
			}
			r := &Request{Method: tt.method, Path: tt.path, RawQuery: tt.query, Host: tt.host, Header: h, Body: []byte(tt.body), ContentLength: int64(len(tt.body))}
			if err := sig.Verify(r, exampleSecret); err != nil {
				payload, _ := payloadHash(r, sig)
				t.Errorf("%v; canonical request\n%s", err, canonical(r, sig, payload))
			}
			if err := sig.CheckScope(tt.service); err != nil {
				t.Error(err)
			}
			if err := sig.CheckTime(time.Date(2015, 8, 30, 12, 40, 0, 0, time.UTC)); err != nil {
				t.Error(err)
			}
			if err := sig.Verify(r, "another"); !errors.Is(err, ErrMismatch) {
				t.Errorf("another secret: %v", err)
			}
		})
	}
}

func TestCanonicalPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "/a/../b": "/b", "/a/./b/": "/a/b/", "//a//b": "/a/b", "/..": "/",
		"/a%20b": "/a%2520b", "/%E1%88%B4": "/%25E1%2588%25B4", "/a/..": "/", "/x~y_z-.": "/x~y_z-.",
	} {
		if got := string(canonicalPath(nil, in, false)); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
	if got := string(canonicalPath(nil, "/a//b/../%20", true)); got != "/a//b/../%20" {
		t.Errorf("S3's path becomes %s", got)
	}
}

func TestCanonicalQuery(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"b=2&a=1":                  "a=1&b=2",
		"a=2&a=1":                  "a=1&a=2",
		"a":                        "a=",
		"a=x+y%2Fz":                "a=x%20y%2Fz",
		"a=~-_.&X-Amz-Signature=x": "a=~-_.",
		"a=%":                      "a=%25",
		"A=1&a=1&%41=0":            "A=0&A=1&a=1",
	} {
		if got := string(canonicalQuery(nil, in)); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

func TestIncomplete(t *testing.T) {
	const good = "AWS4-HMAC-SHA256 Credential=k/20150830/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=ab"
	for name, tt := range map[string]struct{ auth, date, message string }{
		"no date":           {good, "", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256"},
		"bad date":          {good, "yesterday", "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		"short credential":  {strings.Replace(good, "/iam", "", 1), "20150830T123600Z", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'k/20150830/us-east-1/aws4_request'"},
		"host is not there": {strings.Replace(good, "=host", "=x-amz-date", 1), "20150830T123600Z", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		"no equal sign":     {"AWS4-HMAC-SHA256 Credential", "20150830T123600Z", "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential'."},
		"other algorithm":   {strings.Replace(good, "SHA256", "SHA1", 1), "20150830T123600Z", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'."},
	} {
		h := http.Header{"Authorization": {tt.auth}}
		if tt.date != "" {
			h.Set("X-Amz-Date", tt.date)
		}
		sig, err := Parse(h, nil)
		if err == nil {
			err = sig.Check("iam", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
		}
		_, incomplete := errors.AsType[*Incomplete](err)
		_, scope := errors.AsType[*ScopeError](err)
		if incomplete == scope || scope != (name == "host is not there") || err.Error() != tt.message {
			t.Errorf("%s: %v, want %s", name, err, tt.message)
		}
	}
	for _, h := range []http.Header{{}, {"Authorization": {"Basic QVdTOng="}}} {
		if _, err := Parse(h, nil); !errors.Is(err, ErrMissing) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

func TestScope(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	good := Scope{"20150830", "us-east-1", "iam", "aws4_request"}
	for name, change := range map[string]func(*Scope){
		"":           func(*Scope) {},
		"terminator": func(s *Scope) { s.Terminator = "aws5" },
		"service":    func(s *Scope) { s.Service = "sts" },
		"region":     func(s *Scope) { s.Region = "US EAST" },
		"date":       func(s *Scope) { s.Date = "20150831" },
	} {
		s := Signature{Scope: good, Time: at, TimeText: "20150830T123600Z"}
		change(&s.Scope)
		if err := s.CheckScope("iam"); (err == nil) != (name == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRegions(t *testing.T) {
	for r, want := range map[string]bool{"us-east-1": true, "us-gov-west-1": true, "ap-southeast-12": true, "": false, "us": false, "us-east": false, "us-east-1a": false, "a/b-c-1": false} {
		if validRegion(r) != want {
			t.Errorf("region %q is valid: %v", r, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=k/20150830/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=ab", "20150830T123600Z", "/a/../b", "a=b")
	f.Add("", "", "/", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20150830%2Fr%2Fs%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature=a&X-Amz-Expires=60")
	f.Add("AWS4-HMAC-SHA256 =,=,", "Mon, 02 Jan 2006 15:04:05 GMT", "%", "%=%&&=")
	f.Fuzz(func(t *testing.T, auth, date, path, query string) {
		h := http.Header{"Authorization": {auth}, "X-Amz-Date": {date}}
		q, _ := url.ParseQuery(query)
		ScopeService(h, q)
		sig, err := Parse(h, q)
		if err != nil {
			return
		}
		if sig.Check("iam", sig.Time) == nil && (sig.AccessKeyID == "" || !slices.Contains(sig.SignedHeaders, "host") && !slices.Contains(sig.SignedHeaders, ":authority")) {
			t.Errorf("parsed to %+v", sig)
		}
		if sig.Verify(&Request{Method: "GET", Path: path, RawQuery: query, Header: h}, "s") == nil {
			t.Error("a made-up signature is right")
		}
	})
}
