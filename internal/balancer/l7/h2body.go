package l7

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"sync"
	"time"
)

// maxReplay is how much of a request's body is kept for the case that the
// target turns out not to have taken the request, and how much of it may wait
// for the target.
const maxReplay = 64 << 10

// outBody is the body of a request on its way to a target of HTTP/2: one side
// writes, the other reads. Until it is longer than maxReplay, or settled, it
// can be read again from its beginning. Safe for concurrent use.
type outBody struct {
	mu   sync.Mutex
	wake sync.Cond

	buf  []byte
	from int64 // where in the body buf begins
	read int64 // how far the body has been read
	// settled bodies are not read again.
	settled bool
	// reader counts the readers that there were: only the latest reads.
	reader int
	err    error // io.EOF once the body is complete, or why it never will be
	// trailers follow the body.
	trailers []Field
	// left tells that the latest reader has gone; stopped that no other comes.
	left, stopped bool
	deadline      time.Time
	alarm         *time.Timer
}

var errRefused = errors.New("target takes no more of the body")

func newOutBody() *outBody {
	b := &outBody{}
	b.wake.L = &b.mu
	return b
}

// Write waits while too much is unread.
func (b *outBody) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for total := 0; ; {
		switch {
		case b.stopped || b.left && b.settled:
			return total, errRefused
		case b.err != nil:
			return total, b.err
		case len(p) == 0:
			return total, nil
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return total, os.ErrDeadlineExceeded
		}
		room := maxReplay - int(b.from+int64(len(b.buf))-b.read)
		if room <= 0 {
			b.wake.Wait()
			continue
		}
		n := min(room, len(p))
		if len(b.buf)+n > maxReplay {
			b.settled = true
		}
		b.trim()
		b.buf = append(b.buf, p[:n]...)
		p, total = p[n:], total+n
		b.wake.Broadcast()
	}
}

// trim forgets what was read, if it is not to be read again.
func (b *outBody) trim() {
	if n := int(b.read - b.from); b.settled && n > 0 {
		b.buf = b.buf[:copy(b.buf, b.buf[n:])]
		b.from = b.read
	}
}

// end completes the body: err is io.EOF, or why it breaks off.
func (b *outBody) end(trailers []Field, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err, b.trailers = err, trailers
		b.wake.Broadcast()
	}
}

// settle gives up reading again: the target has taken the request.
func (b *outBody) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = true
	b.trim()
	b.wake.Broadcast()
}

// setDeadline bounds writes.
func (b *outBody) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.alarm != nil {
		b.alarm.Stop()
	}
	b.alarm = time.AfterFunc(time.Until(t), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wake.Broadcast()
	})
}

// open makes a reader from the body's beginning, in the place of those before;
// nil when the beginning is gone. The values of announced trailers are put into
// trailer when the body has ended.
func (b *outBody) open(trailer http.Header) io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from > 0 || b.settled && b.read > 0 {
		return nil
	}
	b.reader++
	b.read, b.left = 0, false
	b.wake.Broadcast()
	return &bodyReader{b, b.reader, trailer}
}

// stop ends reading and writing.
func (b *outBody) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.alarm != nil {
		b.alarm.Stop()
	}
	b.stopped = true
	b.wake.Broadcast()
}

// bodyReader reads the body for one attempt.
type bodyReader struct {
	b       *outBody
	turn    int
	trailer http.Header
}

// Read waits for what is written.
func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if r.turn != b.reader || b.left || b.stopped {
			return 0, errRefused
		}
		if rest := b.buf[b.read-b.from:]; len(rest) > 0 {
			n := copy(p, rest)
			b.read += int64(n)
			b.wake.Broadcast()
			return n, nil
		}
		if b.err != nil {
			r.announce()
			return 0, b.err
		}
		b.wake.Wait()
	}
}

func (r *bodyReader) announce() {
	for _, f := range r.b.trailers {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if _, announced := r.trailer[name]; announced {
			r.trailer.Add(name, f.Value)
		}
	}
}

// Close tells that the attempt takes no more.
func (r *bodyReader) Close() error {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.turn == b.reader {
		b.left = true
		b.wake.Broadcast()
	}
	return nil
}
