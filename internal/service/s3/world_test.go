package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	apis3 "roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/service/s3"
	"roadstead.dev/internal/service/s3/contents"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	region = "us-east-1"
	owner  = "111122223333"
	other  = "444455556666"
)

// world is the API on HTTP, with real authorization and files.
type world struct {
	t     *testing.T
	url   string
	dir   string
	store store.Store
	svc   *s3.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st := memory.New()
	dir, err := identity.New(t.Context(), identity.Config{Store: st, Clock: clock.System{}, Root: []identity.RootKey{
		{AccessKeyID: "AKIAOWNER", Secret: "s", Account: owner}, {AccessKeyID: "AKIAOTHER", Secret: "s", Account: other},
	}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), store: st}
	files, err := contents.Open(w.dir, key)
	if err != nil {
		t.Fatal(err)
	}
	w.svc = s3.New(s3.Config{Store: st, Contents: files, Clock: clock.System{}, Authorizer: dir})
	srv := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(apis3.New(w.svc), w.svc)}, Credentials: dir, Authorizer: dir, Clock: clock.System{}, Account: owner,
	}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func (w *world) client(key string, change ...func(*awss3.Options)) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: aws.String(w.url), Region: region, RetryMaxAttempts: 1, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(key, "s", ""),
	}, change...)
}

// user makes a user of the owner's with a policy.
func (w *world) user(name, statement string) *awss3.Client {
	w.t.Helper()
	u := &model.User{IAMPrincipal: model.IAMPrincipal{Name: name, Path: "/", ID: "AIDA" + strings.ToUpper(name), ARN: "arn:aws:iam::" + owner + ":user/" + name}}
	if statement != "" {
		u.Policies = map[string]string{"p": policy(statement)}
	}
	key, err := model.MakeAccessKeyID(model.IAMAccessKeyPrefix, owner, uint64(len(name)))
	if err != nil {
		w.t.Fatal(err)
	}
	tx := store.NewTxn()
	tables.Users.Put(tx, owner, "", name, u)
	tables.AccessKeys.Put(tx, owner, "", key, &model.AccessKey{ID: key, Secret: "s", User: name, Status: model.AccessKeyActive})
	if _, err := tx.Commit(w.t.Context(), w.store); err != nil {
		w.t.Fatal(err)
	}
	return w.client(key)
}

func policy(statement string) string {
	return `{"Version":"2012-10-17","Statement":{` + statement + `}}`
}

// outcome is the code of an error, or "".
func outcome(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (w *world) bucket(c *awss3.Client, name string) {
	w.t.Helper()
	if _, err := c.CreateBucket(w.t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(c *awss3.Client, bucket, key, content string) *awss3.PutObjectOutput {
	w.t.Helper()
	out, err := c.PutObject(w.t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// get reads an object; the error's code where there is one.
func get(ctx context.Context, c *awss3.Client, in *awss3.GetObjectInput) (string, string) {
	out, err := c.GetObject(ctx, in)
	if err != nil {
		return "", outcome(err)
	}
	defer out.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, out.Body); err != nil {
		return b.String(), err.Error()
	}
	return b.String(), ""
}

// plainly sends an unsigned request.
func (w *world) plainly(method, path, body string, change ...func(*http.Request)) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
