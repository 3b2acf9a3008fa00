package hostile

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	region  = "us-east-1"
	account = "000000000000"
)

// maxRSS is the most memory that the server may ever have taken, in kilobytes:
// what the kernel counted, not what Go's runtime believes.
const maxRSS = 640 << 10

// server is a started roadstead whose tasks only pretend to run.
type server struct {
	dir, addr string
	program   string
	extra     []string
	cmd       *exec.Cmd
	exited    chan error
	client    *http.Client
	counts    counts
	peak      int
	begun     time.Time
}

func (s *server) url() string { return "http://" + s.addr }

func (s *server) args(command ...string) []string {
	command = append(command, "--data-dir", s.dir, "--listen", s.addr, "--engine", "fake", "--region", region, "--hosts-file", "no")
	return append(command, s.extra...)
}

func start(program, dir string, extra ...string) (*server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, addr: l.Addr().String(), program: program, extra: extra, begun: time.Now(), exited: make(chan error, 1), client: &http.Client{
		Timeout:   60 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}}
	if err := l.Close(); err != nil {
		return nil, err
	}
	log, err := os.Create(s.logPath())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(program, s.args("up")...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- s.cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; {
		resp, err := s.client.Get(s.url() + "/_roadstead/health")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		select {
		case err := <-s.exited:
			return nil, fmt.Errorf("the server ended: %w\n%s", err, s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			_ = s.cmd.Process.Kill()
			return nil, fmt.Errorf("the server is not ready: %w\n%s", err, s.logTail())
		}
	}
}

func (s *server) logPath() string { return s.dir + ".log" }

func (s *server) logTail() string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// rss reads what the server takes now, and the most that it ever took, in
// kilobytes.
func (s *server) rss() (now, peak int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "VmRSS:":
			now, _ = strconv.Atoi(f[1])
		case "VmHWM:":
			peak, _ = strconv.Atoi(f[1])
		}
	}
	return now, peak
}

// alive tells whether the server still answers.
func (s *server) alive() error {
	resp, err := s.client.Get(s.url() + "/_roadstead/health")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func (s *server) down() error {
	_, s.peak = s.rss()
	if err := s.alive(); err != nil {
		return fmt.Errorf("%w\n%s", err, s.logTail())
	}
	out, err := exec.Command(s.program, s.args("down")...).CombinedOutput()
	if err != nil {
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("%w\n%s", err, out)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		return errors.New("the server's process is still there")
	}
}

// verdict reads the log for what no client may cause, and the memory.
func (s *server) verdict() error {
	var errs []error
	if s.peak > maxRSS {
		errs = append(errs, fmt.Errorf("the server took %d MB, more than %d MB", s.peak>>10, maxRSS>>10))
	}
	f, err := os.Open(s.logPath())
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer func() { _ = f.Close() }() // read only
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<20)
	found := 0
	for in.Scan() {
		if line := in.Text(); strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") {
			if found++; found <= 20 {
				errs = append(errs, errors.New(line[:min(len(line), 3000)]))
			}
		}
	}
	if found > 20 {
		errs = append(errs, fmt.Errorf("and %d more", found-20))
	}
	return errors.Join(append(errs, in.Err())...)
}
