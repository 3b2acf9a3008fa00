package truststores

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/clock"
)

// Path is where the endpoint serves contents to whoever has a URL of URL's.
const Path = "/_roadstead/trust-stores/"

// ticket is the name that tickets are sealed under.
const ticket = "trust store's content by URL"

// URL is where anybody may get a content until a time. Origin is the scheme and
// the authority that the client reaches the server by.
func (c *Contents) URL(origin, name string, expires time.Time) string {
	sealed := c.key.Seal(ticket, fmt.Appendf(nil, "%d %s", expires.Unix(), name))
	return origin + Path + name + "?ticket=" + url.QueryEscape(sealed)
}

// Handler serves what URL's URLs lead to.
func (c *Contents) Handler(clk clock.Clock) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := strings.CutPrefix(r.URL.Path, Path)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "only GET and HEAD are served", http.StatusMethodNotAllowed)
			return
		}
		if !c.admits(r.URL.Query().Get("ticket"), name, clk.Now()) {
			http.Error(w, "the URL is not signed, or has expired", http.StatusForbidden)
			return
		}
		text, err := c.Get(name)
		if err != nil {
			http.Error(w, "there is no such content any more", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text)
	})
}

func (c *Contents) admits(sealed, name string, now time.Time) bool {
	text, err := c.key.Open(ticket, sealed)
	if err != nil {
		return false
	}
	until, of, _ := strings.Cut(string(text), " ")
	sec, err := strconv.ParseInt(until, 10, 64)
	return err == nil && of == name && now.Before(time.Unix(sec, 0))
}
