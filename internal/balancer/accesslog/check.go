package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

// Check is a health check of a target.
type Check struct {
	// Type is what was spoken: http, https, h2 or grpc.
	Type string
	// Began and Took are when the check was made and how long it took.
	Began time.Time
	Took  time.Duration
	// Target is its address with the port that was asked; Group is the name of
	// its target group.
	Target, Group string
	// Status is what the target answered with, empty when it did not.
	Status string
	// Reason is why the check failed, empty when it succeeded.
	Reason string
	// Node made the check.
	Node netip.Addr
}

// Reasons of checks that fail.
const (
	CheckTimedOut        = "TimedOut"
	CheckConnectionReset = "ConnectionReset"
	CheckMismatch        = "ResponseCodeMismatch"
	CheckTargetError     = "TargetError"
	CheckInternalError   = "InternalError"
	CheckGRPCNoStatus    = "GRPCStatusHeaderEmpty"
	CheckGRPCStatus      = "GRPCUnexpectedStatus"
)

// check is an entry of a health check log.
type check struct {
	*Check
	balancer string
}

// checkFields are those of a health check log's entries.
var checkFields = []field[check]{
	{name: "type", append: func(b []byte, e *check) []byte { return append(b, e.Type...) }},
	{name: "time", append: func(b []byte, e *check) []byte { return appendTime(b, e.Began) }},
	{name: "latency", append: func(b []byte, e *check) []byte {
		d := max(e.Took, 0)
		b = append(strconv.AppendInt(b, int64(d/time.Second), 10), '.')
		return digits(b, int(d%time.Second), 9)
	}},
	{name: "target_addr", append: func(b []byte, e *check) []byte { return append(b, e.Target...) }},
	{name: "target_group_id", append: func(b []byte, e *check) []byte { return append(b, e.Group...) }},
	{name: "status", append: func(b []byte, e *check) []byte {
		if e.Reason != "" {
			return append(b, "FAIL"...)
		}
		return append(b, "PASS"...)
	}},
	{name: "status_code", append: func(b []byte, e *check) []byte { return append(b, e.Status...) }},
	{name: "reason_code", append: func(b []byte, e *check) []byte { return append(b, e.Reason...) }},
	{name: "elb", extra: true, append: func(b []byte, e *check) []byte { return append(b, e.balancer...) }},
	{name: "ip_address", extra: true, append: func(b []byte, e *check) []byte { return appendAddr(b, e.Node) }},
}
