package agent

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// ReadIdentity reads the identity document of the instance that the agent is on,
// and its signature.
func ReadIdentity(ctx context.Context, metadata *imds.Client) (document, signature string, err error) {
	if document, err = dynamicData(ctx, metadata, "instance-identity/document"); err == nil {
		signature, err = dynamicData(ctx, metadata, "instance-identity/signature")
	}
	if err != nil {
		return "", "", fmt.Errorf("read the instance's identity: %w", err)
	}
	return document, signature, nil
}

func dynamicData(ctx context.Context, metadata *imds.Client, path string) (string, error) {
	out, err := metadata.GetDynamicData(ctx, &imds.GetDynamicDataInput{Path: path})
	if err != nil {
		return "", err
	}
	return read(out.Content)
}

func read(answer io.ReadCloser) (string, error) {
	defer func() { _ = answer.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer, 1<<20))
	return strings.TrimSpace(string(b)), err
}
