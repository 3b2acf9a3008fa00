package conduit

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// pipe carries bytes between two connections.
type pipe struct {
	idle time.Duration
	// in is what the client sends, out what the target does.
	in, out flow
	// under are the two connections below TLS.
	under [2]net.Conn
	// moved counts the bytes of both directions.
	moved atomic.Int64
	// failed tells that a direction has, which is the end of the other one.
	failed atomic.Bool
}

// flow is what moves in one direction.
type flow struct {
	count *atomic.Int64 // of all connections
	total int64
	// read is when the first byte was there, and wrote when it began to be sent
	// on.
	read, wrote time.Time
}

// begins tells that there is something to be sent on, or to be read.
func begins(at *time.Time) {
	if at.IsZero() {
		*at = time.Now()
	}
}

func (p *pipe) add(f *flow, n int64) {
	p.moved.Add(n)
	f.count.Add(n)
	f.total += n
}

// looks is how many times an idle timeout is looked at before it has passed:
// how exact it is.
const looks = 16

// join copies both ways until both sides are done, or one fails, or nothing
// moved for the idle timeout. It tells whether both ended by themselves.
func (p *pipe) join(front, back net.Conn) bool {
	stop := p.watch()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.carry(front, back, &p.out)
	}()
	p.carry(back, front, &p.in)
	<-done
	stop()
	return !p.failed.Load()
}

// watch fails the pipe once nothing has moved for the idle timeout. A peer that
// takes what was sent long ago moves something, too.
func (p *pipe) watch() (stop func()) {
	var ended atomic.Bool
	var timer *time.Timer
	seen, quiet := int64(-1), 0
	armed := make(chan struct{})
	timer = time.AfterFunc(p.idle/looks, func() {
		<-armed
		now := p.moved.Load()
		for _, c := range p.under {
			now += progress(c)
		}
		if now != seen {
			seen, quiet = now, 0
		} else if quiet++; quiet >= looks {
			p.fail()
			return
		}
		if !ended.Load() {
			timer.Reset(p.idle / looks)
		}
	})
	close(armed)
	return func() {
		ended.Store(true)
		timer.Stop()
	}
}

// fail ends both directions.
func (p *pipe) fail() {
	p.failed.Store(true)
	for _, c := range p.under {
		_ = c.SetDeadline(time.Unix(1, 0)) // ends whatever waits for it
	}
}

// carry copies from src to dst until src ends, which it tells dst. A failure
// ends both.
func (p *pipe) carry(dst, src net.Conn, f *flow) {
	d, plain1 := dst.(*net.TCPConn)
	s, plain2 := src.(*net.TCPConn)
	step := (&copier{p: p, dst: dst, src: src, f: f}).step
	if plain1 && plain2 {
		step = func() error {
			// The kernel's pipes are for those only that have something to say.
			if err := awaitInput(s); err != nil {
				return err
			}
			at := f.read
			begins(&at)
			n, err := d.ReadFrom(s)
			if n > 0 {
				f.read = at
				if f.wrote.IsZero() {
					f.wrote = at
				}
			}
			p.add(f, n)
			if err == nil {
				err = io.EOF
			}
			return err
		}
	}
	if p.pump(src, step) == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
	}
	p.fail()
}

// pump repeats step until it fails, and returns nil where that is the end of
// src. Each look interrupts it, which frees what it needs while bytes move.
func (p *pipe) pump(src net.Conn, step func() error) error {
	for {
		err := src.SetReadDeadline(time.Now().Add(p.idle / looks))
		if p.failed.Load() {
			return os.ErrDeadlineExceeded
		}
		for err == nil {
			err = step()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded), p.failed.Load():
			return err
		}
	}
}
