package ecr

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/registrytest"
)

const account = registrytest.Account

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)

// fixture is the service together with a registry on real HTTP.
type fixture struct {
	*Service
	srv *registrytest.Server
	t   *testing.T
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	srv := registrytest.Start(t, registrytest.Options{})
	return &fixture{New(Config{
		Store: srv.Store, Clock: srv.Clock, Catalog: srv.Catalog, Registry: srv.Registry, Signer: srv.Signer, Downloads: srv.Handler,
	}), srv, t}
}

func rootOf(account string) api.Identity {
	return api.Identity{ARN: "arn:aws:iam::" + account + ":root", UserID: account, Root: true}
}

// as is a context of a call.
func (f *fixture) as(account string, who api.Identity) context.Context {
	return api.WithCall(f.t.Context(), &api.Call{
		Account: account, Region: registrytest.Region, Partition: "aws", Time: t0, Identity: who, Host: f.srv.Addr, SourceIP: "127.0.0.1",
		Authorize: func(context.Context, string, string, map[string]string) error { return nil },
	})
}

func (f *fixture) root() context.Context { return f.as(account, rootOf(account)) }

func (f *fixture) create(name string) {
	f.t.Helper()
	if _, err := f.CreateRepository(f.root(), &ecr.CreateRepositoryInput{RepositoryName: new(name)}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) credentials() imagebuild.Credentials {
	f.t.Helper()
	ctx := api.WithCall(f.t.Context(), &api.Call{Account: account, Region: registrytest.Region, Time: f.srv.Clock.Now(), Identity: rootOf(account), Host: f.srv.Addr})
	out, err := f.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := imagebuild.ECRCredentials(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// push pushes an image of its own over HTTP, and returns its digest.
func (f *fixture) push(name, tag string) string {
	f.t.Helper()
	img, err := random.Image(200, 2)
	if err != nil {
		f.t.Fatal(err)
	}
	d, err := imagebuild.Push(f.t.Context(), registry.Host(registrytest.Space, f.srv.Addr)+"/"+name+":"+tag, img, f.credentials())
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func wantCode(t *testing.T, err error, code, message string) {
	t.Helper()
	if api.Code(err) != code || !strings.Contains(err.Error(), message) {
		t.Errorf("got %v, want %s %q", err, code, message)
	}
}

func TestRepositories(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	out, err := f.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new("team/web"), Tags: []ecr.Tag{{Key: new("a"), Value: new("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(f.srv.Addr, ":")
	want := &ecr.Repository{
		CreatedAt:                  new(time.Date(2026, 5, 1, 12, 0, 0, 123000000, time.UTC)),
		EncryptionConfiguration:    &ecr.EncryptionConfiguration{EncryptionType: "AES256"},
		ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: new(false)},
		ImageTagMutability:         "MUTABLE",
		RegistryId:                 new("000000000000"),
		RepositoryArn:              new("arn:aws:ecr:us-east-1:000000000000:repository/team/web"),
		RepositoryName:             new("team/web"),
		RepositoryUri:              new("000000000000.dkr.ecr.us-east-1.localhost:" + port + "/team/web"),
	}
	if diff := cmp.Diff(want, out.Repository); diff != "" {
		t.Error(diff)
	}
	_, err = f.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new("team/web")})
	wantCode(t, err, "RepositoryAlreadyExistsException", "The repository with name 'team/web' already exists in the registry with id '000000000000'")
	_, err = f.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/web", "none"}})
	wantCode(t, err, "RepositoryNotFoundException", "The repository with name 'none' does not exist in the registry with id '000000000000'")

	for _, in := range []*ecr.CreateRepositoryInput{
		{EncryptionConfiguration: &ecr.EncryptionConfiguration{EncryptionType: "KMS"}},
		{EncryptionConfiguration: &ecr.EncryptionConfiguration{EncryptionType: "AES256", KmsKey: new("k")}},
		{ImageTagMutability: "IMMUTABLE_WITH_EXCLUSION"},
		{ImageTagMutability: "IMMUTABLE", ImageTagMutabilityExclusionFilters: []ecr.ImageTagMutabilityExclusionFilter{{Filter: new("a"), FilterType: "WILDCARD"}}},
	} {
		in.RepositoryName = new("refused")
		_, err := f.CreateRepository(ctx, in)
		wantCode(t, err, "InvalidParameterException", "Invalid parameter at '")
	}

	for _, name := range []string{"b", "c", "d"} {
		f.create(name + name)
	}
	var names []string
	in := &ecr.DescribeRepositoriesInput{MaxResults: new(int32(3))}
	for range 3 {
		out, err := f.DescribeRepositories(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Repositories {
			names = append(names, *r.RepositoryName)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if diff := cmp.Diff([]string{"bb", "cc", "dd", "team/web"}, names); diff != "" {
		t.Error(diff)
	}
	_, err = f.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{NextToken: new("?")})
	wantCode(t, err, "InvalidParameterException", "nextToken")
}

func TestDeleteRepository(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	f.create("web/other")
	f.push("web", "v1")
	other := f.push("web/other", "v1")
	_, err := f.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: new("web")})
	wantCode(t, err, "RepositoryNotEmptyException", "The repository with name 'web' in registry with id '000000000000' cannot be deleted because it still contains images")
	up, err := f.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: new("web")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: new("web"), Force: new(true)}); err != nil {
		t.Fatal(err)
	}
	_, err = f.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: new("web")})
	wantCode(t, err, "RepositoryNotFoundException", "web")
	// Nothing comes back with the name, and its neighbour keeps all.
	f.create("web")
	list, err := f.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: new("web")})
	if err != nil || len(list.ImageIds) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = f.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{RepositoryName: new("web"), UploadId: up.UploadId, PartFirstByte: new(int64(0)), PartLastByte: new(int64(0)), LayerPartBlob: []byte("x")})
	wantCode(t, err, "UploadNotFoundException", *up.UploadId)
	if list, err = f.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: new("web/other")}); err != nil || *list.ImageIds[0].ImageDigest != other {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestImages(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	first := f.push("web", "v1")
	second := f.push("web", "latest")
	name := new("web")

	got, err := f.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{
		{ImageTag: new("v1")}, {ImageTag: new("none")}, {ImageDigest: new("sha256:x")}, {}, {ImageTag: new("v1"), ImageDigest: new(second)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Images) != 1 || *got.Images[0].ImageId.ImageDigest != first || *got.Images[0].ImageId.ImageTag != "v1" {
		t.Errorf("images %+v", got.Images)
	}
	var codes []ecr.ImageFailureCode
	for _, f := range got.Failures {
		codes = append(codes, f.FailureCode)
	}
	if diff := cmp.Diff([]ecr.ImageFailureCode{"ImageNotFound", "InvalidImageDigest", "MissingDigestAndTag", "ImageTagDoesNotMatchDigest"}, codes); diff != "" {
		t.Error(diff)
	}

	// A second tag by PutImage, as the AWS documentation retags.
	manifest := got.Images[0].ImageManifest
	put, err := f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: manifest, ImageTag: new("stable")})
	if err != nil || *put.Image.ImageId.ImageDigest != first {
		t.Fatalf("%+v, %v", put, err)
	}
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: manifest, ImageTag: new("stable")})
	wantCode(t, err, "ImageAlreadyExistsException", fmt.Sprintf("Image with digest '%s' and tag 'stable' already exists in the repository with name 'web' in registry with id '000000000000'", first))
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: manifest, ImageDigest: new(second)})
	wantCode(t, err, "ImageDigestDoesNotMatchException", "")
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: new("{}")})
	wantCode(t, err, "InvalidParameterException", "ImageManifest")
	missing := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1},"layers":[]}`
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: &missing})
	wantCode(t, err, "LayersNotFoundException", "Layers with digests '[sha256:0000")
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"a/b","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}]}`
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: &index})
	wantCode(t, err, "ReferencedImagesNotFoundException", "Images with digests '[sha256:0000")

	// Describing.
	d, err := f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageTag: new("v1")}, {ImageDigest: new(first)}}})
	if err != nil || len(d.ImageDetails) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	det := d.ImageDetails[0]
	if !slices.Equal(det.ImageTags, []string{"stable", "v1"}) || det.ImagePushedAt == nil || *det.ImageSizeInBytes < 400 ||
		det.LastRecordedPullTime == nil || *det.RegistryId != account || det.ArtifactMediaType == nil {
		t.Errorf("%+v", det)
	}
	_, err = f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageTag: new("none")}}})
	wantCode(t, err, "ImageNotFoundException", "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the repository with name 'web' in the registry with id '000000000000'")

	// Listing, page by page.
	seen := map[string]bool{}
	in := &ecr.ListImagesInput{RepositoryName: name, MaxResults: new(int32(1))}
	for {
		out, err := f.ListImages(ctx, in)
		if err != nil || len(out.ImageIds) > 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		for _, id := range out.ImageIds {
			seen[*id.ImageTag] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != 3 {
		t.Errorf("listed %v", seen)
	}

	// Deleting: the image goes with its last tag.
	del, err := f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageTag: new("v1")}}})
	if err != nil || len(del.ImageIds) != 1 || *del.ImageIds[0].ImageDigest != first {
		t.Fatalf("%+v, %v", del, err)
	}
	if _, err := f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(first)}}}); err != nil {
		t.Errorf("went with its first tag: %v", err)
	}
	if _, err = f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageTag: new("stable")}}}); err != nil {
		t.Fatal(err)
	}
	_, err = f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(first)}}})
	wantCode(t, err, "ImageNotFoundException", first)
	del, err = f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: name, ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(second)}, {ImageTag: new("gone")}}})
	if err != nil || len(del.ImageIds) != 1 || *del.ImageIds[0].ImageTag != "latest" || len(del.Failures) != 1 {
		t.Errorf("%+v, %v", del, err)
	}
}

