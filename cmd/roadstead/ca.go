package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/clock"
)

// caPath is where the endpoint itself hands out the authority's certificate,
// which is no secret. Containers fetch it from there.
const caPath = "/_roadstead/ca.pem"

func caCommand(o *options) *cobra.Command {
	var certificates bool
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of the local authority, which signs for the endpoint's HTTPS",
		Long: `Print the certificate of the local authority, which signs for the endpoint's
HTTPS. It is made where there is none yet. It can sign for localhost and the
names below it, for loopback addresses, for the endpoint's address inside VPCs
and for what --listen and --tls-names name: clients refuse it for all else.

With --certificates it is another authority's: the one that signs what
Certificate Manager is asked for under other names. It could sign for any name,
so nothing trusts it by itself; give it to the clients that need it alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.adoptRunning()
			ca := o.authority()
			if certificates {
				ca = o.certificateAuthority()
			}
			pem, err := ca.PEM()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(pem)
			return err
		},
	}
	cmd.Flags().BoolVar(&certificates, "certificates", false, "the authority that signs Certificate Manager's certificates for other names")
	return cmd
}

// adoptRunning takes over what a running server knows best: where it listens,
// and by which names.
func (o *options) adoptRunning() {
	if st, err := readRunState(o.absDataDir()); err == nil {
		o.listen, o.region = st.Listen, st.Region
		if st.TLSNames != "" {
			o.tlsNames = st.TLSNames
		}
	}
}

// authority is the data folder's. It is not touched before it is used.
func (o *options) authority() *authority.Authority {
	return authority.New(authority.Config{Dir: filepath.Join(o.absDataDir(), "tls"), Hosts: o.tlsHosts(), Clock: clock.System{}})
}

// certificateAuthority signs what Certificate Manager issues for names that
// the data folder's authority may not sign for.
func (o *options) certificateAuthority() *authority.Authority {
	return authority.New(authority.Config{Dir: filepath.Join(o.absDataDir(), "tls", "certificates"), Unconstrained: true, Clock: clock.System{}})
}

// tlsHosts are the names and addresses of the endpoint beyond loopback.
func (o *options) tlsHosts() []string {
	hosts := splitNames(o.tlsNames)
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil || loopback(host) {
		return hosts
	}
	addr, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !addr.IsUnspecified()) {
		return append(hosts, host)
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return hosts
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			hosts = append(hosts, p.Addr().String())
		}
	}
	return hosts
}

func splitNames(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// checkTLSNames says which of the names is none.
func checkTLSNames(names string) error {
	for _, n := range splitNames(names) {
		if _, err := netip.ParseAddr(n); err != nil && (strings.ContainsAny(n, "*/:@") || strings.HasPrefix(n, ".")) {
			return fmt.Errorf("--tls-names: %q is neither a host's name nor an IP address", n)
		}
	}
	return nil
}

// publishCA leaves the certificate where every user of the machine can read
// it, and returns that place: root's data folder is closed to others.
func (o *options) publishCA() (string, error) {
	pem, err := o.authority().PEM()
	if err != nil {
		return "", err
	}
	if os.Geteuid() != 0 {
		return filepath.Join(o.absDataDir(), "tls", authority.CertificateFile), nil
	}
	path := filepath.Join(o.runDir(), authority.CertificateFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, pem) {
		return path, nil
	}
	if err := os.MkdirAll(o.runDir(), 0o755); err != nil {
		return "", err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, pem, 0o644); err != nil {
		return "", err
	}
	return path, os.Rename(tmp, path)
}

// republishCA puts the certificate where shells may expect it from before the
// last down. Servers that nobody has used HTTPS with have none.
func (s *server) republishCA() {
	if _, err := os.Stat(s.path("tls", authority.CertificateFile)); err != nil {
		return
	}
	if _, err := s.publishCA(); err != nil {
		s.log.Warn("the local authority's certificate is not published", "error", err)
	}
}

// serveCA hands out the certificate.
func serveCA(a *authority.Authority) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != caPath {
			http.NotFound(w, r)
			return
		}
		pem, err := a.PEM()
		if err != nil {
			http.Error(w, "The certificate cannot be read.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(pem) // the client is gone when it fails
	})
}
