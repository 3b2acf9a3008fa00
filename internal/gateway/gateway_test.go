package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/model"
)

const (
	account = "123456789012"
	userKey = "AKIAUSER"
	tmpKey  = "ASIATEMP"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

type directory struct{}

func (directory) Lookup(_ context.Context, key, token string) (string, api.Identity, string, error) {
	switch {
	case key == userKey && token == "":
		return secret, api.Identity{ARN: "arn:aws:iam::" + account + ":user/joe", UserID: "AIDAJOE"}, account, nil
	case key == tmpKey && token == "good":
		return secret, api.Identity{ARN: "arn:aws:sts::" + account + ":assumed-role/r/s", UserID: "AROA:s"}, account, nil
	case key == tmpKey && token == "old":
		return "", api.Identity{}, "", model.ErrExpiredToken
	case key == tmpKey:
		return "", api.Identity{}, "", model.ErrSecurityToken
	}
	return "", api.Identity{}, "", model.ErrUnknownAccessKey
}

// policies denies what is in it.
type policies map[string]bool

func (p policies) Authorize(_ context.Context, _ *api.Call, action string, resources []string, _ map[string]string) error {
	if p[action] {
		return &model.Denied{Action: action, Resource: resources[0], Reason: "because no identity-based policy allows the " + action + " action"}
	}
	return nil
}

type stsHandler struct{ sts.Handler }

func (stsHandler) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	c := api.CallFrom(ctx)
	return &sts.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.Identity.ARN, UserId: &c.Identity.UserID}, nil
}

func (stsHandler) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	return nil, sts.NewMalformedPolicyDocumentException("bad <policy> & %q", *in.RoleArn)
}

type logsHandler struct{ logs.Handler }

func (logsHandler) DescribeLogGroups(context.Context, *logs.DescribeLogGroupsInput) (*logs.DescribeLogGroupsOutput, error) {
	return &logs.DescribeLogGroupsOutput{}, nil
}

func (logsHandler) PutLogEvents(_ context.Context, in *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	return &logs.PutLogEventsOutput{NextSequenceToken: new(*in.LogEvents[0].Message)}, nil
}

func (logsHandler) DeleteLogGroup(context.Context, *logs.DeleteLogGroupInput) (*logs.DeleteLogGroupOutput, error) {
	return nil, errors.New("secret cause")
}

func (logsHandler) DeleteLogStream(context.Context, *logs.DeleteLogStreamInput) (*logs.DeleteLogStreamOutput, error) {
	panic("secret panic")
}

func (logsHandler) CreateLogGroup(ctx context.Context, _ *logs.CreateLogGroupInput) (*logs.CreateLogGroupOutput, error) {
	if err := api.CallFrom(ctx).Authorize(ctx, "kms:Decrypt", "*", nil); err != nil {
		return nil, err
	}
	return nil, logs.NewResourceAlreadyExistsException("The specified log group already exists")
}

func serve(t testing.TB, deny ...string) *httptest.Server {
	t.Helper()
	denied := policies{}
	for _, a := range deny {
		denied[a] = true
	}
	g := gateway.New(gateway.Config{
		Services: []gateway.Service{
			gateway.Bind(sts.New(stsHandler{}), stsHandler{}),
			gateway.Bind(logs.New(logsHandler{}), logsHandler{}),
		},
		Credentials: directory{}, Authorizer: denied, Account: account,
		LoopbackRootKey: true, MaxBody: 1 << 20,
		Log: slog.New(slog.DiscardHandler),
		Registry: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		}),
	})
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s
}

func stsClient(s *httptest.Server, key, secret, token string) *awssts.Client {
	return awssts.New(awssts.Options{
		BaseEndpoint: aws.String(s.URL), Region: "eu-west-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, token),
	})
}

func TestSDKIsAuthenticated(t *testing.T) {
	s := serve(t)
	out, err := stsClient(s, userKey, secret, "").GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Arn); got != "arn:aws:iam::"+account+":user/joe" {
		t.Errorf("caller is %s", got)
	}
	out, err = stsClient(s, "test", "test", "").GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Arn); got != "arn:aws:iam::"+account+":root" {
		t.Errorf("caller is %s", got)
	}
}

