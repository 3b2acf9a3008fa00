// Package sigv4 verifies AWS Signature Version 4: in the Authorization header
// and in presigned queries.
package sigv4

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Algorithm is the one that is understood.
const Algorithm = "AWS4-HMAC-SHA256"

const (
	terminator = "aws4_request"
	timeLayout = "20060102T150405Z"
	dateLayout = "20060102"
)

// UnsignedPayload stands for the hash of a body that is not signed.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

// Scope is the credential scope of a signature.
type Scope struct {
	Date, Region, Service, Terminator string
}

func (s Scope) String() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/" + s.Terminator
}

// Signature is what a request says of its signature.
type Signature struct {
	AccessKeyID string
	Scope       Scope
	// SignedHeaders as they were given: lower case, sorted by who signs right.
	SignedHeaders []string
	// Signature in lower-case hex.
	Signature string
	// Time of X-Amz-Date, and its text.
	Time     time.Time
	TimeText string
	// SessionToken of temporary credentials, or empty.
	SessionToken string
	// Presigned queries are good for Expires from Time on.
	Presigned bool
	Expires   time.Duration

	// late is what is wrong with the parts that are looked at once the time is
	// known to be right.
	late error
}

// ErrMissing means that the request carries no signature at all.
var ErrMissing = errors.New("request is not signed")

// Incomplete is a signature that lacks a part or has one that cannot be read.
// Its text is AWS's.
type Incomplete struct{ Message string }

func (e *Incomplete) Error() string { return e.Message }

// Parse reads the signature of a request, without verifying it. query is the
// request's decoded query.
func Parse(h http.Header, query url.Values) (*Signature, error) {
	if auth := h.Get("Authorization"); auth != "" {
		if query.Has("X-Amz-Algorithm") {
			return nil, &ScopeError{"Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."}
		}
		if len(h["Authorization"]) > 1 {
			return nil, &Incomplete{"Authorization header must be there once, found " + strconv.Itoa(len(h["Authorization"])) + "."}
		}
		return parseHeader(auth, h)
	}
	if query.Get("X-Amz-Algorithm") != "" || query.Get("X-Amz-Signature") != "" || query.Get("X-Amz-Credential") != "" {
		return parseQuery(query)
	}
	return nil, ErrMissing
}

// ScopeService is the service in the credential scope of a request, or empty:
// what routing needs, before anything is checked.
func ScopeService(h http.Header, query url.Values) string {
	cred := query.Get("X-Amz-Credential")
	if auth := h.Get("Authorization"); auth != "" {
		_, rest, ok := strings.Cut(auth, "Credential=")
		if !ok {
			return ""
		}
		cred, _, _ = strings.Cut(rest, ",")
	}
	p := strings.Split(cred, "/")
	if len(p) < 5 {
		return ""
	}
	return p[len(p)-2]
}

func parseHeader(auth string, h http.Header) (*Signature, error) {
	algorithm, rest, _ := strings.Cut(strings.TrimSpace(auth), " ")
	if !strings.HasPrefix(algorithm, "AWS4-") && algorithm != "AWS" {
		return nil, ErrMissing
	}
	var s Signature
	var credential, signed string
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, &Incomplete{"'" + part + "' not a valid key=value pair (missing equal-sign) in Authorization header: '" + auth + "'."}
		}
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			signed = v
		case "Signature":
			s.Signature = v
		}
	}
	s.TimeText = h.Get("X-Amz-Date")
	date := s.TimeText
	if date == "" {
		date = h.Get("Date")
	}
	var lacks []string
	for _, f := range []struct{ name, value string }{{"Credential", credential}, {"Signature", s.Signature}, {"SignedHeaders", signed}} {
		if f.value == "" {
			lacks = append(lacks, "Authorization header requires '"+f.name+"' parameter.")
		}
	}
	if date == "" {
		lacks = append(lacks, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if len(lacks) > 0 {
		return nil, &Incomplete{strings.Join(lacks, " ") + " Authorization=" + algorithm}
	}
	var ok bool
	if s.Time, s.TimeText, ok = parseDate(date); !ok {
		return nil, &Incomplete{"Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601"}
	}
	s.SessionToken = h.Get("X-Amz-Security-Token")
	s.finish(algorithm, credential, signed)
	return &s, nil
}

func parseQuery(q url.Values) (*Signature, error) {
	var lacks []string
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if q.Get(name) == "" {
			lacks = append(lacks, "AWS query-string parameters must include '"+name+"'.")
		}
	}
	if len(lacks) > 0 {
		return nil, &Incomplete{strings.Join(lacks, " ") + " Re-examine the query-string parameters."}
	}
	s := Signature{
		Presigned:    true,
		Signature:    q.Get("X-Amz-Signature"),
		SessionToken: q.Get("X-Amz-Security-Token"),
		Expires:      15 * time.Minute,
	}
	var ok bool
	if s.Time, s.TimeText, ok = parseDate(q.Get("X-Amz-Date")); !ok {
		return nil, &Incomplete{"X-Amz-Date must be formatted via ISO8601 Long format, i.e. '20060102T150405Z', got '" + q.Get("X-Amz-Date") + "'."}
	}
	if e := q.Get("X-Amz-Expires"); e != "" {
		n, err := strconv.Atoi(e)
		if err != nil || n < 0 || n > 7*24*3600 {
			return nil, &Incomplete{"X-Amz-Expires must be a non-negative number of seconds, at most 604800, got '" + e + "'."}
		}
		s.Expires = time.Duration(n) * time.Second
	}
	s.finish(q.Get("X-Amz-Algorithm"), q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"))
	return &s, nil
}

// finish reads the credential and the list of signed headers. What is wrong
// with them is told by Check, in AWS's order.
func (s *Signature) finish(algorithm, credential, signed string) {
	s.SignedHeaders = strings.Split(signed, ";")
	p := strings.Split(credential, "/")
	if len(p) == 5 {
		s.AccessKeyID = p[0]
		s.Scope = Scope{Date: p[1], Region: p[2], Service: p[3], Terminator: p[4]}
	}
	switch {
	case !slices.Contains(s.SignedHeaders, "host") && !slices.Contains(s.SignedHeaders, ":authority"):
		s.late = &ScopeError{"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."}
	case slices.ContainsFunc(s.SignedHeaders, func(name string) bool { return name == "" || name != strings.ToLower(name) }):
		s.late = &Incomplete{"'SignedHeaders' must be lower-case names between semicolons, got '" + signed + "'."}
	case algorithm != Algorithm:
		s.late = &Incomplete{"Unsupported AWS 'algorithm': '" + algorithm + "'."}
	case len(p) != 5 || p[0] == "":
		s.late = &Incomplete{"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'"}
	}
}

// parseDate reads the ISO 8601 basic form, and the forms of a Date header.
func parseDate(s string) (time.Time, string, bool) {
	if t, err := time.Parse(timeLayout, s); err == nil {
		return t, s, true
	}
	for _, layout := range []string{time.RFC1123, http.TimeFormat, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			t = t.UTC()
			return t, t.Format(timeLayout), true
		}
	}
	return time.Time{}, "", false
}
