package home

import (
	"context"
	"testing"

	"roadstead.dev/internal/engine"
)

// seen notes the images that an engine is asked for.
type seen struct {
	engine.Engine
	pulled, created string
}

func (s *seen) PullImage(_ context.Context, req engine.PullRequest) (engine.Image, error) {
	s.pulled = req.Ref
	return engine.Image{}, nil
}

func (s *seen) CreateContainer(_ context.Context, spec engine.ContainerSpec) error {
	s.created = spec.Image
	return nil
}

func TestImages(t *testing.T) {
	const host = "000000000000.dkr.ecr.us-east-1.localhost"
	for image, want := range map[string]string{
		host + ":4566/team/web:1":           host + ":4700/team/web:1",
		host + ":4700/web@sha256:00":        host + ":4700/web@sha256:00",
		host + "/web:1":                     host + ":4700/web:1",
		"localhost:4566/web:1":              "localhost:4566/web:1",
		host + ".example.com:4566/web":      host + ".example.com:4566/web",
		"example.com/" + host + ":4566/web": "example.com/" + host + ":4566/web",
		"nginx":                             "nginx",
	} {
		e := &seen{}
		h := Images{Engine: e, Port: "4700"}
		if _, err := h.PullImage(t.Context(), engine.PullRequest{Ref: image}); err != nil || e.pulled != want {
			t.Errorf("pulled %s for %s, want %s", e.pulled, image, want)
		}
		if err := h.CreateContainer(t.Context(), engine.ContainerSpec{Image: image}); err != nil || e.created != want {
			t.Errorf("created %s for %s, want %s", e.created, image, want)
		}
	}
}
