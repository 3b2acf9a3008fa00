package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/registry/registrytest"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var here = registrytest.Space

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// layer pushes a layer as a client does, and returns its descriptor.
func layer(t *testing.T, s *registrytest.Server, name, content string) manifest.Descriptor {
	t.Helper()
	id, err := s.Blobs.Start(here, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blobs.Append(t.Context(), here, name, id, blob.Part{At: 0, Body: strings.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	d := blob.Sum([]byte(content))
	if _, err := s.Registry.CompleteUpload(t.Context(), here, name, id, d, blob.Part{At: -1}); err != nil {
		t.Fatal(err)
	}
	return manifest.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: d.String(), Size: int64(len(content))}
}

func image(config manifest.Descriptor) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`, config.MediaType, config.Digest, config.Size)
}

func index(child reference.Digest, size int) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, manifest.OCIManifest, child, size)
}

func there(t *testing.T, s *registrytest.Server, d string) bool {
	t.Helper()
	_, err := s.Blobs.Stat(here, reference.Digest(d))
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestSweep(t *testing.T) {
	c := &fakeClock{now: time.Now()}
	s := registrytest.Start(t, registrytest.Options{Clock: c})
	s.Create(t, here, "web", "doomed")
	ctx := t.Context()
	used, unused := layer(t, s, "web", "used"), layer(t, s, "web", "unused")
	shared := layer(t, s, "doomed", "used")
	img, _, _, err := s.Registry.PutManifest(ctx, here, "web", image(used), manifest.OCIManifest, "", []string{"v1"})
	if err != nil {
		t.Fatal(err)
	}
	gone, _, _, err := s.Registry.PutManifest(ctx, here, "doomed", append(image(shared), ' '), manifest.OCIManifest, "", []string{"v1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blobs.Start(here, "web"); err != nil {
		t.Fatal(err)
	}

	// Everything is young.
	if got, err := s.Catalog.Sweep(ctx, s.Blobs); err != nil || got != (catalog.Swept{}) {
		t.Errorf("young: %+v, %v", got, err)
	}
	// A deletion that was cut short behind its first write.
	row, err := s.Catalog.Row(ctx, here, "doomed")
	if err != nil {
		t.Fatal(err)
	}
	tx := store.NewTxn()
	tables.ECRRepositories.Delete(tx, row)
	if _, err := tx.Commit(ctx, s.Store); err != nil {
		t.Fatal(err)
	}
	c.advance(catalog.LayerGrace + time.Hour)
	got, err := s.Catalog.Sweep(ctx, s.Blobs)
	if err != nil || got.Uploads != 1 || got.Layers != 1 || got.Blobs != 2 {
		t.Errorf("old: %+v, %v", got, err)
	}
	for d, want := range map[string]bool{used.Digest: true, unused.Digest: false, img.Digest.String(): true, gone.Digest.String(): false} {
		if there(t, s, d) != want {
			t.Errorf("%s there: %t", d, !want)
		}
	}
	if tags, err := s.Catalog.Tags(ctx, here, "doomed", "", 0); err != nil || len(tags) != 0 {
		t.Errorf("orphans %v, %v", tags, err)
	}
	// With its image the layer goes, in two steps: the repository's, the disk's.
	if err := s.Catalog.DeleteManifest(ctx, here, "web", img.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Catalog.Sweep(ctx, s.Blobs); err != nil {
		t.Fatal(err)
	}
	if there(t, s, used.Digest) || there(t, s, img.Digest.String()) {
		t.Error("contents of a deleted image stay")
	}
}

// An index is pushed while what it lists is deleted: one of the two fails, and
// never is there an index whose image is gone.
func TestIndexRacesWithDeletion(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, here, "web")
	ctx := t.Context()
	m := image(layer(t, s, "web", "config"))
	for range 30 {
		img, _, _, err := s.Registry.PutManifest(ctx, here, "web", m, manifest.OCIManifest, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		ix := index(img.Digest, len(m))
		var wg sync.WaitGroup
		var putErr, delErr error
		wg.Go(func() { _, _, _, putErr = s.Registry.PutManifest(ctx, here, "web", ix, manifest.OCIIndex, "", nil) })
		wg.Go(func() { delErr = s.Catalog.DeleteManifest(ctx, here, "web", img.Digest) })
		wg.Wait()
		if (putErr == nil) == (delErr == nil) {
			t.Fatalf("push %v, deletion %v", putErr, delErr)
		}
		if putErr == nil {
			if err := s.Catalog.DeleteManifest(ctx, here, "web", blob.Sum(ix)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Tags are pushed to an image while it is deleted: no tag names nothing.
func TestTagRacesWithDeletion(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, here, "web")
	ctx := t.Context()
	m := image(layer(t, s, "web", "config"))
	for i := range 30 {
		img, _, _, err := s.Registry.PutManifest(ctx, here, "web", m, manifest.OCIManifest, "", []string{"first"})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, _, err := s.Registry.PutManifest(ctx, here, "web", m, manifest.OCIManifest, "", []string{fmt.Sprint("t", i)}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := s.Catalog.DeleteManifest(ctx, here, "web", img.Digest); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		tags, err := s.Catalog.Tags(ctx, here, "web", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			if _, err := s.Catalog.Resolve(ctx, here, "web", reference.Reference{Tag: tag.Name}); err != nil {
				t.Fatalf("tag %s: %v", tag.Name, err)
			}
		}
	}
}

func TestPulled(t *testing.T) {
	c := &fakeClock{now: time.Now()}
	s := registrytest.Start(t, registrytest.Options{Clock: c})
	s.Create(t, here, "web")
	ctx := t.Context()
	img, _, _, err := s.Registry.PutManifest(ctx, here, "web", image(layer(t, s, "web", "config")), manifest.OCIManifest, "", []string{"v1"})
	if err != nil {
		t.Fatal(err)
	}
	at := func() time.Time {
		row, err := tables.ECRImagePulls.Get(ctx, s.Store, here.Account, here.Region, "web@"+img.Digest.String())
		if err != nil {
			return time.Time{}
		}
		return row.V.LastPulledAt
	}
	if !at().IsZero() {
		t.Error("pulled before it was")
	}
	pull := func() {
		if _, _, err := s.Registry.Manifest(ctx, here, "web", reference.Reference{Tag: "v1"}); err != nil {
			t.Fatal(err)
		}
	}
	pull()
	first := at()
	c.advance(time.Minute)
	pull()
	if first.IsZero() || !at().Equal(first) {
		t.Errorf("pulls %s and %s: every pull is written", first, at())
	}
	c.advance(2 * time.Hour)
	pull()
	if !at().After(first) {
		t.Error("a later pull is not noted")
	}
}

func TestImmutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag := rapid.StringMatching(`[a-z0-9][a-z0-9.-]{0,6}`).Draw(t, "tag")
		prefix := tag[:rapid.IntRange(0, len(tag)).Draw(t, "cut")]
		r := &model.ECRRepository{TagMutability: "IMMUTABLE_WITH_EXCLUSION", MutabilityExclusions: []string{prefix + "*"}}
		if catalog.Immutable(r, tag) {
			t.Fatalf("%s is fixed though %s* is not", tag, prefix)
		}
		r.TagMutability = "MUTABLE_WITH_EXCLUSION"
		if !catalog.Immutable(r, tag) {
			t.Fatalf("%s is not fixed though %s* is", tag, prefix)
		}
		r.MutabilityExclusions = []string{tag + "x*"}
		if catalog.Immutable(r, tag) {
			t.Fatalf("%s is fixed by %v", tag, r.MutabilityExclusions)
		}
	})
}

func TestExpireTakesWhatIsGone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, here, "web")
	if err := s.Catalog.Expire(t.Context(), here.Account, here.Region, "web", blob.Sum(nil).String()); err != nil {
		t.Error(err)
	}
	if err := s.Catalog.Purge(t.Context(), here, "web"); err != nil {
		t.Error(err)
	}
	if _, err := s.Catalog.Repository(t.Context(), registry.Space{Account: here.Account, Region: "eu-west-1"}, "web"); registry.CodeOf(err) != registry.NameUnknown {
		t.Errorf("in another region: %v", err)
	}
}
