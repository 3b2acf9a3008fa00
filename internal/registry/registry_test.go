package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/registrytest"
)

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantError checks an answer's status and the code and message in it.
func wantError(t *testing.T, resp *http.Response, status int, code, message string) {
	t.Helper()
	b := body(t, resp)
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(b), &e); err != nil || len(e.Errors) != 1 {
		t.Errorf("%d %q is no error of the protocol: %v", resp.StatusCode, b, err)
		return
	}
	if resp.StatusCode != status || e.Errors[0].Code != code || !strings.Contains(e.Errors[0].Message, message) {
		t.Errorf("got %d %s, want %d %s %q", resp.StatusCode, b, status, code, message)
	}
}

func TestAuthentication(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	expired := s.PasswordOf(t, registrytest.Account, api.Identity{}, -time.Second)
	with := func(user, pw string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, pw) }
	}

	resp := s.Request(t, "GET", "/v2/", "", func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Host = "000000000000.dkr.ecr.us-east-1.localhost:4566"
	})
	want := `Basic realm="https://000000000000.dkr.ecr.us-east-1.localhost:4566/",service="ecr.amazonaws.com"`
	if got := resp.Header.Get("Www-Authenticate"); resp.StatusCode != http.StatusUnauthorized || got != want || body(t, resp) != "Not Authorized\n" {
		t.Errorf("without a token: %d %q", resp.StatusCode, got)
	}
	if resp := s.Request(t, "GET", "/v2/web/tags/list", "", func(r *http.Request) { r.Header.Set("Authorization", "Negotiate x") }); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another scheme: %d", resp.StatusCode)
	}
	pw := s.Password(t, registrytest.Account)
	wantError(t, s.Request(t, "GET", "/v2/", "", with("AWS", expired)), 403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	wantError(t, s.Request(t, "GET", "/v2/", "", with("AWS", "rubbish")), 400, "DENIED", "Your Authorization Token is invalid.")
	wantError(t, s.Request(t, "GET", "/v2/", "", with("AWS", strings.Replace(pw, pw[60:64], "AAAA", 1))), 400, "DENIED", "Your Authorization Token is invalid.")
	wantError(t, s.Request(t, "GET", "/v2/", "", with("admin", pw)), 400, "DENIED", "Your Authorization Token is invalid.")
	resp = s.Request(t, "GET", "/v2/", "", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("with a token: %d %v", resp.StatusCode, resp.Header)
	}
	// A server with another key gives no access.
	other := registrytest.Start(t, registrytest.Options{})
	wantError(t, s.Request(t, "GET", "/v2/", "", with("AWS", other.Password(t, registrytest.Account))), 400, "DENIED", "invalid")
}

func TestAuthorization(t *testing.T) {
	var asked []string
	deny := ""
	s := registrytest.Start(t, registrytest.Options{Authorizer: func(account string, who api.Identity, a registry.Access) error {
		asked = append(asked, a.Action+" "+a.Resource)
		if a.Action == deny {
			return api.NewFault("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s", who.ARN, a.Action, a.Resource)
		}
		return nil
	}})
	s.Create(t, registrytest.Space, "team/web")
	const arn = "arn:aws:ecr:us-east-1:000000000000:repository/team/web"
	d := blob.Sum([]byte("x")).String()
	for _, tt := range []struct{ method, path, action string }{
		{"GET", "/v2/team/web/manifests/v1", "ecr:BatchGetImage"},
		{"HEAD", "/v2/team/web/manifests/v1", "ecr:BatchGetImage"},
		{"PUT", "/v2/team/web/manifests/v1", "ecr:PutImage"},
		{"DELETE", "/v2/team/web/manifests/v1", "ecr:BatchDeleteImage"},
		{"GET", "/v2/team/web/blobs/" + d, "ecr:GetDownloadUrlForLayer"},
		{"HEAD", "/v2/team/web/blobs/" + d, "ecr:BatchCheckLayerAvailability"},
		{"POST", "/v2/team/web/blobs/uploads/", "ecr:InitiateLayerUpload"},
		{"PATCH", "/v2/team/web/blobs/uploads/x", "ecr:UploadLayerPart"},
		{"PUT", "/v2/team/web/blobs/uploads/x?digest=" + d, "ecr:CompleteLayerUpload"},
		{"GET", "/v2/team/web/tags/list", "ecr:ListImages"},
		{"GET", "/v2/team/web/referrers/" + d, "ecr:BatchGetImage"},
	} {
		asked, deny = nil, tt.action
		resp := s.Request(t, tt.method, tt.path, "", nil)
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %d", tt.method, tt.path, resp.StatusCode)
		}
		if tt.method != "HEAD" {
			wantError(t, resp, 403, "DENIED", "is not authorized to perform: "+tt.action+" on resource: "+arn)
		}
		if diff := cmp.Diff([]string{tt.action + " " + arn}, asked); diff != "" {
			t.Errorf("%s %s: %s", tt.method, tt.path, diff)
		}
	}
	// A monolithic push needs all three permissions of an upload.
	asked, deny = nil, "ecr:CompleteLayerUpload"
	wantError(t, s.Request(t, "POST", "/v2/team/web/blobs/uploads/?digest="+d, "x", nil), 403, "DENIED", "ecr:CompleteLayerUpload")
	// Whether a repository exists is not told to who may not know.
	deny = "ecr:ListImages"
	wantError(t, s.Request(t, "GET", "/v2/nobody/knows/tags/list", "", nil), 403, "DENIED", "nobody/knows")
}

