package accesslog

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/plan/sslpolicy"
)

// secured is an entry of a network load balancer's log: a connection of a TLS
// listener.
type secured struct {
	*conduit.Session
	balancer string
}

// maxAsked bounds the list of the protocols that a client knows.
const maxAsked = 256

// networkTime is how those logs write times.
const networkTime = "2006-01-02T15:04:05"

func none(b []byte, _ *secured) []byte { return b }

// securedFields are those of a network load balancer's log.
var securedFields = []field[secured]{
	{name: "type", append: func(b []byte, _ *secured) []byte { return append(b, "tls"...) }},
	{name: "version", append: func(b []byte, _ *secured) []byte { return append(b, "2.0"...) }},
	{name: "time", append: func(b []byte, e *secured) []byte { return e.Ended.UTC().AppendFormat(b, networkTime) }},
	{name: "elb", append: func(b []byte, e *secured) []byte { return append(b, e.balancer...) }},
	{name: "listener", append: func(b []byte, e *secured) []byte { return append(b, e.Listener...) }},
	{name: "client:port", append: func(b []byte, e *secured) []byte { return appendPeer(b, e.Client) }},
	{name: "destination:port", append: func(b []byte, e *secured) []byte { return appendPeer(b, e.Destination) }},
	{name: "connection_time", append: func(b []byte, e *secured) []byte { return appendMilliseconds(b, e.Ended.Sub(e.Created)) }},
	{name: "tls_handshake_time", append: func(b []byte, e *secured) []byte { return appendMilliseconds(b, e.Handshake) }},
	{name: "received_bytes", append: func(b []byte, e *secured) []byte { return strconv.AppendInt(b, e.Received, 10) }},
	{name: "sent_bytes", append: func(b []byte, e *secured) []byte { return strconv.AppendInt(b, e.Sent, 10) }},
	{name: "incoming_tls_alert", append: func(b []byte, e *secured) []byte {
		if e.Alert < 0 {
			return b
		}
		return strconv.AppendInt(b, int64(e.Alert), 10)
	}},
	{name: "chosen_cert_arn", append: func(b []byte, e *secured) []byte { return append(b, e.CertificateARN...) }},
	{name: "chosen_cert_serial", append: none},
	{name: "tls_cipher", append: func(b []byte, e *secured) []byte {
		_, name := sslpolicy.Negotiated(e.Version, e.Suite)
		return append(b, name...)
	}},
	{name: "tls_protocol_version", append: func(b []byte, e *secured) []byte {
		name, _ := sslpolicy.Negotiated(e.Version, e.Suite)
		v := strings.ToLower(strings.ReplaceAll(name, ".", ""))
		if v == "tlsv1" {
			v = "tlsv10"
		}
		return append(b, v...)
	}},
	{name: "tls_named_group", append: none},
	{name: "domain_name", append: func(b []byte, e *secured) []byte { return append(b, url.PathEscape(e.ServerName)...) }},
	{name: "alpn_fe_protocol", append: func(b []byte, e *secured) []byte { return append(b, e.Front...) }},
	{name: "alpn_be_protocol", append: func(b []byte, e *secured) []byte { return append(b, e.Back...) }},
	{name: "alpn_client_preference_list", append: appendAsked},
	{name: "tls_connection_creation_time", append: func(b []byte, e *secured) []byte { return e.Created.UTC().AppendFormat(b, networkTime) }},
}

func appendMilliseconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		return b
	}
	return strconv.AppendInt(b, d.Milliseconds(), 10)
}

// appendAsked lists the protocols in quotes, with what is in them encoded.
func appendAsked(b []byte, e *secured) []byte {
	at := len(b)
	for i, p := range e.Asked {
		if i > 0 {
			b = append(b, ',')
		}
		p = strings.ReplaceAll(url.PathEscape(p), "%2F", "/")
		b = append(append(append(b, '"'), p...), '"')
	}
	return b[:min(len(b), at+maxAsked)]
}