func TestQueryAuthenticationErrors(t *testing.T) {
	s := serve(t)
	tests := []struct{ name, key, secret, token, want string }{
		{"unknown key", "AKIANOBODY", secret, "", "InvalidClientTokenId"},
		{"wrong secret", userKey, "x", "", "SignatureDoesNotMatch"},
		{"token missing", tmpKey, secret, "", "InvalidClientTokenId"},
		{"token wrong", tmpKey, secret, "bad", "InvalidClientTokenId"},
		{"token expired", tmpKey, secret, "old", "ExpiredToken"},
		{"token right", tmpKey, secret, "good", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := stsClient(s, tt.key, tt.secret, tt.token).GetCallerIdentity(t.Context(), nil)
			got := ""
			if e, ok := errors.AsType[smithy.APIError](err); ok {
				got = e.ErrorCode()
			}
			if got != tt.want {
				t.Errorf("code %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestModelledErrorInXML(t *testing.T) {
	_, err := stsClient(serve(t), userKey, secret, "").AssumeRole(t.Context(),
		&awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/<&>"), RoleSessionName: aws.String("abc")})
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != "MalformedPolicyDocument" || e.ErrorMessage() != `bad <policy> & "arn:aws:iam::123456789012:role/<&>"` {
		t.Errorf("got %v", err)
	}
}

// send signs and sends a JSON request, and returns status, code and message.
func send(t testing.TB, s *httptest.Server, op, body string, change func(*http.Request, *signing)) (*http.Response, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Logs_20140328."+op)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sg := &signing{key: userKey, secret: secret, service: "logs", region: "us-east-1", at: time.Now()}
	if change != nil {
		change(req, sg)
	}
	if !sg.unsigned {
		sg.sign(t, req, []byte(body))
	}
	if sg.after != nil {
		sg.after(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatalf("answer %q: %v", b, err)
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, e.Type, e.Message
}

type signing struct {
	key, secret, token, service, region string
	at                                  time.Time
	unsigned                            bool
	after                               func(*http.Request)
}

func (sg *signing) sign(t testing.TB, req *http.Request, body []byte) {
	t.Helper()
	hash := sha256hex(body)
	if h := req.Header.Get("X-Amz-Content-Sha256"); h != "" {
		hash = h
	}
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: sg.key, SecretAccessKey: sg.secret, SessionToken: sg.token},
		req, hash, sg.service, sg.region, sg.at)
	if err != nil {
		t.Fatal(err)
	}
}

func TestJSONErrors(t *testing.T) {
	s := serve(t, "logs:DescribeLogStreams", "kms:Decrypt")
	const denied = "User: arn:aws:iam::" + account + ":user/joe is not authorized to perform: "
	tests := []struct {
		name, op, body string
		change         func(*http.Request, *signing)
		status         int
		code, message  string
	}{
		{name: "works", op: "DescribeLogGroups", body: "{}", status: 200},
		{name: "no body", op: "DescribeLogGroups", status: 200},
		{
			name: "unsigned payload", op: "DescribeLogGroups", body: "{}", status: 200,
			change: func(r *http.Request, _ *signing) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
		},
		{
			name: "chunked body", op: "DescribeLogGroups", body: "{}", status: 200,
			change: func(r *http.Request, _ *signing) {
				r.ContentLength = -1
				r.Body = io.NopCloser(strings.NewReader("{}"))
			},
		},
		{
			name: "expect continue", op: "DescribeLogGroups", body: "{}", status: 200,
			change: func(_ *http.Request, sg *signing) {
				sg.after = func(r *http.Request) { r.Header.Set("Expect", "100-continue") }
			},
		},
		{
			name: "unsigned", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.unsigned = true },
			code:   "MissingAuthenticationTokenException", message: "Missing Authentication Token",
		},
		{
			name: "unknown key", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.key = "AKIANOBODY" },
			code:   "UnrecognizedClientException", message: "The security token included in the request is invalid.",
		},
		{
			name: "wrong secret", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.secret = "no" }, code: "InvalidSignatureException",
		},
		{
			name: "body changed", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) {
				sg.after = func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }
			}, code: "InvalidSignatureException",
		},
		{
			name: "header changed", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) {
				sg.after = func(r *http.Request) { r.Header.Set("X-Amz-Target", "Logs_20140328.DescribeLogStreams") }
			}, code: "InvalidSignatureException",
		},
		{
			name: "expired token", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.key, sg.token = tmpKey, "old" },
			code:   "ExpiredTokenException", message: "The security token included in the request is expired",
		},
		{
			name: "old", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.at = sg.at.Add(-16 * time.Minute) }, code: "InvalidSignatureException",
		},
		{
			name: "early", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.at = sg.at.Add(16 * time.Minute) }, code: "InvalidSignatureException",
		},
		{
			name: "other service", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.service = "ecs" },
			code:   "InvalidSignatureException", message: "Credential should be scoped to correct service: 'logs'. ",
		},
		{
			name: "no region", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) { sg.region = "mars" }, code: "InvalidSignatureException",
		},
		{
			name: "incomplete header", op: "DescribeLogGroups", body: "{}", status: 400,
			change: func(_ *http.Request, sg *signing) {
				sg.after = func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/logs/e") }
			}, code: "IncompleteSignatureException",
			message: "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
		},
		{name: "unknown operation", op: "Nonsense", body: "{}", status: 400, code: "UnknownOperationException"},
		{name: "operation that is not served", op: logs.New(nil).Refused[0], body: "{}", status: 400, code: "UnknownOperationException"},
		{name: "not JSON", op: "DescribeLogGroups", body: "{", status: 400, code: "SerializationException"},
		{name: "not UTF-8", op: "DescribeLogGroups", body: "{\"logGroupNamePrefix\":\"\xff\"}", status: 400, code: "SerializationException"},
		{
			name: "wrong type", op: "DescribeLogGroups", body: `{"logGroupNamePrefix":5}`, status: 400,
			code: "SerializationException", message: "NUMBER_VALUE can not be converted to a String",
		},
		{
			name: "number in quotes", op: "DescribeLogGroups", body: `{"limit":"5"}`, status: 400,
			code: "SerializationException", message: "STRING_VALUE can not be converted to an Integer",
		},
		{name: "null and unknown", op: "DescribeLogGroups", body: `{"limit":null,"what":{"ever":[1,{}]}}`, status: 200},
		{name: "deep", op: "DescribeLogGroups", body: `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}", status: 400, code: "SerializationException"},
		{
			name: "required", op: "PutLogEvents", body: `{"logStreamName":"s","logEvents":[{"timestamp":1,"message":"m"}]}`, status: 400,
			code: "InvalidParameterException", message: "1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null",
		},
		{
			name: "two violations", op: "PutLogEvents", body: `{"logGroupName":"","logStreamName":"a:b","logEvents":[{"timestamp":1,"message":"m"}]}`, status: 400,
			code: "InvalidParameterException", message: "2 validation errors detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*",
		},
		{
			name: "violation in a list", op: "PutLogEvents", body: `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"m"},{"timestamp":-1,"message":"m"}]}`, status: 400,
			code: "InvalidParameterException", message: "1 validation error detected: Value '-1' at 'logEvents.2.member.timestamp' failed to satisfy constraint: Member must have value greater than or equal to 0",
		},
		{
			name: "enum", op: "DescribeLogStreams", body: `{"orderBy":"x"}`, status: 400,
			code: "InvalidParameterException", message: "1 validation error detected: Value 'x' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]",
		},
		{
			name: "denied", op: "DescribeLogStreams", body: `{}`, status: 400,
			code: "AccessDeniedException", message: denied + "logs:DescribeLogStreams on resource: * because no identity-based policy allows the logs:DescribeLogStreams action",
		},
		{
			name: "denied by the handler", op: "CreateLogGroup", body: `{"logGroupName":"g"}`, status: 400,
			code: "AccessDeniedException", message: denied + "kms:Decrypt on resource: * because no identity-based policy allows the kms:Decrypt action",
		},
		{
			name: "root may", op: "CreateLogGroup", body: `{"logGroupName":"g"}`, status: 400,
			change: func(_ *http.Request, sg *signing) { sg.key, sg.secret = "test", "test" },
			code:   "ResourceAlreadyExistsException", message: "The specified log group already exists",
		},
		{name: "internal", op: "DeleteLogGroup", body: `{"logGroupName":"g"}`, status: 500, code: "InternalFailure"},
		{name: "panic", op: "DeleteLogStream", body: `{"logGroupName":"g","logStreamName":"s"}`, status: 500, code: "InternalFailure"},
		{name: "too large", op: "DescribeLogGroups", body: `{"x":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, code: "RequestEntityTooLargeException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, code, message := send(t, s, tt.op, tt.body, tt.change)
			if resp.StatusCode != tt.status || code != tt.code {
				t.Errorf("answer %d %s %q, want %d %s", resp.StatusCode, code, message, tt.status, tt.code)
			}
			if tt.message != "" && message != tt.message {
				t.Errorf("message\n%s\nwant\n%s", message, tt.message)
			}
			if strings.Contains(message, "secret ") {
				t.Errorf("the cause was sent: %s", message)
			}
			if resp.Header.Get("X-Amzn-Requestid") == "" {
				t.Error("no request id")
			}
			if tt.code != "" && resp.Header.Get("X-Amzn-Errortype") != tt.code {
				t.Errorf("error type header %q", resp.Header.Get("X-Amzn-Errortype"))
			}
		})
	}
}

