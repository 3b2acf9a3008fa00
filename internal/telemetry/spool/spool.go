// Package spool takes the container output that internal/logger has spooled
// over into the log store. What it has taken, and how far, is written in one
// transaction, so that a kill at any moment neither loses nor doubles a line.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/logger"
	"roadstead.dev/internal/telemetry/logstore"
)

// Streams finds the streams that lines go to, or makes them.
type Streams interface {
	// EnsureStream returns where a stream's events go. An error with a wire
	// code, such as ResourceNotFoundException for a group that does not exist,
	// means that the lines have no place to go and are dropped.
	EnsureStream(ctx context.Context, account, region, group, stream string, createGroup bool, now time.Time) (logstore.Stream, error)
}

// Events is the log store.
type Events interface {
	Append(ctx context.Context, batches []logstore.Batch, cursors map[string]int64) error
	Cursors() (map[string]int64, error)
}

// Config is what a Tailer needs; all but Interval is required.
type Config struct {
	// Dir is the spool's folder. It must exist.
	Dir     string
	Streams Streams
	Events  Events
	Clock   clock.Clock
	Log     *slog.Logger
	// Interval is the pause between looks at an idle spool; 0 means 200 ms.
	Interval time.Duration
}

// Tailer follows a spool. Use one per spool.
type Tailer struct {
	cfg Config
	// tails are the segments that are open, by path.
	tails map[string]*tail
	// cursors are how far segments were taken, by their ids; loaded once.
	cursors map[string]int64
	// forget are the cursors of deleted segments.
	forget []string
}

// tail is an open segment.
type tail struct {
	path    string
	reader  *logger.Reader
	header  logger.Header
	started bool // the header is read
	dropped bool // a dropped line was reported
}

const defaultInterval = 200 * time.Millisecond

// Limits of what one pass takes from a segment.
const (
	maxEvents = 5000
	maxBytes  = 4 << 20
)

// New makes a Tailer.
func New(cfg Config) *Tailer {
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	return &Tailer{cfg: cfg, tails: make(map[string]*tail)}
}

