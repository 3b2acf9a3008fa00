package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/durable"
)

// The log lies beside the file of pages, in segments: <path>.log.<number>,
// numbered without gaps. A segment begins with its header; frames follow, one
// for each batch of commits. What follows the last frame is what the segment
// held when it had another number, which no checksum fits.
//
//	header: magic, number, checksum of both
//	frame:  magic, length of the payload, checksum, first revision, last
//	        revision, payload; padded to 8 bytes
//
// Together with a frame a header of zeros is written behind it, so that a write
// that was cut off can be told from the end.
//
// A frame's checksum covers the segment's number and all that follows the
// checksum. A segment is extended, with zeros, before frames are written to
// where it was not, so a whole segment's size is a multiple of chunk, and no
// crash leaves one shorter than a frame that it holds.
const (
	segmentMagic  = "roadlog1"
	segmentHeader = len(segmentMagic) + 8 + 8
	frameMagic    = 0x6d726652
	frameHeader   = 4 + 4 + 8 + 8 + 8
	align         = 8
	chunk         = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is an open piece of the log.
type segment struct {
	file   *os.File
	number uint64
	end    int64 // where the next frame goes
	size   int64
}

func segmentPath(path string, number uint64) string {
	return fmt.Sprintf("%s.log.%06d", path, number)
}

// findSegments lists the numbers of the segments beside path, in order.
func findSegments(path string) ([]uint64, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find log: %w", err)
	}
	var out []uint64
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".log.")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || segmentPath(path, n) != filepath.Join(filepath.Dir(path), e.Name()) {
			continue // somebody else's file
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// createSegment makes an empty segment whose name is durable. From, unless it
// is empty, is a segment that is no longer needed and becomes the new one: to
// write where a file has been written is faster.
func createSegment(path string, number uint64, from string) (_ *segment, err error) {
	name := segmentPath(path, number)
	work := name
	if from != "" {
		work = from
	}
	f, err := os.OpenFile(work, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	s := &segment{file: f, number: number, end: int64(segmentHeader)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create log: %w", err), f.Close())
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s.size = st.Size()
	if err := s.extend(1); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(append(s.header(), make([]byte, frameHeader)...), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if work != name {
		if err := os.Rename(work, name); err != nil {
			return nil, err
		}
	}
	return s, durable.SyncDir(filepath.Dir(path))
}

func (s *segment) header() []byte {
	b := append(make([]byte, 0, segmentHeader), segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, s.number)
	return binary.LittleEndian.AppendUint64(b, uint64(crc32.Checksum(b, castagnoli)))
}

// extend makes the segment at least size bytes long, on disk.
func (s *segment) extend(size int64) error {
	if size <= s.size {
		return nil
	}
	size = (size + chunk - 1) / chunk * chunk
	if _, err := s.file.WriteAt(make([]byte, size-s.size), s.size); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.size = size
	return nil
}

// append writes a frame and returns once it is on disk. Buf is scratch that
// begins with room for a frame's header, and is followed by the payload.
func (s *segment) append(buf []byte, first, last uint64) error {
	for len(buf)%align != 0 {
		buf = append(buf, 0)
	}
	seal(buf, s.number, first, last)
	n := int64(len(buf))
	buf = append(buf, make([]byte, frameHeader)...)
	if err := s.extend(s.end + int64(len(buf))); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(buf, s.end); err != nil {
		return err
	}
	if err := datasync(s.file); err != nil {
		return err
	}
	s.end += n
	return nil
}

// revoke makes sure that a frame whose write failed is not found later.
func (s *segment) revoke() error {
	if s.end+frameHeader > s.size {
		return nil // the extension failed, so no frame was written
	}
	if _, err := s.file.WriteAt(make([]byte, frameHeader), s.end); err != nil {
		return err
	}
	return datasync(s.file)
}

// seal fills in the header of a frame, whose padding counts as payload.
func seal(frame []byte, number, first, last uint64) {
	binary.LittleEndian.PutUint32(frame[0:], frameMagic)
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-frameHeader))
	binary.LittleEndian.PutUint64(frame[16:], first)
	binary.LittleEndian.PutUint64(frame[24:], last)
	binary.LittleEndian.PutUint64(frame[8:], uint64(frameSum(frame, number)))
}

func frameSum(frame []byte, number uint64) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], number)
	sum := crc32.Update(0, castagnoli, n[:])
	sum = crc32.Update(sum, castagnoli, frame[:8])
	return crc32.Update(sum, castagnoli, frame[16:])
}

// frameAt is the frame that begins at b, false when none whole does.
func frameAt(b []byte, number uint64) (frame []byte, ok bool) {
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != frameMagic {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b[4:])) + frameHeader
	if n > int64(len(b)) || n%align != 0 {
		return nil, false
	}
	frame = b[:n]
	return frame, uint64(frameSum(frame, number)) == binary.LittleEndian.Uint64(b[8:])
}

// openSegment reads a segment, calls visit for each of its frames and is then
// ready to append behind them. torn tells that a write which nobody was told
// of had begun.
func openSegment(path string, number uint64, visit func(first, last uint64, payload []byte) error) (_ *segment, torn bool, err error) {
	f, err := os.OpenFile(segmentPath(path, number), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, fmt.Errorf("%w: its log %s is missing", ErrDamaged, segmentPath(path, number))
	}
	if err != nil {
		return nil, false, fmt.Errorf("open log: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, false, fmt.Errorf("read log: %w", err)
	}
	s := &segment{file: f, number: number, end: int64(segmentHeader), size: int64(len(b))}
	if len(b) == 0 || len(b)%chunk != 0 || string(b[:segmentHeader]) != string(s.header()) {
		return nil, false, fmt.Errorf("%w: its log %s is not whole", ErrDamaged, f.Name())
	}
	for {
		frame, ok := frameAt(b[s.end:], number)
		if !ok {
			break
		}
		err := visit(binary.LittleEndian.Uint64(frame[16:]), binary.LittleEndian.Uint64(frame[24:]), frame[frameHeader:])
		if err != nil {
			return nil, false, err
		}
		s.end += int64(len(frame))
	}
	// What is not a frame is where the log ends, unless one follows.
	for at := s.end + align; at < s.size; at += align {
		if _, ok := frameAt(b[at:], number); ok {
			return nil, false, fmt.Errorf("%w: its log %s has a hole at %d", ErrDamaged, f.Name(), s.end)
		}
	}
	rest := b[s.end:]
	if len(rest) < frameHeader || binary.LittleEndian.Uint32(rest) == frameMagic && int64(binary.LittleEndian.Uint32(rest[4:]))+2*frameHeader > int64(len(rest)) {
		return nil, false, fmt.Errorf("%w: its log %s is cut short", ErrDamaged, f.Name())
	}
	return s, !bytes.Equal(rest[:frameHeader], make([]byte, frameHeader)), nil
}
