// Package hostile sends a real server what no well-meaning client would:
// for every operation of every service, input that is broken in each way that
// its protocol and its model allow, and input that is well formed and odd;
// signatures that are not what they say; bodies without end. Whatever comes,
// the answer is AWS's refusal in the protocol's own form: never a failure of
// the server's, never silence, never more memory than a bound.
//
// A part of it runs with the other tests; `make hostile` runs all of it and
// prints what it counted.
package hostile

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	exhaustive = flag.Bool("exhaustive", false, "run every case, not a part of them")
	seed       = flag.Uint64("seed", 1, "where the random input begins")
	built      = flag.String("program", "", "a roadstead that is built already")
	rounds     = flag.Int("rounds", 0, "how often each operation gets random input; 0 is a few times")
)

// target is the server that all tests of the package send to.
var target *server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: a server is built and started for it")
		return 0
	}
	dir, err := os.MkdirTemp("", "rs-hostile-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := *built
	if program == "" {
		program = filepath.Join(dir, "roadstead")
		build := exec.Command("go", "build", "-o", program, "roadstead.dev/cmd/roadstead")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
	}
	if target, err = start(program, filepath.Join(dir, "data")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := target.down(); err != nil {
		fmt.Fprintln(os.Stderr, "the server did not go down cleanly:", err)
		code = 1
	}
	if err := target.verdict(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if *exhaustive || testing.Verbose() {
		target.counts.print(os.Stdout)
	}
	return code
}
