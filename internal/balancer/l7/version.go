package l7

import (
	"bytes"
	"net/http"
)

// statusIncompatible answers a request that the targets' version of HTTP
// cannot serve.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
const statusIncompatible = 464

// compatible tells whether targets of that version can be sent the request.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-protocol-version
func (c *conn) compatible(v Version) bool {
	_, isStream := c.c.(*stream)
	switch v {
	case HTTP2:
		return isStream
	case GRPC:
		return isStream && string(c.req.Method) == http.MethodPost
	case HTTP1:
		fallthrough
	default:
		return !isStream || !isGRPC(c.contentType())
	}
}

func (c *conn) contentType() string {
	for i := range c.req.Fields {
		if f := &c.req.Fields[i]; bytes.EqualFold(f.Name, []byte("content-type")) {
			return string(f.Value)
		}
	}
	return ""
}

// incompatible answers such a request, without a page.
func (c *conn) incompatible() bool {
	c.stats.own(statusIncompatible)
	return c.answer(statusIncompatible, "", "", "", c.skipBody())
}
