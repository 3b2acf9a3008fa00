package l7

import "net/http"

// statusIncompatible answers a request that the targets' version of HTTP
// cannot serve.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
const statusIncompatible = 464

// compatible tells whether targets of that version can be sent the request.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-protocol-version
func (c *conn) compatible(v Version) bool {
	st, isStream := c.c.(*stream)
	switch v {
	case HTTP2:
		return isStream
	case GRPC:
		return isStream && st.req.Method == http.MethodPost
	case HTTP1:
		fallthrough
	default:
		return !isStream || !isGRPC(st.req.Header.Get("Content-Type"))
	}
}

// incompatible answers such a request, without a page.
func (c *conn) incompatible() bool {
	c.stats.own(statusIncompatible)
	return c.answer(statusIncompatible, "", "", "", c.skipBody())
}
