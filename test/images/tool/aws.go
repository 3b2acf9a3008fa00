package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// credentialsHost is where the relative URI of a task's credentials leads.
const credentialsHost = "http://169.254.170.2" //nolint:gosec // an address

func credentials(ctx context.Context, _ []string) error {
	uri := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	if uri == "" {
		return errors.New("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set: the task has no role")
	}
	status, body, err := fetch(ctx, credentialsHost+uri, 5*time.Second)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, body)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		return err
	}
	for _, secret := range []string{"SecretAccessKey", "Token"} {
		if v := got[secret]; len(v) > 4 {
			got[secret] = v[:4] + "…"
		}
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// caller uses the SDK as any application would: credentials, endpoint and
// region all come from the environment that the container was given.
func caller(ctx context.Context, _ []string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Println(*out.Arn)
	return nil
}

func metadata(ctx context.Context, args []string) error {
	base := os.Getenv("ECS_CONTAINER_METADATA_URI_V4")
	if base == "" {
		return errors.New("ECS_CONTAINER_METADATA_URI_V4 is not set")
	}
	if len(args) > 0 {
		base += "/" + strings.TrimPrefix(args[0], "/")
	}
	status, body, err := fetch(ctx, base, 5*time.Second)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, body)
	}
	fmt.Println(body)
	return nil
}
