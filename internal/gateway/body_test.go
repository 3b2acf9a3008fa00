package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/gateway/awschunked"
)

func gz(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

// header sets one before the request is signed.
func header(name, value string) func(*http.Request, *signing) {
	return func(r *http.Request, _ *signing) { r.Header.Set(name, value) }
}

func TestEncodedBodies(t *testing.T) {
	s := serve(t)
	event := func(n int) string {
		return `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"` + strings.Repeat("m", n) + `"}]}`
	}
	sum := md5.Sum([]byte(event(1)))
	for name, tt := range map[string]struct {
		body   string
		change func(*http.Request, *signing)
		status int
		code   string
	}{
		"gzip":                     {gz(event(100_000)), header("Content-Encoding", "gzip"), 200, ""},
		"gzip by another name":     {gz(event(1)), header("Content-Encoding", "GZIP"), 200, ""},
		"gzip of several parts":    {gz(event(5)[:20]) + gz(event(5)[20:]), header("Content-Encoding", "gzip"), 200, ""},
		"identity":                 {event(1), header("Content-Encoding", "identity"), 200, ""},
		"not gzip":                 {event(1), header("Content-Encoding", "gzip"), 400, "MalformedHttpRequestException"},
		"half of it":               {gz(event(1000))[:30], header("Content-Encoding", "gzip"), 400, "MalformedHttpRequestException"},
		"a bomb":                   {gz(strings.Repeat(" ", 64<<20)), header("Content-Encoding", "gzip"), 413, "RequestEntityTooLargeException"},
		"gzip twice":               {gz(gz(event(1))), header("Content-Encoding", "gzip, gzip"), 400, "MalformedHttpRequestException"},
		"another encoding":         {event(1), header("Content-Encoding", "br"), 400, "MalformedHttpRequestException"},
		"chunks without a hash":    {event(1), header("Content-Encoding", "aws-chunked"), 400, "MalformedHttpRequestException"},
		"MD5":                      {event(1), header("Content-MD5", base64.StdEncoding.EncodeToString(sum[:])), 200, ""},
		"another MD5":              {event(2), header("Content-MD5", base64.StdEncoding.EncodeToString(sum[:])), 400, "BadDigest"},
		"no MD5":                   {event(2), header("Content-MD5", "abc"), 400, "InvalidDigest"},
		"too large":                {event(1 << 20), nil, 413, "RequestEntityTooLargeException"},
		"too large, not announced": {event(1 << 20), func(r *http.Request, _ *signing) { r.ContentLength = -1 }, 413, "RequestEntityTooLargeException"},
		"100 MB":                   {strings.Repeat("x", 100<<20), nil, 413, "RequestEntityTooLargeException"},
		"100 MB, not announced": {
			strings.Repeat("x", 100<<20), func(r *http.Request, _ *signing) { r.ContentLength = -1 }, 413, "RequestEntityTooLargeException",
		},
		"large, by nobody": {event(100_000), func(_ *http.Request, sg *signing) { sg.key = "AKIANOBODY" }, 400, "UnrecognizedClientException"},
		"large, unsigned":  {event(100_000), func(_ *http.Request, sg *signing) { sg.unsigned = true }, 400, "MissingAuthenticationTokenException"},
		"large, a wrong signature": {event(100_000), func(r *http.Request, sg *signing) {
			r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64))
			sg.secret = "x"
		}, 400, "InvalidSignatureException"},
		"large, another body": {event(100_000), header("X-Amz-Content-Sha256", strings.Repeat("0", 64)), 400, "InvalidSignatureException"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, code, message := send(t, s, "PutLogEvents", tt.body, tt.change)
			if resp.StatusCode != tt.status || code != tt.code {
				t.Errorf("answer %d %s %q, want %d %s", resp.StatusCode, code, message, tt.status, tt.code)
			}
		})
	}
}

