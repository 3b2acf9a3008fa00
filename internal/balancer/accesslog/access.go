package accesslog

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/plan/sslpolicy"
)

// request is an entry of an access log.
type request struct {
	*l7.Record
	// balancer is the load balancer's resource id, app/name/id.
	balancer string
}

func str(f func(*request) string) func([]byte, *request) []byte {
	return func(b []byte, e *request) []byte { return append(b, f(e)...) }
}

// accessFields are those of an access log's entries.
var accessFields = []field[request]{
	{name: "type", append: str(requestType)},
	{name: "time", append: func(b []byte, e *request) []byte { return appendTime(b, e.Ended) }},
	{name: "elb", append: str(func(e *request) string { return e.balancer })},
	{name: "client:port", append: func(b []byte, e *request) []byte { return appendPeer(b, e.Client) }},
	{name: "target:port", append: str(func(e *request) string { return e.Target })},
	{name: "request_processing_time", append: func(b []byte, e *request) []byte { return e.appendTime(b, e.Dispatching) }},
	{name: "target_processing_time", append: func(b []byte, e *request) []byte { return e.appendTime(b, e.Targeting) }},
	{name: "response_processing_time", append: func(b []byte, e *request) []byte { return e.appendTime(b, e.Passing) }},
	{name: "elb_status_code", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, int64(e.Status), 10) }},
	{name: "target_status_code", append: appendTargetStatus},
	{name: "received_bytes", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, e.Received, 10) }},
	{name: "sent_bytes", append: func(b []byte, e *request) []byte { return strconv.AppendInt(b, e.Sent, 10) }},
	{name: "request_line", quoted: true, append: appendRequestLine},
	{name: "user_agent", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.Agent) }},
	{name: "ssl_cipher", append: func(b []byte, e *request) []byte { return append(b, cipher(e.Session)...) }},
	{name: "ssl_protocol", append: func(b []byte, e *request) []byte { return append(b, protocol(e.Session)...) }},
	{name: "target_group_arn", append: str(func(e *request) string { return e.TargetGroup })},
	{name: "trace_id", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.Trace) }},
	{name: "domain_name", quoted: true, append: func(b []byte, e *request) []byte {
		if e.Session == nil {
			return b
		}
		return appendEscaped(b, e.Session.ServerName)
	}},
	{name: "chosen_cert_arn", quoted: true, append: str(chosenCertificate)},
	{name: "matched_rule_priority", append: func(b []byte, e *request) []byte {
		if !e.Matched {
			return b
		}
		return strconv.AppendInt(b, int64(e.Priority), 10)
	}},
	{name: "request_creation_time", append: func(b []byte, e *request) []byte { return appendTime(b, e.Created) }},
	{name: "actions_executed", quoted: true, append: str(func(e *request) string { return e.Actions })},
	{name: "redirect_url", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.RedirectURL) }},
	{name: "error_reason", quoted: true, append: str(func(e *request) string { return e.ErrorReason })},
	{name: "target:port_list", quoted: true, append: str(func(e *request) string { return e.Target })},
	{name: "target_status_code_list", quoted: true, append: appendTargetStatus},
	{name: "classification", quoted: true, append: str(func(e *request) string { return e.Classification })},
	{name: "classification_reason", quoted: true, append: str(func(e *request) string { return e.ClassificationReason })},
	{name: "conn_trace_id", append: str(func(e *request) string { return e.Connection })},
	{name: "transformed_host", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.TransformedHost) }},
	{name: "transformed_uri", quoted: true, append: func(b []byte, e *request) []byte { return appendEscaped(b, e.TransformedURI) }},
	{name: "request_transform_status", quoted: true, append: str(func(e *request) string { return e.TransformStatus })},
	{name: "ip_address", extra: true, append: func(b []byte, e *request) []byte { return appendAddr(b, e.Node) }},
}

// requestType tells how the request came.
func requestType(e *request) string {
	secure := e.Session != nil
	switch {
	case e.GRPC && secure:
		return "grpcs"
	case e.HTTP2:
		return "h2"
	case e.Tunnel && secure:
		return "wss"
	case e.Tunnel:
		return "ws"
	case e.Scheme == "https":
		return "https"
	default:
		return "http"
	}
}

// appendTime writes a time that only an answer of the target's has.
func (e *request) appendTime(b []byte, d time.Duration) []byte {
	if e.TargetStatus == 0 {
		return append(b, "-1"...)
	}
	return appendSeconds(b, d)
}

func appendTargetStatus(b []byte, e *request) []byte {
	if e.TargetStatus == 0 {
		return b
	}
	return strconv.AppendInt(b, int64(e.TargetStatus), 10)
}

// appendRequestLine writes method, URL and version. A request that could not
// be read has neither method nor version.
func appendRequestLine(b []byte, e *request) []byte {
	if len(e.Method) == 0 {
		b = append(b, "- "...)
	} else {
		b = append(appendEscaped(b, e.Method), ' ')
	}
	b = append(append(b, e.Scheme...), "://"...)
	if len(e.Host) == 0 {
		b = append(b, e.Name...)
	}
	b = appendEscaped(b, e.Host)
	if i := bytes.LastIndexByte(e.Host, ':'); i < 0 || bytes.IndexByte(e.Host[i:], ']') >= 0 {
		b = strconv.AppendInt(append(b, ':'), int64(e.Port), 10)
	}
	if len(e.Method) == 0 {
		return append(b, "- -"...)
	}
	b = appendEscaped(b, e.URI)
	switch {
	case e.HTTP2:
		return append(b, " HTTP/2.0"...)
	case e.Minor == 0:
		return append(b, " HTTP/1.0"...)
	default:
		return append(b, " HTTP/1.1"...)
	}
}

func chosenCertificate(e *request) string {
	switch {
	case e.Session == nil:
		return ""
	case e.Session.Resumed:
		return "session-reused"
	default:
		return e.Session.CertificateARN
	}
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return a.AppendTo(b)
}

func appendPeer(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	return a.AppendTo(b)
}

// cipher is the cipher suite as OpenSSL names it.
func cipher(s *l7.Session) string {
	if s == nil {
		return ""
	}
	_, name := sslpolicy.Negotiated(s.Version, s.Suite)
	return name
}

// protocol is the version of TLS as OpenSSL names it.
func protocol(s *l7.Session) string {
	if s == nil {
		return ""
	}
	name, _ := sslpolicy.Negotiated(s.Version, s.Suite)
	return name
}
