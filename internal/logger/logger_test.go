package logger

import (
	"bytes"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// TestMain lets the test binary stand for the server's executable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// container is what a shim holds of a logger that it started.
type container struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File
}

// start runs the logger of a URI as the shim does, and waits until it is ready.
func start(t *testing.T, uri, id string) *container {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "binary" {
		t.Fatalf("URI %s: %v", uri, err)
	}
	var args []string
	for k, v := range u.Query() {
		args = append(args, k, v[0])
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), u.Path, args...)
	cmd.Env = []string{"CONTAINER_ID=" + id, "CONTAINER_NAMESPACE=ns"}
	cmd.ExtraFiles = []*os.File{outR, errR, readyW}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{outR, errR, readyW} {
		f.Close()
	}
	if b, err := io.ReadAll(readyR); err != nil || len(b) != 1 {
		t.Fatalf("ready: %q %v", b, err)
	}
	readyR.Close()
	return &container{cmd, outW, errW}
}

func (c *container) end(t *testing.T) {
	t.Helper()
	c.stdout.Close()
	c.stderr.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("logger: %v", err)
	}
}

// spooled reads all events of a source.
func spooled(t *testing.T, dir, source string) (messages []string, header Header) {
	t.Helper()
	segments, err := Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if s.Source != source {
			continue
		}
		r, err := OpenSegment(s.Path, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if header, err = r.Header(); err != nil {
			t.Fatal(err)
		}
		if err := r.Events(func(e Event) bool {
			messages = append(messages, string(e.Message))
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	return messages, header
}

func config(t *testing.T) Config {
	t.Helper()
	return Config{Dir: t.TempDir(), Account: "123456789012", Region: "eu-west-1", Group: "/ecs/demo", Stream: "web/app/1?&=/ü"}
}

func uri(t *testing.T, cfg Config) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return URI(exe, cfg)
}

func TestLoggerProtocol(t *testing.T) {
	cfg := config(t)
	c := start(t, uri(t, cfg), "abc")
	_, _ = c.stdout.WriteString("one\n\ntwo\r\nthr")
	_, _ = c.stdout.WriteString("ee\npartial")
	c.end(t)
	messages, header := spooled(t, cfg.Dir, "ns.abc")
	if want := []string{"one", "two", "three", "partial"}; !slices.Equal(messages, want) {
		t.Errorf("messages %q, want %q", messages, want)
	}
	if header.Config != cfg {
		t.Errorf("header %+v", header)
	}
}

func TestLoggerDrainsAfterSIGTERM(t *testing.T) {
	cfg := config(t)
	c := start(t, uri(t, cfg), "abc")
	_, _ = c.stderr.WriteString("before\n")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = c.stderr.WriteString("after\n")
	c.end(t)
	if messages, _ := spooled(t, cfg.Dir, "ns.abc"); !slices.Equal(messages, []string{"before", "after"}) {
		t.Errorf("messages %q", messages)
	}
}

func TestLoggerTakesTheNextSegment(t *testing.T) {
	cfg := config(t)
	for range 2 {
		c := start(t, uri(t, cfg), "a.b")
		_, _ = c.stdout.WriteString("x\n")
		c.end(t)
	}
	segments, err := Segments(cfg.Dir)
	if err != nil || len(segments) != 2 || segments[1].Seq != 2 || segments[1].Source != "ns.a.b" {
		t.Errorf("segments %+v, %v", segments, err)
	}
}

func TestLoggerRefusesBadConfig(t *testing.T) {
	for _, args := range [][]string{nil, {"x"}, {"!"}, {encodeConfig(Config{Dir: "relative", Group: "g", Stream: "s"})}} {
		if Main(args) == 0 {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestDamagedEndIsLeftOut(t *testing.T) {
	cfg := config(t)
	w, err := openWriter(cfg, "ns.x")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(t.Context(), []Event{{1, []byte("whole")}, {2, []byte("torn")}}); err != nil {
		t.Fatal(err)
	}
	w.close()
	path := filepath.Join(cfg.Dir, segmentName("ns.x", 1))
	b, _ := os.ReadFile(path)
	for cut := 1; cut < 10; cut++ {
		if err := os.WriteFile(path, b[:len(b)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := spooled(t, cfg.Dir, "ns.x"); !slices.Equal(got, []string{"whole"}) {
			t.Errorf("cut by %d: %q", cut, got)
		}
	}
}

func TestSegmentsRotate(t *testing.T) {
	cfg := config(t)
	w, err := openWriter(cfg, "ns.x")
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 100<<10)
	for range 100 {
		if err := w.write(t.Context(), []Event{{1, line}}); err != nil {
			t.Fatal(err)
		}
	}
	w.close()
	segments, _ := Segments(cfg.Dir)
	if got, _ := spooled(t, cfg.Dir, "ns.x"); len(got) != 100 || len(segments) != 2 {
		t.Errorf("%d events in %d segments", len(got), len(segments))
	}
}

// However the output is cut into reads, the events are the same.
func TestSplitIsIndependentOfReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.SampledFrom([]byte("ab\n\r \xc3\xbc"))).Draw(t, "text")
		cuts := rapid.SliceOf(rapid.IntRange(0, len(text))).Draw(t, "cuts")
		slices.Sort(cuts)
		multiline := rapid.Bool().Draw(t, "multiline")
		events := func(chunks [][]byte) (out []string) {
			s := splitter{}
			if multiline {
				s.start = regexp.MustCompile("^a")
			}
			emit := func(e Event) { out = append(out, string(e.Message)) }
			for _, c := range chunks {
				s.feed(c, 1, emit)
			}
			s.end(1, emit)
			return out
		}
		var chunks [][]byte
		from := 0
		for _, c := range cuts {
			chunks = append(chunks, text[from:c])
			from = c
		}
		chunks = append(chunks, text[from:])
		if got, want := events(chunks), events([][]byte{text}); !slices.Equal(got, want) {
			t.Fatalf("cut: %q, whole: %q", got, want)
		}
	})
}

func TestLongLines(t *testing.T) {
	var got []int
	s := splitter{}
	emit := func(e Event) { got = append(got, len(e.Message)) }
	s.feed([]byte(strings.Repeat("ü", maxMessage)), 1, emit)
	s.feed([]byte("\n"), 1, emit)
	if want := []int{maxMessage, maxMessage}; !slices.Equal(got, want) {
		t.Errorf("lengths %v, want %v", got, want)
	}
	got = nil
	s.feed([]byte("x"+strings.Repeat("ü", maxMessage)+"\n"), 1, emit)
	if want := []int{maxMessage - 1, maxMessage, 2}; !slices.Equal(got, want) {
		t.Errorf("lengths %v, want %v", got, want)
	}
}

func TestMultiline(t *testing.T) {
	var got []string
	s := splitter{start: regexp.MustCompile(`^\d`)}
	emit := func(e Event) { got = append(got, string(e.Message)) }
	s.feed([]byte("1 a\n  b\n2 c\nd"), 1, emit)
	s.end(1, emit)
	if want := []string{"1 a\n  b", "2 c\nd"}; !slices.Equal(got, want) {
		t.Errorf("events %q", got)
	}
}

func FuzzSegment(f *testing.F) {
	good := appendRecord(nil, func(b []byte) []byte { return append(b, `H{"id":"x"}`...) })
	good = appendRecord(good, func(b []byte) []byte { return append(b, "E\x01\x00\x00\x00\x00\x00\x00\x00hello"...) })
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 'E'})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "s"+suffix)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenSegment(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, _ = r.Header()
		_ = r.Events(func(Event) bool { return true })
		if r.Offset() > int64(len(b)) {
			t.Fatalf("offset %d in %d bytes", r.Offset(), len(b))
		}
	})
}