func TestIndexKeepsItsImages(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	arm := f.push("web", "arm")
	got, err := f.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageTag: new("arm")}}})
	if err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		*got.Images[0].ImageManifestMediaType, arm, len(*got.Images[0].ImageManifest))
	put, err := f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: new("web"), ImageManifest: &index, ImageTag: new("v1")})
	if err != nil {
		t.Fatal(err)
	}
	whole := put.Image.ImageId.ImageDigest
	del, err := f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(arm)}}})
	if err != nil || len(del.Failures) != 1 || del.Failures[0].FailureCode != "ImageReferencedByManifestList" ||
		*del.Failures[0].FailureReason != "Requested image referenced by manifest list: ["+*whole+"]" {
		t.Fatalf("%+v, %v", del, err)
	}
	// Its last tag goes alone.
	if _, err := f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageTag: new("arm")}}}); err != nil {
		t.Fatal(err)
	}
	d, err := f.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: new("web"), Filter: &ecr.DescribeImagesFilter{TagStatus: "UNTAGGED"}})
	if err != nil || len(d.ImageDetails) != 1 || *d.ImageDetails[0].ImageDigest != arm {
		t.Fatalf("%+v, %v", d, err)
	}
	// Both at once, in the wrong order.
	del, err = f.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(arm)}, {ImageDigest: whole}}})
	if err != nil || len(del.ImageIds) != 2 || len(del.Failures) != 0 {
		t.Errorf("%+v, %v", del, err)
	}
}

