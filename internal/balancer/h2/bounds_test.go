package h2

import (
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// What is kept of a body is bounded however long it is, where whoever reads it
// is slower than the client.
func TestBodyMemory(t *testing.T) {
	const total = 16 << 20
	most := 0
	got := make(chan int64, 1)
	p := dial(t, func(s *Stream) {
		// Waits until the window is used up, and then reads a little at a time:
		// something is always left.
		buf := make([]byte, 8<<10)
		n := int64(0)
		for {
			s.h.mu.Lock()
			for s.err == nil && !s.over && len(s.body)-s.from < 64<<10 {
				wait(&s.h.mu, &s.readWait, s.readBy)
			}
			most = max(most, cap(s.body))
			s.h.mu.Unlock()
			m, err := s.Read(buf)
			n += int64(m)
			if err != nil {
				break
			}
		}
		got <- n
	})
	p.request(1, false, usual()...)
	window := make(chan int, 1<<16)
	go func() {
		defer close(window)
		for {
			f, err := p.f.ReadFrame()
			if err != nil {
				return
			}
			if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
				window <- int(w.Increment)
			}
		}
	}()
	left := streamWindow
	for sent := 0; sent < total; {
		for left < maxFrame {
			n, ok := <-window
			if !ok {
				t.Fatal("the connection ended")
			}
			left += n
		}
		p.ok(p.f.WriteData(1, sent+maxFrame >= total, make([]byte, maxFrame)))
		sent, left = sent+maxFrame, left-maxFrame
	}
	if n := <-got; n != total {
		t.Errorf("%d bytes of the body came", n)
	}
	if most > 4*streamWindow {
		t.Errorf("%d bytes are kept of a body", most)
	}
}

// A client that asks again and again, never too often at a time, and reads no
// answer is told to calm down before its answers fill the memory.
func TestAnswersAreNotRead(t *testing.T) {
	most := 0
	handled := make(chan struct{}, 1)
	p := dial(t, func(s *Stream) {
		r := s.Begin(204)
		r.Field([]byte("x-long"), make([]byte, 4<<10))
		_ = r.End(true)
		s.h.mu.Lock()
		most = max(most, len(s.h.out))
		s.h.mu.Unlock()
		handled <- struct{}{}
	})
	_ = p.c.(*net.TCPConn).SetReadBuffer(4 << 10)
	for i := range 4000 {
		err := p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: p.block(usual()...), EndHeaders: true, EndStream: true})
		if err != nil {
			break
		}
		select {
		case <-handled:
			continue
		case <-p.done:
		}
		break
	}
	<-p.done
	if most > 2*maxControl {
		t.Errorf("%d bytes wait to be sent", most)
	}
}

// Frames of requests that came too late end nothing: those that came in time go
// on.
func TestRequestsBehindTheLast(t *testing.T) {
	finish := make(chan struct{})
	p := dial(t, func(s *Stream) {
		<-finish
		r := s.Begin(200)
		_ = r.End(true)
	})
	p.request(1, true, usual()...)
	p.conn.Leave()
	p.until("PING", func(f http2.Frame) bool {
		g, ok := f.(*http2.PingFrame)
		if ok {
			p.ok(p.f.WritePing(true, g.Data))
		}
		return ok
	})
	p.until("the last GOAWAY", func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		return ok && g.LastStreamID == 1
	})
	p.request(3, false, usual()...)
	p.ok(p.f.WriteData(3, false, []byte("late")))
	p.ok(p.f.WriteWindowUpdate(3, 10))
	p.ok(p.f.WriteRSTStream(3, http2.ErrCodeCancel))
	p.ok(p.f.WritePing(false, [8]byte{1}))
	p.until("the answer to PING", func(f http2.Frame) bool {
		if g, ok := f.(*http2.GoAwayFrame); ok {
			t.Fatalf("GOAWAY %v", g.ErrCode)
		}
		_, ok := f.(*http2.PingFrame)
		return ok
	})
	close(finish)
	p.until("the response", func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		return ok && h.StreamID == 1
	})
	if _, err := p.f.ReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
}