func TestEmptyListsAreSent(t *testing.T) {
	resp, _, _ := send(t, serve(t), "DescribeLogGroups", "{}", nil)
	b, _ := io.ReadAll(resp.Body)
	if string(b) != `{"logGroups":[]}` {
		t.Errorf("body %s", b)
	}
}

func TestPresigned(t *testing.T) {
	s := serve(t)
	presign := func(at time.Time, expires string) string {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires="+expires, nil)
		req.Header.Set("X-K8s-Aws-Id", "cluster")
		u, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: userKey, SecretAccessKey: secret}, req, sha256hex(nil), "sts", "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	tests := []struct {
		name, url string
		header    string
		status    int
		contains  string
	}{
		{"good", presign(time.Now(), "60"), "cluster", 200, "user/joe"},
		{"signed header missing", presign(time.Now(), "60"), "", 403, "SignatureDoesNotMatch"},
		{"expired", presign(time.Now().Add(-2*time.Minute), "60"), "cluster", 400, "RequestExpired"},
		{"long", presign(time.Now().Add(-20*time.Minute), "3600"), "cluster", 200, "user/joe"},
		{"changed", presign(time.Now(), "60") + "&DurationSeconds=1", "cluster", 403, "SignatureDoesNotMatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url, nil)
			if tt.header != "" {
				req.Header.Set("X-K8s-Aws-Id", tt.header)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !strings.Contains(string(b), tt.contains) {
				t.Errorf("answer %d %s", resp.StatusCode, b)
			}
		})
	}
}

