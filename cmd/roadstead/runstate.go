package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"roadstead.dev/internal/instance"
)

// runState is what a server leaves in its data folder while it runs, for the
// other commands to find it by.
type runState struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Listen  string    `json:"listen"`
	Region  string    `json:"region"`
	Account string    `json:"account"`
	Engine  string    `json:"engine"`
	// TLSNames are those of --tls-names.
	TLSNames string `json:"tlsNames,omitempty"`
	// Ticks is the process's start time in clock ticks since boot, which tells
	// it from a later process of the same number.
	Ticks string `json:"ticks"`
}

var errNotRunning = errors.New("no server is running on this data folder")

func runStatePath(dir string) string { return filepath.Join(dir, "server.json") }

func writeRunState(dir string, st runState) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	tmp := runStatePath(dir) + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, runStatePath(dir))
}

// readRunState finds the running server of a data folder; errNotRunning when
// there is none.
func readRunState(dir string) (runState, error) {
	var st runState
	b, err := os.ReadFile(runStatePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return st, errNotRunning
	}
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("%s: %w", runStatePath(dir), err)
	}
	if !st.runs() {
		return st, errNotRunning
	}
	return st, nil
}

// runs tells whether the process is still there, and is still the same.
func (st *runState) runs() bool {
	ticks, err := startTicks(st.PID)
	return err == nil && ticks == st.Ticks
}

// startTicks is when a process started; it fails when the process has ended.
func startTicks(pid int) (string, error) {
	ticks, err := instance.StartTicks(pid)
	return strconv.FormatUint(ticks, 10), err
}

// stopServer ends the server of a data folder and waits until it is gone. It
// is no error when none runs.
func stopServer(dir string, patience time.Duration) error {
	st, err := readRunState(dir)
	if errors.Is(err, errNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if !st.runs() {
			return nil
		}
		if time.Now().After(deadline) {
			return syscall.Kill(st.PID, syscall.SIGKILL)
		}
	}
}
