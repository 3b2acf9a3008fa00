package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"roadstead.dev/internal/clock"
)

// API calls AWS's operations. It is small: SDKs' clients would be most of what
// an idle instance takes.
type API struct {
	// Endpoint is the URL of AWS's APIs.
	Endpoint string
	Region   string
	// Credentials are the machine's own.
	Credentials aws.CredentialsProvider
	Client      *http.Client
	Clock       clock.Clock
}

// Error is what the API refuses with.
type Error struct {
	Operation, Code, Message string
	Status                   int
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Operation, e.Code, e.Message)
}

// maxAnswer bounds what an answer may hold.
const maxAnswer = 4 << 20

// service is one of AWS's that speaks JSON 1.1.
type service struct{ signingName, target string }

var (
	serviceECS     = service{"ecs", "AmazonEC2ContainerServiceV20141113"}
	serviceECR     = service{"ecr", "AmazonEC2ContainerRegistry_V20150921"}
	serviceLogs    = service{"logs", "Logs_20140328"}
	serviceSecrets = service{"secretsmanager", "secretsmanager"}
	serviceSSM     = service{"ssm", "AmazonSSM"}
	serviceEC2     = service{signingName: "ec2"}
)

// call is a call of one operation.
type call struct {
	service   service
	operation string
	region    string
	// credentials nil are the machine's own.
	credentials aws.CredentialsProvider
}

// Call calls an operation of ECS as the machine; out may be nil.
func (a *API) Call(ctx context.Context, operation string, in, out any) error {
	return a.do(ctx, call{service: serviceECS, operation: operation}, in, out)
}

func (a *API) do(ctx context.Context, c call, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", c.operation, err)
	}
	b, err := a.post(ctx, c, body, "application/x-amz-json-1.1")
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", c.operation, err)
	}
	return nil
}

// post sends an operation's request and returns its answer.
func (a *API) post(ctx context.Context, c call, body []byte, contentType string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.Endpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if c.service.target != "" {
		req.Header.Set("X-Amz-Target", c.service.target+"."+c.operation)
	}
	if err := a.sign(ctx, req, body, c); err != nil {
		return nil, err
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.operation, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.operation, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, apiError(c.operation, resp.StatusCode, b)
	}
	return b, nil
}

func apiError(operation string, status int, body []byte) error {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	_ = json.Unmarshal(body, &e) // a body that is no JSON names no code
	if e.Message == "" {
		e.Message = e.Upper
	}
	if e.Type == "" && e.Message == "" { // EC2's are XML
		e.Message = string(body[:min(len(body), 500)])
	}
	return &Error{Operation: operation, Code: e.Type[strings.LastIndexByte(e.Type, '#')+1:], Message: e.Message, Status: status}
}

func (a *API) sign(ctx context.Context, req *http.Request, body []byte, c call) error {
	provider, region := a.Credentials, a.Region
	if c.credentials != nil {
		provider = c.credentials
	}
	if c.region != "" {
		region = c.region
	}
	creds, err := provider.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("the instance has no credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), c.service.signingName, region, a.Clock.Now())
}

// signedHeader is the header of a websocket's request.
func (a *API) signedHeader(ctx context.Context, address *url.URL) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	return req.Header, a.sign(ctx, req, nil, call{service: serviceECS})
}
