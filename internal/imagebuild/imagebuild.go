// Package imagebuild makes OCI images of static binaries and pushes them to
// registries, without Docker.
package imagebuild

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File of an image.
type File struct {
	// Path in the image, absolute.
	Path string
	// Mode is the file's permissions; fs.ModeDir makes a folder, which needs no
	// content. 0 means 0644.
	Mode    fs.FileMode
	Content []byte
}

// Spec describes an image. Equal specs make equal images, down to the digest.
type Spec struct {
	// Files make up the one layer. Folders above them come by themselves.
	Files      []File
	Entrypoint []string
	Cmd        []string
	// Env holds KEY=value.
	Env        []string
	Labels     map[string]string
	WorkingDir string
	User       string
	// Ports that the image says it listens on, "80/tcp".
	Ports []string
	// OS and Architecture; empty means linux and the architecture that this
	// program was built for.
	OS, Architecture string
	// Created is put in the image and on its files; zero means 1970.
	Created time.Time
}

// Build makes the image.
func Build(s Spec) (v1.Image, error) {
	if s.Created.IsZero() {
		s.Created = time.Unix(0, 0).UTC()
	}
	layer, err := s.layer()
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: s.Created}, CreatedBy: "roadstead imagebuild"},
	})
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	config := &v1.ConfigFile{
		OS:           cmp.Or(s.OS, "linux"),
		Architecture: cmp.Or(s.Architecture, runtime.GOARCH),
		Created:      v1.Time{Time: s.Created},
		Config: v1.Config{
			Entrypoint: s.Entrypoint, Cmd: s.Cmd, Env: s.Env, Labels: s.Labels,
			WorkingDir: s.WorkingDir, User: s.User,
		},
	}
	for _, p := range s.Ports {
		if config.Config.ExposedPorts == nil {
			config.Config.ExposedPorts = map[string]struct{}{}
		}
		config.Config.ExposedPorts[p] = struct{}{}
	}
	old, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	config.RootFS, config.History = old.RootFS, old.History
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	return img, nil
}

func (s *Spec) layer() (v1.Layer, error) {
	b, err := s.tar()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("build layer: %w", err)
	}
	return layer, nil
}

// tar writes the files and the folders above them, in order of their paths.
func (s *Spec) tar() ([]byte, error) {
	files := map[string]File{}
	for _, f := range s.Files {
		p := path.Clean(f.Path)
		if !path.IsAbs(p) || p == "/" {
			return nil, fmt.Errorf("file %q of an image needs an absolute path", f.Path)
		}
		if _, ok := files[p]; ok && !f.Mode.IsDir() {
			return nil, fmt.Errorf("file %q stands twice in an image", p)
		}
		files[p] = f
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if _, ok := files[dir]; !ok {
				files[dir] = File{Mode: fs.ModeDir | 0o755}
			}
		}
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		f := files[p]
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(p, "/"), Size: int64(len(f.Content)),
			Mode: int64(cmp.Or(f.Mode.Perm(), 0o644)), ModTime: s.Created, Format: tar.FormatPAX,
		}
		if f.Mode.IsDir() {
			h.Typeflag, h.Name, h.Size = tar.TypeDir, h.Name+"/", 0
			h.Mode = int64(cmp.Or(f.Mode.Perm(), 0o755))
			// The sticky bit of folders such as /tmp.
			if f.Mode&fs.ModeSticky != 0 {
				h.Mode |= 0o1000
			}
			f.Content = nil
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(f.Content)
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", p, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, errors.Join(errors.New("write layer"), err)
	}
	return buf.Bytes(), nil
}
