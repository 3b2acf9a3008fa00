package main

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

	"roadstead.dev/bench/internal/server"
)

// client calls ECS with the SDK's signer and Go's HTTP client, and no more of
// the SDK, so that little of what is measured is the client's own.
type client struct {
	endpoint string
	http     *http.Client
	signer   *v4.Signer
}

func newClient(endpoint string, connections int) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.MaxConnsPerHost, t.DisableCompression = nil, connections, connections, true
	return &client{endpoint: endpoint + "/", http: &http.Client{Transport: t}, signer: v4.NewSigner()}
}

func (c *client) close() { c.http.CloseIdleConnections() }

var key = aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}

// call makes one request and decodes the answer into out, unless that is nil.
func (c *client) call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+operation)
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, key, req, hex.EncodeToString(sum[:]), "ecs", server.Region, time.Now()); err != nil {
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
		return fmt.Errorf("%s: %s: %s", operation, resp.Status, answer[:min(len(answer), 300)])
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