// What can be refused by the head is refused before the body is sent.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := serve(t)
	for name, tt := range map[string]struct {
		op      string
		length  int
		sg      signing
		headers map[string]string
		want    string
	}{
		"too large":               {"PutLogEvents", 9 << 20, signing{key: userKey, secret: secret}, nil, "413"},
		"too large, asked first":  {"PutLogEvents", 9 << 20, signing{key: userKey, secret: secret}, map[string]string{"Expect": "100-continue"}, "413"},
		"nobody's key":            {"PutLogEvents", 1 << 19, signing{key: "AKIANOBODY", secret: secret}, nil, "400"},
		"another service's":       {"PutLogEvents", 1 << 19, signing{key: userKey, secret: secret, service: "ecs"}, nil, "400"},
		"too old":                 {"PutLogEvents", 1 << 19, signing{key: userKey, secret: secret, at: time.Now().Add(-time.Hour)}, nil, "400"},
		"an operation of no API":  {"MakeCoffee", 1 << 19, signing{key: userKey, secret: secret}, nil, "400"},
		"a wrong signature":       {"PutLogEvents", 1 << 19, signing{key: userKey, secret: "x"}, map[string]string{"X-Amz-Content-Sha256": strings.Repeat("0", 64)}, "400"},
		"a right one, asked":      {"PutLogEvents", 1 << 19, signing{key: userKey, secret: secret}, map[string]string{"Expect": "100-continue"}, "100"},
		"a small one, of anybody": {"PutLogEvents", 1 << 10, signing{key: "AKIANOBODY", secret: "x"}, map[string]string{"Expect": "100-continue"}, "100"},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodPost, s.URL+"/", nil)
			req.Header.Set("X-Amz-Target", "Logs_20140328."+tt.op)
			req.ContentLength = int64(tt.length)
			for k, v := range tt.headers {
				if k != "Expect" {
					req.Header.Set(k, v)
				}
			}
			tt.sg.region = "us-east-1"
			if tt.sg.service == "" {
				tt.sg.service = "logs"
			}
			if tt.sg.at.IsZero() {
				tt.sg.at = time.Now()
			}
			tt.sg.sign(t, req, nil)
			for k, v := range tt.headers {
				req.Header.Set(k, v)
			}
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var head bytes.Buffer
			fmt.Fprintf(&head, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", req.Host, tt.length)
			_ = req.Header.Write(&head)
			_, _ = c.Write(append(head.Bytes(), "\r\n"...))
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+tt.want) {
				t.Errorf("answer %q, %v; want %s", line, err, tt.want)
			}
		})
	}
}

// chunkedRequest is what an SDK sends that signs while it sends.
func chunkedRequest(t *testing.T, url, content, body string, tamper func(string) string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"X-Amz-Target": "Logs_20140328.PutLogEvents", "Content-Type": "application/x-amz-json-1.1", "Content-Encoding": "aws-chunked",
		"X-Amz-Content-Sha256": content, "X-Amz-Decoded-Content-Length": strconv.Itoa(len(body)),
	} {
		req.Header.Set(k, v)
	}
	sg := &signing{key: userKey, secret: secret, service: "logs", region: "us-east-1", at: time.Now()}
	trailer := ""
	if content != awschunked.Signed {
		req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		h := crc32.NewIEEE()
		_, _ = io.WriteString(h, body)
		trailer = "x-amz-checksum-crc32:" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	sg.sign(t, req, nil)
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	var b strings.Builder
	for _, chunk := range []string{body, ""} {
		fmt.Fprintf(&b, "%x", len(chunk))
		if content != awschunked.UnsignedTrailer {
			sig := chunkSignature(t, sg, req.Header.Get("X-Amz-Date"), &seed, "AWS4-HMAC-SHA256-PAYLOAD", sha256hex(nil), sha256hex([]byte(chunk)))
			fmt.Fprintf(&b, ";chunk-signature=%s", sig)
		}
		b.WriteString("\r\n" + chunk)
		if chunk != "" {
			b.WriteString("\r\n")
		}
	}
	if trailer != "" {
		b.WriteString(trailer + "\r\n")
	}
	if content == awschunked.SignedTrailer {
		b.WriteString("x-amz-trailer-signature:" + chunkSignature(t, sg, req.Header.Get("X-Amz-Date"), &seed, "AWS4-HMAC-SHA256-TRAILER", sha256hex([]byte(trailer+"\n"))) + "\r\n")
	}
	sent := b.String() + "\r\n"
	if tamper != nil {
		sent = tamper(sent)
	}
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(sent)), int64(len(sent))
	if sent == "" {
		req.Body = http.NoBody
	}
	return req
}

