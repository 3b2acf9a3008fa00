package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/gateway/awschunked"
)

// Request is the part of an HTTP request that a signature covers.
type Request struct {
	Method string
	// Path is the path as it was sent, escaped.
	Path string
	// RawQuery is the query as it was sent.
	RawQuery string
	Host     string
	Header   http.Header
	// ContentLength is the length of the body, -1 where the client did not say.
	ContentLength int64
	Body          []byte
	// TransferEncoding, which net/http keeps apart from the headers.
	TransferEncoding []string
}

// ErrPayload is a body that is not the one that X-Amz-Content-Sha256 names.
type ErrPayload struct{ Given, Computed string }

func (e *ErrPayload) Error() string {
	return "The provided 'x-amz-content-sha256' header does not match what was computed."
}

// payloadHash is the last line of the canonical request.
func payloadHash(r *Request, s *Signature) (string, error) {
	given := r.Header.Get("X-Amz-Content-Sha256")
	if given == "" && s.Presigned && s.Scope.Service == "s3" {
		return UnsignedPayload, nil
	}
	if given == UnsignedPayload || awschunked.Announced(given) {
		return given, nil // of a body in chunks, each chunk is checked
	}
	sum := sha256.Sum256(r.Body)
	computed := hex.EncodeToString(sum[:])
	if given != "" && given != computed {
		return "", &ErrPayload{given, computed}
	}
	return computed, nil
}

// canonical is the canonical request of r under signature s.
func canonical(r *Request, s *Signature, payload string) []byte {
	b := make([]byte, 0, 1024)
	b = append(append(b, r.Method...), '\n')
	b = canonicalPath(b, r.Path, s.Scope.Service == "s3")
	b = append(b, '\n')
	b = canonicalQuery(b, r.RawQuery)
	b = append(b, '\n')
	for _, name := range s.SignedHeaders {
		b = append(append(b, name...), ':')
		b = canonicalHeader(b, name, r)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range s.SignedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, payload...)
}

// canonicalPath normalises the path and escapes it once more. S3 does neither:
// its keys may hold anything.
func canonicalPath(b []byte, path string, s3 bool) []byte {
	if path == "" || path == "/" {
		return append(b, '/')
	}
	if s3 {
		return append(b, path...)
	}
	trailing := strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
	var segments []string
	for seg := range strings.SplitSeq(path, "/") {
		switch seg {
		case "", ".":
		case "..":
			if len(segments) > 0 {
				segments = segments[:len(segments)-1]
			}
		default:
			segments = append(segments, seg)
		}
	}
	if len(segments) == 0 {
		return append(b, '/')
	}
	for _, seg := range segments {
		b = append(b, '/')
		b = escape(b, seg)
	}
	if trailing {
		b = append(b, '/')
	}
	return b
}

// canonicalQuery sorts the parameters by escaped name and value. The signature
// itself is left out.
func canonicalQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	type pair struct{ k, v string }
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		k, v = reescape(k), reescape(v)
		if k == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, pair{k, v})
	}
	slices.SortFunc(pairs, func(a, c pair) int {
		if d := strings.Compare(a.k, c.k); d != 0 {
			return d
		}
		return strings.Compare(a.v, c.v)
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.k...), '='), p.v...)
	}
	return b
}

// reescape brings a query's name or value to the one escaping that is signed.
func reescape(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		plain = s
	}
	return string(escape(nil, plain))
}

// escape is RFC 3986's: all but the unreserved characters.
func escape(b []byte, s string) []byte {
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', upper[c>>4], upper[c&15])
		}
	}
	return b
}

// canonicalHeader appends a header's values, trimmed, with runs of spaces made
// one.
func canonicalHeader(b []byte, name string, r *Request) []byte {
	switch name {
	case "host", ":authority":
		return append(b, r.Host...)
	case "content-length":
		if r.ContentLength >= 0 && r.Header.Get("Content-Length") == "" {
			return strconv.AppendInt(b, r.ContentLength, 10)
		}
	case "transfer-encoding":
		return append(b, strings.Join(r.TransferEncoding, ",")...)
	}
	for i, v := range r.Header.Values(name) {
		if i > 0 {
			b = append(b, ',')
		}
		b = squeeze(b, v)
	}
	return b
}

func squeeze(b []byte, s string) []byte {
	s = strings.Trim(s, " \t")
	space := false
	for i := range len(s) {
		c := s[i]
		if c == ' ' {
			if space {
				continue
			}
			space = true
		} else {
			space = false
		}
		b = append(b, c)
	}
	return b
}
