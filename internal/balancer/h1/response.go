package h1

import "bytes"

// Response is a parsed response head. It can be parsed into again and again.
type Response struct {
	// Minor is the version HTTP/1.Minor, 0 or 1.
	Minor  byte
	Status int
	// Reason is the reason phrase, which may be empty.
	Reason []byte
	Fields []Field
	Framing
	connection
}

// Parse reads a response head, which b holds from its first line to its empty
// line. Fields point into b.
func (r *Response) Parse(b []byte) error {
	l, rest := line(b)
	if len(l) > MaxLine {
		return ErrTooLarge
	}
	// HTTP/1.1 200 OK; the reason and the space before it may be missing.
	if len(l) < 12 || l[8] != ' ' || (len(l) > 12 && l[12] != ' ') {
		return ErrMalformed
	}
	minor, err := version(l[:8])
	if err != nil {
		return err
	}
	s := l[9:12]
	if !digit(s[0]) || !digit(s[1]) || !digit(s[2]) || s[0] == '0' {
		return ErrMalformed
	}
	r.Minor = minor
	r.Status = int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	r.Reason = nil
	if len(l) > 13 {
		r.Reason = l[13:]
		if !isValue(r.Reason) {
			return ErrMalformed
		}
	}
	if r.Fields, err = parseFields(rest, r.Fields[:0]); err != nil {
		return err
	}
	return frame(r.Fields, minor, &r.Framing, &r.connection)
}

// Bodiless tells whether no body follows the head, whatever its fields say;
// head is set when the request's method was HEAD.
func (r *Response) Bodiless(head bool) bool {
	return head || r.Status < 200 || r.Status == 204 || r.Status == 304
}

// Contradicts tells whether the fields announce a body where none can follow and
// none may be announced (RFC 9110, 8.6): the sender may send one all the same.
func (r *Response) Contradicts() bool {
	return r.Status == 204 && (r.Chunked || r.Length > 0)
}

// UntilClose tells whether the body ends where the connection does.
func (r *Response) UntilClose() bool { return !r.Chunked && r.Length < 0 }

// KeepsAlive tells whether the sender keeps the connection after this
// response.
func (r *Response) KeepsAlive() bool {
	if r.Minor == 0 {
		return r.KeepAlive && !r.Close
	}
	return !r.Close
}

// Get is the value of the first field of that name, nil where there is none.
func (r *Response) Get(name string) []byte {
	for i := range r.Fields {
		if bytes.EqualFold(r.Fields[i].Name, []byte(name)) {
			return r.Fields[i].Value
		}
	}
	return nil
}
