package l7

import (
	"bytes"
	"io"
	"strconv"

	"roadstead.dev/internal/balancer/h1"
)

// dechunker takes a chunked body, which h1.Chunked has found well-formed,
// apart.
type dechunker struct {
	left     int64  // of the current chunk's data
	line     []byte // what is there of a line
	state    dechunkState
	trailers []Field
	done     bool
}

type dechunkState uint8

const (
	dechunkSize dechunkState = iota
	dechunkData
	dechunkEnd // the empty line behind data
	dechunkTrailers
)

// write sends the data in p to w.
func (d *dechunker) write(p []byte, w io.Writer) error {
	for len(p) > 0 && !d.done {
		if d.state == dechunkData {
			n := int(min(d.left, int64(len(p))))
			if _, err := w.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			if d.left -= int64(n); d.left == 0 {
				d.state = dechunkEnd
			}
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			d.line = append(d.line, p...)
			return nil
		}
		d.line = append(d.line, p[:i]...)
		p = p[i+1:]
		err := d.endLine(bytes.TrimSuffix(d.line, []byte("\r")))
		d.line = d.line[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dechunker) endLine(line []byte) error {
	switch d.state {
	case dechunkSize:
		size, _, _ := bytes.Cut(line, []byte{';'})
		n, err := strconv.ParseInt(string(bytes.TrimSpace(size)), 16, 64)
		if err != nil || n < 0 {
			return h1.ErrMalformed
		}
		d.left, d.state = n, dechunkData
		if n == 0 {
			d.state = dechunkTrailers
		}
	case dechunkEnd:
		d.state = dechunkSize
	case dechunkTrailers:
		if len(line) == 0 {
			d.done = true
			return nil
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			return h1.ErrMalformed
		}
		d.trailers = append(d.trailers, Field{string(name), string(bytes.TrimSpace(value))})
	case dechunkData:
	}
	return nil
}
