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

// API calls ECS's operations. It is small: an SDK's client would be most of
// what an idle instance takes.
type API struct {
	// Endpoint is the URL of AWS's APIs.
	Endpoint    string
	Region      string
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

// Call calls an operation; out may be nil.
func (a *API) Call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.Endpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+operation)
	if err := a.sign(ctx, req, body); err != nil {
		return err
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode != http.StatusOK {
		return apiError(operation, resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", operation, err)
	}
	return nil
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
	return &Error{Operation: operation, Code: e.Type[strings.LastIndexByte(e.Type, '#')+1:], Message: e.Message, Status: status}
}

func (a *API) sign(ctx context.Context, req *http.Request, body []byte) error {
	creds, err := a.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("the instance has no credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "ecs", a.Region, a.Clock.Now())
}

// signedHeader is the header of a websocket's request.
func (a *API) signedHeader(ctx context.Context, address *url.URL) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	return req.Header, a.sign(ctx, req, nil)
}
