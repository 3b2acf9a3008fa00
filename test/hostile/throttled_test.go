package hostile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
)

// asBotocore calls each protocol more often than is allowed, and prints how
// often botocore tried.
const asBotocore = `
import boto3, sys
from botocore.config import Config
c = dict(endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test',
         config=Config(retries={'mode': 'standard', 'max_attempts': 10}))
for name, call in (('ecs', lambda s: s.list_clusters()), ('ec2', lambda s: s.describe_vpcs()),
                   ('iam', lambda s: s.list_users()), ('logs', lambda s: s.describe_log_groups()), ('elbv2', lambda s: s.describe_load_balancers())):
    s = boto3.client(name, **c)
    print(name, sum(call(s)['ResponseMetadata']['RetryAttempts'] for _ in range(5)))
`

// Clients that are throttled wait, try again and succeed: AWS's SDK for Go and
// botocore know the refusals of all protocols for what they are.
func TestClientsWaitWhenThrottled(t *testing.T) {
	s, err := start(target.program, filepath.Join(t.TempDir(), "data"), "--throttle", "6/3")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
	}()
	if path, err := exec.LookPath("python3"); err == nil && exec.CommandContext(t.Context(), path, "-c", "import boto3").Run() == nil {
		cmd := exec.CommandContext(t.Context(), path, "-c", asBotocore, s.url())
		cmd.Env = append(os.Environ(), "AWS_CONFIG_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) != 2 || f[1] == "0" {
				t.Errorf("botocore was not throttled: %s", line)
			}
		}
	} else {
		t.Log("boto3 is not installed: botocore is not tried")
	}
	refusals := make(map[string]int)
	cfg := aws.Config{
		Region: region, BaseEndpoint: aws.String(s.url()), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = 10, time.Second
				o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
					if e, ok := errors.AsType[smithy.APIError](err); ok {
						refusals[e.ErrorCode()]++
					}
					return aws.UnknownTernary
				})}, o.Retryables...)
			})
		},
	}
	for _, call := range []func() error{
		func() error { _, err := ecs.NewFromConfig(cfg).ListTaskDefinitions(t.Context(), nil); return err },
		func() error { _, err := ec2.NewFromConfig(cfg).DescribeSubnets(t.Context(), nil); return err },
		func() error { _, err := iam.NewFromConfig(cfg).ListRoles(t.Context(), nil); return err },
	} {
		for range 5 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, code := range []string{"ThrottlingException", "RequestLimitExceeded", "Throttling"} {
		if refusals[code] == 0 {
			t.Errorf("nobody was refused with %s: %v", code, refusals)
		}
	}
}
