package fargate

import (
	"context"
	"regexp"

	"roadstead.dev/internal/engine"
)

// HomeImages is an Engine that finds images of this server's registries at the
// port where those are now. A task definition keeps the port that the server
// had when its image was named.
type HomeImages struct {
	engine.Engine
	// Port is the one at which this server's registries are.
	Port string
}

var _ engine.Engine = HomeImages{}

// ownRegistry matches the images of Roadstead's own registries.
var ownRegistry = regexp.MustCompile(`^([0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.localhost)(?::[0-9]+)?/`)

// home is an image's reference with the port at which it is.
func home(image, port string) string {
	return ownRegistry.ReplaceAllString(image, "${1}:"+port+"/")
}

// PullImage pulls from where the image is.
func (h HomeImages) PullImage(ctx context.Context, req engine.PullRequest) (engine.Image, error) {
	req.Ref = home(req.Ref, h.Port)
	return h.Engine.PullImage(ctx, req)
}

// CreateContainer takes the image that PullImage made present.
func (h HomeImages) CreateContainer(ctx context.Context, spec engine.ContainerSpec) error {
	spec.Image = home(spec.Image, h.Port)
	return h.Engine.CreateContainer(ctx, spec)
}
