package authority

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// leafLife is well below the 397 days that strict clients allow.
	leafLife = 90 * 24 * time.Hour
	// leafRenew is what must be left of it.
	leafRenew = 30 * 24 * time.Hour
	// maxLeaves bounds the cache: names below localhost are without number.
	maxLeaves = 512
)

// leaf is a certificate with the time from which on it is made anew.
type leaf struct {
	cert  *tls.Certificate
	renew time.Time
}

// issue signs a certificate for a name, or for an address and all that the
// endpoint is called besides: who forwards a port connects to another address
// than the one that the server sees.
func (a *Authority) issue(r *root, id string, now time.Time) (*leaf, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Roadstead"}},
		NotBefore:    now.Add(-backdate).Truncate(time.Second),
		NotAfter:     now.Add(leafLife).Truncate(time.Second),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	_, err = netip.ParseAddr(id)
	if id == "" || id == localDomain || err == nil {
		addHosts(t, r.cert, append([]string{localDomain, "127.0.0.1", "::1", "169.254.170.2", id}, a.cfg.Hosts...))
	} else {
		addHosts(t, r.cert, []string{id})
	}
	der, err := x509.CreateCertificate(rand.Reader, t, r.cert, &a.key.PublicKey, r.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &leaf{
		cert:  &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key, Leaf: parsed},
		renew: now.Add(leafLife - leafRenew),
	}, nil
}

// addHosts writes the subject's names. One that the authority may not sign for
// would spoil all of them, so it is left out.
func addHosts(t, ca *x509.Certificate, hosts []string) {
	for _, h := range hosts {
		if addr, err := netip.ParseAddr(h); err == nil {
			ip := net.IP(addr.Unmap().WithZone("").AsSlice())
			if permitsAddr(ca, addr) && !slices.ContainsFunc(t.IPAddresses, ip.Equal) {
				t.IPAddresses = append(t.IPAddresses, ip)
			}
		} else if h = hostName(h); h != "" && permitsName(ca, h) && !slices.Contains(t.DNSNames, h) {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
}
