package h2

import (
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"
)

var errEOF = io.EOF

// begin sends what a connection begins with.
func (h *Conn) begin() {
	var p []byte
	for _, s := range [][2]uint32{{settingMaxStreams, uint32(h.o.MaxStreams)}, {settingInitialWindow, streamWindow}, {settingMaxHead, uint32(h.o.MaxHead)}} {
		p = binary.BigEndian.AppendUint16(p, uint16(s[0]))
		p = binary.BigEndian.AppendUint32(p, s[1])
	}
	h.frame(frameSettings, 0, 0, p)
	h.windowFrame(0, connWindow-65535)
}

// frame queues one to be sent.
func (h *Conn) frame(kind, flags byte, id uint32, payload []byte) {
	if h.err != nil {
		return
	}
	n := len(payload)
	h.out = append(h.out, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	h.out = binary.BigEndian.AppendUint32(h.out, id)
	h.out = append(h.out, payload...)
	h.wakeWriter()
}

// control is frame for what answers a client, which may not read its answers.
func (h *Conn) control(kind, flags byte, id uint32, payload []byte) error {
	if len(h.out) > maxControl {
		return connError{EnhanceYourCalm}
	}
	h.frame(kind, flags, id, payload)
	return nil
}

func (h *Conn) windowFrame(id uint32, n int) {
	h.frame(frameWindowUpdate, 0, id, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func (h *Conn) goAway(last uint32, code Code) {
	h.leaving, h.last = true, min(h.last, last)
	p := binary.BigEndian.AppendUint32(nil, last)
	h.frame(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(p, uint32(code)))
}

func (h *Conn) wakeWriter() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// write sends what is queued, until the connection has ended.
func (h *Conn) write() {
	var by time.Time
	for range h.kick {
		// Others that are ready to run may add to what is sent at once.
		runtime.Gosched()
		for {
			h.mu.Lock()
			b := h.out
			if len(b) == 0 {
				ended := h.ended
				h.mu.Unlock()
				if ended {
					return
				}
				break
			}
			h.out, h.spare = h.spare[:0], nil
			if len(b) >= maxOut {
				for _, s := range h.streams {
					s.wakeWriter()
				}
			}
			hurry := h.hurry
			h.mu.Unlock()
			if now := time.Now(); !hurry && by.Sub(now) < h.o.Timeout-h.o.Timeout/32 {
				by = now.Add(h.o.Timeout)
				_ = h.c.SetWriteDeadline(by)
			}
			_, err := h.c.Write(b)
			h.mu.Lock()
			if cap(b) <= 2*maxOut {
				h.spare = b[:0]
			}
			if err != nil {
				h.err, h.out = err, nil
				for _, s := range h.streams {
					s.end(ErrClosed)
				}
				h.mu.Unlock()
				h.cancelAll()
				_ = h.c.Close() // wakes the reader
				h.mu.Lock()
			}
			h.mu.Unlock()
		}
	}
}

// Response is the head of a response, or its trailers, in the making.
type Response struct {
	s     *Stream
	at    int // where in out its frame begins
	begun bool
}

// Begin begins a head; trailers have no status. Until End the connection sends
// nothing else, so nothing may be waited for.
func (s *Stream) Begin(status int) Response {
	h := s.h
	h.mu.Lock()
	if s.err != nil || s.sent || h.err != nil {
		h.mu.Unlock()
		return Response{s: s}
	}
	r := Response{s: s, at: len(h.out), begun: true}
	h.out = append(h.out, 0, 0, 0, frameHeaders, 0, 0, 0, 0, 0)
	if status > 0 {
		h.out = appendStatus(h.out, status)
	}
	return r
}

// Field adds a field.
func (r *Response) Field(name, value []byte) {
	if r.begun {
		r.s.h.out = appendLiteral(r.s.h.out, name, value)
	}
}

// End sends the head, with which the response ends if end is set.
func (r *Response) End(end bool) error {
	s := r.s
	h := s.h
	if !r.begun {
		h.mu.Lock()
		defer h.mu.Unlock()
		return s.failure()
	}
	defer h.mu.Unlock()
	flags := byte(0)
	if end {
		flags, s.sent = flagEndStream, true
		s.settle()
	}
	block := h.out[r.at+frameHead:]
	if len(block) <= maxFrame {
		putFrameHead(h.out[r.at:], len(block), frameHeaders, flags|flagEndHeaders, s.id)
	} else {
		rest := append([]byte(nil), block[maxFrame:]...)
		putFrameHead(h.out[r.at:], maxFrame, frameHeaders, flags, s.id)
		h.out = h.out[:r.at+frameHead+maxFrame]
		for len(rest) > 0 {
			n := min(len(rest), maxFrame)
			last := byte(0)
			if n == len(rest) {
				last = flagEndHeaders
			}
			h.frame(frameContinuation, last, s.id, rest[:n])
			rest = rest[n:]
		}
	}
	h.wakeWriter()
	return nil
}

func (s *Stream) failure() error {
	switch {
	case s.err != nil:
		return s.err
	case s.h.err != nil:
		return ErrClosed
	default:
		return ErrReset
	}
}

func putFrameHead(b []byte, n int, kind, flags byte, id uint32) {
	b[0], b[1], b[2], b[3], b[4] = byte(n>>16), byte(n>>8), byte(n), kind, flags
	binary.BigEndian.PutUint32(b[5:], id)
}

// Write sends a part of the body; the response ends with it if end is set.
func (s *Stream) Write(p []byte, end bool) error {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if s.err != nil || s.sent || h.err != nil {
			return s.failure()
		}
		n := int(min(int64(len(p)), s.sendWindow, h.sendWindow, maxFrame))
		if n > 0 && len(h.out) < maxOut || len(p) == 0 {
			n = max(n, 0)
			flags := byte(0)
			if end && n == len(p) {
				flags, s.sent = flagEndStream, true
				s.settle()
			}
			h.frame(frameData, flags, s.id, p[:n])
			s.sendWindow -= int64(n)
			h.sendWindow -= int64(n)
			if p = p[n:]; len(p) == 0 {
				return nil
			}
			continue
		}
		if !wait(&h.mu, &s.outWait, s.writeBy) {
			return os.ErrDeadlineExceeded
		}
	}
}

// The fields of HPACK's static table that responses have.
var staticStatus = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

var staticNames = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28,
	"content-location": 29, "content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36,
	"last-modified": 44, "link": 45, "location": 46, "retry-after": 53, "server": 54, "set-cookie": 55,
	"strict-transport-security": 56, "vary": 59, "via": 60, "www-authenticate": 61,
}

func appendStatus(b []byte, status int) []byte {
	if i, ok := staticStatus[status]; ok {
		return append(b, 0x80|i)
	}
	b = append(b, 8, 3)
	return strconv.AppendInt(b, int64(status), 10)
}

// appendLiteral encodes a field without adding it to the client's table, so
// that nothing of one response is kept for another.
func appendLiteral(b, name, value []byte) []byte {
	var low [32]byte
	if len(name) <= len(low) {
		for i, x := range name {
			low[i] = lower(x)
		}
		if i, ok := staticNames[string(low[:len(name)])]; ok {
			b = appendInt(b, 0, 4, int(i))
			b = appendInt(b, 0, 7, len(value))
			return append(b, value...)
		}
	}
	b = append(b, 0)
	b = appendInt(b, 0, 7, len(name))
	for _, x := range name {
		b = append(b, lower(x))
	}
	b = appendInt(b, 0, 7, len(value))
	return append(b, value...)
}

func lower(x byte) byte {
	if x >= 'A' && x <= 'Z' {
		x |= 0x20
	}
	return x
}

// appendInt encodes n with a prefix of some bits.
func appendInt(b []byte, first byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
