package h1

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// stricter lists what this parser refuses of what the standard library's
// ReadRequest accepts. Its server refuses some of it later.
var stricter = []struct {
	why string
	is  func(head []byte, r *http.Request) bool
}{
	{"a line or the head is longer than an application load balancer allows, or there are too many", func(head []byte, _ *http.Request) bool {
		lines := bytes.Split(head, []byte("\n"))
		for _, l := range lines {
			if len(l) > MaxLine {
				return true
			}
		}
		return len(head) > MaxHead || len(lines) > MaxFields
	}},
	{"the version is neither 1.0 nor 1.1", func(_ []byte, r *http.Request) bool { return r.Proto != "HTTP/1.0" && r.Proto != "HTTP/1.1" }},
	{"a line is folded", func(head []byte, _ *http.Request) bool { return folded.Match(head) }},
	{"there is a space in a field's name or behind it", func(head []byte, _ *http.Request) bool { return spaced.Match(head) }},
	{"a control byte stands in a value or in the target", func(head []byte, _ *http.Request) bool {
		for i, b := range head {
			if b < ' ' && b != '\t' && b != '\n' && (b != '\r' || head[i+1] != '\n') || b == 0x7f {
				return true
			}
		}
		return false
	}},
	{"there is a tab in the request line", func(head []byte, _ *http.Request) bool {
		l, _, _ := bytes.Cut(head, []byte("\n"))
		return bytes.IndexByte(l, '\t') >= 0
	}},
	{"the length is given twice", func(head []byte, _ *http.Request) bool { return len(length.FindAll(head, -1)) > 1 }},
	{"the length has more digits than any body", func(head []byte, _ *http.Request) bool { return longLength.Match(head) }},
	{"the length is empty", func(head []byte, _ *http.Request) bool { return emptyLength.Match(head) }},
	{"there are a length and chunks", func(head []byte, _ *http.Request) bool { return length.Match(head) && coding.Match(head) }},
	{"HTTP/1.0 has no transfer codings", func(head []byte, r *http.Request) bool { return r.ProtoMinor == 0 && coding.Match(head) }},
	{"the host is missing or given twice", func(head []byte, r *http.Request) bool {
		n := len(host.FindAll(head, -1))
		return n > 1 || n == 0 && r.ProtoMinor == 1
	}},
	{"the host is none", func(head []byte, r *http.Request) bool {
		for _, h := range host.FindAllSubmatch(head, -1) {
			if !validHost(bytes.Trim(h[1], " \t\r")) {
				return true
			}
		}
		return !validHost([]byte(r.Host))
	}},
	{"the target is neither a path nor the address of one on a server of HTTP", func(_ []byte, r *http.Request) bool {
		u := r.RequestURI
		return u[0] != '/' && (len(u) < 8 || !strings.EqualFold(u[:7], "http://") || r.URL.User != nil || r.URL.Host == "" || r.URL.Path == "" || strings.Contains(u, "@"))
	}},
}

var (
	folded      = regexp.MustCompile(`\n[ \t]`)
	spaced      = regexp.MustCompile(`\n[^:\n]* [^:\n]*:`)
	length      = regexp.MustCompile(`(?i)\ncontent-length:`)
	longLength  = regexp.MustCompile(`(?i)\ncontent-length:[ \t]*\d{19}`)
	emptyLength = regexp.MustCompile(`(?i)\ncontent-length:[ \t]*\r?\n`)
	coding      = regexp.MustCompile(`(?i)\ntransfer-encoding:`)
	host        = regexp.MustCompile(`(?i)\nhost:(.*)`)
)

// listed tells whether a request that the library understands as r is refused
// for a reason.
func listed(head []byte, r *http.Request) bool {
	for _, s := range stricter {
		if s.is(head, r) {
			return true
		}
	}
	return false
}

// The trailers of a request say nothing that the proxy says itself; those of a
// response may.
func TestTrailersOfTheProxy(t *testing.T) {
	for name, ok := range map[string]bool{
		"X-Sum": true, "Grpc-Status": true, "X-Amzn": true, "X-Amznews": true, "X-Forwarded": true,
		"X-Amzn-Oidc-Identity": false, "x_amzn_oidc_data": false, "X-Amzn-Mtls-Clientcert-Serial-Number": false, "X-Forwarded-Host": false,
		"X_FORWARDED_HOST": false,
	} {
		for _, request := range []bool{true, false} {
			body := []byte("0\r\n" + name + ": v\r\n\r\n")
			c := Chunked{Request: request}
			n, err := c.Scan(body, nil)
			if whole := err == nil && n == len(body) && c.Done(); whole != (ok || !request) {
				t.Errorf("%s, of a request %v: %v", name, request, err)
			}
		}
	}
}
