package accesslog

import (
	"strconv"
	"time"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/plan/sslpolicy"
)

// passed is an entry of a classic load balancer's log: a connection of a
// listener that looks into no request.
type passed struct {
	*conduit.Record
	balancer string
}

// classicFields are those of the requests in the log of a classic load
// balancer.
var classicFields = []field[request]{
	{name: "timestamp", append: func(b []byte, e *request) []byte { return appendTime(b, e.Created) }},
	{name: "elb", append: str(func(e *request) string { return e.balancer })},
	{name: "client:port", append: func(b []byte, e *request) []byte { return appendPeer(b, e.Client) }},
	{name: "backend:port", append: func(b []byte, e *request) []byte {
		if e.TargetStatus == 0 {
			return b
		}
		return append(b, e.Target...)
	}},
	{name: "request_processing_time", append: func(b []byte, e *request) []byte { return e.appendMicroseconds(b, e.Dispatching) }},
	{name: "backend_processing_time", append: func(b []byte, e *request) []byte { return e.appendMicroseconds(b, e.Targeting) }},
	{name: "response_processing_time", append: func(b []byte, e *request) []byte { return e.appendMicroseconds(b, e.Passing) }},
	{name: "elb_status_code", append: func(b []byte, e *request) []byte {
		if e.Status == l7.StatusClientGone && e.TargetStatus == 0 {
			return b // classic load balancers have no status for it
		}
		return strconv.AppendInt(b, int64(e.Status), 10)
	}},
	{name: "backend_status_code", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, int64(e.TargetStatus), 10) }},
	{name: "received_bytes", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, max(e.Received-e.ReceivedHead, 0), 10) }},
	{name: "sent_bytes", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, max(e.Sent-e.SentHead, 0), 10) }},
	{name: "request", quoted: true, append: appendRequestLine},
	{name: "user_agent", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.Agent) }},
	{name: "ssl_cipher", append: func(b []byte, e *request) []byte { return append(b, cipher(e.Session)...) }},
	{name: "ssl_protocol", append: func(b []byte, e *request) []byte { return append(b, protocol(e.Session)...) }},
}

func (e *request) appendMicroseconds(b []byte, d time.Duration) []byte {
	if e.TargetStatus == 0 {
		d = -1
	}
	return appendMicroseconds(b, d)
}

func nothing(b []byte, _ *passed) []byte { return b }

// passedFields are classicFields for connections.
var passedFields = []field[passed]{
	{name: "timestamp", append: func(b []byte, e *passed) []byte { return appendTime(b, e.Created) }},
	{name: "elb", append: func(b []byte, e *passed) []byte { return append(b, e.balancer...) }},
	{name: "client:port", append: func(b []byte, e *passed) []byte { return appendPeer(b, e.Client) }},
	{name: "backend:port", append: func(b []byte, e *passed) []byte { return append(b, e.Target...) }},
	{name: "request_processing_time", append: func(b []byte, e *passed) []byte { return appendMicroseconds(b, e.Dispatching) }},
	{name: "backend_processing_time", append: func(b []byte, e *passed) []byte { return appendMicroseconds(b, e.Connecting) }},
	{name: "response_processing_time", append: func(b []byte, e *passed) []byte { return appendMicroseconds(b, e.Passing) }},
	{name: "elb_status_code", append: nothing},
	{name: "backend_status_code", append: nothing},
	{name: "received_bytes", append: func(b []byte, e *passed) []byte { return strconv.AppendInt(b, e.Received, 10) }},
	{name: "sent_bytes", append: func(b []byte, e *passed) []byte { return strconv.AppendInt(b, e.Sent, 10) }},
	{name: "request", quoted: true, append: func(b []byte, _ *passed) []byte { return append(b, "- - - "...) }},
	{name: "user_agent", quoted: true, append: nothing},
	{name: "ssl_cipher", append: func(b []byte, e *passed) []byte {
		_, name := sslpolicy.Negotiated(e.Version, e.Suite)
		return append(b, name...)
	}},
	{name: "ssl_protocol", append: func(b []byte, e *passed) []byte {
		name, _ := sslpolicy.Negotiated(e.Version, e.Suite)
		return append(b, name...)
	}},
}
