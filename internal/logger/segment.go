package logger

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A segment is a sequence of records: the length of the payload and its
// CRC-32C, four bytes each, little endian, then the payload. A payload starts
// with its type. A record that is cut off or damaged ends the segment: its
// writer died while it wrote.
const (
	recordHeader = 'H' // JSON of Header
	recordEvent  = 'E' // milliseconds since 1970 (eight bytes), then the message

	recordPrefix = 8
	eventPrefix  = 9
	maxRecord    = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the first record of a segment.
type Header struct {
	// ID is unique to the segment: offsets are remembered by it.
	ID     string `json:"id"`
	Config Config `json:"config"`
}

// Event is a line of output.
type Event struct {
	// Timestamp is when the line was read, in milliseconds since 1970.
	Timestamp int64
	Message   []byte
}

const suffix = ".spool"

// Segment names a file of the spool.
type Segment struct {
	Path string
	// Source is the container that wrote it; Seq counts its segments.
	Source string
	Seq    uint64
}

func segmentName(source string, seq uint64) string {
	return fmt.Sprintf("%s.%010d%s", source, seq, suffix)
}

// Segments lists a spool's segments, by source and then in the order in which
// they were written. Files of other names are left out.
func Segments(dir string) ([]Segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	var out []Segment
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), suffix)
		dot := strings.LastIndexByte(base, '.')
		if !ok || dot < 0 {
			continue
		}
		seq, err := strconv.ParseUint(base[dot+1:], 10, 64)
		if err != nil {
			continue
		}
		out = append(out, Segment{filepath.Join(dir, e.Name()), base[:dot], seq})
	}
	slices.SortFunc(out, func(a, b Segment) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		return int(int64(a.Seq) - int64(b.Seq))
	})
	return out, nil
}

// Reader reads a segment, which may still be written.
type Reader struct {
	f      *os.File
	offset int64
}

// OpenSegment opens a segment for reading from offset on, which must be one
// that Offset told, or 0.
func OpenSegment(path string, offset int64) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	return &Reader{f, offset}, nil
}

// Offset is where the next record begins.
func (r *Reader) Offset() int64 { return r.offset }

// SeekTo moves to an offset that Offset told.
func (r *Reader) SeekTo(offset int64) { r.offset = offset }

// Close closes the file, and gives up its lock.
func (r *Reader) Close() error { return r.f.Close() }

// Idle tells whether nobody writes the segment any more. It then holds the
// segment's lock until Close. What was written before is all that there will
// ever be: read on until the end once more.
func (r *Reader) Idle() (bool, error) {
	err := unix.Flock(int(r.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock segment: %w", err)
	}
	return true, nil
}

// Header reads the segment's header and moves behind it. It returns io.EOF
// while it is not written yet.
func (r *Reader) Header() (Header, error) {
	var h Header
	r.offset = 0
	var found bool
	err := r.records(func(payload []byte) (bool, error) {
		if payload[0] != recordHeader {
			return false, errors.New("segment has no header")
		}
		found = true
		return false, json.Unmarshal(payload[1:], &h)
	})
	if err == nil && !found {
		err = io.EOF
	}
	return h, err
}

// Events calls f for the events from the offset on, until f returns false or
// there are no more whole ones. The event's message is only good during the
// call.
func (r *Reader) Events(f func(Event) bool) error {
	return r.records(func(p []byte) (bool, error) {
		if p[0] != recordEvent || len(p) < eventPrefix {
			return true, nil
		}
		ts := int64(binary.LittleEndian.Uint64(p[1:]))
		return f(Event{ts, p[eventPrefix:]}), nil
	})
}

// records calls f for each whole record; the offset moves behind the records
// that f has been given.
func (r *Reader) records(f func(payload []byte) (bool, error)) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r.f, r.offset, 1<<62), 64<<10)
	var prefix [recordPrefix]byte
	var payload []byte
	for {
		if _, err := io.ReadFull(in, prefix[:]); err != nil {
			return endOfSegment(err)
		}
		n := binary.LittleEndian.Uint32(prefix[:])
		if n == 0 || n > maxRecord {
			return nil
		}
		payload = slices.Grow(payload[:0], int(n))[:n]
		if _, err := io.ReadFull(in, payload); err != nil {
			return endOfSegment(err)
		}
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(prefix[4:]) {
			return nil
		}
		r.offset += int64(recordPrefix + n)
		more, err := f(payload)
		if err != nil || !more {
			return err
		}
	}
}

func endOfSegment(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("read segment: %w", err)
}

func appendRecord(b []byte, payload func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, recordPrefix)...)
	b = payload(b)
	p := b[start+recordPrefix:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(p)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(p, castagnoli))
	return b
}
