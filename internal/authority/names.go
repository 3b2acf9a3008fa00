package authority

import (
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// What every authority may sign for: loopback, the names below localhost, and
// the address at which VPCs have the endpoint.
const localDomain = "localhost"

var localRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("169.254.170.2/32"),
}

// permit writes name constraints: the local ones, those of former, if any, and
// hosts.
func permit(t, former *x509.Certificate, hosts []string) {
	domains := []string{localDomain}
	ranges := slices.Clone(localRanges)
	if former != nil {
		domains = append(domains, former.PermittedDNSDomains...)
		for _, r := range former.PermittedIPRanges {
			if p, ok := prefixOf(r); ok {
				ranges = append(ranges, p)
			}
		}
	}
	for _, h := range hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			a = a.Unmap().WithZone("")
			ranges = append(ranges, netip.PrefixFrom(a, a.BitLen()))
		} else if h = hostName(h); h != "" {
			domains = append(domains, h)
		}
	}
	for _, d := range domains {
		if !permitsName(t, d) {
			t.PermittedDNSDomains = append(t.PermittedDNSDomains, d)
		}
	}
	for _, p := range ranges {
		if !permitsAddr(t, p.Addr()) {
			t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
		}
	}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), ok
}

// permitsAll tells whether the constraints of a certificate admit all hosts.
func permitsAll(c *x509.Certificate, hosts []string) bool {
	return !slices.ContainsFunc(hosts, func(h string) bool { return !permits(c, h) })
}

func permits(c *x509.Certificate, host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return permitsAddr(c, a)
	}
	name := hostName(host)
	return name == "" || permitsName(c, name)
}

func permitsName(c *x509.Certificate, name string) bool {
	return slices.ContainsFunc(c.PermittedDNSDomains, func(d string) bool {
		return name == d || strings.HasSuffix(name, "."+d)
	})
}

func permitsAddr(c *x509.Certificate, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(c.PermittedIPRanges, func(n *net.IPNet) bool {
		p, ok := prefixOf(n)
		return ok && p.Contains(a)
	})
}

// hostName is a DNS name in lower case, without a final dot; empty when it is
// none.
func hostName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return ""
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return ""
			}
		}
	}
	return s
}

// localAddr is the address of a connection's own end, or empty.
func localAddr(c net.Conn) string {
	if c == nil || c.LocalAddr() == nil {
		return ""
	}
	ap, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().WithZone("").String()
}
