package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// startPatience is how long a detached server may take to become ready. The
// first start of a containerd of our own on a slow disk is the longest part.
const startPatience = 60 * time.Second

func upCommand(o *options) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
				return err
			}
			if st, err := readRunState(o.absDataDir()); err == nil {
				if !detach {
					return fmt.Errorf("a server runs on %s already (pid %d, %s)", o.absDataDir(), st.PID, st.Listen)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Roadstead runs already at http://%s (pid %d)\n", st.Listen, st.PID)
				return err
			}
			if detach {
				return startDetached(cmd.Context(), o, cmd.OutOrStdout())
			}
			return serve(cmd.Context(), o, os.Stderr)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "run in the background and return once the server is ready")
	return cmd
}

// startDetached starts this program again, in a session of its own, and waits
// until it answers.
func startDetached(ctx context.Context, o *options, out io.Writer) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(o.absDataDir(), "server.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(exe, "up")
	cmd.Env = append(os.Environ(), o.environment()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	begun := time.Now()
	if _, err := fmt.Fprintf(out, "Starting Roadstead (its log: %s)", path); err != nil {
		return err
	}
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		// Who answers may be another server that has the address.
		st, err := readRunState(o.absDataDir())
		if err == nil && st.PID == cmd.Process.Pid {
			o.listen = st.Listen // --listen may have left the port open
		}
		if err == nil && st.PID == cmd.Process.Pid && ready(ctx, o) {
			_, err := fmt.Fprintf(out, "\nReady after %.1f s at %s (pid %d)\n", time.Since(begun).Seconds(), o.endpoint(), cmd.Process.Pid)
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the server ended while it started (%w); the end of %s:\n%s", errOr(err, "no error"), path, tail(path, 2000))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if time.Since(begun) > startPatience {
				return fmt.Errorf("the server is not ready after %v; the end of %s:\n%s", startPatience, path, tail(path, 2000))
			}
			if time.Since(begun).Milliseconds()/100%10 == 0 {
				_, _ = fmt.Fprint(out, ".")
			}
		}
	}
}

func errOr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// ready asks the server whether it serves.
func ready(ctx context.Context, o *options) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.endpoint()+"/_roadstead/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the last bytes of a file, or why they cannot be read.
func tail(path string, most int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// environment gives the settings to a child.
func (o *options) environment() []string {
	return []string{
		"ROADSTEAD_DATA_DIR=" + o.absDataDir(),
		"ROADSTEAD_LISTEN=" + o.listen,
		"ROADSTEAD_ACCOUNT_ID=" + o.accountID,
		"ROADSTEAD_REGION=" + o.region,
		"ROADSTEAD_ENGINE=" + o.engine,
		"ROADSTEAD_CONTAINERD=" + o.containerd,
		"ROADSTEAD_STORE=" + o.store,
		"ROADSTEAD_HOSTS_FILE=" + o.hostsFile,
		"ROADSTEAD_THROTTLE=" + o.throttleSetting(),
		"ROADSTEAD_SCALING_PERIOD=" + o.scalingPeriod,
		"ROADSTEAD_ELB_LOG_PERIOD=" + o.elbLogPeriod,
		"ROADSTEAD_REGISTRY_MIRROR=" + o.registryMirrors,
		"ROADSTEAD_TLS_NAMES=" + o.tlsNames,
		"ROADSTEAD_ROOT_ACCESS_KEY=" + o.rootKey,
		"ROADSTEAD_ROOT_SECRET_KEY=" + o.rootSecret,
	}
}
