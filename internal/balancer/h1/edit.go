package h1

// Drop takes the header lines away whose names gone holds for.
func (r *Request) Drop(gone func(name []byte) bool) {
	kept := r.Fields[:0]
	for _, f := range r.Fields {
		if !gone(f.Name) {
			kept = append(kept, f)
		}
	}
	r.Fields = kept
}

// Add adds a header line of the recipient's own, which no option of the
// client's Connection header takes away.
func (r *Request) Add(name, value string) {
	r.Fields = append(r.Fields, Field{Name: []byte(name), Value: []byte(value), ID: Own})
}

// ValidHost tells whether an authority without user information may be sent.
func ValidHost(h []byte) bool { return validHost(h) }

// ValidTarget tells whether a request target in origin form may be sent.
func ValidTarget(t []byte) bool {
	return len(t) > 0 && t[0] == '/' && len(t) <= MaxLine && all(t, targetByte)
}
