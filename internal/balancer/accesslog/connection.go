package accesslog

import (
	"crypto/tls"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// connection is an entry of a connection log.
type connection struct {
	*l7.Connection
	balancer string
}

// connectionFields are those of a connection log's entries.
var connectionFields = []field[connection]{
	{name: "time", append: func(b []byte, e *connection) []byte { return appendTime(b, e.At) }},
	{name: "client_ip", append: func(b []byte, e *connection) []byte { return appendAddr(b, e.Client.Addr()) }},
	{name: "client_port", append: func(b []byte, e *connection) []byte { return strconv.AppendInt(b, int64(e.Client.Port()), 10) }},
	{name: "listener_port", append: func(b []byte, e *connection) []byte { return strconv.AppendInt(b, int64(e.Port), 10) }},
	{name: "tls_protocol", append: func(b []byte, e *connection) []byte { return append(b, protocol(e.Session)...) }},
	{name: "tls_cipher", append: func(b []byte, e *connection) []byte { return append(b, cipher(e.Session)...) }},
	{name: "tls_handshake_latency", append: func(b []byte, e *connection) []byte {
		if e.Session == nil || e.Session.Failed != "" {
			return b
		}
		return appendSeconds(b, e.Session.Handshake)
	}},
	{name: "leaf_client_cert_subject", quoted: true, append: func(b []byte, e *connection) []byte {
		if e.Session == nil || e.Session.Client == nil {
			return b
		}
		return appendEscaped(b, e.Session.Client.Subject.String())
	}},
	{name: "leaf_client_cert_validity", append: func(b []byte, e *connection) []byte {
		if e.Session == nil || e.Session.Client == nil {
			return b
		}
		c := e.Session.Client
		b = c.NotBefore.UTC().AppendFormat(append(b, "NotBefore="...), time.RFC3339)
		return c.NotAfter.UTC().AppendFormat(append(b, ";NotAfter="...), time.RFC3339)
	}},
	{name: "leaf_client_cert_serial_number", append: func(b []byte, e *connection) []byte {
		if e.Session == nil || e.Session.Client == nil {
			return b
		}
		return append(b, strings.ToUpper(e.Session.Client.SerialNumber.Text(16))...)
	}},
	{name: "tls_verify_status", append: func(b []byte, e *connection) []byte {
		switch {
		case e.Session == nil:
			return b
		case e.Session.Failed != "":
			return append(append(b, "Failed:"...), e.Session.Failed...)
		default:
			return append(b, "Success"...)
		}
	}},
	{name: "conn_trace_id", append: func(b []byte, e *connection) []byte { return append(b, e.Trace...) }},
	{name: "tls_keyexchange", append: func(b []byte, e *connection) []byte {
		if e.Session == nil {
			return b
		}
		return append(b, curves[e.Session.Curve]...)
	}},
	{name: "elb", extra: true, append: func(b []byte, e *connection) []byte { return append(b, e.balancer...) }},
	{name: "ip_address", extra: true, append: func(b []byte, e *connection) []byte { return appendAddr(b, e.Node) }},
}

// curves are the names of key exchanges.
var curves = map[tls.CurveID]string{
	tls.CurveP256: "secp256r1", tls.CurveP384: "secp384r1", tls.CurveP521: "secp521r1", tls.X25519: "x25519", tls.X25519MLKEM768: "X25519MLKEM768",
}