func TestImmutable(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	f.push("web", "v1")
	f.push("web", "v2")
	if _, err := f.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: new("web"), ImageTagMutability: "IMMUTABLE"}); err != nil {
		t.Fatal(err)
	}
	got, err := f.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageTag: new("v1")}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.PutImage(ctx, &ecr.PutImageInput{RepositoryName: new("web"), ImageManifest: got.Images[0].ImageManifest, ImageTag: new("v2")})
	wantCode(t, err, "ImageTagAlreadyExistsException", "The image tag 'v2' already exists in the 'web' repository and cannot be overwritten because the tag is immutable.")
}

func TestLayers(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	name := new("web")
	content := bytes.Repeat([]byte("layer"), 1000)
	digest := blob.Sum(content).String()
	start := func() *string {
		t.Helper()
		out, err := f.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: name})
		if err != nil {
			t.Fatal(err)
		}
		return out.UploadId
	}
	part := func(id *string, first int, b []byte) error {
		_, err := f.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
			RepositoryName: name, UploadId: id, PartFirstByte: new(int64(first)), PartLastByte: new(int64(first + len(b) - 1)), LayerPartBlob: b,
		})
		return err
	}
	complete := func(id *string) error {
		_, err := f.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: name, UploadId: id, LayerDigests: []string{digest}})
		return err
	}
	id := start()
	wantCode(t, complete(id), "EmptyUploadException", "")
	if err := part(id, 0, content[:2000]); err != nil {
		t.Fatal(err)
	}
	err := part(id, 3000, content[3000:])
	wantCode(t, err, "InvalidLayerPartException", "consecutive")
	if e, ok := errors.AsType[*ecr.InvalidLayerPartException](err); !ok || *e.LastValidByteReceived != 1999 || *e.UploadId != *id {
		t.Errorf("%+v", e)
	}
	if err := part(id, 2000, content[2000:]); err != nil {
		t.Fatal(err)
	}
	if err := complete(id); err != nil {
		t.Fatal(err)
	}
	wantCode(t, complete(id), "UploadNotFoundException", *id)

	id = start()
	if err := part(id, 0, content); err != nil {
		t.Fatal(err)
	}
	wantCode(t, complete(id), "LayerAlreadyExistsException", digest)
	id = start()
	if err := part(id, 0, []byte("other")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, complete(id), "InvalidLayerException", "does not match")

	av, err := f.BatchCheckLayerAvailability(ctx, &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: name, LayerDigests: []string{digest, "sha256:" + strings.Repeat("0", 64), "x"}})
	if err != nil || len(av.Layers) != 2 || av.Layers[0].LayerAvailability != "AVAILABLE" || *av.Layers[0].LayerSize != 5000 ||
		av.Layers[1].LayerAvailability != "UNAVAILABLE" || av.Failures[0].FailureCode != "InvalidLayerDigest" {
		t.Errorf("%+v, %v", av, err)
	}
	url, err := f.GetDownloadUrlForLayer(f.as(account, rootOf(account)), &ecr.GetDownloadUrlForLayerInput{RepositoryName: name, LayerDigest: new(digest)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(*url.DownloadUrl, "http://000000000000.dkr.ecr.us-east-1.localhost:") {
		t.Errorf("url %s", *url.DownloadUrl)
	}
	_, err = f.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: name, LayerDigest: new("sha256:" + strings.Repeat("0", 64))})
	wantCode(t, err, "LayersNotFoundException", "")
}

