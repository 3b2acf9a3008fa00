package l7

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestH2Spec runs h2spec, the strict cases too, against a listener. Nothing may
// fail and nothing may be skipped.
func TestH2Spec(t *testing.T) {
	if testing.Short() {
		t.Skip("builds h2spec")
	}
	suite := filepath.Join(t.TempDir(), "h2spec")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../../../tools/go.mod", "-o", suite, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, out)
	}
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "some bytes, so that there is something to be sent in small windows")
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	host, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), suite, "--host", host, "--port", port, "--tls", "--insecure", "--strict", "--timeout", "10").CombinedOutput()
	sum := regexp.MustCompile(`(\d+) tests, (\d+) passed, 0 skipped, 0 failed`).FindSubmatch(out)
	if err != nil || sum == nil || !bytes.Equal(sum[1], sum[2]) {
		t.Fatalf("%v\n%s", err, out)
	}
	if n, _ := strconv.Atoi(string(sum[1])); n < 140 {
		t.Errorf("only %s cases were run", sum[1])
	}
}

// Requests of HTTP/2 that are dangerous in HTTP/1.1 reach no target, and what
// reaches one is exactly what was asked, however odd.
func TestDowngrade(t *testing.T) {
	rec := newRecorder(t)
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), rec.addr)
	const evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
	head := func(more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "https", ":path", "/p", ":authority", "a"}, more...)
	}
	replace := func(name, value string, more ...string) []string {
		h := head(more...)
		for i := 0; i < len(h); i += 2 {
			if h[i] == name {
				h[i+1] = value
			}
		}
		return h
	}
	for _, c := range []struct {
		name     string
		fields   []string
		body     string
		want     string // a status, or "reset"
		requests []string
	}{
		{"plain", head(), "", "200", []string{"POST /p "}},
		{"body that is a request", head(), evil, "200", []string{"POST /p " + evil}},
		{"with its length", head("content-length", fmt.Sprint(len(evil))), evil, "200", []string{"POST /p " + evil}},
		{"body longer than said", head("content-length", "4"), evil, "reset", nil},
		{"body shorter than said", head("content-length", "100"), evil, "reset", nil},
		{"transfer-encoding", head("transfer-encoding", "chunked"), "0\r\n\r\n" + evil, "reset", nil},
		{"chunks as a body", head(), "0\r\n\r\n" + evil, "200", []string{"POST /p 0\r\n\r\n" + evil}},
		{"CR LF in a value", head("x", "y\r\ntransfer-encoding: chunked"), "0\r\n\r\n" + evil, "reset", nil},
		{"CR LF in a name", head("x: y\r\ntransfer-encoding", "chunked"), "0\r\n\r\n" + evil, "reset", nil},
		{"request in the path", replace(":path", "/ HTTP/1.1\r\nHost: a\r\n\r\n"+evil), "", "reset", nil},
		{"space in the path", replace(":path", "/a b"), "", "400", nil},
		{"version in the path", replace(":path", "/a HTTP/1.1"), "", "400", nil},
		{"tab in the path", replace(":path", "/a\tb"), "", "400", nil},
		{"asterisk", replace(":path", "*"), "", "reset", nil},
		{"odd method", replace(":method", "GET /x"), "", "400", nil},
		{"odd host", replace(":authority", "a b"), "", "400", nil},
		{"host with a path", replace(":authority", "a/b"), "", "400", nil},
		{"user in the host", replace(":authority", "u@a"), "", "400", nil},
		{"other host", head("host", "b"), "", "reset", nil},
		{"same host", head("host", "a"), "", "200", []string{"POST /p "}},
		{"connection", head("connection", "x"), "", "reset", nil},
		{"upgrade", head("upgrade", "websocket"), "", "reset", nil},
		{"te", head("te", "trailers"), "", "200", []string{"POST /p "}},
		{"expect", head("expect", "100-continue"), "body", "200", []string{"POST /p body"}},
		{"underscore", head("content_length", "5"), "", "200", []string{"POST /p "}},
		{"trace", replace(":method", "TRACE"), "", "405", nil},
		{"too many addresses", head("x-forwarded-for", strings.Repeat("1.1.1.1,", 40)), "", "463", nil},
		{"head too large", head("x", strings.Repeat("y", 15_000), "x", strings.Repeat("z", 15_000), "x", strings.Repeat("y", 15_001), "x", strings.Repeat("z", 15_001), "x", strings.Repeat("z", 15_002)), "", "400", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, http2.ClientPreface)
			f := http2.NewFramer(conn, conn)
			f.AllowIllegalWrites = true
			f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			_ = f.WriteSettings()
			var block bytes.Buffer
			enc := hpack.NewEncoder(&block)
			for i := 0; i < len(c.fields); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: c.fields[i], Value: c.fields[i+1]})
			}
			rest := block.Bytes()
			first := rest[:min(len(rest), 16<<10)]
			rest = rest[len(first):]
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndHeaders: len(rest) == 0, EndStream: c.body == ""})
			for len(rest) > 0 {
				n := min(len(rest), 16<<10)
				_ = f.WriteContinuation(1, n == len(rest), rest[:n])
				rest = rest[n:]
			}
			if c.body != "" {
				_ = f.WriteData(1, true, []byte(c.body))
			}
			got := ""
			for got == "" {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch frame := frame.(type) {
				case *http2.MetaHeadersFrame:
					got = frame.PseudoValue("status")
				case *http2.RSTStreamFrame:
					got = "reset"
				case *http2.GoAwayFrame:
					t.Fatal(frame.ErrCode)
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got := rec.take(t); !equal(got, c.requests) {
				t.Errorf("target got %q, want %q", got, c.requests)
			}
		})
	}
}
