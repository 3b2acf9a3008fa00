// Package h2 serves connections of HTTP/2 (RFC 9113). Each request is given to
// its handler as the head of an HTTP/1.1 request and the bytes of its body:
// what cannot be said in HTTP/1.1 without doubt is refused here.
//
// Everything that a client can make the server keep is bounded: streams, heads,
// bodies that were not read yet, and frames that were not sent yet.
package h2

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Options of a connection.
type Options struct {
	// MaxStreams is how many requests may be under way at the same time.
	MaxStreams int
	// MaxHead limits a request's head. One that is longer is cut off behind
	// that: it has no end.
	MaxHead int
	// Timeout is how long nothing may happen on a connection without requests,
	// and how long the client may take nothing of what it is sent.
	Timeout time.Duration
	// Handle serves one request, in a goroutine of its own. A response that is
	// not complete when it returns breaks off.
	Handle func(*Stream)
}

const (
	maxFrame = 16 << 10 // of what is received and of what is sent
	// streamWindow and connWindow are how much of bodies may be unread.
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	// maxOut is how much may wait to be sent before bodies wait, and
	// maxControl how much with the frames that cannot.
	maxOut     = 64 << 10
	maxControl = 512 << 10
	// keptWorkers is how many goroutines wait for the next request: their
	// stacks have grown already.
	keptWorkers = 16
	// goodbye is how long a client has to read why the connection ends.
	goodbye = 500 * time.Millisecond
)

// Conn is a connection to a client.
type Conn struct {
	c    net.Conn
	o    Options
	in   input
	head head
	dec  *hpack.Decoder
	calm calm

	handlers sync.WaitGroup
	workers  sync.WaitGroup
	work     chan *Stream
	kick     chan struct{} // wakes the writer

	mu      sync.Mutex
	streams map[uint32]*Stream
	// latest is the highest id that the client used; dropped are the streams
	// that were reset here of late, for which frames may still be on their way.
	latest  uint32
	open    int // streams that are not closed
	dropped [64]uint32
	drops   int
	waiting int // workers without work
	// moved is when the latest frame came or the latest request ended.
	moved time.Time

	out, spare []byte
	sendWindow int64 // of the connection
	initial    int64 // of a new stream, as the client has set it
	unread     int   // of what came, not given back to the client
	taken      int   // of that, what is not kept any more
	err        error // set once: why nothing is sent any more
	leaving    bool  // a GOAWAY was sent
	last       uint32
	ended      bool // the writer ends when all is sent
	hurry      bool // and gives up soon
}

// New makes a connection of one that agreed on HTTP/2.
func New(c net.Conn, o Options) *Conn {
	h := &Conn{
		c: c, o: o, streams: map[uint32]*Stream{}, kick: make(chan struct{}, 1), work: make(chan *Stream),
		sendWindow: 65535, initial: 65535, last: 1<<31 - 1, moved: time.Now(),
	}
	h.in.c = c
	h.dec = hpack.NewDecoder(4096, h.head.field)
	h.dec.SetMaxStringLength(o.MaxHead)
	h.head.max = o.MaxHead
	h.begin()
	return h
}

// Code is an error code of HTTP/2.
type Code uint32

// The codes.
const (
	NoError            Code = 0
	ProtocolError      Code = 1
	InternalError      Code = 2
	FlowControlError   Code = 3
	StreamClosed       Code = 5
	FrameSizeError     Code = 6
	RefusedStream      Code = 7
	Cancel             Code = 8
	CompressionError   Code = 9
	EnhanceYourCalm    Code = 11
	InadequateSecurity Code = 12
)

// connError ends the connection, streamError a stream.
type (
	connError   struct{ code Code }
	streamError struct {
		id   uint32
		code Code
	}
)

func (connError) Error() string   { return "HTTP/2: connection error" }
func (streamError) Error() string { return "HTTP/2: stream error" }

// Errors of streams.
var (
	// ErrReset: the client gave the request up, or broke the protocol in it.
	ErrReset = errors.New("HTTP/2: stream was reset")
	// ErrClosed: the connection has ended.
	ErrClosed = errors.New("HTTP/2: connection was closed")
)

// Serve returns when the connection and all handlers have ended.
func (h *Conn) Serve() {
	written := make(chan struct{})
	go func() { defer close(written); h.write() }()
	err := h.read()
	h.mu.Lock()
	var ce connError
	if errors.As(err, &ce) {
		h.goAway(h.latest, ce.code)
		h.hurry = true
		_ = h.c.SetWriteDeadline(time.Now().Add(goodbye))
	}
	for _, s := range h.streams {
		s.end(ErrClosed)
	}
	h.mu.Unlock()
	h.cancelAll()
	h.handlers.Wait()
	close(h.work)
	h.workers.Wait()
	h.mu.Lock()
	h.ended = true
	h.wakeWriter()
	h.mu.Unlock()
	<-written
	if ce.code != NoError {
		h.linger()
	}
	_ = h.c.Close()
}

// Leave tells the client to make no more requests, and ends the connection once
// those under way are done. Safe to call at any time.
func (h *Conn) Leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaving {
		return
	}
	// The client may have sent a request that is not here yet: it is still
	// served if it comes before the answer to the ping.
	h.goAway(1<<31-1, NoError)
	h.frame(framePing, 0, 0, leavePing[:])
}

// leavePing is what the ping behind a GOAWAY carries.
var leavePing = [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', 0}

// left is called with the answer to that ping.
func (h *Conn) left() {
	if h.leaving && h.last == 1<<31-1 {
		h.goAway(h.latest, NoError)
		h.stopIfDone()
	}
}

// stopIfDone ends a connection that the client was told to leave, once nothing
// is under way any more.
func (h *Conn) stopIfDone() {
	if h.leaving && h.last != 1<<31-1 && len(h.streams) == 0 {
		_ = h.c.SetReadDeadline(time.Unix(1, 0))
	}
}

// linger lets the client read the last frames: a connection that is closed with
// unread data is reset.
func (h *Conn) linger() {
	half, ok := h.c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = h.c.SetReadDeadline(time.Now().Add(goodbye))
	for total := 0; total < 1<<20; {
		n, err := h.c.Read(h.in.buf)
		if total += n; err != nil {
			return
		}
	}
}

// cancelAll tells every handler that its client is gone.
func (h *Conn) cancelAll() {
	h.mu.Lock()
	all := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.cancelled()
	}
}
