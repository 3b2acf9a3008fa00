package l7

import "roadstead.dev/internal/plan/sslpolicy"

// tellTLS tells the target how the client's TLS is spoken, in the place of what
// the client says of it.
func (c *conn) tellTLS() {
	s := c.settings()
	c.req.Drop(func(name []byte) bool {
		return alike(s.TLSVersionField, name) || alike(s.TLSCipherField, name)
	})
	if t := c.session; t != nil {
		protocol, cipher := sslpolicy.Negotiated(t.Version, t.Suite)
		c.req.Add(s.TLSVersionField, protocol)
		c.req.Add(s.TLSCipherField, cipher)
	}
}
