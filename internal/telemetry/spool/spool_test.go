package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/logger"
	"roadstead.dev/internal/telemetry/logstore"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == logger.Subcommand {
		os.Exit(logger.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// streams finds streams by their names; groups named "none" do not exist.
type streams struct{}

func (streams) EnsureStream(_ context.Context, _, _, group, stream string, _ bool, _ time.Time) (logstore.Stream, error) {
	if group == "none" {
		return logstore.Stream{}, api.NewFault("ResourceNotFoundException", "The specified log group does not exist.")
	}
	return logstore.Stream{Group: group, ID: stream}, nil
}

// flaky fails the appends for which it is told to, before or after they
// happened: the latter is a crash between the commit and its acknowledgement.
type flaky struct {
	*logstore.Store
	before, after bool
}

var errCrash = errors.New("crash")

func (f *flaky) Append(ctx context.Context, b []logstore.Batch, c map[string]int64) error {
	if f.before {
		return errCrash
	}
	err := f.Store.Append(ctx, b, c)
	if f.after {
		return errCrash
	}
	return err
}

type fixture struct {
	dir    string
	events *flaky
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	s, err := logstore.Open(filepath.Join(t.TempDir(), "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &fixture{t.TempDir(), &flaky{Store: s}}
}

func (f *fixture) tailer() *Tailer {
	return New(Config{Dir: f.dir, Streams: streams{}, Events: f.events, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
}

// drain makes passes until there is nothing left to do.
func drain(t *testing.T, tl *Tailer) {
	t.Helper()
	for {
		progress, err := tl.Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !progress {
			return
		}
	}
}

func (f *fixture) messages(t *testing.T, group, stream string) []string {
	t.Helper()
	events, err := f.events.Read(logstore.Stream{Group: group, ID: stream}, logstore.Range{}, false, 1<<20, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

// process is a running logger.
type process struct {
	cmd *exec.Cmd
	out *os.File
}

func (f *fixture) logger(t *testing.T, group, stream, id string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(logger.URI(exe, logger.Config{Dir: f.dir, Account: "1", Region: "r", Group: group, Stream: stream}))
	outR, outW, _ := os.Pipe()
	errR, errW, _ := os.Pipe()
	readyR, readyW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), u.Path, logger.Subcommand, u.Query().Get(logger.Subcommand))
	cmd.Env = []string{"CONTAINER_ID=" + id, "CONTAINER_NAMESPACE=ns"}
	cmd.ExtraFiles = []*os.File{outR, errR, readyW}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{outR, errR, readyW, errW} {
		c.Close()
	}
	if _, err := io.ReadAll(readyR); err != nil {
		t.Fatal(err)
	}
	readyR.Close()
	return &process{cmd, outW}
}

// spooledUntil waits until the spool holds n events of the source.
func (f *fixture) spooledUntil(t *testing.T, source string, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		segments, err := logger.Segments(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, s := range segments {
			if s.Source != source {
				continue
			}
			r, err := logger.OpenSegment(s.Path, 0)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Events(func(logger.Event) bool { got++; return true })
			r.Close()
		}
		if got >= n {
			return
		}
	}
	t.Fatalf("the spool never held %d events", n)
}

func TestFollowsARunningContainer(t *testing.T) {
	f := setUp(t)
	tl := f.tailer()
	p := f.logger(t, "g", "s", "c")
	for i := range 3 {
		fmt.Fprintf(p.out, "line %d \xff\n", i)
		f.spooledUntil(t, "ns.c", i+1)
		drain(t, tl)
		if got := f.messages(t, "g", "s"); len(got) != i+1 || got[i] != fmt.Sprintf("line %d \ufffd", i) {
			t.Fatalf("messages %q", got)
		}
	}
	if segments, _ := logger.Segments(f.dir); len(segments) != 1 {
		t.Errorf("the segment of a running container is gone")
	}
	p.out.Close()
	_ = p.cmd.Wait()
	drain(t, tl)
	if segments, _ := logger.Segments(f.dir); len(segments) != 0 {
		t.Errorf("segments left: %v", segments)
	}
	drain(t, tl)
	if c, _ := f.events.Cursors(); len(c) != 0 {
		t.Errorf("cursors left: %v", c)
	}
}

// A server that dies at any moment, and a logger that is killed, lose and
// double nothing that was spooled.
func TestNothingIsLostOrDoubled(t *testing.T) {
	f := setUp(t)
	p := f.logger(t, "g", "s", "c")
	want := []string{}
	write := func(n int) {
		for range n {
			want = append(want, fmt.Sprintf("line %d", len(want)))
			fmt.Fprintln(p.out, want[len(want)-1])
		}
	}
	write(100)
	f.spooledUntil(t, "ns.c", 100)
	tl := f.tailer()
	f.events.before = true
	if _, err := tl.Pass(t.Context()); !errors.Is(err, errCrash) {
		t.Fatalf("pass: %v", err)
	}
	f.events.before = false
	drain(t, tl) // the same server tries again
	write(50)
	f.spooledUntil(t, "ns.c", 150)
	f.events.after = true
	if _, err := tl.Pass(t.Context()); !errors.Is(err, errCrash) {
		t.Fatalf("pass: %v", err)
	}
	f.events.after = false
	tl.close()
	write(maxEvents + 7)
	f.spooledUntil(t, "ns.c", len(want))
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	p.out.Close()
	tl = f.tailer() // the next server
	drain(t, tl)
	if got := f.messages(t, "g", "s"); !slices.Equal(got, want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	if segments, _ := logger.Segments(f.dir); len(segments) != 0 {
		t.Errorf("segments left: %v", segments)
	}
}

func TestLinesWithoutAGroupAreDropped(t *testing.T) {
	f := setUp(t)
	p := f.logger(t, "none", "s", "c")
	fmt.Fprintln(p.out, "x")
	p.out.Close()
	_ = p.cmd.Wait()
	tl := f.tailer()
	drain(t, tl)
	if segments, _ := logger.Segments(f.dir); len(segments) != 0 {
		t.Errorf("segments left: %v", segments)
	}
}

func TestOrphanedCursorsAreForgotten(t *testing.T) {
	f := setUp(t)
	if err := f.events.Append(t.Context(), nil, map[string]int64{"gone": 5}); err != nil {
		t.Fatal(err)
	}
	drain(t, f.tailer())
	if c, _ := f.events.Cursors(); len(c) != 0 {
		t.Errorf("cursors left: %v", c)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.tailer().Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