func TestNames(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web", "a/blobs/uploads")
	for path, want := range map[string]struct {
		status int
		code   string
		text   string
	}{
		"/v2/nothere/tags/list":           {404, "NAME_UNKNOWN", "The repository with name 'nothere' does not exist in the registry with id '000000000000'"},
		"/v2/UPPER/tags/list":             {400, "NAME_INVALID", ""},
		"/v2/web/../../etc/tags/list":     {400, "NAME_INVALID", ""},
		"/v2/web/%2e%2e/x/tags/list":      {400, "NAME_INVALID", ""},
		"/v2/web%00/tags/list":            {400, "NAME_INVALID", ""},
		"/v2/web/blobs/..%2f..%2fetc":     {404, "NAME_UNKNOWN", ""},
		"/v2/web/blobs/sha256:short":      {400, "DIGEST_INVALID", ""},
		"/v2/web/manifests/.hidden":       {400, "TAG_INVALID", ""},
		"/v2/web/manifests/sha256:xyz":    {400, "DIGEST_INVALID", ""},
		"/v2/web/manifests/none":          {404, "MANIFEST_UNKNOWN", ""},
		"/v2/web/tags/list?n=-1":          {400, "PAGINATION_NUMBER_INVALID", ""},
		"/v2/web/nonsense":                {404, "NAME_UNKNOWN", ""},
		"/v2/web/blobs/uploads/nonsense":  {404, "BLOB_UPLOAD_UNKNOWN", ""},
		"/v2/a/blobs/uploads/manifests/x": {404, "MANIFEST_UNKNOWN", ""},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
		if p, err := req.URL.Parse(path); err == nil && strings.Contains(path, "%") {
			req.URL.Path = p.Path
		}
		req.SetBasicAuth("AWS", s.Password(t, registrytest.Account))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		t.Run(path, func(t *testing.T) { wantError(t, w.Result(), want.status, want.code, want.text) })
	}
	resp := s.Request(t, "PUT", "/v2/web/tags/list", "", nil)
	wantError(t, resp, 405, "UNSUPPORTED", "")
	if allow := resp.Header.Get("Allow"); allow != "GET" {
		t.Errorf("Allow: %q", allow)
	}
}

func push(t *testing.T, s *registrytest.Server, ref string, img v1.Image) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s.Addr + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r, img, opts(t, s)...); err != nil {
		t.Fatal(err)
	}
	return r
}

func opts(t *testing.T, s *registrytest.Server) []remote.Option {
	return []remote.Option{
		remote.WithContext(t.Context()),
		remote.WithAuth(&authn.Basic{Username: "AWS", Password: s.Password(t, registrytest.Account)}),
	}
}

func image(t *testing.T, size int64) v1.Image {
	t.Helper()
	img, err := random.Image(size, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPushAndPull(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web", "other")
	img := image(t, 100<<10)
	ref := push(t, s, "web:v1", img)
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	back, err := remote.Image(ref, opts(t, s)...)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := back.Digest(); err != nil || got != want {
		t.Errorf("pulled %s, %v; pushed %s", got, err, want)
	}
	layers, err := back.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, rc) // verifies the digest
		if err != nil || n == 0 {
			t.Errorf("layer: %d, %v", n, err)
		}
		_ = rc.Close()
	}
	// The layers of one repository are not another's to read.
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Request(t, "GET", "/v2/other/blobs/"+d.String(), "", nil), 404, "BLOB_UNKNOWN", "")
	// But they can be mounted, by who may read them.
	resp := s.Request(t, "POST", "/v2/other/blobs/uploads/?mount="+d.String()+"&from=web", "", nil)
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("mount: %d", resp.StatusCode)
	}
	if resp := s.Request(t, "HEAD", "/v2/other/blobs/"+d.String(), "", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("mounted blob: %d", resp.StatusCode)
	}
	// Once on disk however many repositories.
	push(t, s, "other:v1", img)
	if spaces, err := s.Blobs.Spaces(); err != nil || len(spaces) != 1 {
		t.Errorf("spaces %v, %v", spaces, err)
	}
}

