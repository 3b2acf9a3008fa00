package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Files of an authority's folder.
const (
	KeyFile         = "ca.key"
	CertificateFile = "ca.pem"
	lockFile        = "ca.lock"
)

const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	// rootRenew is what must be left of it; no leaf outlives it.
	rootRenew = 365 * 24 * time.Hour
	// backdate allows for clocks that differ.
	backdate = time.Hour
)

// root is the authority's key with its certificate.
type root struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// good tells whether the certificate will do for a while.
func (r *root) good(now time.Time) bool {
	return now.After(r.cert.NotBefore) && now.Add(rootRenew).Before(r.cert.NotAfter)
}

// openRoot reads the authority of a folder. The key is made once. The
// certificate is made anew, with the same key, when it runs out or does not
// permit one of hosts: clients that trust the former one go on trusting what
// that one permitted.
func openRoot(cfg Config, now time.Time) (*root, error) {
	dir := cfg.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	defer unlock()
	r := new(root)
	if r.key, err = openKey(filepath.Join(dir, KeyFile)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, CertificateFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if r.cert, err = parseCertificate(b); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !r.key.PublicKey.Equal(r.cert.PublicKey) {
			return nil, fmt.Errorf("%s does not belong to %s: remove both, and trust the authority that takes their place", path, KeyFile)
		}
		if r.good(now) && (cfg.Unconstrained || permitsAll(r.cert, cfg.Hosts)) {
			return r, nil
		}
	}
	if r.cert, err = makeRoot(cfg, r.key, r.cert, now); err != nil {
		return nil, err
	}
	return r, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: r.cert.Raw}), 0o644)
}

// makeRoot signs a certificate that permits what former did, and cfg.Hosts.
func makeRoot(cfg Config, key *ecdsa.PrivateKey, former *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	kind := "local"
	if cfg.Unconstrained {
		kind = "certificate"
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		// Several authorities on one machine are told apart by their names.
		Subject:     pkix.Name{Organization: []string{"Roadstead"}, CommonName: "Roadstead " + kind + " authority " + hex.EncodeToString(sum[:4])},
		NotBefore:   now.Add(-backdate).Truncate(time.Second),
		NotAfter:    now.Add(rootLife).Truncate(time.Second),
		IsCA:        true,
		KeyUsage:    x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// It signs leaves, no further authorities.
		BasicConstraintsValid: true, MaxPathLenZero: true,
		SubjectKeyId: sum[:20],
	}
	if !cfg.Unconstrained {
		t.PermittedDNSDomainsCritical = true
		permit(t, former, cfg.Hosts)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func parseCertificate(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemCertificate {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// openKey reads the key of the file, or makes it.
func openKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("%s: no PEM private key", path)
	}
	var key crypto.PrivateKey
	if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an ECDSA key", path)
	}
	return ec, nil
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), 0o600)
}

// writeFile leaves the whole file or none.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return nil
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// lock keeps other processes out until unlock.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
