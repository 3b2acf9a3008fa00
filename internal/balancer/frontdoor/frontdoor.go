// Package frontdoor leads from the host to load balancers. Browsers and curl
// take every name below .localhost for 127.0.0.1, so what arrives there is
// relayed, by the name in its Host header or in its TLS handshake, to the load
// balancer's own address. Nothing is changed on the way: the load balancer sees
// the client's bytes.
package frontdoor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"roadstead.dev/internal/accept"
	"roadstead.dev/internal/balancer/h1"
)

// Suffix ends the names of all load balancers.
const Suffix = ".elb.localhost"

// Limits of the first request's head, by which the load balancer is chosen.
const (
	headTimeout = 10 * time.Second
	dialTimeout = 10 * time.Second
)

// Directory finds load balancers.
type Directory interface {
	// Resolve gives the VPC of the load balancer with the DNS name, which is in
	// lower case, and the address there, ip:port, of its listener on port. Port
	// 0 means the listener on port 80, or the only one there is.
	Resolve(ctx context.Context, name string, port int32) (vpc, address string, ok bool)
}

// Config of a Door.
type Config struct {
	Directory Directory
	// Dial connects from the host to an address in a VPC: two VPCs may have the
	// same addresses. Nil means a plain TCP connection.
	Dial func(ctx context.Context, vpc, address string) (net.Conn, error)
	// Starting is how long after New load balancers may not listen yet.
	Starting time.Duration
	Log      *slog.Logger
}

// Door relays connections. Safe for concurrent use.
type Door struct {
	cfg  Config
	made time.Time

	mu      sync.Mutex
	conns   map[net.Conn]stage
	leaving bool // connections end with their load balancers'
	done    bool
	wg      sync.WaitGroup
}

// New makes a door.
func New(cfg Config) *Door {
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Door{cfg: cfg, made: time.Now(), conns: map[net.Conn]stage{}}
}

// IsLoadBalancer tells whether a Host header, with or without a port, names a
// load balancer.
func IsLoadBalancer(host string) bool {
	return strings.HasSuffix(nameOf(host), Suffix)
}

// nameOf is a host in lower case, without its port and a final dot.
func nameOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Serve relays the connections that l accepts until ctx ends, and closes l.
// Those that clients have opened by then are relayed, too. Port is the load
// balancers' listener that l stands for.
func (d *Door) Serve(ctx context.Context, l net.Listener, port int32) error {
	relays := context.WithoutCancel(ctx)
	err := accept.Until(ctx, l, d.cfg.Log, func(c net.Conn) { d.start(c, func() { d.relay(relays, c, nil, port) }) })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// start runs f for a connection that Close can cut, and closes it after f.
func (d *Door) start(c net.Conn, f func()) {
	if !d.track(c) {
		_ = c.Close()
		return
	}
	go func() {
		defer d.untrack(c)
		f()
	}()
}

func (d *Door) track(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return false
	}
	d.conns[c] = arriving
	d.wg.Add(1)
	return true
}

func (d *Door) untrack(c net.Conn) {
	_ = c.Close()
	d.mu.Lock()
	delete(d.conns, c)
	d.mu.Unlock()
	d.wg.Done()
}

// stage is how far a connection has come.
type stage int

const (
	arriving stage = iota // its load balancer is not known yet, or does not answer yet
	joined
	answered // the load balancer has sent its last
)

// reach tells that a connection has come further.
func (d *Door) reach(c net.Conn, s stage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[c] = s
	if s == answered && d.leaving {
		_ = c.Close()
	}
}

// settleEvery is how often connections are looked at that are on their way.
const settleEvery = 5 * time.Millisecond

// Settle waits until all connections have reached their load balancers, or ctx
// ends.
func (d *Door) Settle(ctx context.Context) {
	for {
		d.mu.Lock()
		n := 0
		for _, s := range d.conns {
			if s == arriving {
				n++
			}
		}
		d.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settleEvery):
		}
	}
}

// Shutdown lets connections end with what their load balancers still send,
// which are to close them, and cuts those that remain when ctx ends.
func (d *Door) Shutdown(ctx context.Context) {
	d.mu.Lock()
	d.leaving = true
	for c, s := range d.conns {
		if s == answered {
			_ = c.Close()
		}
	}
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	d.Close()
	<-done
}

