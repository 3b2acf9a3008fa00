// Package crash loads a server with writes of many kinds, ends it with kill -9
// in the middle of them, starts it again and looks whether all that it
// acknowledged is there, and nothing by half. Its test does so a few times; the
// benchmark kill does so often, and tells the rate.
package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"roadstead.dev/test/rawaws"
)

// Server is a process on a data folder, which is started again and again.
type Server struct {
	Binary  string
	DataDir string

	endpoint string
	cmd      *exec.Cmd
}

// Start starts the server and waits until it answers. Took is how long that
// was.
func (s *Server) Start(ctx context.Context) (took time.Duration, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	s.endpoint = "http://" + address
	s.cmd = exec.Command(s.Binary, "up", "--listen", address)
	s.cmd.Env = append(os.Environ(), "ROADSTEAD_DATA_DIR="+s.DataDir, "ROADSTEAD_ENGINE=fake", "ROADSTEAD_HOSTS_FILE=no")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	c := rawaws.New(s.endpoint, 1)
	defer c.Close()
	for {
		err := c.Call(ctx, rawaws.ECS, "ListClusters", rawaws.Object{}, nil)
		if err == nil {
			return time.Since(begun), nil
		}
		if time.Since(begun) > 30*time.Second || ctx.Err() != nil {
			s.Kill()
			return 0, fmt.Errorf("the server does not answer: %w\n%s", err, s.Tail())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *Server) log() string { return filepath.Join(s.DataDir, "crash.log") }

// Tail is the end of the server's log.
func (s *Server) Tail() string {
	b, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
}

// Down ends the server and removes what it made on the machine.
func (s *Server) Down() error {
	cmd := exec.Command(s.Binary, "down")
	cmd.Env = append(os.Environ(), "ROADSTEAD_DATA_DIR="+s.DataDir)
	out, err := cmd.CombinedOutput()
	_ = s.cmd.Wait() // down ended it
	if err != nil {
		return fmt.Errorf("down: %w: %s", err, out)
	}
	return nil
}

// Load is what has been written, over all rounds.
type Load struct {
	// Writers is how many clients write at once.
	Writers int

	workers []*worker
}

// Round tells what one round was.
type Round struct {
	// Acknowledged writes, in Span until the kill.
	Acknowledged int
	Span         time.Duration
	// Times are how long each took.
	Times []time.Duration
	// Restart is how long the server took to answer again.
	Restart time.Duration
	// Missing are what is wrong, in words.
	Missing []string
}

// Round loads a running server for about span, kills it, starts it again and
// looks.
func (l *Load) Round(ctx context.Context, s *Server, span time.Duration) (*Round, error) {
	if l.workers == nil {
		subnet, err := anySubnet(ctx, s.endpoint)
		if err != nil {
			return nil, err
		}
		for i := range l.Writers {
			l.workers = append(l.workers, newWorker(i, subnet))
		}
	}
	c := rawaws.New(s.endpoint, l.Writers)
	// Nobody knows when the kill comes: not on a boundary of anything.
	stop := time.Duration(float64(span) * (0.7 + 0.6*rand.Float64())) //nolint:gosec // no secret
	r := &Round{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	begun := time.Now()
	for _, w := range l.workers {
		wg.Go(func() {
			times, err := w.write(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			r.Times = append(r.Times, times...)
			if _, refused := errors.AsType[*rawaws.Error](err); refused {
				failed = errors.Join(failed, err) // a crash refuses nothing
			}
		})
	}
	select {
	case <-time.After(stop):
	case <-ctx.Done():
	}
	s.Kill()
	r.Span = time.Since(begun)
	wg.Wait()
	c.Close()
	r.Acknowledged = len(r.Times)
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return nil, err
	}
	var err error
	if r.Restart, err = s.Start(ctx); err != nil {
		return nil, err
	}
	c = rawaws.New(s.endpoint, l.Writers)
	defer c.Close()
	for _, w := range l.workers {
		wg.Go(func() {
			wrong, err := w.check(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			r.Missing = append(r.Missing, wrong...)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", w.name, err))
			}
		})
	}
	wg.Wait()
	return r, failed
}

func anySubnet(ctx context.Context, endpoint string) (string, error) {
	out, err := ec2.New(ec2.Options{
		Region: rawaws.Region, BaseEndpoint: &endpoint, Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("test", "test", "")),
	}).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil || len(out.Subnets) == 0 {
		return "", fmt.Errorf("no subnet for tasks: %w", err)
	}
	return *out.Subnets[0].SubnetId, nil
}
