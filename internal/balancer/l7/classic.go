package l7

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// ClassicStickiness is how a classic load balancer binds clients to targets.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-sticky-sessions.html
type ClassicStickiness struct {
	// AppCookie names the targets' own cookie whose lifetime the load
	// balancer's follows; empty means a cookie that lasts for Lasts, or as
	// long as the browser runs when that is 0.
	AppCookie string
	Lasts     time.Duration
}

// The cookies of a classic load balancer, of the same value; the second is for
// cross-origin requests.
const (
	classicCookie = "AWSELB"
	classicCORS   = "AWSELBCORS"
)

// classicForever is how long a cookie's value is taken for valid: the load
// balancer leaves it to browsers to forget cookies.
const classicForever = 10 * 365 * 24 * time.Hour

// stuckClassic is the target that the client's cookie binds it to, nil when
// there is none that may take requests. A listener with the same targets
// takes the other's cookies.
func (s *groupState) stuckClassic(r *h1.Request, set *Settings) *Target {
	if app := s.settings.Classic.AppCookie; app != "" && !hasCookie(r, app) {
		return nil
	}
	addr, ok := fromCookies(r, set, classicCookie, classicCORS)
	if !ok {
		return nil
	}
	return s.find(addr)
}

func hasCookie(r *h1.Request, name string) bool {
	for i := range r.Fields {
		if r.Fields[i].ID != h1.Cookie {
			continue
		}
		for pair := range bytes.SplitSeq(r.Fields[i].Value, []byte{';'}) {
			if k, _, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='}); string(k) == name {
				return true
			}
		}
	}
	return false
}

// bindClassic adds the Set-Cookie lines that bind the client to the target, if
// it is to be bound anew.
func (c *conn) bindClassic(x *exchange) {
	how := x.state.settings.Classic
	attributes := ";PATH=/"
	switch {
	case how.AppCookie != "":
		set, ok := appCookie(&c.resp, how.AppCookie)
		switch {
		case ok:
			attributes = set
		case !x.rebind:
			return
		}
	case x.stuck:
		return
	case how.Lasts > 0:
		attributes += ";MAX-AGE=" + strconv.FormatInt(int64(how.Lasts/time.Second), 10)
	}
	sealed := c.settings().cookies.seal(x.target.Addr, time.Now().Add(classicForever))
	x.cookies = append(x.cookies, "Set-Cookie: "+classicCookie+"="+sealed+attributes+"\r\n"...)
	if how.AppCookie != "" && hasAttribute(attributes, "samesite") {
		return
	}
	x.cookies = append(x.cookies, "Set-Cookie: "+classicCORS+"="+sealed+attributes...)
	if !hasAttribute(attributes, "secure") {
		x.cookies = append(x.cookies, ";SECURE"...)
	}
	x.cookies = append(x.cookies, ";SAMESITE=None\r\n"...)
}

// copied are the attributes that a target gives its cookie and that hold for
// the load balancer's as well.
var copied = []string{"path", "port", "domain", "secure", "httponly", "discard", "max-age", "expires", "version", "comment", "commenturl", "samesite"}

// maxClassicMethod is how long a method may be for a classic load balancer,
// which knows of no other bound.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/ts-elb-error-message.html
const maxClassicMethod = 127

// appCookie finds the target's own cookie in its response, and gives its
// attributes, each behind a semicolon: underscores in the path as browsers of
// old expect them. A cookie that ends with a semicolon counts as none.
func appCookie(r *h1.Response, name string) (attributes string, ok bool) {
	for i := range r.Fields {
		if !strings.EqualFold(string(r.Fields[i].Name), "Set-Cookie") {
			continue
		}
		line := strings.TrimSpace(string(r.Fields[i].Value))
		pair, rest, _ := strings.Cut(line, ";")
		if k, _, _ := strings.Cut(strings.TrimSpace(pair), "="); k != name || strings.HasSuffix(line, ";") {
			continue
		}
		for a := range strings.SplitSeq(rest, ";") {
			a = strings.TrimSpace(a)
			key, _, _ := strings.Cut(a, "=")
			for _, c := range copied {
				if !strings.EqualFold(key, c) {
					continue
				}
				if c == "path" {
					a = strings.ReplaceAll(a, "_", "%5F")
				}
				attributes += ";" + a
			}
		}
		return attributes, true
	}
	return "", false
}

func hasAttribute(attributes, name string) bool {
	for a := range strings.SplitSeq(attributes, ";") {
		if key, _, _ := strings.Cut(a, "="); strings.EqualFold(strings.TrimSpace(key), name) {
			return true
		}
	}
	return false
}

// classicReasons are the reason phrases of a classic load balancer's own
// answers.
var classicReasons = map[int]string{
	400: "BAD_REQUEST",
	405: "METHOD_NOT_ALLOWED",
	408: "REQUEST_TIMEOUT",
	502: "BAD_GATEWAY",
	503: "Service Unavailable: Back-end server is at capacity",
	504: "GATEWAY_TIMEOUT",
}

// failClassic answers as a classic load balancer does: without a body.
func (c *conn) failClassic(status int, keep bool) bool {
	phrase, ok := classicReasons[status]
	if !ok {
		phrase = strings.ReplaceAll(strings.ToUpper(reason(status)), " ", "_")
	}
	connection := "Close"
	if keep {
		connection = "keep-alive"
	}
	if c.rec != nil {
		c.rec.Status = status
	}
	c.out = append(c.out[:0], "HTTP/1.1 "+strconv.Itoa(status)+" "+phrase+"\r\nContent-Length: 0\r\nConnection: "+connection+"\r\n\r\n"...)
	c.headed(len(c.out))
	return c.write(c.out) == nil && keep
}

// own is the group for requests that come to the load balancer's address, nil
// for none.
func (f *Forward) own(c *conn) *Group {
	local, ok := c.c.LocalAddr().(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return nil
	}
	return f.ByAddress[local.AddrPort().Addr().Unmap()]
}
