package secretsmanager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	apism "roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/service/secretsmanager"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	region = "eu-west-1"
	owner  = "111122223333"
	other  = "444455556666"
)

// world is the API on HTTP, with real authorization.
type world struct {
	t     *testing.T
	url   string
	store store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := memory.New()
	dir, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}, Root: []identity.RootKey{
		{AccessKeyID: "AKIAOWNER", Secret: "s", Account: owner}, {AccessKeyID: "AKIAOTHER", Secret: "s", Account: other},
	}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	svc := secretsmanager.New(secretsmanager.Config{Store: s, Clock: clock.System{}, Key: key})
	srv := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(apism.New(svc), svc)}, Credentials: dir, Authorizer: dir, Clock: clock.System{}, Account: owner,
	}))
	t.Cleanup(srv.Close)
	return &world{t, srv.URL, s}
}

func (w *world) client(key string) *awssm.Client {
	return awssm.New(awssm.Options{
		BaseEndpoint: aws.String(w.url), Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, "s", ""),
	})
}

// user makes a user of the owner's with a policy and returns its client and
// its ARN.
func (w *world) user(name, statement string) (*awssm.Client, string) {
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
	return w.client(key), u.ARN
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

func TestSDK(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	made, err := c.CreateSecret(ctx, &awssm.CreateSecretInput{Name: aws.String("app/db"), SecretString: aws.String("hush"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutSecretValue(ctx, &awssm.PutSecretValueInput{SecretId: made.ARN, SecretBinary: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetSecretValue(ctx, &awssm.GetSecretValueInput{SecretId: aws.String("app/db")})
	if err != nil || string(got.SecretBinary) != "\x00\xff" || got.CreatedDate == nil {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = c.GetSecretValue(ctx, &awssm.GetSecretValueInput{SecretId: made.ARN, VersionStage: aws.String("AWSPREVIOUS")})
	if err != nil || *got.SecretString != "hush" || *got.VersionId != *made.VersionId {
		t.Errorf("%+v, %v", got, err)
	}
	list, err := c.ListSecrets(ctx, &awssm.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeTagKey, Values: []string{"k"}}}})
	if err != nil || len(list.SecretList) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.DeleteSecret(ctx, &awssm.DeleteSecretInput{SecretId: made.ARN, ForceDeleteWithoutRecovery: aws.Bool(true)}); err != nil {
		t.Error(err)
	}
	_, err = c.GetSecretValue(ctx, &awssm.GetSecretValueInput{SecretId: made.ARN})
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
		t.Error(err)
	}
}

// Who may read is decided by the caller's policies, the secret's, and whose
// secret it is.
func TestAuthorization(t *testing.T) {
	w := newWorld(t)
	root, ctx := w.client("AKIAOWNER"), t.Context()
	made, err := root.CreateSecret(ctx, &awssm.CreateSecretInput{Name: aws.String("app/db"), SecretString: aws.String("hush")})
	if err != nil {
		t.Fatal(err)
	}
	allowed, allowedARN := w.user("allowed", `"Effect":"Allow","Action":"secretsmanager:*","Resource":"arn:aws:secretsmanager:*:*:secret:app/*"`)
	nobody, nobodyARN := w.user("nobody", "")
	foreign := w.client("AKIAOTHER")
	get := func(c *awssm.Client) string {
		_, err := c.GetSecretValue(context.WithoutCancel(ctx), &awssm.GetSecretValueInput{SecretId: made.ARN})
		return outcome(err)
	}
	const denied = "AccessDeniedException"
	check := func(when string, want map[*awssm.Client]string) {
		t.Helper()
		for c, code := range want {
			if got := get(c); got != code {
				who := map[*awssm.Client]string{root: "root", allowed: "allowed", nobody: "nobody", foreign: "the other account"}[c]
				t.Errorf("%s, %s got %q, want %q", when, who, got, code)
			}
		}
	}
	put := func(effect, principal string) {
		t.Helper()
		if _, err := root.PutResourcePolicy(ctx, &awssm.PutResourcePolicyInput{SecretId: made.ARN, ResourcePolicy: aws.String(policy(fmt.Sprintf(
			`"Effect":%q,"Principal":{"AWS":%q},"Action":"secretsmanager:GetSecretValue","Resource":"*"`, effect, principal)))}); err != nil {
			t.Fatal(err)
		}
	}
	check("without a policy", map[*awssm.Client]string{root: "", allowed: "", nobody: denied, foreign: denied})
	put("Allow", nobodyARN)
	check("when a policy lets nobody in", map[*awssm.Client]string{root: "", allowed: "", nobody: "", foreign: denied})
	put("Deny", allowedARN)
	check("when a policy denies", map[*awssm.Client]string{root: "", allowed: denied, nobody: denied})
	put("Allow", other)
	check("when a policy lets the other account in", map[*awssm.Client]string{root: "", allowed: "", foreign: ""})

	_, err = allowed.CreateSecret(ctx, &awssm.CreateSecretInput{Name: aws.String("app/new"), SecretString: aws.String("v")})
	if got := outcome(err); got != "" {
		t.Error("create below app/:", err)
	}
	_, err = allowed.CreateSecret(ctx, &awssm.CreateSecretInput{Name: aws.String("elsewhere"), SecretString: aws.String("v")})
	if got := outcome(err); got != denied {
		t.Error("create elsewhere:", err)
	}
	batch, err := w.batchUser().BatchGetSecretValue(ctx, &awssm.BatchGetSecretValueInput{SecretIdList: []string{"app/db", "app/new"}})
	if err != nil || len(batch.SecretValues) != 1 || *batch.SecretValues[0].Name != "app/new" || len(batch.Errors) != 1 || *batch.Errors[0].ErrorCode != denied {
		t.Errorf("%+v, %v", batch, err)
	}
}

// batchUser may call BatchGetSecretValue, and read one secret.
func (w *world) batchUser() *awssm.Client {
	c, _ := w.user("batch", `"Effect":"Allow","Action":["secretsmanager:BatchGetSecretValue","secretsmanager:GetSecretValue"],"Resource":"*","Condition":{"StringNotLike":{"secretsmanager:SecretId":"*:secret:app/db-*"}}`)
	return c
}
