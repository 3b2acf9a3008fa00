package imds

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strconv"
)

// Local is a transport on which instances that are on no network, since they
// only pretend to run, reach the service: requests come from an address of a
// VPC.
func (s *Service) Local(vpcID string, from netip.Addr) http.RoundTripper {
	return &local{handler: s.Handler(vpcID), from: netip.AddrPortFrom(from, 1024).String()}
}

type local struct {
	handler http.Handler
	from    string
}

// nowhere is the connection of local requests: nothing hops on it.
type nowhere struct{}

// RoundTrip implements http.RoundTripper.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(withConn(r.Context(), nowhere{}))
	in.RemoteAddr = l.from
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &answer{header: http.Header{}, status: http.StatusOK}
	l.handler.ServeHTTP(w, in)
	_ = in.Body.Close()
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer keeps what a handler answers.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header         { return w.header }
func (w *answer) WriteHeader(status int)      { w.status = status }
func (w *answer) Write(b []byte) (int, error) { return w.body.Write(b) }
