package l7

import (
	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/plan/match"
)

// Rewrites are a rule's transforms, each nil where there is none.
type Rewrites struct{ Host, URL *match.Rewrite }

// rewrite changes the request as the rule's transforms say. It is false when
// one of them makes what cannot be sent.
func (c *conn) rewrite(w *Rewrites) bool {
	if w.Host != nil {
		if host, matched := w.Host.Apply(c.req.Host); matched {
			if !h1.ValidHost(host) || len(host) == 0 {
				c.transformed("TransformInvalidHost")
				return false
			}
			c.req.Host, c.rehosted = host, true
			if c.rec != nil {
				c.rec.TransformedHost = host
			}
			c.transformed("TransformSuccess")
		}
	}
	if w.URL != nil {
		if target, matched := w.URL.Apply(c.req.Target); matched {
			if !h1.ValidTarget(target) {
				c.transformed("TransformInvalidPath")
				return false
			}
			c.req.Target = target
			if c.rec != nil {
				c.rec.TransformedURI = target
			}
			c.transformed("TransformSuccess")
		}
	}
	return true
}

// transformed tells what became of a transform.
func (c *conn) transformed(status string) {
	if c.rec != nil {
		c.rec.TransformStatus = status
	}
}
