package ssm_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	apissm "roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/service/ssm"
	"roadstead.dev/internal/store/memory"
)

// From PutParameter to its history, by AWS's own SDK.
func TestSDK(t *testing.T) {
	s := memory.New()
	dir, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	svc := ssm.New(ssm.Config{Store: s, Key: key})
	srv := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(apissm.New(svc), svc)}, Credentials: dir, Authorizer: dir, Clock: clock.System{},
		Account: "111122223333", LoopbackRootKey: true,
	}))
	t.Cleanup(srv.Close)
	c, ctx := awsssm.New(awsssm.Options{
		BaseEndpoint: aws.String(srv.URL), Region: "eu-west-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}), t.Context()
	for _, value := range []string{"one", "two"} {
		if _, err := c.PutParameter(ctx, &awsssm.PutParameterInput{Name: aws.String("/app/p"), Value: &value, Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(value == "two")}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.GetParameter(ctx, &awsssm.GetParameterInput{Name: aws.String("/app/p"), WithDecryption: aws.Bool(true)})
	if err != nil || *got.Parameter.Value != "two" || got.Parameter.Version != 2 || *got.Parameter.ARN != "arn:aws:ssm:eu-west-1:111122223333:parameter/app/p" {
		t.Errorf("%+v, %v", got, err)
	}
	history := awsssm.NewGetParameterHistoryPaginator(c, &awsssm.GetParameterHistoryInput{Name: aws.String("/app/p"), MaxResults: aws.Int32(1), WithDecryption: aws.Bool(true)})
	var values []string
	for history.HasMorePages() {
		page, err := history.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Parameters {
			values = append(values, *p.Value)
		}
	}
	if len(values) != 2 || values[0] != "one" {
		t.Error(values)
	}
	_, err = c.GetParameter(ctx, &awsssm.GetParameterInput{Name: aws.String("none")})
	if _, ok := errors.AsType[*types.ParameterNotFound](err); !ok {
		t.Error(err)
	}
	_, err = c.PutParameter(ctx, &awsssm.PutParameterInput{Name: aws.String("/app/p"), Value: aws.String("v"), Type: types.ParameterTypeString})
	if _, ok := errors.AsType[*types.ParameterAlreadyExists](err); !ok {
		t.Error(err)
	}
}
