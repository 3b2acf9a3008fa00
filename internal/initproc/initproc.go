// Package initproc is the first process of containers that ask for an init
// (linuxParameters.initProcessEnabled): it starts the command, passes signals
// on to it, and reaps orphans.
package initproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Subcommand is the first argument with which the program runs as an init:
// roadstead init -- command arguments….
const Subcommand = "init"

// Exit codes of a command that could not be started, as shells have them.
const (
	notExecutable = 126
	notFound      = 127
)

// Main runs the command behind "--" and returns its exit code: 128 plus the
// signal's number when a signal ended it. It reaps every child of the process,
// so nothing else in the process may wait for one.
//
// With "--pause" instead of a command it only reaps, until SIGTERM: so it
// holds the process namespace that the containers of a task share.
func Main(args []string, stderr io.Writer) int {
	if len(args) == 1 && args[0] == "--pause" {
		return pause()
	}
	if len(args) < 2 || args[0] != "--" {
		_, _ = fmt.Fprintln(stderr, "init: want -- and a command")
		return notFound
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	path, err := exec.LookPath(args[1])
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "init:", err)
		return notFound
	}
	child, err := os.StartProcess(path, args[1:], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "init:", err)
		if errors.Is(err, os.ErrNotExist) {
			return notFound
		}
		return notExecutable
	}
	for s := range signals {
		n, ok := s.(syscall.Signal)
		switch {
		case !ok || n == syscall.SIGURG: // the Go runtime's own
		case n == syscall.SIGCHLD:
			if code, ended := reap(child.Pid); ended {
				return code
			}
		default:
			_ = syscall.Kill(child.Pid, n)
		}
	}
	return 0
}

func pause() int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return 0
		}
		reap(0)
	}
	return 0
}

// reap collects the children that have ended, and tells when child is one.
func reap(child int) (code int, ended bool) {
	for {
		var st syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &st, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid == child {
			code, ended = st.ExitStatus(), true
			if st.Signaled() {
				code = 128 + int(st.Signal())
			}
		}
	}
}
