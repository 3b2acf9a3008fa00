package l7

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// h2Answer is a response of HTTP/2, read as HTTP/1.1.
type h2Answer struct {
	begun bool
	// out is what is to be read before more of the body.
	out     []byte
	resp    *http.Response
	chunked bool
	left    int64 // of a body with a length
	ended   bool
}

// begin makes the head. A body that may be followed by trailers is chunked.
func (a *h2Answer) begin(method string, r *http.Response) []byte {
	a.begun, a.resp = true, r
	head := appendAnswer(nil, r.StatusCode, r.Header)
	head = head[:len(head)-2]
	bodiless := method == http.MethodHead || r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified
	switch {
	case bodiless:
		if r.ContentLength > 0 || r.ContentLength == 0 && r.Header["Content-Length"] != nil {
			head = appendLength(head, r.ContentLength)
		}
		a.ended = true
	case r.ContentLength == 0 && len(r.Trailer) == 0:
		// So is a stream that ended with its head, as gRPC's errors do.
		head = appendLength(head, 0)
		a.ended = true
	case r.ContentLength > 0 && len(r.Trailer) == 0 && !isGRPC(r.Header.Get("Content-Type")):
		head = appendLength(head, r.ContentLength)
		a.left = r.ContentLength
	default:
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
		a.chunked = true
	}
	return append(head, "\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), n, 10), "\r\n"...)
}

// appendAnswer writes a head without what tells the body's length.
func appendAnswer(b []byte, status int, h http.Header) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
	b = append(append(append(b, ' '), http.StatusText(status)...), "\r\n"...)
	for name, values := range h {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Keep-Alive", "Proxy-Connection":
			continue
		}
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// read reads what is left of the response.
func (a *h2Answer) read(p []byte) (int, error) {
	if len(a.out) > 0 {
		n := copy(p, a.out)
		a.out = a.out[n:]
		return n, nil
	}
	switch {
	case a.ended:
		return 0, io.EOF
	case !a.chunked:
		n, err := a.resp.Body.Read(p[:min(int64(len(p)), a.left)])
		if a.left -= int64(n); a.left == 0 {
			a.ended = true
			return n, nil
		}
		if n > 0 {
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n, err := readChunk(p, a.resp.Body)
	if n > 0 {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return 0, err
	}
	a.ended, a.out = true, appendTrailers(a.out, a.resp.Trailer)
	return a.read(p)
}

// readChunk reads a piece of a body into p as a chunk. It returns 0 where the
// body ends, or fails.
func readChunk(p []byte, body io.Reader) (int, error) {
	if len(p) < leastRead {
		return 0, io.ErrShortBuffer
	}
	room := p[chunkHead : len(p)-2]
	n, err := body.Read(room[:min(len(room), 1<<24-1)])
	if n == 0 {
		return 0, err
	}
	const digits = "0123456789abcdef"
	for i := range 6 {
		p[i] = digits[n>>(4*(5-i))&15]
	}
	p[6], p[7] = '\r', '\n'
	copy(p[chunkHead+n:], "\r\n")
	return chunkHead + n + 2, nil
}

// appendTrailers ends a chunked body.
func appendTrailers(b []byte, trailers http.Header) []byte {
	b = append(b, "0\r\n"...)
	for name, values := range trailers {
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// isGRPC tells whether a Content-Type is one of gRPC.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
