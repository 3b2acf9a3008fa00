package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"roadstead.dev/internal/engine"
)

// facts are what an image's digest says of it for good.
type facts struct {
	image  engine.Image // without a reference
	config ocispec.ImageConfig
	// chain is the snapshot that its layers make.
	chain string
}

// factsCache keeps what was read of images: each takes several calls of the
// daemon, and tasks use the same images again and again.
type factsCache struct {
	mu sync.Mutex
	of map[factsKey]*facts
}

// factsKey is an image for a platform: the digest may be of an index.
type factsKey struct {
	digest   digest.Digest
	platform string
}

// maxFacts bounds the cache; a full one begins anew.
const maxFacts = 1024

func (c *factsCache) get(k factsKey) *facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[k]
}

func (c *factsCache) put(k factsKey, f *facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxFacts {
		c.of = map[factsKey]*facts{}
	}
	c.of[k] = f
}

// read finds out about an image whose content is here. Platform is the one
// that img was made for.
func (e *Engine) read(ctx context.Context, img client.Image, platform ocispec.Platform) (*facts, error) {
	key := factsKey{img.Target().Digest, platforms.FormatAll(platform)}
	if f := e.facts.get(key); f != nil {
		return f, nil
	}
	desc, err := img.Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the image's configuration: %w", err)
	}
	b, err := content.ReadBlob(ctx, e.client.ContentStore(), desc)
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	var config ocispec.Image
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	size, err := img.Size(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the image's size: %w", err)
	}
	f := &facts{
		image:  engine.Image{Digest: key.digest.String(), ID: desc.Digest.String(), Size: size},
		config: config.Config,
		chain:  identity.ChainID(config.RootFS.DiffIDs).String(),
	}
	e.facts.put(key, f)
	return f, nil
}
