package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// The types of frames.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePushPromise  = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
	frameContinuation = 9
)

// Flags of frames.
const (
	flagEndStream  = 1 // of DATA and HEADERS
	flagAck        = 1 // of SETTINGS and PING
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 32
)

const frameHead = 9

// frame is one that was received. Its payload is valid until the next.
type frame struct {
	kind, flags byte
	id          uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// input buffers what comes.
type input struct {
	c    net.Conn
	buf  []byte
	r, w int
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// need reads until n bytes are buffered.
func (i *input) need(n int) error {
	for i.w-i.r < n {
		if i.r > 0 && (i.r == i.w || len(i.buf)-i.r < n) {
			i.w = copy(i.buf, i.buf[i.r:i.w])
			i.r = 0
		}
		if len(i.buf) < n || i.w == len(i.buf) {
			grown := make([]byte, min(max(2*len(i.buf), 2<<10, n), maxFrame+frameHead))
			i.w = copy(grown, i.buf[i.r:i.w])
			i.buf, i.r = grown, 0
		}
		m, err := i.c.Read(i.buf[i.w:])
		if i.w += m; m == 0 && err != nil {
			return err
		}
	}
	return nil
}

func (i *input) take(n int) []byte {
	p := i.buf[i.r : i.r+n]
	i.r += n
	return p
}

// fill is need with patience: an idle connection may wait for the timeout, one
// with requests under way for as long as they take.
func (h *Conn) fill(n int) error {
	for {
		err := h.in.need(n)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		h.mu.Lock()
		left := h.o.Timeout - time.Since(h.moved)
		busy, done := len(h.streams) > 0, h.leaving && h.last != 1<<31-1
		h.mu.Unlock()
		switch {
		case busy:
			left = h.o.Timeout
		case done:
			return io.EOF
		case left <= 0:
			return connError{NoError}
		}
		if err := h.c.SetReadDeadline(time.Now().Add(left)); err != nil {
			return err
		}
		h.mu.Lock()
		h.stopIfDone() // it may have come to that since
		h.mu.Unlock()
	}
}

// read handles frame after frame until the connection ends.
func (h *Conn) read() error {
	if err := h.c.SetReadDeadline(time.Now().Add(h.o.Timeout)); err != nil {
		return err
	}
	if err := h.fill(len(preface)); err != nil {
		return err
	}
	if string(h.in.take(len(preface))) != preface {
		return connError{ProtocolError}
	}
	for first := true; ; first = false {
		f, err := h.next()
		if err != nil {
			return err
		}
		if first && (f.kind != frameSettings || f.has(flagAck)) {
			return connError{ProtocolError}
		}
		if err := h.handle(&f); err != nil {
			return err
		}
	}
}

// next reads a frame.
func (h *Conn) next() (f frame, err error) {
	if err := h.fill(frameHead); err != nil {
		return f, err
	}
	b := h.in.take(frameHead)
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f.kind, f.flags, f.id = b[3], b[4], binary.BigEndian.Uint32(b[5:])&^(1<<31)
	if n > maxFrame {
		return f, connError{FrameSizeError}
	}
	if err := h.fill(n); err != nil {
		return f, err
	}
	f.payload = h.in.take(n)
	return f, nil
}

// unpad removes the padding of a frame.
func (f *frame) unpad() error {
	if !f.has(flagPadded) {
		return nil
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return connError{ProtocolError}
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return nil
}

// handle does what a frame says.
func (h *Conn) handle(f *frame) error {
	var err error
	if h.head.id != 0 {
		// A head is not complete: nothing may come between its parts.
		if f.kind != frameContinuation || f.id != h.head.id {
			return connError{ProtocolError}
		}
		return h.settled(h.continuation(f))
	}
	if err := h.calm.count(f); err != nil {
		return err
	}
	switch f.kind {
	case frameData:
		err = h.data(f)
	case frameHeaders:
		err = h.headers(f)
	case framePriority:
		err = priority(f)
	case frameReset:
		err = h.resetByClient(f)
	case frameSettings:
		err = h.settings(f)
	case framePing:
		err = h.ping(f)
	case frameGoAway:
		if f.id != 0 {
			err = connError{ProtocolError}
		}
	case frameWindowUpdate:
		err = h.windowUpdate(f)
	case framePushPromise, frameContinuation:
		err = connError{ProtocolError}
	}
	return h.settled(err)
}

// settled resets the stream that an error is of, and returns those of the
// connection.
func (h *Conn) settled(err error) error {
	var se streamError
	if !errors.As(err, &se) {
		return err
	}
	h.mu.Lock()
	s := h.streams[se.id]
	h.reset(se.id, se.code)
	flood := len(h.out) > maxControl
	h.mu.Unlock()
	if flood {
		return connError{EnhanceYourCalm}
	}
	if s != nil {
		s.cancelled()
	}
	return h.calm.fault()
}

func priority(f *frame) error {
	switch {
	case f.id == 0:
		return connError{ProtocolError}
	case len(f.payload) != 5:
		return streamError{f.id, FrameSizeError}
	case binary.BigEndian.Uint32(f.payload)&^(1<<31) == f.id:
		return streamError{f.id, ProtocolError}
	default:
		return nil
	}
}

func (h *Conn) ping(f *frame) error {
	switch {
	case f.id != 0:
		return connError{ProtocolError}
	case len(f.payload) != 8:
		return connError{FrameSizeError}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !f.has(flagAck) {
		return h.control(framePing, flagAck, 0, f.payload)
	}
	if [8]byte(f.payload) == leavePing {
		h.left()
	}
	return nil
}

// The settings that count here.
const (
	settingEnablePush    = 2
	settingMaxStreams    = 3
	settingInitialWindow = 4
	settingMaxFrame      = 5
	settingMaxHead       = 6
)

const maxWindow = 1<<31 - 1

func (h *Conn) settings(f *frame) error {
	switch {
	case f.id != 0:
		return connError{ProtocolError}
	case f.has(flagAck) && len(f.payload) > 0, len(f.payload)%6 != 0:
		return connError{FrameSizeError}
	case f.has(flagAck):
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	initial := h.initial
	for p := f.payload; len(p) > 0; p = p[6:] {
		v := int64(binary.BigEndian.Uint32(p[2:]))
		switch binary.BigEndian.Uint16(p) {
		case settingEnablePush:
			if v > 1 {
				return connError{ProtocolError}
			}
		case settingInitialWindow:
			if v > maxWindow {
				return connError{FlowControlError}
			}
			initial = v
		case settingMaxFrame:
			if v < 16<<10 || v >= 1<<24 {
				return connError{ProtocolError}
			}
		}
	}
	if err := h.resize(initial); err != nil {
		return err
	}
	return h.control(frameSettings, flagAck, 0, nil)
}

// resize makes the window of new streams another one, and changes those that
// there are. A frame may say it a thousand times, and what it says last counts.
func (h *Conn) resize(initial int64) error {
	if initial == h.initial {
		return nil
	}
	for _, s := range h.streams {
		if s.sendWindow += initial - h.initial; s.sendWindow > maxWindow {
			return connError{FlowControlError}
		}
		s.wakeWriter()
	}
	h.initial = initial
	return nil
}

func (h *Conn) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return connError{FrameSizeError}
	}
	n := int64(binary.BigEndian.Uint32(f.payload) &^ (1 << 31))
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.id == 0 {
		if n == 0 {
			return connError{ProtocolError}
		}
		if h.sendWindow += n; h.sendWindow > maxWindow {
			return connError{FlowControlError}
		}
		for _, s := range h.streams {
			s.wakeWriter()
		}
		return nil
	}
	s := h.streams[f.id]
	switch {
	case s == nil && h.idle(f.id):
		return connError{ProtocolError}
	case s == nil:
		return nil
	case n == 0:
		return streamError{f.id, ProtocolError}
	}
	if s.sendWindow += n; s.sendWindow > maxWindow {
		return streamError{f.id, FlowControlError}
	}
	s.wakeWriter()
	return nil
}

// idle tells whether no stream has had the id, as far as can be seen.
func (h *Conn) idle(id uint32) bool { return id%2 == 0 || id > h.latest && !h.late(id) }

// late tells whether a stream comes behind the last one that the client was told
// will be served: what is on its way of it is ignored.
func (h *Conn) late(id uint32) bool { return h.leaving && id > h.last }

func (h *Conn) resetByClient(f *frame) error {
	if len(f.payload) != 4 {
		return connError{FrameSizeError}
	}
	h.mu.Lock()
	if f.id == 0 || h.idle(f.id) {
		h.mu.Unlock()
		return connError{ProtocolError}
	}
	s := h.streams[f.id]
	early := s != nil && !s.sent
	if s != nil {
		s.end(ErrReset)
	}
	h.mu.Unlock()
	if s != nil {
		s.cancelled()
	}
	if early {
		return h.calm.fault()
	}
	return nil
}
