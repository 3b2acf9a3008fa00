// Package home lets an engine find the images of the registries that belong to
// the control plane.
package home

import (
	"context"
	"regexp"

	"roadstead.dev/internal/engine"
)

// Images is an Engine that finds images of this server's registries at the
// port where those are now. A task definition keeps the port that the server
// had when its image was named.
type Images struct {
	engine.Engine
	// Port is the one at which this server's registries are.
	Port string
}

var _ engine.Engine = Images{}

// registry matches the images of Roadstead's own registries.
var registry = regexp.MustCompile(`^([0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.localhost)(?::[0-9]+)?/`)

// Is tells whether an image is in one of Roadstead's own registries. A host
// that only looks like one is not.
func Is(image string) bool { return registry.MatchString(image) }

// at is an image's reference with the port at which it is.
func at(image, port string) string {
	return registry.ReplaceAllString(image, "${1}:"+port+"/")
}

// PullImage pulls from where the image is.
func (h Images) PullImage(ctx context.Context, req engine.PullRequest) (engine.Image, error) {
	req.Ref = at(req.Ref, h.Port)
	return h.Engine.PullImage(ctx, req)
}

// CreateContainer takes the image that PullImage made present.
func (h Images) CreateContainer(ctx context.Context, spec engine.ContainerSpec) error {
	spec.Image = at(spec.Image, h.Port)
	return h.Engine.CreateContainer(ctx, spec)
}
