// Package h1 reads the heads and the framing of HTTP/1.0 and HTTP/1.1
// messages without copying them. It is stricter than RFC 9112 allows a
// recipient to be: whatever two recipients could understand differently is
// refused, so that a message that passes means the same to everyone behind.
//
// Byte slices in parsed heads point into the buffer that was parsed.
package h1

import (
	"bytes"
	"errors"
)

// Limits of an application load balancer.
const (
	// MaxLine limits the request line and each header line.
	MaxLine = 16 << 10
	// MaxHead limits a whole head.
	MaxHead = 64 << 10
	// MaxResponseHead limits that of a target's response.
	MaxResponseHead = 32 << 10
	// MaxFields limits the number of header lines.
	MaxFields = 256
)

// Errors of parsing. Those of one kind are told apart by errors.Is.
var (
	// ErrMalformed: the message is not HTTP/1.x, or is ambiguous.
	ErrMalformed = errors.New("malformed HTTP message")
	// ErrTooLarge: a line or the head is over its limit.
	ErrTooLarge = errors.New("HTTP head too large")
	// ErrURITooLong: the request line is over its limit.
	ErrURITooLong = errors.New("request line too long")
	// ErrVersion: the message is of another version of HTTP.
	ErrVersion = errors.New("HTTP version not supported")
	// ErrCoding: a transfer coding other than chunked and identity.
	ErrCoding = errors.New("transfer coding not supported")
)

// Field is one header line. Value has no surrounding white space.
type Field struct {
	Name, Value []byte
	ID          FieldID
	// Irregular tells that Name has more than letters, digits and hyphens.
	Irregular bool
}

// Framing tells how long a message's body is.
type Framing struct {
	// Length is the Content-Length, -1 where there is none.
	Length int64
	// Chunked bodies end with their last chunk and trailers.
	Chunked bool
}

// connection is what the Connection header said.
type connection struct {
	// Close and KeepAlive are those options.
	Close, KeepAlive bool
	// UpgradeOption tells that the sender asks for or agrees to an upgrade.
	UpgradeOption bool
	// options that name header fields that end here.
	named [][]byte
}

// Names tells whether the Connection header lists the field as one that is
// meant for the next hop alone.
func (c *connection) Names(name []byte) bool {
	for _, n := range c.named {
		if bytes.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// HeadEnd finds the end of the head that b begins with: the index behind the
// empty line, or -1 when b does not hold it yet. From is where to begin to
// look; a caller that read more into b passes the length it had before, minus
// two.
func HeadEnd(b []byte, from int) int {
	i := max(from, 0)
	for {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// line cuts the first line off b. Its end is CRLF or LF.
func line(b []byte) (l, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	l, rest = b[:i], b[i+1:]
	if i > 0 && l[i-1] == '\r' {
		l = l[:i-1]
	}
	return l, rest
}

// parseFields reads header lines up to the empty one into fields.
func parseFields(b []byte, fields []Field) ([]Field, error) {
	for {
		var l []byte
		l, b = line(b)
		if len(l) == 0 {
			return fields, nil
		}
		if len(l) > MaxLine {
			return fields, ErrTooLarge
		}
		if len(fields) == MaxFields {
			return fields, ErrTooLarge
		}
		colon := bytes.IndexByte(l, ':')
		if colon <= 0 {
			return fields, ErrMalformed
		}
		name, value := l[:colon], trim(l[colon+1:])
		c := common(name)
		if c&tokenByte == 0 || !isValue(value) {
			return fields, ErrMalformed
		}
		fields = append(fields, Field{name, value, identify(name), c&plainByte == 0})
	}
}

// frame reads what the fields say of the body and the connection.
func frame(fields []Field, minor byte, f *Framing, c *connection) error {
	f.Length, f.Chunked = -1, false
	c.Close, c.KeepAlive, c.UpgradeOption, c.named = false, false, false, c.named[:0]
	codings := 0
	for i := range fields {
		v := fields[i].Value
		switch fields[i].ID {
		case ContentLength:
			// A second length is refused even when it is the same: proxies
			// disagree on which of them to pass on.
			n, ok := parseLength(v)
			if !ok || f.Length >= 0 {
				return ErrMalformed
			}
			f.Length = n
		case TransferEncoding:
			codings++
			switch {
			case equalFold(v, "chunked"):
				f.Chunked = true
			case equalFold(v, "identity"): // none at all
			default:
				return ErrCoding
			}
		case Connection:
			c.options(v)
		default:
		}
	}
	if codings > 1 || (f.Chunked && (f.Length >= 0 || minor == 0)) {
		return ErrMalformed
	}
	return nil
}

// options reads a Connection header's list.
func (c *connection) options(v []byte) {
	for len(v) > 0 {
		var o []byte
		if i := bytes.IndexByte(v, ','); i >= 0 {
			o, v = trim(v[:i]), v[i+1:]
		} else {
			o, v = trim(v), nil
		}
		switch {
		case len(o) == 0:
		case equalFold(o, "close"):
			c.Close = true
		case equalFold(o, "keep-alive"):
			c.KeepAlive = true
		case equalFold(o, "upgrade"):
			c.UpgradeOption = true
		default:
			c.named = append(c.named, o)
		}
	}
}

func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	var n int64
	for _, d := range v {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int64(d-'0')
	}
	return n, true
}

// trim removes spaces and tabs around b.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// The classes of bytes.
const (
	tokenByte  = 1 << iota
	valueByte  // of a header's value
	targetByte // of a request target
	plainByte  // a letter, a digit or a hyphen
)

var class = func() (t [256]byte) {
	for i := range t {
		b := byte(i)
		switch {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z',
			bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0:
			t[i] |= tokenByte
			if b == '-' || bytes.IndexByte([]byte("!#$%&'*+.^_`|~"), b) < 0 {
				t[i] |= plainByte
			}
		}
		if b == '\t' || (b >= ' ' && b != 0x7f) {
			t[i] |= valueByte
		}
		if b > ' ' && b != 0x7f {
			t[i] |= targetByte
		}
	}
	return t
}()

func all(b []byte, c byte) bool {
	for _, x := range b {
		if class[x]&c == 0 {
			return false
		}
	}
	return true
}

// common are the classes that all bytes of b are in.
func common(b []byte) byte {
	c := byte(0xff)
	for _, x := range b {
		c &= class[x]
	}
	return c
}

func isToken(b []byte) bool { return len(b) > 0 && all(b, tokenByte) }
func isValue(b []byte) bool { return all(b, valueByte) }

// equalFold compares b with s, which is lower-case ASCII, without regard to
// the case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		x := b[i]
		if x >= 'A' && x <= 'Z' {
			x |= 0x20
		}
		if x != s[i] {
			return false
		}
	}
	return true
}