func TestMountNeedsPermission(t *testing.T) {
	secret := "arn:aws:ecr:us-east-1:000000000000:repository/secret"
	s := registrytest.Start(t, registrytest.Options{Authorizer: func(_ string, who api.Identity, a registry.Access) error {
		if !who.Root && a.Resource == secret {
			return api.NewFault("AccessDeniedException", "no")
		}
		return nil
	}})
	s.Create(t, registrytest.Space, "secret", "mine")
	d := blob.Sum([]byte("content")).String()
	if resp := s.Request(t, "POST", "/v2/secret/blobs/uploads/?digest="+d, "content", nil); resp.StatusCode != http.StatusCreated {
		t.Fatalf("push: %d %s", resp.StatusCode, body(t, resp))
	}
	as := func(r *http.Request) {
		r.SetBasicAuth("AWS", s.PasswordOf(t, registrytest.Account, api.Identity{ARN: "arn:aws:iam::000000000000:user/eve"}, time.Hour))
	}
	for _, query := range []string{"?mount=" + d + "&from=secret", "?mount=" + d} {
		resp := s.Request(t, "POST", "/v2/mine/blobs/uploads/"+query, "", as)
		if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Location") == "" {
			t.Errorf("%s: %d", query, resp.StatusCode)
		}
	}
	if resp := s.Request(t, "POST", "/v2/mine/blobs/uploads/?mount="+d, "", nil); resp.StatusCode != http.StatusCreated {
		t.Errorf("root: %d", resp.StatusCode)
	}
}

func TestRegistriesAreApart(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	there := registry.Space{Account: "111122223333", Region: "eu-west-1"}
	s.Create(t, registrytest.Space, "web")
	s.Create(t, there, "web")
	d := blob.Sum([]byte("content")).String()
	host := func(r *http.Request) { r.Host = "111122223333.dkr.ecr.eu-west-1.localhost:4566" }
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?digest="+d, "content", host); resp.StatusCode != http.StatusCreated {
		t.Fatalf("push: %d", resp.StatusCode)
	}
	if resp := s.Request(t, "HEAD", "/v2/web/blobs/"+d, "", host); resp.StatusCode != http.StatusOK {
		t.Errorf("there: %d", resp.StatusCode)
	}
	if resp := s.Request(t, "HEAD", "/v2/web/blobs/"+d, "", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("here: %d", resp.StatusCode)
	}
	// Nor can it be mounted from there, by any way.
	if resp := s.Request(t, "POST", "/v2/web/blobs/uploads/?mount="+d, "", nil); resp.StatusCode != http.StatusAccepted {
		t.Errorf("mount: %d", resp.StatusCode)
	}
}

func TestImmutableTags(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.CreateRepository(t, registrytest.Space, model.ECRRepository{
		Name: "fixed", TagMutability: "IMMUTABLE_WITH_EXCLUSION", MutabilityExclusions: []string{"dev-*"},
	})
	first, second := image(t, 100), image(t, 100)
	push(t, s, "fixed:v1", first)
	push(t, s, "fixed:v1", first) // the same again is fine
	push(t, s, "fixed:dev-1", first)
	push(t, s, "fixed:dev-1", second)
	m, err := second.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	resp := s.Request(t, "PUT", "/v2/fixed/manifests/v1", string(m), nil)
	wantError(t, resp, 400, "TAG_INVALID", "The image tag 'v1' already exists in the 'fixed' repository and cannot be overwritten because the tag is immutable.")
}

