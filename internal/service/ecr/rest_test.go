package ecr

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/registrytest"
)

// TestReferrers pushes an artifact that refers to an image.
func TestReferrers(t *testing.T) {
	f := newFixture(t)
	f.create("web")
	digest := f.push("web", "v1")
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	base, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	signature, ok := mutate.Subject(mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), "application/vnd.example.signature"),
		v1.Descriptor{MediaType: types.DockerManifestSchema2, Digest: hash, Size: 1}).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	ref, err := name.ParseReference(registry.Host(registrytest.Space, f.srv.Addr) + "/web:sig")
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := imagebuild.Push(t.Context(), ref.String(), signature, f.credentials())
	if err != nil {
		t.Fatal(err)
	}
	list := func(artifacts ...string) []ecr.ImageReferrer {
		in := &ecr.ListImageReferrersInput{RepositoryName: new("web"), SubjectId: &ecr.SubjectIdentifier{ImageDigest: &digest}}
		if artifacts != nil {
			in.Filter = &ecr.ListImageReferrersFilter{ArtifactTypes: artifacts}
		}
		out, err := f.ListImageReferrers(f.root(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Referrers
	}
	if got := list(); len(got) != 1 || *got[0].Digest != pushed {
		t.Errorf("referrers %+v, want %s", got, pushed)
	}
	if got := list("application/vnd.example.sbom"); len(got) != 0 {
		t.Errorf("referrers of another type %+v", got)
	}
}

func TestScanningConfiguration(t *testing.T) {
	f := newFixture(t)
	f.create("web")
	out, err := f.PutImageScanningConfiguration(f.root(), &ecr.PutImageScanningConfigurationInput{RepositoryName: new("web"), ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: new(true)}})
	if err != nil || !*out.ImageScanningConfiguration.ScanOnPush {
		t.Errorf("%+v, %v", out, err)
	}
	got, err := f.DescribeRepositories(f.root(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"web"}})
	if err != nil || !*got.Repositories[0].ImageScanningConfiguration.ScanOnPush {
		t.Errorf("%+v, %v", got, err)
	}
	reg, err := f.GetRegistryScanningConfiguration(f.root(), &ecr.GetRegistryScanningConfigurationInput{})
	if err != nil || reg.ScanningConfiguration.ScanType != ecr.ScanTypeBasic {
		t.Errorf("%+v, %v", reg, err)
	}
}
