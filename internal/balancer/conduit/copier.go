package conduit

import (
	"net"
	"sync"
)

// smallSize is that of the buffer with which a direction waits, where the
// kernel cannot carry the bytes by itself, and bufferSize that of the one which
// it has while much comes.
const (
	smallSize  = 1 << 10
	bufferSize = 64 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copier is a direction that goes through this process's memory.
type copier struct {
	p        *pipe
	dst, src net.Conn
	f        *flow
	small    []byte
	large    *[bufferSize]byte
}

// step copies what comes first.
func (c *copier) step() error {
	if c.small == nil {
		c.small = make([]byte, smallSize)
	}
	b := c.small
	if c.large != nil {
		b = c.large[:]
	}
	n, err := c.src.Read(b)
	if n > 0 {
		begins(&c.f.read)
		begins(&c.f.wrote)
		c.p.add(c.f, int64(n))
		if _, werr := c.dst.Write(b[:n]); werr != nil {
			err = werr
		}
	}
	switch {
	case err != nil && c.large != nil:
		buffers.Put(c.large)
		c.large = nil
	case err == nil && c.large == nil && n == len(c.small):
		c.large = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
	return err
}
