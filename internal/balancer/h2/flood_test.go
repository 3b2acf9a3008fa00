package h2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Whoever keeps the server busy for nothing is told to calm down, and costs no
// more than that.
func TestFloods(t *testing.T) {
	for name, flood := range map[string]func(p *peer, i int) error{
		"PING":         func(p *peer, _ int) error { return p.f.WritePing(false, [8]byte{}) },
		"PING answers": func(p *peer, _ int) error { return p.f.WritePing(true, [8]byte{}) },
		"SETTINGS": func(p *peer, _ int) error {
			return p.f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20_000})
		},
		"SETTINGS, acks": func(p *peer, _ int) error { return p.f.WriteSettingsAck() },
		"PRIORITY":       func(p *peer, _ int) error { return p.f.WritePriority(3, http2.PriorityParam{}) },
		"unknown frames": func(p *peer, _ int) error { return p.f.WriteRawFrame(99, 0, 0, nil) },
		// CVE-2019-9518
		"empty DATA": func(p *peer, i int) error {
			if i == 0 {
				p.request(1, false, usual()...)
			}
			return p.f.WriteData(1, false, nil)
		},
		// CVE-2023-44487
		"requests that are reset": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			err := p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(usual()...), EndHeaders: true, EndStream: true})
			return errors.Join(err, p.f.WriteRSTStream(id, http2.ErrCodeCancel))
		},
		// CVE-2025-8671: the client makes the server reset them.
		"requests that are made to be reset": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			err := p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(usual()...), EndHeaders: true, EndStream: true})
			return errors.Join(err, p.f.WriteWindowUpdate(id, 0))
		},
		"malformed requests": func(p *peer, i int) error {
			return p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: p.block(usual("connection", "close")...), EndHeaders: true, EndStream: true})
		},
		// CVE-2024-27316
		"CONTINUATION": func(p *peer, i int) error {
			if i == 0 {
				return p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(usual()...)})
			}
			return p.f.WriteContinuation(1, false, nil)
		},
		"long CONTINUATION": func(p *peer, i int) error {
			block := p.block("x", strings.Repeat("\x01", 4000)) // none has a short code
			if i == 0 {
				return p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			}
			return p.f.WriteContinuation(1, false, block)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var running, most atomic.Int64
			p := dial(t, func(s *Stream) {
				defer running.Add(-1)
				for n := running.Add(1); n > most.Load(); {
					most.Store(n)
				}
				gone := make(chan struct{})
				s.OnCancel(func() { close(gone) })
				<-gone
			})
			told := make(chan error, 1)
			go func() {
				for {
					f, err := p.f.ReadFrame()
					if g, ok := f.(*http2.GoAwayFrame); ok {
						if g.ErrCode != http2.ErrCodeEnhanceYourCalm {
							err = errors.New(g.ErrCode.String())
						}
						told <- err
						return
					}
					if err != nil {
						told <- err
						return
					}
				}
			}()
			for i := 0; ; i++ {
				if i > 100_000 {
					t.Fatal("it is borne")
				}
				if err := flood(p, i); err != nil {
					break // the connection has ended
				}
				select {
				case err := <-told:
					if err != nil {
						t.Error(err)
					}
					return
				default:
				}
			}
			if err := <-told; err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			if n := most.Load(); n > 2*10 {
				t.Errorf("%d requests ran at the same time", n)
			}
		})
	}
}

// A client that asks for much and does not read the answers is dropped before
// they take much memory.
func TestUnreadAnswers(t *testing.T) {
	p := dial(t, echo)
	_ = p.c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = p.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	// Many at once: what the kernel keeps of the answers is megabytes.
	var pings bytes.Buffer
	many := http2.NewFramer(&pings, nil)
	for range 1000 {
		p.ok(many.WritePing(false, [8]byte{}))
	}
	for {
		if _, err := p.c.Write(pings.Bytes()); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it is borne")
			}
			return
		}
	}
}

