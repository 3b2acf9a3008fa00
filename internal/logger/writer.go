package logger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/id"
)

// segmentSize is the size at which a new segment is begun, so that what has
// been taken over can be deleted while the container runs on.
const segmentSize = 8 << 20

// writer appends events to a source's segments. Safe for concurrent use.
type writer struct {
	cfg    Config
	source string

	mu   sync.Mutex
	f    *os.File
	seq  uint64
	size int64
	buf  []byte
}

// openWriter begins a segment behind those that the source has already.
func openWriter(cfg Config, source string) (*writer, error) {
	w := &writer{cfg: cfg, source: source}
	segments, err := Segments(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		if s.Source == source {
			w.seq = max(w.seq, s.Seq)
		}
	}
	return w, w.begin()
}

// begin makes the next segment the current one.
func (w *writer) begin() error {
	for {
		w.seq++
		path := filepath.Join(w.cfg.Dir, segmentName(w.source, w.seq))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("begin segment: %w", err)
		}
		taken, err := lockNew(f)
		if err != nil || taken {
			_ = f.Close()
			if err != nil {
				return err
			}
			continue
		}
		header, err := json.Marshal(Header{ID: id.UUID(), Config: w.cfg})
		if err != nil {
			_ = f.Close()
			return fmt.Errorf("begin segment: %w", err)
		}
		b := appendRecord(nil, func(b []byte) []byte { return append(append(b, recordHeader), header...) })
		if _, err := f.WriteAt(b, 0); err != nil {
			_ = f.Close()
			_ = os.Remove(path)
			return fmt.Errorf("begin segment: %w", err)
		}
		if w.f != nil {
			_ = w.f.Close() // which gives up its lock: it is complete
		}
		w.f, w.size = f, int64(len(b))
		return nil
	}
}

// lockNew locks a file that was just made. It tells when a reader was faster,
// took it for abandoned and deleted it.
func lockNew(f *os.File) (taken bool, err error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("lock segment: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, fmt.Errorf("stat segment: %w", err)
	}
	return st.Nlink == 0, nil
}

// retryWrite is the pause after a failed write, such as on a full disk.
const retryWrite = 500 * time.Millisecond

// write appends events, trying again until it succeeds or ctx ends. Other
// writes wait meanwhile: a reader may have seen a part of the events, so they
// must be what follows at this place.
func (w *writer) write(ctx context.Context, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.buf[:0]
	for _, e := range events {
		b = appendRecord(b, func(b []byte) []byte {
			b = append(b, recordEvent)
			b = binary.LittleEndian.AppendUint64(b, uint64(e.Timestamp))
			return append(b, e.Message...)
		})
	}
	w.buf = b[:0]
	for {
		err := w.append(b)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(retryWrite):
		case <-ctx.Done():
		}
	}
}

func (w *writer) append(b []byte) error {
	if w.size >= segmentSize {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if _, err := w.f.WriteAt(b, w.size); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	w.size += int64(len(b))
	return nil
}

func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.f.Close()
}