func TestDownloadURL(t *testing.T) {
	f := newFixture(t)
	f.create("web")
	// The signature ends an hour after the call, by the registry's clock.
	ctx := api.WithCall(t.Context(), &api.Call{Account: account, Region: registrytest.Region, Time: time.Now(), Identity: rootOf(account), Host: f.srv.Addr})
	d := f.push("web", "v1")
	img, err := f.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: new("web"), ImageIds: []ecr.ImageIdentifier{{ImageDigest: new(d)}}})
	if err != nil {
		t.Fatal(err)
	}
	_, layer, _ := strings.Cut(*img.Images[0].ImageManifest, `"layers":`)
	_, layer, _ = strings.Cut(layer, `"digest":"`)
	layer, _, _ = strings.Cut(layer, `"`)
	out, err := f.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RepositoryName: new("web"), LayerDigest: &layer})
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: imagebuild.Transport()}
	resp, err := client.Get(*out.DownloadUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength == 0 {
		t.Errorf("%d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
}

func TestAuthorizationToken(t *testing.T) {
	f := newFixture(t)
	out, err := f.GetAuthorizationToken(f.root(), &ecr.GetAuthorizationTokenInput{RegistryIds: []string{"111122223333", account}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(f.srv.Addr, ":")
	d := out.AuthorizationData
	if len(d) != 2 || *d[0].ProxyEndpoint != "http://111122223333.dkr.ecr.us-east-1.localhost:"+port || !d[1].ExpiresAt.Equal(t0.Add(12*time.Hour).Truncate(time.Millisecond)) {
		t.Fatalf("%+v", d)
	}
	b, err := base64.StdEncoding.DecodeString(*d[0].AuthorizationToken)
	if err != nil || !strings.HasPrefix(string(b), "AWS:") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	arn := new("arn:aws:ecr:us-east-1:000000000000:repository/web")
	if _, err := f.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: arn, Tags: []ecr.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a", "none"}}); err != nil {
		t.Fatal(err)
	}
	got, err := f.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ecr.Tag{{Key: new("b"), Value: new("2")}}, got.Tags); diff != "" {
		t.Error(diff)
	}
	_, err = f.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: arn, Tags: []ecr.Tag{{Key: new("aws:x"), Value: new("1")}}})
	wantCode(t, err, "InvalidTagParameterException", "aws:")
	var many []ecr.Tag
	for i := range 50 {
		many = append(many, ecr.Tag{Key: new(fmt.Sprint(i)), Value: new("")})
	}
	_, err = f.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: arn, Tags: many})
	wantCode(t, err, "TooManyTagsException", "50")
	for _, bad := range []string{"x", "arn:aws:ecr:eu-west-1:000000000000:repository/web", "arn:aws:ecr:us-east-1:000000000000:web"} {
		_, err = f.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: new(bad)})
		wantCode(t, err, "InvalidParameterException", "Invalid ARN")
	}
}

