package l7

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// AccessLog is told of requests once they are answered, or were given up. It
// must not block.
type AccessLog interface{ Request(*Record) }

// Record is what is logged of a request. It is valid during the call that it
// is handed over with.
type Record struct {
	// Created is when the request came, Ended when its response was sent; of a
	// tunnel: when that ended.
	Created, Ended time.Time
	Node           netip.Addr
	Client         netip.AddrPort
	// Scheme and Port are the listener's.
	Scheme string
	Port   int32
	// Name is the load balancer's, for requests that name no host.
	Name string

	// Method and URI are empty of a request that could not be read. They and
	// what else came from the client are copies.
	Method, URI, Host, Agent []byte
	// Minor is the version, HTTP/1.Minor; HTTP2 tells HTTP/2 apart, GRPC what
	// is spoken over it, and Tunnel a request that became one.
	Minor               byte
	HTTP2, GRPC, Tunnel bool

	Session    *Session
	Connection string // as in Connection.Trace
	// Trace is X-Amzn-Trace-Id as the target got it.
	Trace []byte

	// Matched tells whether a rule was found, the default one with Priority 0.
	Matched  bool
	Priority int32
	// Actions are those that were taken, with commas between them.
	Actions     string
	RedirectURL string
	ErrorReason string
	// Classification of a request that does not comply with RFC 7230.
	Classification, ClassificationReason string
	// Transformed are host and URI where transforms changed them.
	TransformedHost, TransformedURI []byte
	TransformStatus                 string

	// Status is 460 when the client went away without a response.
	Status         int
	Received, Sent int64
	// ReceivedHead and SentHead are the parts of them that are heads.
	ReceivedHead, SentHead int64
	// Target and TargetGroup are empty when the request went to none.
	Target, TargetGroup string
	// TargetStatus is 0 when the target did not answer. The three times that
	// follow are valid when it did: until the request was sent, until the
	// response began, and until that began to be sent on.
	TargetStatus                    int
	Dispatching, Targeting, Passing time.Duration

	text []byte
}

var records = sync.Pool{New: func() any { return new(Record) }}

// note begins the record of a request, whose head may be n bytes long, when
// requests are logged.
func (c *conn) note(n int) {
	if c.table.Access == nil {
		return
	}
	r := records.Get().(*Record) //nolint:forcetypeassert // the pool holds nothing else
	*r = Record{text: r.text[:0], Created: time.Now(), ReceivedHead: int64(n)}
	c.rec = r
	c.received, c.sent = int64(n), 0
}

// maxAgent is the length that a User-Agent is cut to.
const maxAgent = 8 << 10

// noteRequest copies what is logged of the request, whose bytes may not be
// there any more when it is answered.
func (c *conn) noteRequest() {
	r, req := c.rec, &c.req
	var agent, trace []byte
	for i := range req.Fields {
		switch f := &req.Fields[i]; {
		case f.ID == h1.XAmznTraceID:
			trace = f.Value
		case f.ID == h1.Other && len(f.Name) == len("user-agent") && bytes.EqualFold(f.Name, []byte("user-agent")):
			agent = f.Value[:min(len(f.Value), maxAgent)]
		case f.ID == h1.Other && len(f.Name) == len("content-type") && bytes.EqualFold(f.Name, []byte("content-type")):
			r.GRPC = c.h2 && bytes.HasPrefix(f.Value, []byte("application/grpc"))
		}
	}
	need := len(req.Method) + len(req.Target) + len(req.Host) + len(agent) + len(trace)
	if cap(r.text) < need {
		r.text = make([]byte, 0, 2*need)
	}
	keep := func(b []byte) []byte {
		at := len(r.text)
		r.text = append(r.text, b...)
		return r.text[at:len(r.text):len(r.text)]
	}
	r.Method, r.URI, r.Host, r.Agent, r.Trace = keep(req.Method), keep(req.Target), keep(req.Host), keep(agent), keep(trace)
	r.Minor, r.HTTP2 = req.Minor, c.h2
}

// acted tells that an action was taken.
func (c *conn) acted(action string) {
	r := c.rec
	switch {
	case r == nil:
	case r.Actions == "":
		r.Actions = action
	default:
		r.Actions += "," + action
	}
}

// headed tells that a head of n bytes is sent to the client.
func (c *conn) headed(n int) {
	if c.rec != nil {
		c.rec.SentHead += int64(n)
	}
}

// traced takes the line over that tells the target X-Amzn-Trace-Id.
func (r *Record) traced(line []byte) {
	line = bytes.TrimPrefix(line, []byte("X-Amzn-Trace-Id: "))
	r.Trace = append([]byte(nil), bytes.TrimSuffix(line, []byte("\r\n"))...)
}

// answered tells that the target did, took nanoseconds after the request was
// sent to it.
func (r *Record) answered(x *exchange, status int, took int64) {
	r.Status, r.TargetStatus = status, status
	r.Dispatching = max(x.began-r.Created.Sub(started), 0)
	r.Targeting = time.Duration(took)
	r.Passing = max(sinceStart()-x.began-r.Targeting, 0)
	r.Tunnel = status == 101
}

// StatusClientGone is logged when the client did not wait for the response.
const StatusClientGone = 460

// logged ends the record of the current request, if there is one.
func (c *conn) logged() {
	r := c.rec
	if r == nil {
		return
	}
	c.rec = nil
	log, s := c.table.Access, c.settings()
	if log == nil {
		records.Put(r)
		return
	}
	r.Ended = time.Now()
	r.Node, r.Client = local(c.c), c.peer
	r.Scheme, r.Port, r.Name = s.Scheme, s.Port, s.Name
	r.Received, r.Sent = c.received, c.sent
	if r.Status == 0 {
		r.Status = StatusClientGone
	}
	r.Session = c.session
	if c.trace == "" {
		c.trace = newTrace()
	}
	r.Connection = c.trace
	if r.Target == "" && len(r.Method) > 0 {
		r.traced(appendTrace(nil, r.Trace, len(r.Trace)))
	}
	log.Request(r)
	r.Session = nil
	if cap(r.text) > largeBuffer {
		r.text = nil
	}
	records.Put(r)
}

// took consumes the part of the body that came with the head.
func (c *conn) took(n int64) {
	c.r.r += int(n)
	if n > 0 {
		c.received += n
		c.stats.BytesIn.Add(n)
	}
}

// classify tells what is wrong with a request that cannot be understood, in
// the words of access logs.
func (r *Record) classify(err error) {
	switch {
	case errors.Is(err, h1.ErrVersion):
		r.Classification, r.ClassificationReason = "Severe", "BadVersion"
	case errors.Is(err, h1.ErrCoding):
		r.Classification, r.ClassificationReason = "Severe", "BadTransferEncoding"
	}
}

// newTrace makes the id of a connection.
func newTrace() string {
	var raw [16]byte
	a, b := rand.Uint64(), rand.Uint64() //nolint:gosec // an identifier, no secret
	for i := range 8 {
		raw[i], raw[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	return "TID_" + hex.EncodeToString(raw[:])
}
