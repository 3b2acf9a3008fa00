package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// A body has bodyGrace to arrive, and time for each byte at bodyRate, bytes
	// a second; it may stand still for bodyStall.
	bodyGrace = 20 * time.Second
	bodyRate  = 16 << 10
	bodyStall = 15 * time.Second

	// firstBuffer is what is taken for a body before any of it is there.
	firstBuffer = 4 << 10
)

// Read reads from the client, which must keep pace.
func (h *hold) Read(b []byte) (int, error) {
	now := time.Now()
	deadline := h.begun.Add(bodyGrace + time.Duration(h.read.Load())*time.Second/bodyRate)
	if stall := now.Add(bodyStall); stall.Before(deadline) {
		deadline = stall
	}
	_ = h.control.SetReadDeadline(deadline) // recorders have none
	if h.cut.Load() {
		return 0, errBusy
	}
	n, err := h.body.Read(b)
	h.read.Add(int64(n))
	switch {
	case err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return n, err
	case h.cut.Load():
		return n, errBusy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, err
	}
	return n, errors.Join(errUnread, err)
}

// readAll reads src to its end. Expected is its length where it is known,
// else -1. No more than limit bytes are read.
func (h *hold) readAll(ctx context.Context, src io.Reader, expected, limit int64) ([]byte, error) {
	size := int64(firstBuffer)
	if expected >= 0 {
		size = min(size, expected)
	}
	size = min(size, limit)
	if err := h.grow(ctx, size); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			// The end may be here: nothing is taken before there is more.
			var probe [1]byte
			n, err := src.Read(probe[:])
			if n == 1 {
				if int64(cap(buf)) >= limit {
					return nil, errTooLarge
				}
				grown := grownFrom(int64(cap(buf)), expected, limit)
				if err := h.grow(ctx, grown-int64(cap(buf))); err != nil {
					return nil, err
				}
				buf = append(append(make([]byte, 0, grown), buf...), probe[0])
			}
			if err != nil {
				return buf, ignoreEOF(err)
			}
			continue
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, ignoreEOF(err)
		}
	}
}

// grownFrom is the next size of a buffer, which is full.
func grownFrom(size, expected, limit int64) int64 {
	factor := int64(4)
	if size >= smallBody {
		factor = 2
	}
	grown := min(max(factor*size, firstBuffer), limit)
	if expected > size {
		grown = min(grown, expected)
	}
	return grown
}

func ignoreEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // a wrapped one is no end
		return nil
	}
	return err
}

// gunzip expands a body, to no more than limit bytes: what would be more costs
// no memory.
func (h *hold) gunzip(ctx context.Context, b []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, gzip.ErrHeader
	}
	out, err := h.readAll(ctx, z, -1, limit)
	if err == nil || errors.Is(err, errTooLarge) || errors.Is(err, errBusy) || errors.Is(err, errUnread) {
		return out, err
	}
	return nil, gzip.ErrChecksum
}

const (
	// What is left of a refused body is thrown away for a while, so that the
	// client, which may write it to its end first, reads the refusal.
	lingerBytes = 128 << 20
	lingerTime  = 5 * time.Second
	// maxLingering bounds how many requests do it at once.
	maxLingering = 64
)

// linger prepares for a body that nobody has read. What it returns is called
// when the answer is written.
func (g *Gateway) linger(w http.ResponseWriter, r *request) func() {
	if !r.unread || r.http.ProtoMajor != 1 {
		return func() {} // HTTP/2 resets the stream once it is answered
	}
	w.Header().Set("Connection", "close")
	control := http.NewResponseController(w)
	// A client that asks first sends nothing without an answer.
	if r.http.Header.Get("Expect") == "" {
		select {
		case g.lingering <- struct{}{}:
			if control.EnableFullDuplex() == nil {
				return func() { g.discard(control, r.http.Body) }
			}
			<-g.lingering
		default:
		}
	}
	// The server would wait for the rest.
	_ = control.SetReadDeadline(time.Unix(0, 1)) // recorders have none
	return func() {}
}

// discard throws a body away and leaves the ranks of the lingering.
func (g *Gateway) discard(control *http.ResponseController, body io.Reader) {
	defer func() { <-g.lingering }()
	if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(body, lingerBytes)) // the client may be gone
	}
	_ = control.SetReadDeadline(time.Unix(0, 1))
}
