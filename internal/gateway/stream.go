package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/awschunked"
	"roadstead.dev/internal/gateway/sigv4"
)

// streamBody is the limit of a body that is read as it comes: S3's, of one
// request.
const streamBody = 5 << 30

// streams tells whether an operation reads its body as it comes.
func streams(op *api.Operation) bool {
	in := op.InputShape()
	if in == nil || in.Payload == "" {
		return false
	}
	m := in.Member(in.Payload)
	return m != nil && m.Streaming
}

// errNoContentHash: the signature does not say what it covers of the body.
var errNoContentHash = errors.New("no x-amz-content-sha256")

// openStream makes the body a stream, of which nothing is read yet. Who sends
// it is verified when it is authenticated, and the body when it is read to its
// end: an operation must act on nothing before that.
func (g *Gateway) openStream(w http.ResponseWriter, r *request, m *mounted, op *api.Operation) error {
	content := r.http.Header.Get("X-Amz-Content-Sha256")
	chunked := awschunked.Announced(content)
	s := &stream{request: r, mounted: m, left: r.http.ContentLength}
	var chain awschunked.Chain
	signed, err := g.admit(r, m, op, &chain)
	switch {
	case err != nil:
		r.unread = true
		return err
	case !signed:
		if content == awschunked.Signed || content == awschunked.SignedTrailer {
			r.unread = true
			return errNoContentHash
		}
	case content == "":
		if r.http.Header.Get("Authorization") != "" {
			r.unread = true
			return errNoContentHash
		}
		content = sigv4.UnsignedPayload
	}
	r.stream, r.payload = s, content
	body := r.http.Body
	if body == nil {
		body = http.NoBody
	}
	if body != http.NoBody {
		r.unread = true
	}
	s.hold = g.memory.newHold(w, body)
	s.src = s.hold
	if chunked {
		if s.left, err = strconv.ParseInt(r.http.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err != nil || s.left < 0 {
			return errNoLength
		}
	}
	switch {
	case s.left < 0:
		return errNoLength
	case s.left > streamBody:
		return errTooLarge
	case chunked:
		s.src, err = awschunked.NewReader(s.hold, awschunked.Config{
			Content: content, Chain: chain, Length: s.left, Trailers: splitList(r.http.Header.Values("X-Amz-Trailer")),
		})
		return err
	case len(content) == hex.EncodedLen(sha256.Size) && signed:
		s.sum = sha256.New()
	}
	return nil
}

// stream is a body that a handler reads. Its errors are those that are
// answered.
type stream struct {
	request *request
	mounted *mounted
	hold    *hold
	src     io.Reader
	sum     hash.Hash // nil where the signature covers no hash of the body
	left    int64
	err     error
}

var _ io.ReadCloser = (*stream)(nil)

// Len is how many bytes there are to be read yet.
func (s *stream) Len() int64 { return s.left }

// Trailers are the names of the checksums that come behind the body, which are
// verified with it.
func (s *stream) Trailers() []string {
	return splitList(s.request.http.Header.Values("X-Amz-Trailer"))
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.src.Read(b)
	s.left -= int64(n)
	if s.sum != nil {
		_, _ = s.sum.Write(b[:n]) // a hash never fails
	}
	if err != nil {
		s.err = s.end(err)
	}
	return n, s.err
}

// end is what the end of the body means.
func (s *stream) end(err error) error {
	if err != io.EOF { //nolint:errorlint // a wrapped one is no end
		return bodyFault(s.mounted, err)
	}
	if s.left != 0 {
		return bodyFault(s.mounted, awschunked.ErrIncomplete)
	}
	s.request.unread = false
	s.hold.doneReading(true)
	if s.sum != nil {
		computed := hex.EncodeToString(s.sum.Sum(nil))
		if subtle.ConstantTimeCompare([]byte(computed), []byte(s.request.payload)) != 1 {
			return signatureFault(&s.mounted.dialect, &sigv4.ErrPayload{Given: s.request.payload, Computed: computed})
		}
	}
	return io.EOF
}

// Close implements io.Closer. The connection is the server's to close.
func (s *stream) Close() error {
	if s.err == nil {
		s.err = http.ErrBodyReadAfterClose
	}
	return nil
}

// copyBuffers are for answers that are written as they are read.
var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copyOut writes an answer's body. Where it cannot be read to its end, the
// client finds the connection closed before the length that was announced.
func (g *Gateway) copyOut(ctx context.Context, w io.Writer, body io.ReadCloser) {
	buf := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buf)
	var failed error
	for failed == nil {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				break // the client is gone
			}
		}
		failed = err
	}
	if failed != nil && failed != io.EOF {
		g.cfg.Log.LogAttrs(ctx, slog.LevelError, "an answer was cut short", slog.Any("error", failed))
	}
	_ = body.Close() // it was read
}
