// Package e2e tests Roadstead as its users meet it: the built program, AWS's
// own SDK and CLI, real containers. Everything runs on one server that the
// tests share, but for tests that kill or stop theirs; each server has a data
// folder, a port and names on the machine of its own, and leaves nothing.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// full does each thing that a shorter run leaves to another one: `make
// test-long`.
var full = flag.Bool("full", false, "plan after each of Terraform's applies and imports")

// built holds the programs under test, compiled once.
var built struct {
	roadstead string
	helper    string // beside it, where it is looked for
	tool      string // test/images/tool, for Linux, static
	webapp    string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rs-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// One test runs the program as somebody else.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, b := range []struct {
		to  *string
		pkg string
	}{{&built.roadstead, "cmd/roadstead"}, {&built.helper, "cmd/roadstead-helper"}, {&built.tool, "test/images/tool"}, {&built.webapp, "examples/webapp"}} {
		*b.to = filepath.Join(dir, filepath.Base(b.pkg))
		cmd := exec.Command("go", "build", "-o", *b.to, "roadstead.dev/"+b.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", b.pkg, err, out)
			return 1
		}
	}
	// Most tests wait for others most of the time: more of them run at once than
	// there are processors.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == f.DefValue {
		if err := f.Value.Set("7"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if s := sharedServer.value; s != nil {
		if err := s.down(); err != nil {
			fmt.Fprintln(os.Stderr, "the shared server did not go down cleanly:", err)
			code = 1
		}
		if code != 0 {
			s.dumpLog(os.Stderr)
		}
		_ = os.RemoveAll(s.dataDir)
	}
	return code
}

// sharedServer is started by the first test that needs it.
var sharedServer struct {
	sync.Once
	value *server
	err   error
}

// shared is the server that most tests use, on real containers.
func shared(t *testing.T) *server {
	t.Helper()
	needContainers(t)
	sharedServer.Do(func() {
		dir, err := os.MkdirTemp("", "rs-shared-") //nolint:usetesting // it outlives the test that happens to be first
		if err != nil {
			sharedServer.err = err
			return
		}
		sharedServer.value, sharedServer.err = newServer(dir, "containerd")
	})
	if sharedServer.err != nil {
		t.Fatal(sharedServer.err)
	}
	return sharedServer.value
}

// needContainers skips tests where no container can run.
func needContainers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real containers; left out by -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for containers and networks")
	}
	for _, tool := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: make deps installs it", tool)
		}
	}
}
