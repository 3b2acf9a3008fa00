package conduit

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pipe carries bytes between two connections.
type pipe struct {
	idle    time.Duration
	in, out *atomic.Int64
	// moved counts the bytes of both directions.
	moved atomic.Int64
	// failed tells that a direction has, which is the end of the other one.
	failed atomic.Bool
}

// looks is how many times an idle timeout is looked at before it has passed:
// how exact it is.
const looks = 16

// bufferSize is that of a direction's buffer, where the kernel cannot carry
// the bytes by itself.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// join copies both ways until both sides are done, or one fails, or nothing
// moved for the idle timeout. It tells whether both ended by themselves.
func (p *pipe) join(front, back net.Conn) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.carry(front, back, p.out)
	}()
	p.carry(back, front, p.in)
	<-done
	return !p.failed.Load()
}

// carry copies from src to dst until src ends, which it tells dst. A failure
// ends both.
func (p *pipe) carry(dst, src net.Conn, count *atomic.Int64) {
	d, plain1 := dst.(*net.TCPConn)
	s, plain2 := src.(*net.TCPConn)
	var step func() error
	if plain1 && plain2 {
		step = func() error {
			n, err := d.ReadFrom(s)
			p.moved.Add(n)
			count.Add(n)
			if err == nil {
				err = io.EOF
			}
			return err
		}
	} else {
		buf := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(buf)
		step = func() error {
			n, err := src.Read(buf[:])
			if n > 0 {
				p.moved.Add(int64(n))
				count.Add(int64(n))
				if _, werr := dst.Write(buf[:n]); werr != nil {
					return werr
				}
			}
			return err
		}
	}
	if p.pump(src, step) == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
	}
	p.failed.Store(true)
	for _, c := range []net.Conn{dst, src} {
		_ = c.SetDeadline(time.Unix(1, 0)) // ends whatever waits for it
	}
}

// pump repeats step until it fails, and returns nil where that is the end of
// src, or an error where nothing moved for the idle timeout.
func (p *pipe) pump(src net.Conn, step func() error) error {
	look := p.idle / looks
	_ = src.SetReadDeadline(time.Now().Add(look))
	seen, quiet := p.moved.Load(), 0
	for {
		err := step()
		switch {
		case err == nil:
			// Deadlines cost: they are set anew a few times in a timeout only.
			continue
		case errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded), p.failed.Load():
			return err
		}
		if now := p.moved.Load(); now != seen {
			seen, quiet = now, 0
		} else if quiet++; quiet >= looks {
			return err
		}
		if derr := src.SetReadDeadline(time.Now().Add(look)); derr != nil || p.failed.Load() {
			return err
		}
	}
}
