package h1

import (
	"bytes"
	"strings"
)

// Request is a parsed request head. It can be parsed into again and again.
type Request struct {
	Method []byte
	// Target is the request target in origin form: a path with an optional
	// query, or "*". That of an absolute-form target has been cut out.
	Target []byte
	// Minor is the version HTTP/1.Minor, 0 or 1.
	Minor  byte
	Fields []Field
	Framing
	connection
	// Host is the authority, port included; empty when an HTTP/1.0 request
	// has none.
	Host []byte
	// Upgrade is the protocol asked for, when the Connection header asks for
	// an upgrade as well.
	Upgrade []byte
	// Expect100 is set when the client waits for 100 Continue.
	Expect100 bool
	// Forwarded is how many addresses X-Forwarded-For lists.
	Forwarded int
	// Irregular tells that a field is.
	Irregular bool
}

// Parse reads a request head, which b holds from its first line to its empty
// line. Fields point into b.
func (r *Request) Parse(b []byte) error {
	l, rest := line(b)
	if len(l) > MaxLine {
		return ErrURITooLong
	}
	sp := bytes.IndexByte(l, ' ')
	if sp <= 0 {
		return ErrMalformed
	}
	last := bytes.LastIndexByte(l, ' ')
	if last <= sp+1 {
		return ErrMalformed
	}
	r.Method, r.Target = l[:sp], l[sp+1:last]
	if !isToken(r.Method) || !all(r.Target, targetByte) {
		return ErrMalformed
	}
	minor, err := version(l[last+1:])
	if err != nil {
		return err
	}
	r.Minor = minor
	if r.Fields, err = parseFields(rest, r.Fields[:0]); err != nil {
		return err
	}
	if err := frame(r.Fields, minor, &r.Framing, &r.connection); err != nil {
		return err
	}
	return r.derive()
}

// KeepsAlive tells whether the client keeps the connection after this request.
func (r *Request) KeepsAlive() bool {
	if r.Minor == 0 {
		return r.KeepAlive && !r.Close
	}
	return !r.Close
}

// HasBody tells whether bytes of a body follow the head.
func (r *Request) HasBody() bool { return r.Chunked || r.Length > 0 }

// Path is the target up to its query.
func (r *Request) Path() []byte {
	p, _, _ := bytes.Cut(r.Target, []byte{'?'})
	return p
}

// Query is what follows the target's question mark.
func (r *Request) Query() []byte {
	_, q, _ := bytes.Cut(r.Target, []byte{'?'})
	return q
}

func (r *Request) derive() error {
	r.Host, r.Upgrade, r.Expect100, r.Forwarded, r.Irregular = nil, nil, false, 0, false
	hosts := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		r.Irregular = r.Irregular || f.Irregular
		switch f.ID {
		case Host:
			hosts++
			r.Host = f.Value
		case Upgrade:
			r.Upgrade = f.Value
		case Expect:
			r.Expect100 = r.Minor == 1 && equalFold(f.Value, "100-continue")
		case XForwardedFor:
			r.Forwarded += 1 + bytes.Count(f.Value, []byte{','})
		default:
		}
	}
	if hosts > 1 || (hosts == 0 && r.Minor == 1) {
		return ErrMalformed
	}
	if !r.UpgradeOption || r.HasBody() || r.Minor == 0 {
		r.Upgrade = nil
	}
	if !validHost(r.Host) {
		return ErrMalformed
	}
	switch {
	case r.Target[0] == '/':
		return nil
	case len(r.Target) == 1 && r.Target[0] == '*' && string(r.Method) == "OPTIONS":
		return nil
	}
	return r.cutAbsolute()
}

// cutAbsolute turns http://host/path, or https, into /path and takes the host
// from it.
func (r *Request) cutAbsolute() error {
	t := r.Target
	colon := bytes.IndexByte(t, ':')
	if colon < 0 || !equalFold(t[:colon], "http") && !equalFold(t[:colon], "https") || !bytes.HasPrefix(t[colon:], []byte("://")) {
		return ErrMalformed
	}
	t = t[colon+len("://"):]
	end := bytes.IndexAny(t, "/?#")
	if end < 0 {
		end = len(t)
	}
	host := t[:end]
	if len(host) == 0 || !validHost(host) {
		return ErrMalformed
	}
	r.Host = host
	switch rest := t[end:]; {
	case len(rest) == 0:
		r.Target = []byte("/")
	case rest[0] == '/':
		r.Target = rest
	default:
		return ErrMalformed
	}
	return nil
}

// validHost allows what RFC 3986 allows in an authority without user
// information.
func validHost(h []byte) bool {
	for _, b := range h {
		switch {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z':
		case strings.IndexByte("-._~!$&'()*+,;=:[]%", b) >= 0:
		default:
			return false
		}
	}
	return true
}

func version(v []byte) (minor byte, err error) {
	switch string(v) {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	if len(v) == len("HTTP/x.y") && bytes.HasPrefix(v, []byte("HTTP/")) && v[6] == '.' &&
		digit(v[5]) && digit(v[7]) {
		return 0, ErrVersion
	}
	return 0, ErrMalformed
}

func digit(b byte) bool { return b >= '0' && b <= '9' }
