package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// trustStore is how a distribution keeps the authorities that its programs
// trust: files in a folder, and a command that makes bundles of them.
type trustStore struct {
	dir    string
	update []string
	// afterRemoval is the command that forgets a file, where it differs.
	afterRemoval []string
}

// trustStores by distribution; a machine has the folder of one.
var trustStores = []trustStore{
	// Debian, Ubuntu, Alpine
	{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}, []string{"update-ca-certificates", "--fresh"}},
	// Red Hat, Fedora, Amazon Linux
	{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust", "extract"}, nil},
	// SUSE
	{"/etc/pki/trust/anchors", []string{"update-ca-certificates"}, []string{"update-ca-certificates", "--fresh"}},
	// Arch
	{"/etc/ca-certificates/trust-source/anchors", []string{"trust", "extract-compat"}, nil},
}

// Trust keeps one authority among those that the machine's programs trust.
type Trust struct {
	// Name is the file's, without its ending: instances side by side have
	// authorities of their own.
	Name string

	// root and run are the machine's, but in tests.
	root string
	run  func(ctx context.Context, command []string) error
}

var errNoTrustStore = errors.New("this machine's way of trusting certificate authorities is not known: give the output of roadstead ca to it, or set AWS_CA_BUNDLE")

// store finds the machine's, and the file's place in it.
func (t *Trust) store() (trustStore, string, error) {
	for _, s := range trustStores {
		if st, err := os.Stat(filepath.Join(t.root, s.dir)); err == nil && st.IsDir() {
			return s, filepath.Join(t.root, s.dir, t.Name+".crt"), nil
		}
	}
	return trustStore{}, "", errNoTrustStore
}

// Install makes the machine's programs trust an authority, and returns the
// file that says so.
func (t *Trust) Install(ctx context.Context, pem []byte) (string, error) {
	s, path, err := t.store()
	if err != nil {
		return "", err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, pem) {
		return path, nil
	}
	if err := os.WriteFile(path, pem, 0o644); err != nil {
		return "", err
	}
	if err := t.command(ctx, s.update); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

// Remove takes the authority out again. It is no error when it is not there.
func (t *Trust) Remove(ctx context.Context) (removed bool, err error) {
	s, path, err := t.store()
	if err != nil {
		return false, err
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	if s.afterRemoval != nil {
		return true, t.command(ctx, s.afterRemoval)
	}
	return true, t.command(ctx, s.update)
}

func (t *Trust) command(ctx context.Context, command []string) error {
	if t.run != nil {
		return t.run(ctx, command)
	}
	if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// checkTrust tells whether the machine trusts the instance's authority. It need
// not.
func checkTrust(s Settings) Finding {
	if len(s.Authority) == 0 {
		return fine("no certificate authority was made yet; roadstead ca makes it")
	}
	_, path, err := s.Trust.store()
	if err != nil {
		return fine("the local authority is trusted where AWS_CA_BUNDLE names it")
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fine("this machine does not trust the local authority; roadstead doctor --install-ca makes it")
	case err != nil:
		return Finding{Level: Warning, Detail: err.Error(), Remedy: "use sudo"}
	case !bytes.Equal(b, s.Authority):
		return Finding{Level: Warning, Detail: path + " is not the authority's certificate of today", Remedy: "roadstead doctor --install-ca"}
	}
	return fine("this machine trusts the local authority, by %s", path)
}
