package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuthorityIsInstalledAndRemoved(t *testing.T) {
	for name, tt := range map[string]struct{ dir, install, remove string }{
		"Debian":  {"usr/local/share/ca-certificates", "update-ca-certificates", "update-ca-certificates --fresh"},
		"Red Hat": {"etc/pki/ca-trust/source/anchors", "update-ca-trust extract", "update-ca-trust extract"},
		"SUSE":    {"etc/pki/trust/anchors", "update-ca-certificates", "update-ca-certificates --fresh"},
		"Arch":    {"etc/ca-certificates/trust-source/anchors", "trust extract-compat", "trust extract-compat"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, tt.dir)
			if err := os.MkdirAll(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			var ran []string
			trust := &Trust{Name: "roadstead-rs1", root: root, run: func(_ context.Context, command []string) error {
				ran = append(ran, strings.Join(command, " "))
				return nil
			}}
			settings := func(pem string) Settings { return Settings{Authority: []byte(pem), Trust: trust} }
			if f := checkTrust(settings("one")); f.Level != OK || !strings.Contains(f.Detail, "--install-ca") {
				t.Errorf("before: %+v", f)
			}
			path, err := trust.Install(t.Context(), []byte("one"))
			if err != nil || filepath.Dir(path) != dir {
				t.Fatalf("%s, %v", path, err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "one" {
				t.Fatalf("%q, %v", b, err)
			}
			if f := checkTrust(settings("one")); f.Level != OK || !strings.Contains(f.Detail, path) {
				t.Errorf("installed: %+v", f)
			}
			if f := checkTrust(settings("two")); f.Level != Warning || f.Remedy == "" {
				t.Errorf("another one installed: %+v", f)
			}
			if _, err := trust.Install(t.Context(), []byte("one")); err != nil {
				t.Fatal(err)
			}
			removed, err := trust.Remove(t.Context())
			if err != nil || !removed {
				t.Fatalf("removed %t, %v", removed, err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the file is still there")
			}
			if removed, err := trust.Remove(t.Context()); err != nil || removed {
				t.Errorf("removed again: %t, %v", removed, err)
			}
			if got := strings.Join(ran, ", "); got != tt.install+", "+tt.remove {
				t.Errorf("ran %s", got)
			}
		})
	}
}

func TestAMachineWithoutATrustStore(t *testing.T) {
	trust := &Trust{Name: "x", root: t.TempDir()}
	if _, err := trust.Install(t.Context(), []byte("one")); !errors.Is(err, errNoTrustStore) {
		t.Error(err)
	}
}

func TestAFailedInstallationLeavesNothing(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, trustStores[0].dir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	trust := &Trust{Name: "x", root: root, run: func(context.Context, []string) error { return errors.New("no") }}
	if _, err := trust.Install(t.Context(), []byte("one")); err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v was left", left)
	}
}
