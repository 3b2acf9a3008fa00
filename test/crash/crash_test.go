package crash

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKill kills a server three times while it is written to. The benchmark
// kill does it more often.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the server")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "roadstead")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/roadstead")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s := &Server{Binary: binary, DataDir: filepath.Join(dir, "data")}
	if _, err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	load := &Load{Writers: 16}
	for n := range 3 {
		r, err := load.Round(t.Context(), s, time.Second)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", n+1, err, s.Tail())
		}
		t.Logf("round %d: %d writes in %v were acknowledged before the kill; the restart took %v", n+1, r.Acknowledged, r.Span.Round(time.Millisecond), r.Restart.Round(time.Millisecond))
		if r.Acknowledged < 50 {
			t.Errorf("round %d: only %d writes were acknowledged", n+1, r.Acknowledged)
		}
		if len(r.Missing) > 0 {
			t.Errorf("round %d:\n%s", n+1, strings.Join(r.Missing, "\n"))
		}
	}
}