// A head that decodes to far more than it takes on the wire is refused, and the
// table that it refers to stays in step.
func TestHPACKBomb(t *testing.T) {
	p := dial(t, func(s *Stream) {
		if len(s.Head()) > 64<<10 {
			if len(s.Head()) > 200<<10 {
				t.Errorf("a head of %d bytes", len(s.Head()))
			}
			respond(s, "too large")
			return
		}
		respond(s, "fine")
	})
	block := append([]byte(nil), p.block(usual("x", strings.Repeat("v", 3000))...)...)
	for range 10_000 {
		block = append(block, 0x80|62) // the latest entry of the table
	}
	p.ok(p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true}))
	if _, body, _ := p.answer(1); string(body) != "too large" {
		t.Errorf("got %q", body)
	}
	p.request(3, true, usual("x", strings.Repeat("v", 3000))...)
	if _, body, _ := p.answer(3); string(body) != "fine" {
		t.Errorf("got %q", body)
	}
	// A table larger than it may be.
	p.ok(p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: []byte{0x3f, 0xe1, 0xff, 0x03}, EndHeaders: true, EndStream: true}))
	p.goneAway(http2.ErrCodeCompression)
}

// More requests at the same time than are allowed are refused, and can be made
// again.
func TestTooManyStreams(t *testing.T) {
	release := make(chan struct{})
	p := dial(t, func(s *Stream) { <-release; respond(s, "") })
	for i := range 10 {
		p.request(uint32(2*i+1), true, usual()...)
	}
	p.request(21, true, usual()...)
	p.wasReset(21, http2.ErrCodeRefusedStream)
	close(release)
}

// A stream whose response is complete makes room for another, though its handler
// has not returned yet.
func TestRoomForMore(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	p := dial(t, func(s *Stream) { respond(s, "x"); <-hold })
	for i := range 20 {
		id := uint32(2*i + 1)
		p.request(id, true, usual()...)
		if status, _, _ := p.answer(id); status != "200" {
			t.Fatalf("request %d got %s", i, status)
		}
	}
	// There is an end to that.
	p.request(41, true, usual()...)
	p.wasReset(41, http2.ErrCodeRefusedStream)
}

// FuzzFrames sends whatever to a server, which must end, and give its handlers
// heads that are whole.
func FuzzFrames(f *testing.F) {
	raw := func(frames ...[]byte) (out []byte) {
		for _, x := range frames {
			out = append(out, x...)
		}
		return out
	}
	fr := func(kind, flags byte, id uint32, payload ...byte) []byte {
		b := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}
		return append(binary.BigEndian.AppendUint32(b, id), payload...)
	}
	settings := fr(frameSettings, 0, 0)
	get := []byte{0x82, 0x87, 0x84, 0x41, 1, 'a'}
	f.Add(raw(settings, fr(frameHeaders, flagEndHeaders|flagEndStream, 1, get...)))
	f.Add(raw(settings, fr(frameHeaders, flagEndHeaders, 1, get...), fr(frameData, 0, 1, 'a', 'b'), fr(frameData, flagEndStream|flagPadded, 1, 1, 'c', 0)))
	f.Add(raw(settings, fr(frameHeaders, 0, 1, get[:3]...), fr(frameContinuation, flagEndHeaders, 1, get[3:]...), fr(frameHeaders, flagEndHeaders|flagEndStream, 1, 0, 1, 'x', 1, 'y')))
	f.Add(raw(settings, fr(frameHeaders, flagEndHeaders|flagPriority, 1, append([]byte{0, 0, 0, 0, 1}, get...)...), fr(frameReset, 0, 1, 0, 0, 0, 8), fr(frameData, 0, 1, 'x')))
	f.Add(raw(fr(frameSettings, 0, 0, 0, settingInitialWindow, 0, 0, 0, 1), fr(frameWindowUpdate, 0, 0, 0, 0, 0, 1), fr(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8), fr(frameGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, s := net.Pipe()
		h := New(s, Options{MaxStreams: 4, MaxHead: 1 << 10, Timeout: time.Second, Handle: func(s *Stream) {
			head := string(s.Head())
			if strings.Count(head, "\r\n\r\n") > 1 || len(head) < 1<<10 && !strings.HasSuffix(head, "\r\n\r\n") {
				t.Errorf("a head of %q", head)
			}
			s.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			echo(s)
		}})
		done := make(chan struct{})
		go func() { defer close(done); h.Serve() }()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = io.WriteString(c, preface)
		_, _ = c.Write(data)
		_ = c.Close()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatal("the server does not end")
		}
	})
}
