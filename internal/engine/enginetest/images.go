// Package enginetest is the suite that every engine passes, and the images
// that its tests run.
package enginetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// buildApp and buildInit compile the test program and the init process once
// in a test binary's life.
var (
	buildApp  = sync.OnceValues(func() ([]byte, error) { return build("app") })
	buildInit = sync.OnceValues(func() ([]byte, error) { return build("init") })
)

// Init writes a static init process to a folder of the test's and returns the
// command that starts it.
func Init(t testing.TB) []string {
	t.Helper()
	b, err := buildInit()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path, "init"}
}

func build(program string) ([]byte, error) {
	_, self, _, _ := runtime.Caller(0)
	dir, err := os.MkdirTemp("", "roadstead-app-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "app")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = filepath.Join(filepath.Dir(self), "testdata", program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", program, err, b)
	}
	return os.ReadFile(out)
}

// Registry is a registry in this process with images of the test program.
type Registry struct {
	// Host is its address, 127.0.0.1:port.
	Host string
}

// Username and Password open the repositories under private/.
const (
	Username = "user"
	Password = "secret"
)

// NewRegistry starts a registry with the image app:latest, whose user,
// environment and so on are image's. It ends with the test.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		private := strings.HasPrefix(r.URL.Path, "/v2/private/")
		if private && (u != Username || p != Password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	r := &Registry{Host: strings.TrimPrefix(srv.URL, "http://")}
	r.Push(t, "app:latest", v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"serve"}})
	r.Push(t, "private/app:latest", v1.Config{Entrypoint: []string{"/app"}})
	return r
}

// Ref is the reference of an image in the registry.
func (r *Registry) Ref(image string) string { return r.Host + "/" + image }

// Push makes an image of the test program with the configuration. It holds
// /etc/passwd and /etc/group with the user app (1000:1000, in group extra)
// and a folder /data with the file seed.
func (r *Registry) Push(t testing.TB, image string, config v1.Config) {
	t.Helper()
	if err := remote.Write(r.name(t, image), r.image(t, config), remote.WithAuth(auth)); err != nil {
		t.Fatal(err)
	}
}

// PushIndex is Push of an image in an index, for this machine's platform.
func (r *Registry) PushIndex(t testing.TB, image string, config v1.Config) {
	t.Helper()
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        r.image(t, config),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}},
	})
	if err := remote.WriteIndex(r.name(t, image), index, remote.WithAuth(auth)); err != nil {
		t.Fatal(err)
	}
}

var auth = &authn.Basic{Username: Username, Password: Password}

func (r *Registry) name(t testing.TB, image string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.Ref(image), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (r *Registry) image(t testing.TB, config v1.Config) v1.Image {
	t.Helper()
	app, err := buildApp()
	if err != nil {
		t.Fatal(err)
	}
	files := []struct {
		name string
		mode int64
		body []byte
	}{
		{"app", 0o755, app},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n")},
		{"etc/group", 0o644, []byte("root:x:0:\napp:x:1000:\nextra:x:2000:app\n")},
		{"data/seed", 0o644, []byte("from the image")},
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, Config: config,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{must(layer.DiffID())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
