package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const region = "us-east-1"

// server is a started roadstead.
type server struct {
	clients
	dataDir string
	listen  string
	engine  string
	// flags are further ones of up.
	flags []string
	// uid, when it is not 0, is whom the server runs as.
	uid    uint32
	cmd    *exec.Cmd
	exited chan error
}

// clients are the SDK's, for one set of credentials.
type clients struct {
	cfg  aws.Config
	ecr  *ecr.Client
	ecs  *ecs.Client
	ec2  *ec2.Client
	elb  *elb.Client
	iam  *iam.Client
	sts  *sts.Client
	logs *cloudwatchlogs.Client
}

func newClients(endpoint, key, secret, token string) clients {
	cfg := aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(key, secret, token),
	}
	return clients{
		cfg: cfg, ecr: ecr.NewFromConfig(cfg), ecs: ecs.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg),
		elb: elb.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), logs: cloudwatchlogs.NewFromConfig(cfg),
	}
}

var errEnded = errors.New("before it was ready")

// freePort asks the kernel for a port that nobody uses now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func newServer(dataDir, engine string, flags ...string) (*server, error) {
	s, err := prepareServer(dataDir, engine)
	if err != nil {
		return nil, err
	}
	s.flags = flags
	return s, s.start()
}

// prepareServer is a server that was not started yet.
func prepareServer(dataDir, engine string) (*server, error) {
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{dataDir: dataDir, listen: listen, engine: engine, clients: newClients("http://"+listen, "test", "test", "")}
	if err := os.WriteFile(s.hosts(), []byte("127.0.0.1 localhost\n"), 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

// ownServer starts a server for one test; the test may kill it and start it
// again. It goes down with the test.
func ownServer(t *testing.T, engine string, flags ...string) *server {
	t.Helper()
	if engine != "fake" {
		needContainers(t)
	}
	s, err := newServer(t.TempDir(), engine, flags...)
	t.Cleanup(func() {
		if s == nil {
			return
		}
		if err := s.down(); err != nil {
			t.Error("down:", err)
		}
		if t.Failed() {
			s.dumpLog(os.Stderr)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) logPath() string { return filepath.Join(s.dataDir, "e2e.log") }

// hosts is the server's hosts file, which is not the machine's.
func (s *server) hosts() string { return filepath.Join(s.dataDir, "hosts") }

func (s *server) args(command ...string) []string {
	return append(command, "--data-dir", s.dataDir, "--listen", s.listen, "--engine", s.engine, "--region", region,
		"--hosts-file", s.hosts())
}

func (s *server) start() error {
	s.cmd = exec.Command(built.roadstead, append(s.args("up"), s.flags...)...)
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.uid != 0 {
		s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.uid}
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan error, 1)
	go func() { s.exited <- s.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, err := s.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			return nil
		}
		select {
		case werr := <-s.exited:
			s.exited <- werr
			return fmt.Errorf("the server ended: %w\n%s", errors.Join(errEnded, werr), s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w\n%s", err, s.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the server as a crash would.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// down runs roadstead down, which stops the server and removes all it made.
func (s *server) down() error {
	out, err := exec.Command(built.roadstead, s.args("down")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if s.exited == nil {
		return nil // it was down already
	}
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		return errors.New("the server's process is still there")
	}
	s.exited = nil
	return nil
}

func (s *server) logTail() string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	if len(b) > 6000 {
		b = b[len(b)-6000:]
	}
	return string(b)
}

func (s *server) dumpLog(w io.Writer) {
	fmt.Fprintf(w, "--- the server's log\n%s---\n", s.logTail())
}

// eventually asks again and again until check finds nothing wrong. The state
// it waits for is another process's, so the time is real.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// unique makes a name that no other test uses.
func unique(t *testing.T, prefix string) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	name = prefix + "-" + strings.TrimPrefix(name, "test")
	if len(name) > 32 {
		name = name[:32]
	}
	return strings.TrimRight(name, "-")
}

// awscli runs the AWS CLI against the server, and skips the test where there
// is none.
func (s *server) awscli(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "--endpoint-url", "http://"+s.listen)...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+region, "AWS_PAGER=", "AWS_CONFIG_FILE=/dev/null")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// errorf is fmt.Errorf, for checks that eventually repeats.
func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }
