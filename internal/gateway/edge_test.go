package gateway_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awslogs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/gateway"
)

// edge serves several APIs, all of whose operations answer with one error.
func edge(t *testing.T, answer func(op string) error) *httptest.Server {
	t.Helper()
	cfg := gateway.Config{Credentials: directory{}, Authorizer: policies{}, Account: account, MaxBody: 1 << 20}
	for _, s := range []*api.Service{ec2.New(nil), ecs.New(nil), elbv2.New(nil), iam.New(nil), logs.New(nil), sts.New(nil)} {
		for i := range s.Operations {
			name := s.Operations[i].Name
			s.Operations[i].Invoke = func(context.Context, any) (any, error) { return nil, answer(name) }
		}
		cfg.Services = append(cfg.Services, gateway.Service{API: s})
	}
	srv := httptest.NewServer(gateway.New(cfg))
	t.Cleanup(srv.Close)
	return srv
}

const hidden = "the cause of it"

// edgeErrors is what the operations of TestErrorsOnTheWire answer.
func edgeErrors(op string) error {
	switch op {
	case "DescribeClusters":
		return ecs.NewInvalidParameterException("bad <\"&> ü\n parameter")
	case "RunTask":
		e := ecs.NewConflictException("in use")
		e.ResourceIds = []string{"a", "b"}
		return e
	case "DescribeTasks":
		return ecs.NewServerException("Internal Server Error")
	case "GetUser":
		return iam.NewNoSuchEntityException("The user with name x cannot be found.")
	case "CreateUser":
		return iam.NewEntityAlreadyExistsException("User with name x already exists.")
	case "DescribeLoadBalancers":
		return elbv2.NewLoadBalancerNotFoundException("One or more load balancers not found")
	case "DescribeVpcs":
		return api.NewFault("InvalidVpcID.NotFound", "The vpc ID 'vpc-<x>' does not exist")
	case "AssumeRole":
		return sts.NewMalformedPolicyDocumentException("Syntax errors in policy.")
	case "PutLogEvents":
		return logs.NewResourceNotFoundException("The specified log group does not exist.")
	}
	return errors.New(hidden)
}

// The forms that the protocols give errors: status, headers and body.
func TestErrorsOnTheWire(t *testing.T) {
	srv := edge(t, edgeErrors)
	const (
		jsonType = "application/x-amz-json-1.1"
		xmlType  = "text/xml"
		ec2Type  = "text/xml;charset=UTF-8"
	)
	for _, tt := range []struct {
		name, service, operation, body string
		status                         int
		contentType, errorType         string
		has                            []string
	}{
		{"modelled, awsJson", "ecs", "DescribeClusters", "{}", 400, jsonType, "InvalidParameterException", []string{`"__type":"InvalidParameterException"`, `"message":"bad <\"&> ü\n parameter"`}},
		{"with members, awsJson", "ecs", "RunTask", `{"taskDefinition":"x"}`, 400, jsonType, "ConflictException", []string{`"resourceIds":["a","b"]`, `"message":"in use"`}},
		{"a fault, awsJson", "ecs", "DescribeTasks", `{"tasks":["x"]}`, 500, jsonType, "ServerException", []string{`"message":"Internal Server Error"`}},
		{"internal, awsJson", "ecs", "ListClusters", "{}", 500, jsonType, "InternalFailure", nil},
		{"no JSON", "ecs", "ListClusters", "{", 400, jsonType, "SerializationException", []string{`{"__type":"SerializationException"}`}},
		{"a constraint, awsJson", "ecs", "ListClusters", `{"launchType":"X","maxResults":"x"}`, 400, jsonType, "SerializationException", []string{"STRING_VALUE can not be converted to an Integer"}},
		{"missing, awsJson", "logs", "PutLogEvents", `{}`, 400, jsonType, "InvalidParameterException", []string{"3 validation errors detected: Value null at 'logEvents'"}},
		{"modelled with a status, query", "iam", "GetUser", "Action=GetUser&UserName=x", 404, xmlType, "", []string{"<Type>Sender</Type>", "<Code>NoSuchEntity</Code>", "<Message>The user with name x cannot be found.</Message>", "https://iam.amazonaws.com/doc/2010-05-08/"}},
		{"another status, query", "iam", "CreateUser", "Action=CreateUser&UserName=x", 409, xmlType, "", []string{"<Code>EntityAlreadyExists</Code>"}},
		{"a code of its own, query", "elbv2", "DescribeLoadBalancers", "Action=DescribeLoadBalancers", 400, xmlType, "", []string{"<Code>LoadBalancerNotFound</Code>"}},
		{"internal, query", "iam", "ListRoles", "Action=ListRoles", 500, xmlType, "", []string{"<Type>Receiver</Type>", "<Code>InternalFailure</Code>"}},
		{"a number, query", "iam", "ListRoles", "Action=ListRoles&MaxItems=x", 400, xmlType, "", []string{"<Code>MalformedInput</Code>"}},
		{"a constraint, query", "iam", "ListRoles", "Action=ListRoles&MaxItems=0", 400, xmlType, "", []string{"<Code>ValidationError</Code>", "Value &apos;0&apos; at"}},
		{"no operation, query", "iam", "Nonsense", "Action=Nonsense", 400, xmlType, "", []string{"<Code>InvalidAction</Code>", "Could not find operation Nonsense for version 2010-05-08"}},
		{"a code, EC2", "ec2", "DescribeVpcs", "Action=DescribeVpcs", 400, ec2Type, "", []string{"<Errors><Error><Code>InvalidVpcID.NotFound</Code><Message>The vpc ID 'vpc-&lt;x&gt;' does not exist</Message></Error></Errors>"}},
		{"internal, EC2", "ec2", "DescribeSubnets", "Action=DescribeSubnets", 500, ec2Type, "", []string{"<Code>InternalError</Code>"}},
		{"a boolean, EC2", "ec2", "DescribeVpcs", "Action=DescribeVpcs&DryRun=x", 400, ec2Type, "", []string{"<Code>InvalidParameterValue</Code>"}},
		{"unknown, EC2", "ec2", "DescribeVpcs", "Action=DescribeVpcs&Nonsense=1", 400, ec2Type, "", []string{"<Code>UnknownParameter</Code>", "The parameter Nonsense is not recognized"}},
		{"empty, EC2", "ec2", "CreateKeyPair", "Action=CreateKeyPair&KeyName=", 400, ec2Type, "", []string{"<Code>MissingParameter</Code>", "The request must contain the parameter KeyName"}},
		{"dry run, EC2", "ec2", "DescribeVpcs", "Action=DescribeVpcs&DryRun=true", 412, ec2Type, "", []string{"<Code>DryRunOperation</Code>"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := map[string]*api.Service{"ec2": ec2.New(nil), "ecs": ecs.New(nil), "elbv2": elbv2.New(nil), "iam": iam.New(nil), "logs": logs.New(nil)}[tt.service]
			req := requestOf(t, srv.URL, svc, tt.operation)
			body := tt.body
			if svc.TargetPrefix == "" {
				body += "&Version=" + svc.APIVersion
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			sg := signing{key: userKey, secret: secret, service: svc.SigningName, region: "eu-west-1", at: time.Now()}
			sg.sign(t, req, []byte(body))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, resp.Header.Get("Content-Type"), tt.status, tt.contentType)
			}
			for _, part := range tt.has {
				if !strings.Contains(strings.ReplaceAll(string(b), "'", "&apos;"), strings.ReplaceAll(part, "'", "&apos;")) {
					t.Errorf("%s lacks %s", b, part)
				}
			}
			if strings.Contains(string(b), hidden) {
				t.Errorf("the cause is told: %s", b)
			}
			id := resp.Header.Get("X-Amzn-Requestid")
			if len(id) != 36 || svc.TargetPrefix == "" && !strings.Contains(string(b), id) {
				t.Errorf("request id %q in %s", id, b)
			}
			if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil {
				t.Errorf("date: %v", err)
			}
			if got := resp.Header.Get("X-Amzn-Errortype"); got != tt.errorType {
				t.Errorf("x-amzn-ErrorType %q, want %q", got, tt.errorType)
			}
			if svc.TargetPrefix != "" && !json.Valid(b) || svc.TargetPrefix == "" && xml.Unmarshal(b, new(struct{})) != nil {
				t.Errorf("not well formed: %s", b)
			}
		})
	}
}

