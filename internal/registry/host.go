package registry

import (
	"net"
	"regexp"
	"strings"
)

// host is the name of a registry: ours on this machine, or AWS's own where a
// network leads it here.
var host = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr\.([a-z0-9-]{2,25})\.(?:localhost|amazonaws\.com(?:\.cn)?)$`)

// SpaceOfHost finds the registry that a Host header names; false when it names
// none.
func SpaceOfHost(h string) (Space, bool) {
	if name, _, err := net.SplitHostPort(h); err == nil {
		h = name
	}
	m := host.FindStringSubmatch(strings.TrimSuffix(strings.ToLower(h), "."))
	if m == nil {
		return Space{}, false
	}
	return Space{Account: m[1], Region: m[2]}, true
}

// Host is the name of a registry on this machine, with the port of the
// authority that the client reached the server by.
func Host(sp Space, authority string) string {
	h := sp.Account + ".dkr.ecr." + sp.Region + ".localhost"
	if _, port, err := net.SplitHostPort(authority); err == nil && port != "" {
		h += ":" + port
	}
	return h
}
