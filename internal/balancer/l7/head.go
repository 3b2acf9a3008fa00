package l7

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// maxTraced is the size of a head above which a trace id is not kept.
const maxTraced = 7 << 10

func appendField(b, name, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendRequest writes the head that the target gets.
func (c *conn) appendRequest(b []byte) []byte {
	r, s := &c.req, c.settings()
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	var xff, trace []byte
	size := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		size += len(f.Name) + len(f.Value) + 4
		switch f.ID {
		case h1.XForwardedFor:
			xff = join(xff, f.Value)
		case h1.XAmznTraceID:
			trace = f.Value
		default:
		}
	}
	b = c.appendForwarded(b, xff)
	b = append(b, "Host: "...)
	b = c.appendHost(b)
	b = append(b, "\r\n"...)
	mark := len(b)
	switch {
	case !s.Classic:
		b = appendTrace(b, trace, size)
	case len(trace) > 0:
		b = appendField(b, []byte("X-Amzn-Trace-Id"), trace)
	}
	if c.rec != nil {
		c.rec.traced(b[mark:])
	}
	clients := c.table.clients()
	if clients != nil && c.session != nil && c.session.identity != nil {
		b = append(b, c.session.identity.fields(clients)...)
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.ID {
		case h1.Host, h1.XForwardedFor, h1.XForwardedProto, h1.XForwardedPort, h1.XAmznTraceID:
			continue
		case h1.ContentLength, h1.Own:
		case h1.Trailer:
			if !r.Chunked {
				continue
			}
		case h1.Expect:
			if r.Expect100 {
				continue
			}
		default:
			if f.ID.HopByHop() || r.Names(f.Name) || (s.DropInvalidFields && f.Irregular) || (clients != nil && clients.owns(f.Name)) {
				continue
			}
		}
		b = appendField(b, f.Name, f.Value)
	}
	if r.Chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if c.upgrades() {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, r.Upgrade...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// upgrades tells whether the request asks for a WebSocket. Nothing else is
// tunnelled: nobody would look into HTTP/2 that was agreed on by an upgrade.
func (c *conn) upgrades() bool {
	return !c.settings().Classic && bytes.EqualFold(c.req.Upgrade, []byte("websocket"))
}

// appendHost writes the authority. Unless the header is to be preserved, the
// port of a listener on an unusual one is added where the client left it out.
func (c *conn) appendHost(b []byte) []byte {
	s, host := c.settings(), c.req.Host
	if len(host) == 0 {
		b = append(b, s.Name...)
	}
	b = append(b, host...)
	if s.PreserveHost || c.rehosted || s.standardPort() {
		return b
	}
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return b
	}
	b = append(b, ':')
	return append(b, s.portText...)
}

func (c *conn) appendForwarded(b, xff []byte) []byte {
	s := c.settings()
	switch s.XFF {
	case XFFRemove:
	case XFFPreserve:
		if len(xff) > 0 {
			b = appendField(b, []byte("X-Forwarded-For"), xff)
		}
	case XFFAppend:
		fallthrough
	default:
		b = append(b, "X-Forwarded-For: "...)
		if len(xff) > 0 {
			b = append(b, xff...)
			b = append(b, ", "...)
		}
		b = c.clientText(b)
		b = append(b, "\r\n"...)
	}
	b = append(b, "X-Forwarded-Proto: "...)
	b = append(b, s.Scheme...)
	b = append(b, "\r\nX-Forwarded-Port: "...)
	b = append(b, s.portText...)
	return append(b, "\r\n"...)
}

// appendTrace writes X-Amzn-Trace-Id: a new root, or what the client sent with
// a new Self before it.
func appendTrace(b, old []byte, size int) []byte {
	b = append(b, "X-Amzn-Trace-Id: "...)
	if len(old) == 0 || size > maxTraced {
		b = append(b, "Root="...)
		b = appendTraceID(b)
		return append(b, "\r\n"...)
	}
	if bytes.Contains(old, []byte("Root=")) {
		b = append(b, "Self="...)
	} else {
		b = append(b, "Root="...)
	}
	b = appendTraceID(b)
	for len(old) > 0 {
		var part []byte
		part, old, _ = bytes.Cut(old, []byte{';'})
		part = bytes.TrimSpace(part)
		if len(part) == 0 || bytes.HasPrefix(part, []byte("Self=")) {
			continue
		}
		b = append(b, ';')
		b = append(b, part...)
	}
	return append(b, "\r\n"...)
}

// appendTraceID writes 1-<seconds, 8 digits>-<24 random digits>.
func appendTraceID(b []byte) []byte {
	var raw [16]byte
	now := uint32(time.Now().Unix())
	raw[0], raw[1], raw[2], raw[3] = byte(now>>24), byte(now>>16), byte(now>>8), byte(now)
	x, y := rand.Uint64(), rand.Uint32() //nolint:gosec // an identifier, no secret
	for i := range 8 {
		raw[4+i] = byte(x >> (8 * i))
	}
	for i := range 4 {
		raw[12+i] = byte(y >> (8 * i))
	}
	b = append(b, "1-"...)
	b = hex.AppendEncode(b, raw[:4])
	b = append(b, '-')
	return hex.AppendEncode(b, raw[4:])
}

func join(a, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	return append(append(append(make([]byte, 0, len(a)+2+len(b)), a...), ", "...), b...)
}

func appendStatus(b []byte, r *h1.Response) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, r.Reason...)
	return append(b, "\r\n"...)
}

// appendInterim writes an interim (1xx) response.
func (c *conn) appendInterim(b []byte) []byte {
	b = appendStatus(b, &c.resp)
	b = c.appendFields(b, false)
	return append(b, "\r\n"...)
}

// appendFields writes the response's fields that are meant for the client.
// Framed leaves Content-Length to the caller. A response that cannot have a body
// is sent without a length that says otherwise.
func (c *conn) appendFields(b []byte, framed bool) []byte {
	r, add := &c.resp, c.settings().Add
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case len(add) > 0 && replaced(add, f.Name):
			continue
		case f.ID == h1.ContentLength:
			if framed || r.Status < 200 || r.Status == 204 {
				continue
			}
		case f.ID == h1.Upgrade && r.Status == 426:
		case f.ID.HopByHop() || r.Names(f.Name):
			continue
		}
		b = appendField(b, f.Name, f.Value)
	}
	return b
}

// replaced tells whether the listener has a field of its own in the place of
// the target's.
func replaced(add []Field, name []byte) bool {
	for i := range add {
		if strings.EqualFold(add[i].Name, string(name)) {
			return true
		}
	}
	return false
}

// appendResponse writes the head that the client gets.
func (c *conn) appendResponse(b []byte, x *exchange, mode bodyMode) []byte {
	r := &c.resp
	b = appendStatus(b, r)
	b = c.appendFields(b, mode == bodyChunked || mode == bodyDechunk || mode == bodyToChunks || mode == bodyRaw)
	if !hasDate(r) {
		b = append(b, "Date: "...)
		b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
		b = append(b, "\r\n"...)
	}
	b = append(b, c.settings().added...)
	b = append(b, x.cookies...)
	if mode == bodyChunked || mode == bodyToChunks || (mode == bodyNone && r.Chunked && c.minor == 1 && c.isHead) {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if c.keep {
		return append(b, "Connection: keep-alive\r\n\r\n"...)
	}
	return append(b, "Connection: close\r\n\r\n"...)
}

func hasDate(r *h1.Response) bool {
	for i := range r.Fields {
		if r.Fields[i].ID == h1.Date {
			return true
		}
	}
	return false
}
