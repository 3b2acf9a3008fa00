// Package server starts what the benchmarks measure: Roadstead on a data
// folder and a port of its own, and its peers.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"roadstead.dev/bench/internal/report"
)

// Region is the one that everything is measured in.
const Region = "us-east-1"

// Build compiles Roadstead as `make build` does, into the folder.
func Build(ctx context.Context, dir string) (string, error) {
	root, err := report.Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "roadstead")
	for _, program := range []string{"roadstead", "roadstead-helper"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), "./cmd/"+program)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w: %s", program, err, out)
		}
	}
	return path, nil
}

// Options of a Server.
type Options struct {
	// Binary is what Build made.
	Binary string
	// DataDir is its data folder, which may hold what an earlier run left.
	DataDir string
	// Engine is containerd or fake.
	Engine string
	// Containerd is the address of a daemon to use; empty means one of the
	// server's own.
	Containerd string
}

// Server is a process that answers AWS's APIs.
type Server struct {
	// Endpoint is its URL.
	Endpoint string
	// PID of its process.
	PID int
	// Started is how long the first answer took, from just before exec.
	Started time.Duration
	// Ready is how long it took, from just before exec, until tasks could start.
	Ready time.Duration

	begun   time.Time
	cmd     *exec.Cmd
	exited  chan error
	options Options
}

// Start starts Roadstead and waits for its first answer to a signed request.
func Start(ctx context.Context, o Options) (*Server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{Endpoint: "http://" + address, options: o, cmd: exec.Command(o.Binary, "up", "--listen", address)}
	s.cmd.Env = s.environment()
	if err := s.start(ctx, filepath.Join(o.DataDir, "bench.log")); err != nil {
		return s, err
	}
	return s, s.awaitReady(ctx)
}

// awaitReady waits until the server says that it can run tasks.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/_roadstead/health", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.Ready = time.Since(s.begun)
				return nil
			}
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("the server ended before it was ready: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *Server) environment() []string {
	env := append(os.Environ(), "ROADSTEAD_DATA_DIR="+s.options.DataDir, "ROADSTEAD_ENGINE="+s.options.Engine, "ROADSTEAD_HOSTS_FILE=no")
	if s.options.Containerd != "" {
		env = append(env, "ROADSTEAD_CONTAINERD="+s.options.Containerd)
	}
	return env
}

// Moto starts moto_server, which answers the same APIs from Python.
func Moto(ctx context.Context, dir string) (*Server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	// A shim that looks for the program first is not what is measured.
	path, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, fmt.Errorf("the peer is not there: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "pyenv", "which", "moto_server").Output(); err == nil {
		path = string(out[:len(out)-1])
	}
	s := &Server{Endpoint: "http://" + address, cmd: exec.Command(path, "-H", "127.0.0.1", "-p", port)}
	return s, s.start(ctx, filepath.Join(dir, "moto.log"))
}

func (s *Server) start(ctx context.Context, logPath string) error {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	client := sts.NewFromConfig(s.Config(), func(o *sts.Options) { o.Retryer = aws.NopRetryer{} })
	s.begun = time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.PID = s.cmd.Process.Pid
	s.exited = make(chan error, 1)
	go func() { s.exited <- s.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			s.Started = time.Since(s.begun)
			return nil
		}
		select {
		case werr := <-s.exited:
			s.exited <- werr
			tail, _ := os.ReadFile(logPath)
			return fmt.Errorf("the server ended before it answered: %w\n%s", errors.Join(werr), tail[max(0, len(tail)-2000):])
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// Config is the SDK's, with the built-in key.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: aws.String(s.Endpoint), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		Retryer: func() aws.Retryer { return retry.NewStandard() },
	}
}

// Memory of the process itself.
func (s *Server) Memory() (Memory, error) { return MemoryOf(s.PID) }

// Stop asks the process to end and waits for it; what a Roadstead runs on the
// machine stays, for the next one on its data folder.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return s.wait()
}

// Kill ends the process as a crash would.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return s.wait()
}

func (s *Server) wait() error {
	select {
	case err := <-s.exited:
		s.exited <- err
		if _, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil // a signal ended it, which was what was wanted
		}
		return err
	case <-time.After(20 * time.Second):
		return errors.New("the server does not end")
	}
}

// Down runs roadstead down, which removes all that it made on the machine.
func (s *Server) Down() error {
	cmd := exec.Command(s.options.Binary, "down")
	cmd.Env = s.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("down: %w: %s", err, out)
	}
	return s.wait()
}

// Log copies the end of a Roadstead's log, to show what went wrong.
func (s *Server) Log(to io.Writer) {
	if b, err := os.ReadFile(filepath.Join(s.options.DataDir, "bench.log")); err == nil {
		_, _ = to.Write(b[max(0, len(b)-4000):])
	}
}

// freeAddress asks the kernel for a port that nobody uses now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
