package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that the benchmark started.
type process struct {
	cmd *exec.Cmd
	log string
}

// proxy is one of those that are measured.
type proxy struct {
	name, address string
	secure        string // where it speaks TLS; empty of one that does not
	*process
}

// bench is what runs: the target on one core, the proxies on the other.
type bench struct {
	options
	dir  string
	most int // connections to a proxy
	// small answers with 100 bytes; the others, one for each proxy so that
	// none runs out of ports for what another has left behind, with as many as
	// the path says, and they take WebSockets.
	small     string
	others    []string
	processes []*process

	roadstead, thousand, nginx, haproxy, reverse *proxy
}

// start starts everything, and waits until all answer.
func (b *bench) start(ctx context.Context) error {
	limit, err := descriptors()
	if err != nil {
		return err
	}
	// A proxy has two for each connection.
	b.most = int(limit)/2 - 100
	b.sockets = min(b.sockets, b.most-500)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	nginx, err := find("nginx", "nginx-light")
	if err != nil {
		return err
	}
	haproxy, err := find("haproxy", "haproxy")
	if err != nil {
		return err
	}
	if _, err := find("wrk", "wrk"); err != nil {
		return err
	}
	if _, err := find("h2load", "nghttp2-client"); err != nil {
		return err
	}
	a, err := addresses(15)
	if err != nil {
		return err
	}
	if err := b.certificate(); err != nil {
		return err
	}
	s := a[11:]
	b.small, b.others, a = a[0], a[1:6], a[6:11]
	if _, err := b.run("target", otherCore, self, append([]string{"target", b.small}, b.others...)...); err != nil {
		return err
	}
	add := func(name, address, secure, program string, args ...string) *proxy {
		p := &proxy{name: name, address: address, secure: secure}
		if err == nil {
			p.process, err = b.run(strings.ReplaceAll(name, " ", "-"), proxyCore, program, args...)
		}
		return p
	}
	write := func(name, text string) string {
		path := filepath.Join(b.dir, name)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		return path
	}
	b.roadstead = add("roadstead", a[0], s[0], self, "roadstead", a[0], b.small, b.others[0], "1", s[0], b.pem())
	b.thousand = add("roadstead, 1,000 rules", a[1], "", self, "roadstead", a[1], b.small, b.others[1], "1000")
	b.nginx = add("nginx", a[2], s[1], nginx, "-p", b.dir, "-e", "stderr", "-c", write("nginx.conf", b.nginxConfig(a[2], s[1], b.others[2])))
	b.haproxy = add("haproxy", a[3], s[2], haproxy, "-db", "-q", "-f", write("haproxy.cfg", b.haproxyConfig(a[3], s[2], b.others[3])))
	b.reverse = add("httputil.ReverseProxy", a[4], s[3], self, "reverse", a[4], b.small, b.others[4], s[3], b.pem())
	if err != nil {
		return err
	}
	for i, address := range append([]string{b.small}, a...) {
		if err := answers(ctx, address); err != nil {
			p := b.processes[i]
			return fmt.Errorf("%s: %w\n%s", p.cmd, err, p.output())
		}
	}
	return nil
}

// descriptors allows this program and those that it starts as many open
// connections as it may, and tells how many.
func descriptors() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	const enough = 65536
	if l.Max >= enough || syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: enough, Max: enough}) != nil {
		l.Cur = min(l.Max, enough)
		return l.Cur, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
	return enough, nil
}

func find(program, pkg string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not there (apt-get install %s)", program, pkg)
}

// addresses are free ports of the loopback.
func addresses(n int) (out []string, err error) {
	for range n {
		l, lerr := net.Listen("tcp", "127.0.0.1:0")
		if lerr != nil {
			return nil, lerr
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// run starts a program on one core.
func (b *bench) run(name string, core int, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(b.dir, name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), program}, args...)...)
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.processes = append(b.processes, p)
	return p, nil
}

func (p *process) output() string {
	out, _ := os.ReadFile(p.log)
	return string(out)
}

// stop ends everything.
func (b *bench) stop() error {
	var errs []error
	for _, p := range b.processes {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", p.cmd, err, p.output()))
		}
		_ = p.cmd.Wait() // a signal ended it
	}
	return errors.Join(errs...)
}

// answers waits until a server takes connections.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// nginxConfig is one worker that does what an application load balancer does:
// the same headers, connections to the target kept.
func (b *bench) nginxConfig(address, secure, other string) string {
	return strings.NewReplacer("ADDRESS", address, "SECURE", secure, "PEM", b.pem(), "SMALL", b.small, "OTHER", other, "DIR", b.dir, "MOST", strconv.Itoa(2*b.most+100)).Replace(`
daemon off;
master_process off;
worker_processes 1;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections MOST; }
http {
	access_log off;
	server_tokens off;
	tcp_nodelay on;
	keepalive_requests 100000000;
	keepalive_timeout 1h;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $http_host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_set_header X-Forwarded-Proto $scheme;
	proxy_set_header X-Forwarded-Port $server_port;
	proxy_set_header X-Amzn-Trace-Id $request_id;
	proxy_buffers 16 64k;
	proxy_busy_buffers_size 256k;
	proxy_max_temp_file_size 0;
	upstream small { server SMALL; keepalive 512; keepalive_requests 100000000; }
	upstream other { server OTHER; keepalive 512; keepalive_requests 100000000; }
	server {
		listen ADDRESS backlog=4096;
		listen SECURE ssl http2 backlog=4096;
		ssl_certificate PEM;
		ssl_certificate_key PEM;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_ecdh_curve X25519;
		location /bytes/ { proxy_pass http://other; }
		location = /socket {
			proxy_pass http://other;
			proxy_set_header Connection Upgrade;
			proxy_set_header Upgrade $http_upgrade;
			proxy_read_timeout 1h;
		}
		location / { proxy_pass http://small; }
	}
}
`)
}

func (b *bench) haproxyConfig(address, secure, other string) string {
	return strings.NewReplacer("ADDRESS", address, "SECURE", secure, "PEM", b.pem(), "SMALL", b.small, "OTHER", other, "MOST", strconv.Itoa(b.most)).Replace(`
global
	nbthread 1
	maxconn MOST
defaults
	mode http
	timeout connect 10s
	timeout client 1h
	timeout server 1h
	timeout tunnel 1h
	http-reuse always
	option forwardfor
frontend in
	bind ADDRESS backlog 4096
	bind SECURE backlog 4096 ssl crt PEM alpn h2,http/1.1 curves X25519
	http-request set-header X-Forwarded-Proto http
	http-request set-header X-Forwarded-Port %[dst_port]
	http-request set-header X-Amzn-Trace-Id %[uuid]
	use_backend other if { path_beg /bytes/ /socket }
	default_backend small
backend small
	server target SMALL
backend other
	server target OTHER
`)
}