func TestManifests(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	img := image(t, 100)
	push(t, s, "web:v1", img)
	m, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	put := func(body, contentType string) *http.Response {
		return s.Request(t, "PUT", "/v2/web/manifests/v2", body, func(r *http.Request) { r.Header.Set("Content-Type", contentType) })
	}
	d := strings.Repeat("0", 64)
	wantError(t, put(`{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:`+d+`","size":2},"layers":[]}`, "application/vnd.oci.image.manifest.v1+json"),
		400, "MANIFEST_BLOB_UNKNOWN", "Layers with digests '[sha256:"+d+"]' required for pushing image into repository with name 'web' in the registry with id '000000000000' do not exist")
	wantError(t, put(`{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:`+d+`","size":2}]}`, "application/vnd.oci.image.index.v1+json"),
		400, "MANIFEST_BLOB_UNKNOWN", "Images with digests")
	wantError(t, put("rubbish", "application/vnd.oci.image.index.v1+json"), 400, "MANIFEST_INVALID", "")
	wantError(t, put(string(bytes.Repeat([]byte(" "), 4<<20+1)), "application/vnd.oci.image.index.v1+json"), 413, "SIZE_INVALID", "")
	wantError(t, s.Request(t, "PUT", "/v2/web/manifests/sha256:"+d, string(m), nil), 400, "DIGEST_INVALID", "")

	for accept, want := range map[string]int{
		"": 200, "*/*": 200, "application/json": 200,
		"application/vnd.docker.distribution.manifest.v2+json":                                                                       200,
		"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json;q=0.5, application/json":      200,
		"application/vnd.oci.image.index.v1+json,application/vnd.docker.distribution.manifest.list.v2+json, application/xml; q=0.01": 404,
	} {
		resp := s.Request(t, "GET", "/v2/web/manifests/v1", "", func(r *http.Request) { r.Header.Set("Accept", accept) })
		if resp.StatusCode != want {
			t.Errorf("Accept %q: %d", accept, resp.StatusCode)
		}
	}
	etag := s.Request(t, "HEAD", "/v2/web/manifests/v1", "", nil).Header.Get("ETag")
	if resp := s.Request(t, "GET", "/v2/web/manifests/v1", "", func(r *http.Request) { r.Header.Set("If-None-Match", etag) }); resp.StatusCode != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
}

func TestBlobOfAnImageStays(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	img := image(t, 100)
	push(t, s, "web:v1", img)
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Request(t, "DELETE", "/v2/web/blobs/"+config.String(), "", nil), 405, "UNSUPPORTED", "part of the image")
}

func TestPages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web", "web2", "a", "zz")
	img := image(t, 100)
	for i := range 5 {
		push(t, s, fmt.Sprintf("web:t%d", i), img)
	}
	push(t, s, "web2:other", img)
	repo, err := name.NewRepository(s.Addr + "/web")
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repo, append(opts(t, s), remote.WithPageSize(2))...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"t0", "t1", "t2", "t3", "t4"}, tags); diff != "" {
		t.Error(diff)
	}
	repos, err := remote.Catalog(t.Context(), repo.Registry, append(opts(t, s), remote.WithPageSize(3))...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "web", "web2", "zz"}, repos); diff != "" {
		t.Error(diff)
	}
	if b := body(t, s.Request(t, "GET", "/v2/web/tags/list?n=0", "", nil)); b != `{"name":"web","tags":[]}` {
		t.Errorf("n=0: %s", b)
	}
}

func TestResumeAfterRestart(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web")
	loc := s.Request(t, "POST", "/v2/web/blobs/uploads/", "", nil).Header.Get("Location")
	part := func(s *registrytest.Server, method, loc, content string, at int) *http.Response {
		return s.Request(t, method, loc, content, func(r *http.Request) {
			r.Header.Set("Content-Range", fmt.Sprintf("%d-%d", at, at+len(content)-1))
		})
	}
	if resp := part(s, "PATCH", loc, "hello ", 0); resp.StatusCode != http.StatusAccepted || resp.Header.Get("Range") != "0-5" {
		t.Fatalf("first part: %d %v", resp.StatusCode, resp.Header)
	}
	again := registrytest.Start(t, registrytest.Options{Dir: s.Dir, Store: s.Store})
	if resp := part(again, "PATCH", loc, "late", 3); resp.StatusCode != http.StatusRequestedRangeNotSatisfiable || resp.Header.Get("Range") != "0-5" {
		t.Errorf("wrong offset: %d %v", resp.StatusCode, resp.Header)
	}
	resp := again.Request(t, "GET", loc, "", nil)
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Range") != "0-5" {
		t.Errorf("status: %d %v", resp.StatusCode, resp.Header)
	}
	d := blob.Sum([]byte("hello world")).String()
	if resp := part(again, "PUT", loc+"?digest="+d, "world", 6); resp.StatusCode != http.StatusCreated {
		t.Fatalf("last part: %d %s", resp.StatusCode, body(t, resp))
	}
	if b := body(t, again.Request(t, "GET", "/v2/web/blobs/"+d, "", nil)); b != "hello world" {
		t.Errorf("got %q", b)
	}
}