const policyFor = `{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":%s,"Action":%q}]}`

func TestRepositoryPolicy(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	name := new("web")
	_, err := f.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: name})
	wantCode(t, err, "RepositoryPolicyNotFoundException", "Repository policy does not exist for the repository with name 'web' in the registry with id '000000000000'")
	_, err = f.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: name, PolicyText: new("{")})
	wantCode(t, err, "InvalidParameterException", "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'")

	// Another account sees nothing before the policy lets it.
	other := f.as("111122223333", rootOf("111122223333"))
	list := func(ctx context.Context) error {
		_, err := f.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: name, RegistryId: new(account)})
		return err
	}
	wantCode(t, list(other), "AccessDeniedException", "User: arn:aws:iam::111122223333:root is not authorized to perform: ecr:ListImages on resource: arn:aws:ecr:us-east-1:000000000000:repository/web because no resource-based policy allows the ecr:ListImages action")
	set := func(text string, force bool) error {
		_, err := f.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: name, PolicyText: &text, Force: &force})
		return err
	}
	if err := set(fmt.Sprintf(policyFor, "Allow", `{"AWS":"111122223333"}`, "ecr:List*"), false); err != nil {
		t.Fatal(err)
	}
	if err := list(other); err != nil {
		t.Error(err)
	}
	_, err = f.DescribeImages(other, &ecr.DescribeImagesInput{RepositoryName: name, RegistryId: new(account)})
	wantCode(t, err, "AccessDeniedException", "ecr:DescribeImages")
	_, err = f.ListImages(other, &ecr.ListImagesInput{RepositoryName: new("none"), RegistryId: new(account)})
	wantCode(t, err, "AccessDeniedException", "repository/none")

	// A denial binds the own account as well, but does not lock out its root.
	deny := fmt.Sprintf(policyFor, "Deny", `"*"`, "ecr:*")
	wantCode(t, set(deny, false), "InvalidParameterException", "force")
	if err := set(deny, true); err != nil {
		t.Fatal(err)
	}
	wantCode(t, list(ctx), "AccessDeniedException", "with an explicit deny in a resource-based policy")
	del, err := f.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RepositoryName: name})
	if err != nil || *del.PolicyText != deny {
		t.Fatalf("%+v, %v", del, err)
	}
	if err := list(ctx); err != nil {
		t.Error(err)
	}
}

// iam allows what it lists and refuses the rest as IAM does.
type iam map[string]bool

