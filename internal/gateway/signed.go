package gateway

import (
	"maps"
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
)

// Signed is a path of Roadstead's own whose requests are signed for a service,
// as its operations are, and which are no operations: the connections that
// agents keep open. They have no body.
type Signed struct {
	// SigningName is the service's, in whose protocol errors are answered.
	SigningName string
	Handler     SignedHandler
}

// SignedHandler serves a request whose caller is known.
type SignedHandler interface {
	// ServeSigned may return an error while it has written nothing: it is
	// answered as an operation's would be. The call's Authorize asks for
	// permissions.
	ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error
}

// signed serves a request to one of cfg.Signed; false when it is to none.
func (g *Gateway) signed(w http.ResponseWriter, r *http.Request) bool {
	for prefix, s := range g.cfg.Signed {
		ms := g.routes.bySigning[s.SigningName]
		if !strings.HasPrefix(r.URL.Path, prefix) || len(ms) == 0 {
			continue
		}
		g.serveSigned(w, r, ms[0], s.Handler)
		return true
	}
	return false
}

func (g *Gateway) serveSigned(w http.ResponseWriter, r *http.Request, m *mounted, h SignedHandler) {
	ctx := r.Context()
	c := &api.Call{
		RequestID: id.UUID(), Time: g.cfg.Clock.Now(), SourceIP: sourceIP(r), Secure: r.TLS != nil, UserAgent: r.UserAgent(), Host: r.Host,
	}
	req := &request{http: r, id: c.RequestID, received: c.Time, query: r.URL.Query()}
	req.path, _, _ = strings.Cut(r.RequestURI, "?")
	req.resource = req.path
	err := func() error {
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			return with(m.dialect.invalid, "The request must not have a body.")
		}
		who, err := g.authenticate(ctx, m, &api.Operation{}, req)
		if err != nil {
			return err
		}
		c.Identity, c.Account, c.Region = who.identity, who.account, who.region
		c.Partition = model.Partition(c.Region)
		c.Authorize = g.authorizer(m, c)
		return h.ServeSigned(w, r.WithContext(api.WithCall(ctx, c)), c)
	}()
	if err == nil {
		return
	}
	resp := g.errorResponse(ctx, m, req, r.URL.Path, err)
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.Status)
	_, _ = w.Write(resp.Body) // the client is gone when it fails
	g.logAccess(ctx, m, r.URL.Path, req, c, resp.Status, err)
}