func TestSignedURL(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web", "other")
	d := blob.Sum([]byte("content"))
	for _, repo := range []string{"web", "other"} {
		s.Request(t, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), "content", nil)
	}
	_, path, _ := strings.Cut(s.DownloadURL(registrytest.Space, "web", d, "localhost:4566", time.Now().Add(time.Hour)), ".localhost:4566")
	get := func(path string) *http.Response {
		return s.Request(t, "GET", path, "", func(r *http.Request) { r.Header.Del("Authorization") })
	}
	if resp := get(path); resp.StatusCode != http.StatusOK || body(t, resp) != "content" {
		t.Errorf("signed: %d", resp.StatusCode)
	}
	_, old, _ := strings.Cut(s.DownloadURL(registrytest.Space, "web", d, "localhost:4566", time.Now().Add(-time.Hour)), ".localhost:4566")
	for what, path := range map[string]string{
		"expired": old, "other repository": strings.Replace(path, "/web/", "/other/", 1),
		"other expiry": strings.Replace(path, "Expires=1", "Expires=2", 1), "unsigned": strings.Split(path, "?")[0],
	} {
		if resp := get(path); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", what, resp.StatusCode)
		}
	}
}

func TestSkopeo(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Create(t, registrytest.Space, "web", "copy")
	push(t, s, "web:v1", image(t, 10<<10))
	creds := "AWS:" + s.Password(t, registrytest.Account)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), skopeo, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %s: %v\n%s", args[0], err, out)
		}
		return string(out)
	}
	dir := t.TempDir()
	run("--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds="+creds, "docker://"+s.Addr+"/web:v1", "oci:"+dir+":v1")
	run("--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds="+creds, "oci:"+dir+":v1", "docker://"+s.Addr+"/copy:v2")
	out := run("inspect", "--tls-verify=false", "--creds="+creds, "docker://"+s.Addr+"/copy:v2")
	var got struct{ RepoTags []string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || !slices.Contains(got.RepoTags, "v2") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSpaceOfHost(t *testing.T) {
	for host, want := range map[string]registry.Space{
		"123456789012.dkr.ecr.eu-west-1.localhost:4566": {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.dkr.ecr.eu-west-1.localhost":      {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.DKR.ECR.eu-west-1.localhost.":     {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":  {Account: "123456789012", Region: "us-east-1"},
		"localhost:4566": {},
		"12345678901.dkr.ecr.eu-west-1.localhost":            {},
		"123456789012.dkr.ecr.../../x.localhost":             {},
		"x.123456789012.dkr.ecr.eu-west-1.localhost":         {},
		"123456789012.dkr.ecr.eu-west-1.localhost.evil.test": {},
	} {
		got, ok := registry.SpaceOfHost(host)
		if got != want || ok != (want != registry.Space{}) {
			t.Errorf("%s: %v, %t", host, got, ok)
		}
	}
	if h := registry.Host(registrytest.Space, "127.0.0.1:4566"); h != "000000000000.dkr.ecr.us-east-1.localhost:4566" {
		t.Error(h)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"0-0", "0-1023", "5-3", "-", "1-", "a-b", "0-9223372036854775807", "00-01", "bytes 0-1/2", "0--1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, ok := registry.ParseRange(s)
		if !ok {
			return
		}
		if first < 0 || last < first || last-first+1 <= 0 {
			t.Errorf("%q: %d to %d", s, first, last)
		}
		if a, b, ok := registry.ParseRange(fmt.Sprintf("%d-%d", first, last)); !ok || a != first || b != last {
			t.Errorf("%q does not come back", s)
		}
	})
}

func FuzzHandler(f *testing.F) {
	for _, p := range []string{"/v2/", "/v2/web/tags/list", "/v2/web/blobs/uploads/", "/v2/a/../b/manifests/x", "/v2//blobs/sha256:0", "/v2/_catalog"} {
		f.Add("GET", p)
		f.Add("PUT", p)
	}
	s := registrytest.Start(f, registrytest.Options{})
	s.Create(f, registrytest.Space, "web")
	pw := s.Password(f, registrytest.Account)
	f.Fuzz(func(t *testing.T, method, path string) {
		req := httptest.NewRequest(http.MethodGet, "/", strings.NewReader("x"))
		req.Method, req.URL.Path = method, path
		req.SetBasicAuth("AWS", pw)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
	})
}