// Close cuts all connections and waits for their end.
func (d *Door) Close() {
	d.mu.Lock()
	d.done = true
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// ServeHTTP takes over a request for a load balancer that a server on another
// port has read, the gateway's: it hijacks the connection, sends the request
// on as it came, and relays what follows. HTTP/1 alone can be taken over.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	vpc, address, ok := d.cfg.Directory.Resolve(r.Context(), nameOf(r.Host), 0)
	if !ok {
		http.Error(w, "There is no load balancer "+nameOf(r.Host)+" with a listener on port 80, or with only one listener.", http.StatusNotFound)
		return
	}
	up, err := d.dial(r.Context(), vpc, address)
	if err != nil {
		d.cfg.Log.Warn("load balancer does not answer", "address", address, "error", err)
		http.Error(w, "The load balancer does not answer.", http.StatusBadGateway)
		return
	}
	hj, ok := w.(http.Hijacker)
	if !ok || r.ProtoMajor != 1 {
		_ = up.Close()
		http.Error(w, "This connection cannot be relayed to a load balancer.", http.StatusHTTPVersionNotSupported)
		return
	}
	// The head goes first, and what the server read behind it; the server has
	// read nothing of the body while nobody asked for it.
	head := rebuild(r)
	c, rw, err := hj.Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	if !d.track(c) {
		_ = c.Close()
		_ = up.Close()
		return
	}
	defer d.untrack(c)
	_ = c.SetDeadline(time.Time{})
	rest, _ := rw.Reader.Peek(rw.Reader.Buffered())
	d.join(c, up, append(head, rest...))
}

// rebuild writes the head of a request that the standard library parsed. The
// order of the headers is lost; what they mean is not.
func rebuild(r *http.Request) []byte {
	var b bytes.Buffer
	b.WriteString(r.Method + " " + r.RequestURI + " " + r.Proto + "\r\nHost: " + r.Host + "\r\n")
	for k, vs := range r.Header {
		for _, v := range vs {
			b.WriteString(k + ": " + v + "\r\n")
		}
	}
	switch {
	case len(r.TransferEncoding) > 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.Header.Get("Content-Length") == "" && r.ContentLength > 0:
		b.WriteString("Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n")
	}
	for k := range r.Trailer {
		b.WriteString("Trailer: " + k + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// dial connects to a load balancer. Just after the start it may not listen yet.
func (d *Door) dial(ctx context.Context, vpc, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for {
		c, err := d.cfg.Dial(ctx, vpc, address)
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(d.made) > d.cfg.Starting {
			return c, err
		}
		select {
		case <-time.After(settleEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// relay reads the first head from c, of which before has been read already,
// and joins c with the load balancer that it names.
func (d *Door) relay(ctx context.Context, c net.Conn, before []byte, port int32) {
	_ = c.SetReadDeadline(time.Now().Add(headTimeout))
	refuse := refuse
	buf, host, err := peek(c, before)
	if errors.Is(err, errSecure) {
		refuse = func(net.Conn, int) {} // an answer would not be understood
		buf, host, err = peekHello(ctx, c, buf)
	}
	if err != nil {
		if len(buf) > 0 {
			refuse(c, http.StatusBadRequest)
		}
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	vpc, address, ok := d.cfg.Directory.Resolve(ctx, nameOf(host), port)
	if !ok {
		refuse(c, http.StatusNotFound)
		return
	}
	up, err := d.dial(ctx, vpc, address)
	if err != nil {
		d.cfg.Log.Warn("load balancer does not answer", "address", address, "error", err)
		refuse(c, http.StatusBadGateway)
		return
	}
	d.join(c, up, buf)
}

// errSecure: the client speaks TLS.
var errSecure = errors.New("no request but a handshake")

// peek reads until the first head is complete. It returns all that it read,
// and the host. Where the client begins a TLS handshake the error is errSecure.
func peek(c io.Reader, buf []byte) (read []byte, host string, err error) {
	var req h1.Request
	from := 0
	for {
		if len(buf) > 0 && buf[0] == handshakeRecord {
			return buf, "", errSecure
		}
		if end := h1.HeadEnd(buf, from); end >= 0 {
			if err := req.Parse(buf[:end]); err != nil {
				return buf, "", err
			}
			return buf, string(req.Host), nil
		}
		if len(buf) >= h1.MaxHead {
			return buf, "", h1.ErrTooLarge
		}
		from = len(buf) - 2
		chunk := make([]byte, 4<<10)
		n, err := c.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if err != nil && n == 0 {
			return buf, "", err
		}
	}
}

func refuse(c net.Conn, status int) {
	text := http.StatusText(status) + "\n"
	_ = c.SetWriteDeadline(time.Now().Add(headTimeout))
	_, _ = io.WriteString(c, "HTTP/1.1 "+strconv.Itoa(status)+" "+http.StatusText(status)+
		"\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text)
}

// join sends first to up and then copies both ways until both sides are done.
// It closes up. Closing c ends it.
func (d *Door) join(c, up net.Conn, first []byte) {
	defer up.Close() //nolint:errcheck // both sides are done
	d.reach(c, joined)
	if _, err := up.Write(first); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyHalf(c, up)
		d.reach(c, answered)
	}()
	copyHalf(up, c)
	<-done
}

// copyHalf copies until src ends, and tells dst. A failure ends both.
func copyHalf(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
	}
	_ = dst.Close()
	_ = src.Close()
}
