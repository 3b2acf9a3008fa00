package h2

import (
	"os"
	"sync"
	"time"
)

// Stream is a request and its response. One goroutine may read and one may
// write at the same time.
type Stream struct {
	h    *Conn
	id   uint32
	head []byte
	// chunked tells that a body without a length follows.
	chunked bool

	// All that follows is guarded by the connection's mu.
	body     []byte // what has come and was not read
	from     int    // where in body that begins
	trailers []byte
	length   int64 // that was announced; -1 for none
	received int64
	over     bool // the client has sent all
	window   int  // how much more it may send
	taken    int  // how much of the body was read and not told it

	sendWindow int64
	sent       bool  // the response is complete
	closed     bool  // nothing more comes or goes
	err        error // why nothing more comes or goes

	readBy, writeBy   time.Time
	readWait, outWait chan struct{} // closed to wake who waits; nil when nobody does

	cancelMu sync.Mutex
	cancel   func()
	gone     bool
}

// request begins a stream with the head that has come.
func (h *Conn) request(id uint32) error {
	d := &h.head
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.late(id), id <= h.latest && h.wasDropped(id):
		return nil // trailers that crossed the reset, perhaps
	case id == h.latest:
		return connError{StreamClosed}
	case id < h.latest:
		return connError{ProtocolError}
	case len(h.out) > maxControl:
		// Answers without a body wait for nobody: the client does not read them.
		return connError{EnhanceYourCalm}
	}
	h.latest = id
	h.moved = time.Now()
	switch {
	case d.self || !d.wellFormed() && !d.tooLarge:
		return streamError{id, ProtocolError}
	case h.open >= h.o.MaxStreams, len(h.streams) >= 2*h.o.MaxStreams:
		// Handlers may take a while to notice that their stream is closed.
		return streamError{id, RefusedStream}
	}
	h.open++
	s := &Stream{h: h, id: id, head: d.append(nil), chunked: !d.end && d.length < 0, length: d.length, over: d.end, window: streamWindow, sendWindow: h.initial}
	h.streams[id] = s
	h.handlers.Add(1)
	if h.waiting > 0 {
		h.waiting--
		h.work <- s
		return nil
	}
	h.workers.Go(func() { h.worker(s) })
	return nil
}

// worker handles streams.
func (h *Conn) worker(s *Stream) {
	for s != nil {
		if !h.serve(s) {
			return
		}
		s = <-h.work
	}
}

// serve handles a stream, and tells whether the worker is to wait for another.
func (h *Conn) serve(s *Stream) bool {
	defer h.handlers.Done()
	h.o.Handle(s)
	s.OnCancel(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.err != nil:
	case !s.sent:
		h.reset(s.id, InternalError)
	case !s.over:
		// The rest of the request is not wanted.
		h.reset(s.id, NoError)
	}
	s.discard()
	delete(h.streams, s.id)
	h.moved = time.Now()
	h.stopIfDone()
	if h.waiting >= keptWorkers || h.err != nil {
		return false
	}
	h.waiting++
	return true
}

// reset ends a stream by a frame, also one that the client has ended before.
func (h *Conn) reset(id uint32, code Code) {
	if s := h.streams[id]; s != nil {
		s.end(ErrReset)
	}
	h.dropped[h.drops%len(h.dropped)] = id
	h.drops++
	h.frame(frameReset, 0, id, []byte{0, 0, 0, byte(code)})
}

func (h *Conn) wasDropped(id uint32) bool {
	for _, d := range h.dropped {
		if d == id {
			return true
		}
	}
	return false
}

// end makes all that the stream does fail.
func (s *Stream) end(err error) {
	if s.err == nil {
		s.err = err
		s.settle()
		s.discard()
		s.wakeReader()
		s.wakeWriter()
	}
}

// settle tells when the stream is closed: the client may make another request
// then.
func (s *Stream) settle() {
	if !s.closed && (s.err != nil || s.sent && s.over) {
		s.closed = true
		s.h.open--
	}
}

// discard gives the room back that the unread body takes.
func (s *Stream) discard() {
	s.h.took(len(s.body) - s.from)
	s.body, s.from = nil, 0
}

// keep appends to the unread body: in the place of what was read, once that is
// most of it, so that a long body takes no more room than a window does.
func (s *Stream) keep(p []byte) {
	if len(s.body)+len(p) > cap(s.body) && s.from > len(s.body)/2 {
		s.body, s.from = s.body[:copy(s.body, s.body[s.from:])], 0
	}
	s.body = append(s.body, p...)
}

// took tells the client that n bytes of bodies are not kept any more.
func (h *Conn) took(n int) {
	if h.taken += n; h.taken >= connWindow/2 {
		h.windowFrame(0, h.taken)
		h.unread -= h.taken
		h.taken = 0
	}
}

