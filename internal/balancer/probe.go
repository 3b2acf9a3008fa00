package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"roadstead.dev/internal/balancer/accesslog"
	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/health"
)

// probe checks one target.
type probe struct {
	dial    l7.Dial
	addr    string
	timeout time.Duration
	// exchange asks on a new connection, and returns the status that counts;
	// nil when connecting is all (TCP).
	exchange func(ctx context.Context, c net.Conn) (int, error)
	matcher  health.Matcher
	// kind is what is spoken, as health check logs name it.
	kind string
	// host is what HTTP/1.1 names the target.
	host func(c net.Conn) string
}

// checked is what one check found.
type checked struct {
	health.Result
	// status that the target answered with, empty when it did not.
	status string
	// reason of a failure, as health check logs name it.
	reason string
	// node is the address that the check came from, invalid when there was no
	// connection.
	node netip.Addr
}

// Bounds of the codes that a matcher may name, for HTTP and for gRPC: those of
// network load balancers' groups, and for others the API allows fewer.
const (
	lowestCode      = 200
	highestCode     = 599
	highestGRPCCode = 99
)

// userAgent is what checks call themselves.
const userAgent = "ELB-HealthChecker/2.0"

func newProbe(hc model.HealthCheck, version, addr string, dial l7.Dial) (*probe, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p := &probe{dial: dial, addr: addr, timeout: time.Duration(hc.TimeoutSeconds) * time.Second, kind: strings.ToLower(hc.Protocol)}
	if hc.Port != "" && hc.Port != "traffic-port" {
		p.addr = net.JoinHostPort(host, hc.Port)
	}
	switch hc.Protocol {
	case "TCP":
		return p, nil
	case protocolSSL:
		p.dial = overTLS(dial)
		return p, nil
	case "HTTP":
	case protocolHTTPS:
		p.dial = overTLS(dial)
		if isHTTP2(version) {
			p.dial = overTLS(dial, "h2")
		}
	default:
		return nil, fmt.Errorf("health check protocol %q is not supported", hc.Protocol)
	}
	switch version {
	case model.VersionGRPC:
		p.kind = "grpc"
		p.exchange = call{addr: p.addr, path: hc.Path, secure: hc.Protocol == protocolHTTPS, grpc: true}.exchange
		p.matcher, err = health.ParseMatcher(hc.GRPCCode, 0, highestGRPCCode)
		return p, err
	case model.VersionHTTP2:
		p.kind = "h2"
		p.exchange = call{addr: p.addr, path: hc.Path, secure: hc.Protocol == protocolHTTPS}.exchange
	default:
		agent := userAgent
		if version == versionClassic {
			agent = classicAgent
		}
		p.host = func(net.Conn) string { return p.addr }
		p.exchange = func(_ context.Context, c net.Conn) (int, error) {
			return exchange(c, "GET "+hc.Path+" HTTP/1.1\r\nHost: "+p.host(c)+
				"\r\nConnection: close\r\nUser-Agent: "+agent+"\r\nAccept-Encoding: gzip, compressed\r\n\r\n", version == versionClassic)
		}
	}
	p.matcher, err = health.ParseMatcher(hc.HTTPCode, lowestCode, highestCode)
	return p, err
}

// run makes one check.
func (p *probe) run(ctx context.Context) (found checked) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	c, err := p.dial(ctx, p.addr)
	if err != nil {
		return failure(ctx, err)
	}
	defer func() { found.node = nodeOf(c) }()
	defer c.Close() //nolint:errcheck // nothing was left to be said
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if p.exchange == nil {
		return checked{Result: health.Passed()}
	}
	status, err := p.exchange(ctx, c)
	if err != nil {
		return failure(ctx, err)
	}
	found = checked{Result: health.Passed(), status: strconv.Itoa(status)}
	if !p.matcher.Match(status) {
		found.Result, found.reason = health.Mismatch(status), p.mismatch(status)
	}
	return found
}

// mismatch is the reason of a status that is not wanted.
func (p *probe) mismatch(status int) string {
	switch {
	case p.kind == "grpc":
		return accesslog.CheckGRPCStatus
	case status >= 500:
		return accesslog.CheckTargetError
	default:
		return accesslog.CheckMismatch
	}
}

// nodeOf is the address that a connection comes from.
func nodeOf(c net.Conn) netip.Addr {
	a, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}

func failure(ctx context.Context, err error) checked {
	var ne net.Error
	if ctx.Err() != nil || errors.As(err, &ne) && ne.Timeout() {
		return checked{Result: health.TimedOut(), reason: accesslog.CheckTimedOut}
	}
	found := checked{Result: health.Failed()}
	var status httpStatusError
	switch {
	case errors.Is(err, errGRPCNoStatus):
		found.reason = accesslog.CheckGRPCNoStatus
	case errors.As(err, &status):
		found.status, found.reason = strconv.Itoa(int(status)), accesslog.CheckMismatch
		if status >= 500 {
			found.reason = accesslog.CheckTargetError
		}
	case errors.Is(err, syscall.EHOSTUNREACH):
		// Nobody answers for the address.
		found.reason = accesslog.CheckTimedOut
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		found.reason = accesslog.CheckInternalError
	default:
		// Refused, ended before there was a response, or none that HTTP or TLS
		// knows.
		found.reason = accesslog.CheckConnectionReset
	}
	return found
}

// exchange sends a request and reads the status of the final response.
// Framed tells that a body must be one whose end the head tells.
func exchange(c net.Conn, request string, framed bool) (int, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return 0, err
	}
	buf := make([]byte, 0, 4<<10)
	var r h1.Response
	for {
		if end := h1.HeadEnd(buf, 0); end >= 0 {
			if err := r.Parse(buf[:end]); err != nil {
				return 0, err
			}
			if r.Status >= 200 && framed && r.UntilClose() && hasBody(c, buf[end:]) {
				return 0, errUnframed
			}
			if r.Status >= 200 {
				return r.Status, nil
			}
			buf = buf[:copy(buf, buf[end:])]
			continue
		}
		if len(buf) >= h1.MaxHead {
			return 0, h1.ErrTooLarge
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return 0, fmt.Errorf("read response after %s bytes: %w", strconv.Itoa(len(buf)), err)
		}
	}
}

// errUnframed: an instance of a classic load balancer answers a check with a
// body of a length that it does not tell.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-healthchecks.html
var errUnframed = errors.New("the response has a body without a Content-Length and is not chunked")

// hasBody tells whether anything follows a head, of which rest was read.
func hasBody(c net.Conn, rest []byte) bool {
	if len(rest) > 0 {
		return true
	}
	n, _ := c.Read(make([]byte, 1))
	return n > 0
}