// Run follows the spool until ctx ends. Errors are logged and tried again.
func (t *Tailer) Run(ctx context.Context) error {
	defer t.close()
	for {
		progress, err := t.Pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			t.cfg.Log.ErrorContext(ctx, "container output could not be taken over; it stays in the spool", "error", err)
		}
		if progress && err == nil {
			continue
		}
		timer := t.cfg.Clock.NewTimer(t.cfg.Interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (t *Tailer) close() {
	for _, tl := range t.tails {
		_ = tl.reader.Close() // read only
	}
	clear(t.tails)
}

// Pass takes over what there is, up to a limit for each segment, and deletes
// the segments that are complete. It tells whether there was anything to do.
// Not safe for concurrent use.
func (t *Tailer) Pass(ctx context.Context) (progress bool, err error) {
	segments, err := logger.Segments(t.cfg.Dir)
	if err != nil {
		return false, err
	}
	if t.cursors == nil {
		if err := t.load(segments); err != nil {
			return false, err
		}
	}
	w := work{cursors: make(map[string]int64)}
	done := ""
	for _, s := range segments {
		// A source's segments are taken in their order: the next one's turn
		// comes when this one is gone.
		if s.Source == done {
			continue
		}
		done = s.Source
		if err := t.segment(ctx, s.Path, &w); err != nil {
			t.cfg.Log.ErrorContext(ctx, "segment of container output cannot be read", "path", s.Path, "error", err)
		}
	}
	progress = len(w.cursors) > 0 || len(w.complete) > 0
	for _, id := range t.forget {
		w.cursors[id] = -1
	}
	if len(w.batches) > 0 || len(w.cursors) > 0 {
		if err := t.cfg.Events.Append(ctx, w.batches, w.cursors); err != nil {
			t.reset()
			return false, err
		}
	}
	maps.Copy(t.cursors, w.cursors)
	for _, id := range t.forget {
		delete(t.cursors, id)
	}
	t.forget = nil
	for _, tl := range w.complete {
		if err := t.remove(tl); err != nil {
			return false, err
		}
	}
	return progress, nil
}

// work is what a pass has collected.
type work struct {
	batches  []logstore.Batch
	cursors  map[string]int64
	complete []*tail
}

// load reads the cursors, and forgets those whose segments are gone.
func (t *Tailer) load(segments []logger.Segment) error {
	cursors, err := t.cfg.Events.Cursors()
	if err != nil {
		return err
	}
	live := make(map[string]bool)
	for _, s := range segments {
		r, err := logger.OpenSegment(s.Path, 0)
		if err != nil {
			return err
		}
		h, err := r.Header()
		_ = r.Close() // read only
		if err != nil && !errors.Is(err, io.EOF) {
			continue // reported when its turn comes
		}
		live[h.ID] = true
	}
	for id := range cursors {
		if !live[id] {
			t.forget = append(t.forget, id)
		}
	}
	t.cursors = cursors
	return nil
}

// reset goes back to what is durable after a failed write.
func (t *Tailer) reset() {
	for _, tl := range t.tails {
		tl.rewind(t.cursors)
	}
}

func (tl *tail) rewind(cursors map[string]int64) {
	if at, ok := cursors[tl.header.ID]; ok && tl.started {
		tl.reader.SeekTo(at)
	} else {
		tl.started = false
	}
}

// segment collects a segment's next events.
func (t *Tailer) segment(ctx context.Context, path string, w *work) error {
	tl := t.tails[path]
	if tl == nil {
		r, err := logger.OpenSegment(path, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		tl = &tail{path: path, reader: r}
		t.tails[path] = tl
	}
	// Looked at before reading: what is read after that is all there is.
	idle, err := tl.reader.Idle()
	if err != nil {
		return err
	}
	if !tl.started {
		h, err := tl.reader.Header()
		if errors.Is(err, io.EOF) {
			if idle { // its writer died before it wrote anything
				w.complete = append(w.complete, tl)
			}
			return nil
		}
		if err != nil {
			return err
		}
		tl.header, tl.started = h, true
		if at := t.cursors[h.ID]; at > 0 {
			tl.reader.SeekTo(at)
		}
	}
	events, full, err := tl.read()
	if err != nil {
		return err
	}
	if len(events) > 0 {
		if err := t.deliver(ctx, tl, events, w); err != nil {
			tl.rewind(t.cursors)
			return err
		}
	}
	if idle && !full {
		w.complete = append(w.complete, tl)
	}
	return nil
}

// read takes the next events; full tells that there may be more.
func (tl *tail) read() (events []logstore.Event, full bool, err error) {
	size := 0
	err = tl.reader.Events(func(e logger.Event) bool {
		events = append(events, logstore.Event{
			Position: logstore.Position{Timestamp: max(e.Timestamp, 0)},
			Message:  strings.ToValidUTF8(string(e.Message), "\ufffd"),
		})
		size += len(e.Message)
		full = len(events) == maxEvents || size >= maxBytes
		return !full
	})
	return events, full, err
}

// deliver adds the events to the pass's work.
func (t *Tailer) deliver(ctx context.Context, tl *tail, events []logstore.Event, w *work) error {
	now := t.cfg.Clock.Now()
	cfg := tl.header.Config
	stream, err := t.cfg.Streams.EnsureStream(ctx, cfg.Account, cfg.Region, cfg.Group, cfg.Stream, cfg.CreateGroup, now)
	switch {
	case err == nil:
		w.batches = append(w.batches, logstore.Batch{Stream: stream, Ingestion: now.UnixMilli(), Events: events})
	case api.Code(err) != "":
		if !tl.dropped {
			tl.dropped = true
			t.cfg.Log.WarnContext(ctx, "container output is dropped", "group", cfg.Group, "stream", cfg.Stream, "error", err)
		}
	default:
		return fmt.Errorf("stream %s of %s: %w", cfg.Stream, cfg.Group, err)
	}
	w.cursors[tl.header.ID] = tl.reader.Offset()
	return nil
}

// remove deletes a segment that was taken completely. Its lock is held.
func (t *Tailer) remove(tl *tail) error {
	if err := os.Remove(tl.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete segment: %w", err)
	}
	delete(t.tails, tl.path)
	if tl.started {
		t.forget = append(t.forget, tl.header.ID)
	}
	return tl.reader.Close()
}