// data takes a part of a body.
func (h *Conn) data(f *frame) error {
	if f.id == 0 {
		return connError{ProtocolError}
	}
	size := len(f.payload)
	if err := f.unpad(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unread += size
	if h.unread > connWindow {
		return connError{FlowControlError}
	}
	s := h.streams[f.id]
	if s == nil || s.err != nil {
		if s == nil && h.idle(f.id) {
			return connError{ProtocolError}
		}
		h.took(size)
		if !h.late(f.id) && !h.wasDropped(f.id) {
			return streamError{f.id, StreamClosed}
		}
		return nil
	}
	if s.over {
		h.took(size)
		return streamError{f.id, StreamClosed}
	}
	if s.window -= size; s.window < 0 {
		h.took(size)
		return streamError{f.id, FlowControlError}
	}
	// Padding is not kept.
	pad := size - len(f.payload)
	h.took(pad)
	s.took(pad)
	s.received += int64(len(f.payload))
	s.keep(f.payload)
	if f.has(flagEndStream) {
		s.over = true
		s.settle()
	}
	if s.length >= 0 && (s.received > s.length || s.over && s.received < s.length) {
		return streamError{f.id, ProtocolError}
	}
	s.wakeReader()
	return nil
}

// ending takes what follows a body: trailers.
func (h *Conn) ending(s *Stream) error {
	d := &h.head
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.err != nil && h.wasDropped(s.id):
		return nil
	case s.err != nil:
		return connError{StreamClosed}
	case s.over:
		return streamError{s.id, StreamClosed}
	case !d.end || d.bad || d.tooLarge || d.self || d.length >= 0 || d.host != "":
		return streamError{s.id, ProtocolError}
	case s.length >= 0 && s.received != s.length:
		return streamError{s.id, ProtocolError}
	}
	s.over = true
	s.settle()
	s.trailers = append(s.trailers, d.fields...)
	s.wakeReader()
	return nil
}

func (s *Stream) took(n int) {
	if s.taken += n; s.taken >= streamWindow/2 && !s.over && s.err == nil {
		s.h.windowFrame(s.id, s.taken)
		s.window += s.taken
		s.taken = 0
	}
}

// Head is the request's head as HTTP/1.1 has it. Its body has the length that
// it tells, or is to be chunked.
func (s *Stream) Head() []byte { return s.head }

// Chunked tells whether the body's length is not known.
func (s *Stream) Chunked() bool { return s.chunked }

// Read reads the body, io.EOF at its end.
func (s *Stream) Read(p []byte) (int, error) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if s.from < len(s.body) {
			n := copy(p, s.body[s.from:])
			if s.from += n; s.from == len(s.body) {
				s.body, s.from = s.body[:0], 0
			}
			s.took(n)
			h.took(n)
			return n, nil
		}
		if s.err != nil {
			return 0, s.err
		}
		if s.over {
			return 0, errEOF
		}
		if !wait(&h.mu, &s.readWait, s.readBy) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// Trailers are those behind the body, as lines, once Read has found its end.
func (s *Stream) Trailers() []byte {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return s.trailers
}

// OnCancel has f called when the client gives the request up: at once when it
// has. With nil it waits for a call that is under way, and none follows.
func (s *Stream) OnCancel(f func()) {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	s.cancel = f
	if s.gone && f != nil {
		f()
	}
}

func (s *Stream) cancelled() {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	if !s.gone && s.cancel != nil {
		s.cancel()
	}
	s.gone = true
}

// SetReadDeadline bounds Read.
func (s *Stream) SetReadDeadline(t time.Time) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.readBy = t
	s.wakeReader()
}

// SetWriteDeadline bounds the wait until the client takes more of the response.
func (s *Stream) SetWriteDeadline(t time.Time) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.writeBy = t
	s.wakeWriter()
}

func (s *Stream) wakeReader() { wake(&s.readWait) }
func (s *Stream) wakeWriter() { wake(&s.outWait) }

func wake(ch *chan struct{}) {
	if *ch != nil {
		close(*ch)
		*ch = nil
	}
}

// wait waits, without mu, until ch is woken, and tells whether that was before
// the deadline. One waits at a time.
func wait(mu *sync.Mutex, ch *chan struct{}, by time.Time) bool {
	left := time.Until(by)
	if !by.IsZero() && left <= 0 {
		return false
	}
	c := make(chan struct{})
	*ch = c
	mu.Unlock()
	defer mu.Lock()
	if by.IsZero() {
		<-c
		return true
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	}
	return true // who calls looks at the deadline again
}
