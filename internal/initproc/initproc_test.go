package initproc

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestMain lets the test binary be the init of its own tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:], os.Stderr))
	}
	os.Exit(m.Run())
}

func TestExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		command []string
		want    int
	}{
		"success":        {[]string{"sh", "-c", "exit 0"}, 0},
		"failure":        {[]string{"sh", "-c", "exit 7"}, 7},
		"killed":         {[]string{"sh", "-c", "kill -9 $$"}, 137},
		"not found":      {[]string{"no-such-command"}, 127},
		"orphan's child": {[]string{"sh", "-c", "(sh -c 'exit 3' &) ; exit 5"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], append([]string{Subcommand, "--"}, tt.command...)...)
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	cmd := exec.Command(os.Args[0], Subcommand, "--", "sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 42 {
		t.Errorf("exit code %d, want 42", got)
	}
}
