package h2

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// head is the head of a request, or the trailers behind one, as it comes.
type head struct {
	id    uint32 // of the stream; 0 when none is on its way
	end   bool   // the stream ends with it
	self  bool   // it depends on itself
	max   int
	parts int    // frames
	block []byte // what came before the last frame

	trailers               bool // these are
	method, path, host     string
	scheme                 string
	regular, bad, tooLarge bool
	size                   int
	length                 int64 // -1 without a Content-Length
	fields, cookie         []byte
}

// maxParts is how many frames a head may come in.
const maxParts = 128

func (h *Conn) headers(f *frame) error {
	if f.id == 0 || f.id%2 == 0 {
		return connError{ProtocolError}
	}
	if err := f.unpad(); err != nil {
		return err
	}
	d := &h.head
	d.self = false
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return connError{FrameSizeError}
		}
		d.self = binary.BigEndian.Uint32(f.payload)&^(1<<31) == f.id
		f.payload = f.payload[5:]
	}
	d.id, d.end, d.parts, d.block = f.id, f.has(flagEndStream), 0, d.block[:0]
	return h.fragment(f)
}

func (h *Conn) continuation(f *frame) error { return h.fragment(f) }

// fragment takes a part of a head, and handles the head once it is complete.
func (h *Conn) fragment(f *frame) error {
	d := &h.head
	if d.parts++; d.parts > maxParts || len(d.block)+len(f.payload) > 2*d.max {
		return connError{EnhanceYourCalm}
	}
	block := f.payload
	if !f.has(flagEndHeaders) || len(d.block) > 0 {
		d.block = append(d.block, f.payload...)
		block = d.block
	}
	if !f.has(flagEndHeaders) {
		return nil
	}
	id := d.id
	d.id = 0
	h.mu.Lock()
	s := h.streams[id]
	d.trailers = s != nil
	h.mu.Unlock()
	d.method, d.path, d.host, d.scheme = "", "", "", ""
	d.regular, d.bad, d.tooLarge, d.size, d.length = false, false, false, 0, -1
	d.fields, d.cookie = d.fields[:0], d.cookie[:0]
	if _, err := h.dec.Write(block); err != nil {
		return connError{CompressionError}
	}
	if err := h.dec.Close(); err != nil {
		return connError{CompressionError}
	}
	if cap(d.block) > maxFrame {
		d.block = nil
	}
	if s != nil {
		return h.ending(s)
	}
	return h.request(id)
}

// field takes a field that was decoded.
func (d *head) field(f hpack.HeaderField) {
	d.size += len(f.Name) + len(f.Value) + 32
	if d.tooLarge = d.tooLarge || d.size > d.max; d.tooLarge {
		return
	}
	if !validValue(f.Value) {
		d.bad = true
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		d.pseudo(f.Name, f.Value)
		return
	}
	d.regular = true
	if !validName(f.Name) {
		d.bad = true
		return
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		d.bad = true
		return
	case "te":
		d.bad = d.bad || f.Value != "trailers"
		return
	case "expect":
		// The client need not be told to go on: it has a window.
		return
	case "host":
		d.bad = d.bad || d.host != "" && d.host != f.Value
		d.host = f.Value
		return
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 62)
		d.bad = d.bad || err != nil || d.length >= 0 || f.Value[0] == '+'
		d.length = int64(n)
		return
	case "cookie":
		if !d.trailers {
			if len(d.cookie) > 0 {
				d.cookie = append(d.cookie, "; "...)
			}
			d.cookie = append(d.cookie, f.Value...)
			return
		}
	}
	d.fields = appendField(d.fields, f.Name, f.Value)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

func (d *head) pseudo(name, value string) {
	var to *string
	switch name {
	case ":method":
		to = &d.method
	case ":path":
		to = &d.path
	case ":scheme":
		to = &d.scheme
	case ":authority":
		to = &d.host
	}
	if to == nil || *to != "" || value == "" || d.regular || d.trailers {
		d.bad = true
		return
	}
	*to = value
}

// wellFormed tells whether a request has what it must have.
func (d *head) wellFormed() bool {
	switch {
	case d.bad || d.method == "" || d.end && d.length > 0:
		return false
	case d.method == "CONNECT":
		return d.path == "" && d.scheme == "" && d.host != ""
	case d.scheme != "http" && d.scheme != "https":
		return false
	default:
		return strings.HasPrefix(d.path, "/") || d.path == "*" && d.method == "OPTIONS"
	}
}

// append writes the request as HTTP/1.1 does.
func (d *head) append(b []byte) []byte {
	path := d.path
	if d.method == "CONNECT" {
		path = d.host
	}
	b = append(append(append(append(b, d.method...), ' '), path...), " HTTP/1.1\r\n"...)
	if d.host != "" {
		b = appendField(b, "host", d.host)
	}
	b = append(b, d.fields...)
	if len(d.cookie) > 0 {
		b = append(append(append(b, "cookie: "...), d.cookie...), "\r\n"...)
	}
	switch {
	case d.tooLarge:
		// Without an end, and longer than any that has one.
		return append(b, make([]byte, d.max)...)
	case d.length >= 0:
		b = append(strconv.AppendInt(append(b, "content-length: "...), d.length, 10), "\r\n"...)
	case !d.end:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

// validValue tells whether a field's value is what HTTP/1.1 can carry.
func validValue(v string) bool {
	for i := range len(v) {
		if b := v[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return v == "" || !space(v[0]) && !space(v[len(v)-1])
}

func space(b byte) bool { return b == ' ' || b == '\t' }

// validName tells whether a field's name is a token without capitals.
func validName(n string) bool {
	for i := range len(n) {
		switch b := n[i]; {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '-':
		case strings.IndexByte("!#$%&'*+.^_`|~", b) >= 0:
		default:
			return false
		}
	}
	return n != ""
}
