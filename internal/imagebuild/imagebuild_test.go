package imagebuild_test

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/registrytest"
)

func TestBuildIsReproducible(t *testing.T) {
	spec := imagebuild.Program("app", []byte("binary"), "serve")
	spec.Files = append(spec.Files, imagebuild.File{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}, imagebuild.File{Path: "/etc/app/conf", Content: []byte("x")})
	spec.Labels = map[string]string{"a": "b"}
	spec.Ports = []string{"80/tcp"}
	img, err := imagebuild.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	again, err := imagebuild.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	d1, err1 := img.Digest()
	d2, err2 := again.Digest()
	if err := errors.Join(err1, err2); err != nil || d1 != d2 {
		t.Errorf("digests %s and %s, %v", d1, d2, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/app", "serve"}, config.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
	if _, ok := config.Config.ExposedPorts["80/tcp"]; !ok || config.OS != "linux" || len(config.RootFS.DiffIDs) != 1 {
		t.Errorf("config %+v", config)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	modes := map[string]int64{}
	for r := tar.NewReader(rc); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
	}
	want := map[string]int64{"app": 0o755, "etc/": 0o755, "etc/app/": 0o755, "etc/app/conf": 0o644, "tmp/": 0o1777}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
}

func TestBuildRefusesRelativePaths(t *testing.T) {
	for _, p := range []string{"", "app", "/"} {
		if _, err := imagebuild.Build(imagebuild.Spec{Files: []imagebuild.File{{Path: p}}}); err == nil {
			t.Errorf("path %q was taken", p)
		}
	}
}

// The name of a registry leads to this machine and tells account and region.
func TestPushByRegistryName(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	there := registry.Space{Account: "123456789012", Region: "eu-central-1"}
	s.Create(t, there, "team/app")
	img, err := imagebuild.Build(imagebuild.Program("app", []byte("binary")))
	if err != nil {
		t.Fatal(err)
	}
	ref := registry.Host(there, s.Addr) + "/team/app:v1"
	creds := imagebuild.Credentials{Username: "AWS", Password: s.Password(t, there.Account)}
	digest, err := imagebuild.Push(t.Context(), ref, img, creds)
	if err != nil {
		t.Fatal(err)
	}
	back, err := imagebuild.Pull(t.Context(), ref, creds)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := back.Digest(); err != nil || d.String() != digest {
		t.Errorf("pulled %s, %v; pushed %s", d, err, digest)
	}
	if _, err := imagebuild.Push(t.Context(), strings.Replace(ref, "eu-central-1", "us-east-1", 1), img, creds); err == nil || !strings.Contains(err.Error(), "NAME_UNKNOWN") {
		t.Errorf("push to another region: %v", err)
	}
	if _, err := imagebuild.Pull(t.Context(), ref, imagebuild.Credentials{}); err == nil {
		t.Error("pulled without credentials")
	}
}

func TestGoBinary(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":  "module example.test/hello\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := imagebuild.GoBinary(t.Context(), dir, ".", "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "\x7fELF") {
		t.Error("not a binary")
	}
}
