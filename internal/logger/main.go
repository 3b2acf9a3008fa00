package logger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors of containerd's logging protocol: the container's output is
// read from the first two, and the last is closed to let the container start.
const (
	stdoutFD = 3
	stderrFD = 4
	readyFD  = 5
)

// multilineFlush is how long an event of several lines waits for its next one.
const multilineFlush = 5 * time.Second

// drainTime is how long output is still read after SIGTERM. The shim sends it
// when the container is gone and kills after twelve seconds.
const drainTime = 5 * time.Second

// Main is the logger's program: args are the arguments behind Subcommand. It
// returns the exit status. Its environment names the container: CONTAINER_ID
// and CONTAINER_NAMESPACE.
func Main(args []string) int {
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "logger:", err)
		return 1
	}
	return 0
}

func run(args []string) error {
	if len(args) != 1 {
		return errConfig
	}
	cfg, err := decodeConfig(args[0])
	if err != nil {
		return err
	}
	source := os.Getenv("CONTAINER_NAMESPACE") + "." + os.Getenv("CONTAINER_ID")
	if filepath.Base(source) != source {
		return fmt.Errorf("%w: container %q", errConfig, source)
	}
	w, err := openWriter(cfg, source)
	if err != nil {
		return err
	}
	inputs := []*os.File{pipe(stdoutFD), pipe(stderrFD)}
	// Before the container starts: one that ends at once is told of at once.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	ready := os.NewFile(readyFD, "ready")
	if _, err := ready.Write([]byte{0}); err != nil { // newer shims want the byte, all of them the close
		return fmt.Errorf("signal ready: %w", err)
	}
	if err := ready.Close(); err != nil {
		return fmt.Errorf("signal ready: %w", err)
	}

	// There is a logger for each container, and the work is a trickle.
	runtime.GOMAXPROCS(1)

	err = copyAll(ctx, cfg, w, inputs)
	return errors.Join(err, w.close())
}

// pipe opens an inherited descriptor so that reads can be given up.
func pipe(fd int) *os.File {
	_ = syscall.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "output")
}

// copyAll writes what the inputs yield until all have ended, or until a while
// after ctx has.
func copyAll(ctx context.Context, cfg Config, w *writer, inputs []*os.File) error {
	var start *regexp.Regexp
	if cfg.MultilinePattern != "" {
		re, err := regexp.Compile(cfg.MultilinePattern)
		if err != nil {
			return fmt.Errorf("%w: multiline pattern: %w", errConfig, err)
		}
		start = re
	}
	errs := make([]error, len(inputs))
	var wg sync.WaitGroup
	for i, in := range inputs {
		wg.Go(func() {
			errs[i] = copyStream(ctx, &splitter{start: start}, w, in)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// copyStream writes one input's events. The container waits, by its full pipe,
// while the spool cannot be written.
func copyStream(ctx context.Context, s *splitter, w *writer, in *os.File) error {
	var batch []Event
	emit := func(e Event) {
		e.Message = slices.Clone(e.Message)
		batch = append(batch, e)
	}
	buf := make([]byte, 64<<10)
	stopped := context.AfterFunc(ctx, func() { _ = in.SetReadDeadline(time.Now().Add(drainTime)) })
	defer stopped()
	for {
		if s.start != nil && ctx.Err() == nil {
			deadline := time.Time{}
			if len(s.pending) > 0 {
				deadline = time.Now().Add(multilineFlush)
			}
			_ = in.SetReadDeadline(deadline)
		}
		n, err := in.Read(buf)
		now := time.Now().UnixMilli()
		s.feed(buf[:n], now, emit)
		timeout := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case timeout && ctx.Err() == nil:
			s.flush(emit)
			err = nil
		case err != nil:
			s.end(now, emit)
		}
		if werr := w.write(ctx, batch); werr != nil {
			return werr
		}
		batch = batch[:0]
		if errors.Is(err, io.EOF) || timeout && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read output: %w", err)
		}
	}
}
