package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/gateway/throttle"
)

// never lets nothing pass, and notes what it was asked for.
type never struct{ asked []string }

func (n *never) Allow(account, region, service, operation string) bool {
	n.asked = append(n.asked, account+" "+region+" "+service+":"+operation)
	return false
}

// Each service refuses in its own code, status and form, and only who is known
// is counted.
func TestThrottledInTheServicesWords(t *testing.T) {
	services := []*api.Service{autoscaling.New(nil), ec2.New(nil), ecr.New(nil), ecs.New(nil), elbv2.New(nil), iam.New(nil), logs.New(nil), secretsmanager.New(nil), ssm.New(nil), sts.New(nil)}
	limit := &never{}
	cfg := gateway.Config{Credentials: directory{}, Authorizer: policies{}, Account: account, Throttle: limit}
	for _, s := range services {
		for i := range s.Operations {
			s.Operations[i].Invoke = func(context.Context, any) (any, error) { return nil, errors.New("called") }
		}
		cfg.Services = append(cfg.Services, gateway.Service{API: s})
	}
	srv := httptest.NewServer(gateway.New(cfg))
	defer srv.Close()
	for _, tt := range []struct {
		service, operation string
		status             int
		body               string
	}{
		{"autoscaling", "DescribeTags", 400, "<Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>"},
		{"ec2", "DescribeVpcs", 503, "<Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error></Errors>"},
		{"ecr", "DescribeRepositories", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"ecs", "ListClusters", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"elbv2", "DescribeLoadBalancers", 400, "<Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>"},
		{"iam", "ListUsers", 400, "<Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>"},
		{"logs", "DescribeLogGroups", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"secretsmanager", "ListSecrets", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"ssm", "DescribeParameters", 400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`},
		{"sts", "GetCallerIdentity", 400, "<Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>"},
	} {
		var svc *api.Service
		for _, s := range services {
			if s.Name == tt.service {
				svc = s
			}
		}
		for _, key := range []string{userKey, "AKIANOBODY"} {
			limit.asked = nil
			req := requestOf(t, srv.URL, svc, tt.operation)
			body := ""
			if svc.TargetPrefix == "" {
				body = "Action=" + tt.operation + "&Version=" + svc.APIVersion
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			sg := signing{key: key, secret: secret, service: svc.SigningName, region: "eu-west-1", at: time.Now()}
			sg.sign(t, req, []byte(body))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if key != userKey {
				if len(limit.asked) > 0 {
					t.Errorf("%s: somebody unknown took a token", tt.service)
				}
				continue
			}
			if resp.StatusCode != tt.status || !strings.Contains(string(b), tt.body) {
				t.Errorf("%s: %d %s", tt.service, resp.StatusCode, b)
			}
			if want := account + " eu-west-1 " + svc.SigningName + ":" + tt.operation; len(limit.asked) != 1 || limit.asked[0] != want {
				t.Errorf("asked for %q, want %q", limit.asked, want)
			}
		}
	}
}

func requestOf(t *testing.T, url string, svc *api.Service, operation string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if svc.TargetPrefix != "" {
		req.Header.Set("X-Amz-Target", svc.TargetPrefix+"."+operation)
		req.Header.Set("Content-Type", "application/x-amz-json-"+svc.JSONVersion)
	}
	return req
}

// The SDK knows the refusal for what it is: it waits, asks again and succeeds.
func TestSDKRetriesWhenThrottled(t *testing.T) {
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(sts.New(stsHandler{}), stsHandler{})},
		Credentials: directory{}, Authorizer: policies{}, Account: account,
		Throttle: throttle.New(throttle.Each{Burst: 1, PerSecond: 5}, clock.System{}),
	}))
	defer s.Close()
	attempts := 0
	client := awssts.New(awssts.Options{
		BaseEndpoint: aws.String(s.URL), Region: "eu-west-1",
		Credentials: credentials.NewStaticCredentialsProvider(userKey, secret, ""),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = 10, 100*time.Millisecond
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				attempts++
				if code, ok := errors.AsType[smithy.APIError](err); !ok || code.ErrorCode() != "Throttling" {
					t.Errorf("retried %v", err)
				}
				return aws.UnknownTernary
			})}, o.Retryables...)
		}),
	})
	for range 3 {
		if _, err := client.GetCallerIdentity(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if attempts == 0 {
		t.Error("nothing was throttled")
	}
}
