package ecr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/registrytest"
)

// nobody knows no keys but the loopback root's.
type nobody struct{}

func (nobody) Lookup(context.Context, string, string) (string, api.Identity, string, error) {
	return "", api.Identity{}, "", model.ErrUnknownAccessKey
}

// anything is allowed.
type anything struct{}

func (anything) Authorize(context.Context, *api.Call, string, []string, map[string]string) error {
	return nil
}

func (anything) AuthorizeResource(context.Context, *api.Call, string, string, string, string, map[string]string) error {
	return nil
}

// serveAll serves API and registry at one address, as the server does.
func serveAll(t *testing.T) string {
	t.Helper()
	srv := registrytest.Start(t, registrytest.Options{})
	svc := New(Config{Store: srv.Store, Clock: srv.Clock, Catalog: srv.Catalog, Registry: srv.Registry, Signer: srv.Signer, Downloads: srv.Handler})
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(ecr.New(svc), svc)},
		Credentials: nobody{}, Authorizer: anything{}, Clock: srv.Clock, Account: account, LoopbackRootKey: true, Registry: srv.Handler,
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func client(url string) *awsecr.Client {
	return awsecr.New(awsecr.Options{
		BaseEndpoint: aws.String(url), Region: registrytest.Region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// people know two users, who have no policies of their own.
type people struct{}

func (people) Lookup(_ context.Context, key, _ string) (string, api.Identity, string, error) {
	if key != "AKIAANN" && key != "AKIABOB" {
		return "", api.Identity{}, "", model.ErrUnknownAccessKey
	}
	name := strings.ToLower(key[4:])
	return "secret", api.Identity{ARN: "arn:aws:iam::" + account + ":user/" + name, UserID: "AIDA" + key[4:]}, account, nil
}

// A repository's policy alone lets a user of the account in, and nobody else.
func TestRepositoryPolicyAloneIsEnough(t *testing.T) {
	srv := registrytest.Start(t, registrytest.Options{})
	directory, err := identity.New(t.Context(), identity.Config{Store: srv.Store, Clock: srv.Clock})
	if err != nil {
		t.Fatal(err)
	}
	svc := New(Config{Store: srv.Store, Clock: srv.Clock, Catalog: srv.Catalog, Registry: srv.Registry, Signer: srv.Signer, Downloads: srv.Handler})
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(ecr.New(svc), svc)}, Credentials: people{}, Authorizer: directory,
		Clock: srv.Clock, Account: account, LoopbackRootKey: true,
	}))
	defer s.Close()
	as := func(key, secret string) *awsecr.Client {
		return awsecr.New(awsecr.Options{
			BaseEndpoint: aws.String(s.URL), Region: registrytest.Region, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
		})
	}
	ctx, root := t.Context(), as("test", "test")
	for _, name := range []string{"web", "other"} {
		if _, err := root.CreateRepository(ctx, &awsecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	policy := fmt.Sprintf(policyFor, "Allow", `{"AWS":"arn:aws:iam::`+account+`:user/ann"}`, "ecr:ListImages")
	if _, err := root.SetRepositoryPolicy(ctx, &awsecr.SetRepositoryPolicyInput{RepositoryName: new("web"), PolicyText: &policy}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key, repository string
		allowed         bool
	}{{"AKIAANN", "web", true}, {"AKIAANN", "other", false}, {"AKIABOB", "web", false}} {
		_, err := as(tt.key, "secret").ListImages(ctx, &awsecr.ListImagesInput{RepositoryName: &tt.repository})
		if (err == nil) != tt.allowed {
			t.Errorf("%s on %s: %v", tt.key, tt.repository, err)
		}
	}
	if _, err := as("AKIAANN", "secret").DescribeImages(ctx, &awsecr.DescribeImagesInput{RepositoryName: new("web")}); err == nil {
		t.Error("an action that the policy does not name is allowed")
	}
}

// From CreateRepository to a pushed and described image, by AWS's own SDK.
func TestSDK(t *testing.T) {
	url := serveAll(t)
	c := client(url)
	ctx := t.Context()
	repo, err := c.CreateRepository(ctx, &awsecr.CreateRepositoryInput{RepositoryName: new("team/web"), Tags: []types.Tag{{Key: new("k"), Value: new("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := c.GetAuthorizationToken(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := imagebuild.ECRCredentials(*tok.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	img, err := imagebuild.Build(imagebuild.Program("app", bytes.Repeat([]byte("x"), 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	uri := *repo.Repository.RepositoryUri
	digest, err := imagebuild.Push(ctx, uri+":v1", img, creds)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.DescribeImages(ctx, &awsecr.DescribeImagesInput{RepositoryName: new("team/web")})
	if err != nil || len(got.ImageDetails) != 1 || *got.ImageDetails[0].ImageDigest != digest || got.ImageDetails[0].ImageTags[0] != "v1" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = c.DescribeRepositories(ctx, &awsecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})
	if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); !ok {
		t.Errorf("%T %v", err, err)
	}
	_, err = c.DeleteRepository(ctx, &awsecr.DeleteRepositoryInput{RepositoryName: new("team/web")})
	if _, ok := errors.AsType[*types.RepositoryNotEmptyException](err); !ok {
		t.Errorf("%T %v", err, err)
	}

	// A layer as large as a part may be, through the API.
	layer := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	up, err := c.InitiateLayerUpload(ctx, &awsecr.InitiateLayerUploadInput{RepositoryName: new("team/web")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.UploadLayerPart(ctx, &awsecr.UploadLayerPartInput{
		RepositoryName: new("team/web"), UploadId: up.UploadId, LayerPartBlob: layer,
		PartFirstByte: new(int64(0)), PartLastByte: new(int64(len(layer) - 1)),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CompleteLayerUpload(ctx, &awsecr.CompleteLayerUploadInput{
		RepositoryName: new("team/web"), UploadId: up.UploadId, LayerDigests: []string{blob.Sum(layer).String()},
	}); err != nil {
		t.Fatal(err)
	}
}

// The commands of ECR's own getting-started page, by the AWS CLI and skopeo.
func TestCLI(t *testing.T) {
	for _, tool := range []string{"aws", "skopeo"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	url := serveAll(t)
	home := t.TempDir()
	run := func(stdin, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
			"AWS_DEFAULT_REGION="+registrytest.Region, "AWS_PAGER=", "XDG_RUNTIME_DIR="+home)
		cmd.Stdin = strings.NewReader(stdin)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
		}
		return out.String()
	}
	cli := func(args ...string) string {
		t.Helper()
		return run("", "aws", append([]string{"--endpoint-url", url, "ecr"}, args...)...)
	}
	_, addr, _ := strings.Cut(url, "://")
	cli("create-repository", "--repository-name", "web", "--image-tag-mutability", "IMMUTABLE")
	password := strings.TrimSpace(cli("get-login-password"))
	run(password, "skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", addr)
	layout := home + "/layout"
	blobOf := func(content string) string {
		t.Helper()
		_, hex, _ := strings.Cut(blob.Sum([]byte(content)).String(), ":")
		if err := os.MkdirAll(layout+"/blobs/sha256", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(layout+"/blobs/sha256/"+hex, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`"digest":"sha256:%s","size":%d`, hex, len(content))
	}
	config := blobOf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	m := blobOf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",` + config + `},"layers":[]}`)
	for name, content := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",` + m + `}]}`,
	} {
		if err := os.WriteFile(layout+"/"+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("", "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+layout, "docker://"+addr+"/web:v1")
	var images struct {
		ImageDetails []struct{ ImageTags []string }
	}
	if err := json.Unmarshal([]byte(cli("describe-images", "--repository-name", "web")), &images); err != nil || len(images.ImageDetails) != 1 || images.ImageDetails[0].ImageTags[0] != "v1" {
		t.Errorf("%+v, %v", images, err)
	}
	cli("batch-delete-image", "--repository-name", "web", "--image-ids", "imageTag=v1")
	cli("delete-repository", "--repository-name", "web")
}
