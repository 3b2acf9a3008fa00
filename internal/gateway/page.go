package gateway

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// errForeignPage refuses the built-in key, which is no secret, to web pages.
var errForeignPage = errors.New("The built-in access key does not sign requests of web pages, or to names that others may lead to this machine. " +
	"Use an address or a name below localhost, or start the server with root credentials of its own.")

// foreignPage tells whether a page of another site may have made a browser
// send the request: by a form or an image, or by a name that its owner leads
// to this machine.
func foreignPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return true
		}
	}
	return !ownName(r.Host)
}

// ownName tells whether no stranger can say where a host's name leads: it is
// an address, a name without a domain, below localhost, or AWS's own.
func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || !strings.Contains(host, ".") {
		return true
	}
	for _, suffix := range []string{".localhost", ".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}
