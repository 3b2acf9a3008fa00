// Package rawaws calls AWS's JSON protocols with the SDK's signer and Go's HTTP
// client, and with no more of the SDK: it neither tries again nor takes much
// time of its own.
package rawaws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Service is what requests to a service are marked with.
type Service struct {
	// Target is what stands before the operation in X-Amz-Target.
	Target string
	// Name is what requests are signed for.
	Name string
}

// Services that speak JSON.
var (
	ECS = Service{"AmazonEC2ContainerServiceV20141113", "ecs"}
	ECR = Service{"AmazonEC2ContainerRegistry_V20150921", "ecr"}
	SSM = Service{"AmazonSSM", "ssm"}
)

// Region is the one that requests go to.
const Region = "us-east-1"

// Object is a request's body.
type Object = map[string]any

// Client calls one endpoint with the built-in key. It is safe for concurrent
// use.
type Client struct {
	endpoint string
	http     *http.Client
	signer   *v4.Signer
}

// New makes a client that keeps up to as many connections.
func New(endpoint string, connections int) *Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.MaxConnsPerHost, t.DisableCompression = nil, connections, connections, true
	return &Client{endpoint: endpoint + "/", http: &http.Client{Transport: t}, signer: v4.NewSigner()}
}

// Close lets go of the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an answer that is not 200.
type Error struct {
	Operation string
	Status    int
	Body      string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %d: %s", e.Operation, e.Status, e.Body) }

var key = aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}

// Call makes one request and decodes the answer into out, unless that is nil.
func (c *Client) Call(ctx context.Context, s Service, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", s.Target+"."+operation)
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, key, req, hex.EncodeToString(sum[:]), s.Name, Region, time.Now()); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &Error{operation, resp.StatusCode, string(answer[:min(len(answer), 500)])}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
