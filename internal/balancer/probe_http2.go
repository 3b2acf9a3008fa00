package balancer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"roadstead.dev/internal/balancer/h1"
)

// call is the request of a check in HTTP/2.
type call struct {
	addr, path string
	secure     bool
	// grpc calls the method that the path names with an empty message; its
	// status is gRPC's.
	grpc bool
}

// errNotHTTP2: the target does not agree to HTTP/2, or answers in no way that
// gRPC knows.
var (
	errNotHTTP2 = errors.New("target does not speak HTTP/2")
	errNotGRPC  = errors.New("target does not speak gRPC")
	// errGRPCNoStatus: the target ends a call of gRPC without telling how.
	errGRPCNoStatus = errors.New("gRPC status is empty")
)

// httpStatusError is a status that no call of gRPC is answered with.
type httpStatusError int

func (e httpStatusError) Error() string { return "HTTP status " + strconv.Itoa(int(e)) }

// maxCheckBody bounds how much of a response is read for the trailers behind
// it.
const maxCheckBody = 1 << 20

// exchange asks on c.
func (k call) exchange(ctx context.Context, c net.Conn) (int, error) {
	p := new(http.Protocols)
	p.SetHTTP2(k.secure)
	p.SetUnencryptedHTTP2(!k.secure)
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	tr := &http.Transport{Protocols: p, DisableCompression: true, MaxResponseHeaderBytes: h1.MaxHead, DialContext: given, DialTLSContext: given}
	scheme := "http"
	if k.secure {
		scheme = "https"
		if tc, ok := c.(*tls.Conn); !ok || tc.ConnectionState().NegotiatedProtocol != "h2" {
			return 0, errNotHTTP2
		}
	}
	cc, err := tr.NewClientConn(ctx, scheme, k.addr)
	if err != nil {
		return 0, err
	}
	defer cc.Close() //nolint:errcheck // nothing was left to be said
	resp, err := cc.RoundTrip(k.request(ctx, scheme))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if !k.grpc {
		return resp.StatusCode, nil
	}
	return grpcStatus(resp)
}

func (k call) request(ctx context.Context, scheme string) *http.Request {
	r := (&http.Request{
		Method: http.MethodGet, URL: &url.URL{Scheme: scheme, Host: k.addr, Opaque: "//" + k.addr + k.path}, Host: k.addr,
		Header: http.Header{"User-Agent": {userAgent}, "Accept-Encoding": {"gzip, compressed"}},
	}).WithContext(ctx)
	if k.grpc {
		const message = "\x00\x00\x00\x00\x00" // empty, not compressed
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(bytes.NewReader([]byte(message))), int64(len(message))
		r.Header = http.Header{"User-Agent": {userAgent}, "Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	}
	return r
}

// grpcStatus is the status that a response of gRPC ends with.
func grpcStatus(resp *http.Response) (int, error) {
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: %w", errNotGRPC, httpStatusError(resp.StatusCode))
	}
	status := resp.Header.Get("Grpc-Status")
	if status == "" {
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxCheckBody)); err != nil {
			return 0, err
		}
		status = resp.Trailer.Get("Grpc-Status")
	}
	if status == "" {
		return 0, errGRPCNoStatus
	}
	n, err := strconv.Atoi(status)
	if err != nil {
		return 0, fmt.Errorf("%w: status %q", errNotGRPC, status)
	}
	return n, nil
}