func TestBodiesInAWSChunks(t *testing.T) {
	s := serve(t)
	const event = `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"hello"}]}`
	replace := func(old, other string) func(string) string {
		return func(b string) string { return strings.Replace(b, old, other, 1) }
	}
	for name, tt := range map[string]struct {
		content string
		tamper  func(string) string
		change  func(*http.Request)
		status  int
		want    string
	}{
		"signed":                {awschunked.Signed, nil, nil, 200, "hello"},
		"signed with a trailer": {awschunked.SignedTrailer, nil, nil, 200, "hello"},
		"unsigned":              {awschunked.UnsignedTrailer, nil, nil, 200, "hello"},
		"not announced in full": {awschunked.SignedTrailer, nil, func(r *http.Request) { r.ContentLength = -1 }, 200, "hello"},
		"another message":       {awschunked.Signed, replace("hello", "hullo"), nil, 400, "InvalidSignatureException"},
		"another, checksummed":  {awschunked.UnsignedTrailer, replace("hello", "hullo"), nil, 400, "BadDigest"},
		"nothing":               {awschunked.Signed, func(string) string { return "" }, nil, 400, "IncompleteBody"},
		"half":                  {awschunked.Signed, func(b string) string { return b[:len(b)/2] }, nil, 400, "IncompleteBody"},
		"no chunks":             {awschunked.Signed, func(string) string { return event + "\n" }, nil, 400, "MalformedHttpRequestException"},
		"no trailer":            {awschunked.UnsignedTrailer, replace("x-amz-checksum", "x-amz-chicksum"), nil, 400, "MalformedTrailerError"},
		"no length":             {awschunked.Signed, nil, func(r *http.Request) { r.Header.Del("X-Amz-Decoded-Content-Length") }, 400, "InvalidSignatureException"},
		"another seed":          {awschunked.Signed, nil, func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }, 400, "InvalidSignatureException"},
		"unsigned in truth":     {awschunked.Signed, nil, func(r *http.Request) { r.Header.Del("Authorization") }, 400, "MissingAuthenticationTokenException"},
	} {
		t.Run(name, func(t *testing.T) {
			req := chunkedRequest(t, s.URL, tt.content, event, tt.tamper)
			if tt.change != nil {
				tt.change(req)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !strings.Contains(string(b), tt.want) {
				t.Errorf("answer %d %s, want %d %s", resp.StatusCode, b, tt.status, tt.want)
			}
		})
	}
}

// chunkSignature is the next of the chain.
func chunkSignature(t *testing.T, sg *signing, date string, previous *string, algorithm string, lines ...string) string {
	t.Helper()
	key := []byte("AWS4" + sg.secret)
	for _, p := range []string{date[:8], sg.region, sg.service, "aws4_request"} {
		key = hmac256(key, p)
	}
	scope := strings.Join([]string{date[:8], sg.region, sg.service, "aws4_request"}, "/")
	*previous = hex.EncodeToString(hmac256(key, strings.Join(append([]string{algorithm, date, scope, *previous}, lines...), "\n")))
	return *previous
}

func hmac256(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, s)
	return h.Sum(nil)
}

// BenchmarkOverHTTP is a small request on a connection that is kept.
func BenchmarkOverHTTP(b *testing.B) {
	s := serve(b)
	body := []byte(`{"logGroupName":"/ecs/demo","logStreamName":"web/app/0123456789abcdef","logEvents":[{"timestamp":1700000000000,"message":"GET / 200"}]}`)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL+"/", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Logs_20140328.PutLogEvents")
	req.ContentLength = int64(len(body))
	(&signing{key: userKey, secret: secret, service: "logs", region: "us-east-1", at: time.Now()}).sign(b, req, body)
	b.ReportAllocs()
	for b.Loop() {
		req.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
}
