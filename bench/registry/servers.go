package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"roadstead.dev/bench/internal/server"
)

// peer is a registry that is measured.
type peer struct {
	name   string
	pid    int
	client *client
	// prepare makes a repository, where that is needed.
	prepare func(ctx context.Context, repository string) error
	stop    func() error
}

// ours starts Roadstead, and gets a token as docker login does.
func ours(ctx context.Context, binary, dir string) (*peer, error) {
	s, err := server.Start(ctx, server.Options{Binary: binary, DataDir: filepath.Join(dir, "data"), Engine: "fake"})
	if err != nil {
		return nil, err
	}
	p := &peer{name: "roadstead", pid: s.PID, stop: s.Down}
	api := ecr.NewFromConfig(s.Config())
	token, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, errors.Join(err, s.Down())
	}
	pair, err := base64.StdEncoding.DecodeString(*token.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		return nil, errors.Join(err, s.Down())
	}
	user, password, _ := strings.Cut(string(pair), ":")
	address := strings.TrimPrefix(s.Endpoint, "http://")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, s.Down())
	}
	p.client = newClient("000000000000.dkr.ecr."+server.Region+".localhost:"+port, address, user, password)
	p.prepare = func(ctx context.Context, repository string) error {
		_, err := api.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(repository)})
		return err
	}
	return p, nil
}

// distribution starts Debian's docker-registry on a folder of its own.
func distribution(ctx context.Context, dir string) (*peer, error) {
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, fmt.Errorf("the peer is not there (apt-get install docker-registry): %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "docker-registry")
	config := fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, cache: {blobdescriptor: inmemory}}\nhttp: {addr: %q}\n", root, address)
	file := filepath.Join(dir, "docker-registry.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "docker-registry.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(path, "serve", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &peer{
		name: "docker-registry", pid: cmd.Process.Pid, client: newClient(address, address, "", ""),
		prepare: func(context.Context, string) error { return nil },
		stop: func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			_ = cmd.Wait() // a signal ended it
			return nil
		},
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := p.client.do(ctx, http.MethodGet, p.client.base+"/v2/", nil, 0, http.StatusOK, "")
		if err == nil {
			return p, drain(resp)
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("docker-registry does not answer: %w", err), p.stop())
		}
	}
}

// usage is what a process has used until now.
type usage struct {
	cpu  time.Duration
	peak int64 // resident memory, at the most
}

func usageOf(pid int) (usage, error) {
	var u usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, errors.New("cannot read the process's times")
	}
	for _, f := range fields[11:13] { // user and system time, in hundredths
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.peak = n << 10
		}
	}
	return u, nil
}