// AWS's SDK finds type, code, message, fault and request id in each form.
func TestErrorsThroughTheSDK(t *testing.T) {
	srv := edge(t, edgeErrors)
	cfg := aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(srv.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(userKey, secret, ""),
	}
	ctx := t.Context()
	for name, tt := range map[string]struct {
		call          func() error
		code, message string
		status        int
		fault         smithy.ErrorFault
	}{
		"awsJson": {
			func() error { _, err := awsecs.NewFromConfig(cfg).DescribeClusters(ctx, nil); return err },
			"InvalidParameterException", "bad <\"&> ü\n parameter", 400, smithy.FaultClient,
		},
		"awsJson, a fault": {
			func() error {
				_, err := awsecs.NewFromConfig(cfg).DescribeTasks(ctx, &awsecs.DescribeTasksInput{Tasks: []string{"x"}})
				return err
			}, "ServerException", "Internal Server Error", 500, smithy.FaultServer,
		},
		"awsJson, logs": {
			func() error {
				_, err := awslogs.NewFromConfig(cfg).PutRetentionPolicy(ctx, &awslogs.PutRetentionPolicyInput{LogGroupName: aws.String(""), RetentionInDays: aws.Int32(1)})
				return err
			},
			"InvalidParameterException", "1 validation error detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1", 400, smithy.FaultClient,
		},
		"query": {
			func() error {
				_, err := awsiam.NewFromConfig(cfg).GetUser(ctx, &awsiam.GetUserInput{UserName: aws.String("x")})
				return err
			}, "NoSuchEntity", "The user with name x cannot be found.", 404, smithy.FaultClient,
		},
		"query, ELB": {
			func() error { _, err := awselb.NewFromConfig(cfg).DescribeLoadBalancers(ctx, nil); return err },
			"LoadBalancerNotFound", "One or more load balancers not found", 400, smithy.FaultClient,
		},
		"query, STS": {
			func() error {
				_, err := awssts.NewFromConfig(cfg).AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/x"), RoleSessionName: aws.String("xy")})
				return err
			}, "MalformedPolicyDocument", "Syntax errors in policy.", 400, smithy.FaultClient,
		},
		"EC2": {
			func() error { _, err := awsec2.NewFromConfig(cfg).DescribeVpcs(ctx, nil); return err },
			"InvalidVpcID.NotFound", "The vpc ID 'vpc-<x>' does not exist", 400, smithy.FaultUnknown,
		},
	} {
		err := tt.call()
		e, ok := errors.AsType[smithy.APIError](err)
		if !ok || e.ErrorCode() != tt.code || e.ErrorMessage() != tt.message || e.ErrorFault() != tt.fault && e.ErrorFault() != smithy.FaultUnknown {
			t.Errorf("%s: %v", name, err)
		}
		r, ok := errors.AsType[*awshttp.ResponseError](err)
		if !ok || r.HTTPStatusCode() != tt.status || len(r.ServiceRequestID()) != 36 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An error of the model is the SDK's own type, with its members.
	_, err := awsecs.NewFromConfig(cfg).RunTask(ctx, &awsecs.RunTaskInput{TaskDefinition: aws.String("x")})
	if err == nil || !strings.Contains(err.Error(), "ConflictException: in use") {
		t.Errorf("RunTask: %v", err)
	}
}