func (i iam) Authorize(_ context.Context, _ *api.Call, action string, resources []string, _ map[string]string) error {
	allowed, known := i[action]
	switch {
	case allowed:
		return nil
	case known:
		return &model.Denied{Action: action, Resource: resources[0], Reason: "with an explicit deny in an identity-based policy"}
	}
	return &model.Denied{Action: action, Resource: resources[0], Reason: "because no identity-based policy allows the " + action + " action"}
}

func TestAuthorizer(t *testing.T) {
	const pull = "ecr:BatchGetImage"
	user := api.Identity{ARN: "arn:aws:iam::000000000000:user/u", UserID: "AIDAX"}
	allowUser := fmt.Sprintf(policyFor, "Allow", `{"AWS":"arn:aws:iam::000000000000:user/u"}`, pull)
	allowAccount := fmt.Sprintf(policyFor, "Allow", `{"AWS":"000000000000"}`, pull)
	deny := fmt.Sprintf(policyFor, "Deny", `"*"`, pull)
	const own, other = "000000000000", "111122223333"
	for name, tt := range map[string]struct {
		iam    iam
		policy string
		owner  string
		want   string // of the refusal
	}{
		"identity policy":              {iam{pull: true}, "", own, ""},
		"nothing":                      {iam{}, "", own, "no identity-based policy allows"},
		"repository policy":            {iam{}, allowUser, own, ""},
		"the account is not enough":    {iam{}, allowAccount, own, "no identity-based policy allows"},
		"explicit deny of identity":    {iam{pull: false}, allowUser, own, "explicit deny in an identity-based"},
		"explicit deny of repository":  {iam{pull: true}, deny, own, "explicit deny in a resource-based"},
		"foreign, nothing":             {iam{pull: true}, "", other, "no resource-based policy allows"},
		"foreign, both":                {iam{pull: true}, allowAccount, other, ""},
		"foreign, only the repository": {iam{}, allowUser, other, "no identity-based policy allows"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Authorizer{tt.iam}.AuthorizeRegistry(t.Context(), own, user, registry.Access{
				Space: registry.Space{Account: tt.owner, Region: "us-east-1"}, Action: pull,
				Resource: "arn:aws:ecr:us-east-1:" + tt.owner + ":repository/web", ResourcePolicy: tt.policy, SourceIP: "127.0.0.1", Time: t0,
			})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && api.Code(err) != "AccessDeniedException" {
				t.Errorf("code of %v", err)
			}
		})
	}
}

func TestLifecyclePolicy(t *testing.T) {
	f := newFixture(t)
	ctx := f.root()
	f.create("web")
	name := new("web")
	_, err := f.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: name})
	wantCode(t, err, "LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name 'web' in the registry with id '000000000000'")
	_, err = f.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: new(`{"rules":[]}`)})
	wantCode(t, err, "InvalidParameterException", "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: ")
	text := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`
	if _, err := f.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: name, LifecyclePolicyText: &text}); err != nil {
		t.Fatal(err)
	}
	got, err := f.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: name})
	if err != nil || *got.LifecyclePolicyText != text || got.LastEvaluatedAt.Unix() != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: name}); err != nil {
		t.Fatal(err)
	}
	_, err = f.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: name})
	wantCode(t, err, "LifecyclePolicyNotFoundException", "")
}

func TestScopeOf(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		in   any
		want []string
	}{
		{&ecr.PutImageInput{RepositoryName: new("web")}, []string{"arn:aws:ecr:us-east-1:000000000000:repository/web"}},
		{&ecr.PutImageInput{RepositoryName: new("web"), RegistryId: new("111122223333")}, []string{"arn:aws:ecr:us-east-1:111122223333:repository/web"}},
		{&ecr.TagResourceInput{ResourceArn: new("arn:x")}, []string{"arn:x"}},
		{&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"a1", "b1"}}, []string{"arn:aws:ecr:us-east-1:000000000000:repository/a1", "arn:aws:ecr:us-east-1:000000000000:repository/b1"}},
		{&ecr.DescribeRepositoriesInput{}, nil},
		{&ecr.GetAuthorizationTokenInput{}, nil},
	} {
		got, _ := f.ScopeOf(f.root(), nil, tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%T: %s", tt.in, diff)
		}
	}
}