func TestPathsOfOurOwn(t *testing.T) {
	s := serve(t)
	for path, status := range map[string]int{"/_roadstead/health": 200, "/v2/": 418, "/v2/a/blobs/uploads/": 418, "/": 403, "/?Action=Nope": 400} {
		resp, err := http.Get(s.URL + path) //nolint:noctx // a test's plain request
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s answers %d, want %d", path, resp.StatusCode, status)
		}
	}
}

func BenchmarkVerifiedJSONRequest(b *testing.B) {
	g := gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(logs.New(logsHandler{}), logsHandler{})},
		Credentials: directory{}, Authorizer: policies{}, Account: account,
		Log: slog.New(slog.DiscardHandler),
	})
	body := []byte(`{"logGroupName":"/ecs/demo","logStreamName":"web/app/0123456789abcdef","logEvents":[{"timestamp":1700000000000,"message":"GET / 200"}]}`)
	req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://localhost:4566/", nil)
	req.Header.Set("X-Amz-Target", "Logs_20140328.PutLogEvents")
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	(&signing{key: userKey, secret: secret, service: "logs", region: "us-east-1", at: time.Now()}).sign(b, req, body)
	req.RemoteAddr = "127.0.0.1:1000"
	req.RequestURI = "/"
	b.ReportAllocs()
	for b.Loop() {
		req.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
