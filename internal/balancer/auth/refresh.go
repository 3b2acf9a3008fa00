package auth

import (
	"context"
	"time"
)

// refreshing is a refresh that is under way, or was done of late.
type refreshing struct {
	done chan struct{}
	// The rest is valid once done is closed.
	s   *session
	err error
	at  time.Time
}

// remembered is how long what a refresh token gave is given again: requests
// that a browser sends at once come with the same token, and many providers
// take each only once.
const remembered = 30 * time.Second

// refresh renews a session, once for all requests that ask for it at a time.
// First tells those apart that the provider was asked for.
func (c *Client) refresh(ctx context.Context, p *Provider, old *session) (s *session, first bool, err error) {
	key := digest(p.Issuer, p.TokenEndpoint, p.ClientID, old.Refresh)
	now := c.cfg.Now()
	c.mu.Lock()
	for k, r := range c.refreshes {
		if !r.at.IsZero() && now.Sub(r.at) > remembered {
			delete(c.refreshes, k)
		}
	}
	r := c.refreshes[key]
	if r == nil {
		r = &refreshing{done: make(chan struct{})}
		c.refreshes[key] = r
		first = true
	}
	c.mu.Unlock()
	if !first {
		select {
		case <-r.done:
			return r.s, false, r.err
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	// Who asked first may go away, and the others still wait.
	s, err = c.renew(context.WithoutCancel(ctx), p, old)
	c.mu.Lock()
	r.s, r.err = s, err
	if r.at = c.cfg.Now(); err != nil {
		delete(c.refreshes, key)
	}
	c.mu.Unlock()
	close(r.done)
	return s, true, err
}
