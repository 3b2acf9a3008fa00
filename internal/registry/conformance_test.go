package registry_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roadstead.dev/internal/registry/registrytest"
)

// TestConformance runs the OCI distribution conformance suite with every API
// that it knows. Nothing may fail and nothing may be skipped. Only manifests
// whose parts are missing are not tried: ECR refuses them.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the conformance suite")
	}
	suite := filepath.Join(t.TempDir(), "conformance")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../../tools/go.mod", "-o", suite, "github.com/opencontainers/distribution-spec/conformance")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the conformance suite: %v\n%s", err, out)
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "conformance/repo1", "conformance/repo2")
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), suite)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		// The specification in the making: all of the stable one, and cancelled
		// uploads, required digest headers and tags as parameters.
		"OCI_VERSION=dev",
		"OCI_REGISTRY="+s.Addr, "OCI_TLS=disabled",
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2",
		"OCI_USERNAME=AWS", "OCI_PASSWORD="+s.Password(t, registrytest.Account),
		"OCI_RESULTS_DIR="+dir,
	)
	out, err := cmd.CombinedOutput()
	report(t, filepath.Join(dir, "junit.xml"))
	if err != nil || t.Failed() {
		t.Fatalf("conformance: %v\n%s", err, out)
	}
}

// report fails the test for each case that did not pass.
func report(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"`
				Out    string `xml:"system-out"`
				Err    string `xml:"system-err"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Error(err)
		return
	}
	n := 0
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			n++
			if !strings.EqualFold(c.Status, "passed") {
				t.Errorf("%s: %s\n%s\n%s", c.Name, c.Status, c.Out, c.Err)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d cases ran", n)
	}
	t.Logf("%d cases passed", n)
}
