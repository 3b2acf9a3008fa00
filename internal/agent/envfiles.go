package agent

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model/acs"
)

var _ execution.Objects = Account{}

// Object implements execution.Objects.
func (a Account) Object(ctx context.Context, task *acs.Task, bucket, key string) ([]byte, error) {
	if task.ExecutionRoleCredentials == nil {
		return nil, execution.ErrNoRole
	}
	text, region, err := a.object(ctx, task, bucket, key, a.API.Region)
	if region != "" { // the bucket's, which is another than ours
		text, _, err = a.object(ctx, task, bucket, key, region)
	}
	return text, worded(err)
}

// emptyBody is the digest of no bytes.
const emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// object reads an object as a request to a region, or says in which other one
// its bucket is.
func (a Account) object(ctx context.Context, task *acs.Task, bucket, key, region string) (text []byte, elsewhere string, err error) {
	address, err := url.Parse(a.API.Endpoint)
	if err != nil {
		return nil, "", fmt.Errorf("the endpoint: %w", err)
	}
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = escaped(s)
	}
	address.Path = "/" + bucket + "/" + key
	address.RawPath = "/" + bucket + "/" + strings.Join(segments, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, "", err
	}
	creds, err := roleCredentials(task.ExecutionRoleCredentials).Retrieve(ctx)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("X-Amz-Content-Sha256", emptyBody)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, creds, req, emptyBody, "s3", region, a.API.Clock.Now()); err != nil {
		return nil, "", err
	}
	resp, err := a.API.Client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("GetObject: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err = io.ReadAll(io.LimitReader(resp.Body, execution.MaxEnvironmentFile+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("GetObject: %w", err)
	case resp.StatusCode == http.StatusOK && len(text) > execution.MaxEnvironmentFile:
		return nil, "", execution.ErrFileTooLarge
	case resp.StatusCode == http.StatusOK:
		return text, "", nil
	}
	var e struct{ Code, Message string }
	if xml.Unmarshal(text, &e) != nil || e.Code == "" {
		return nil, "", errors.New("GetObject: " + resp.Status)
	}
	if there := resp.Header.Get("X-Amz-Bucket-Region"); there != region {
		elsewhere = there
	}
	return nil, elsewhere, &Error{Operation: "GetObject", Code: e.Code, Message: e.Message, Status: resp.StatusCode}
}

// escaped is a segment of an object's path as signatures of S3 have it: all but
// unreserved characters are escaped.
func escaped(segment string) string {
	return strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
}
