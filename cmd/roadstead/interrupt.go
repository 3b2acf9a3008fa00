package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/spf13/cobra"

	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/interruption"
	"roadstead.dev/internal/store"
)

// interruptions are the paths at which Spot capacity is taken back.
func interruptions(s store.Store) map[string]gateway.Signed {
	return map[string]gateway.Signed{
		interruption.TaskPath:     {SigningName: "ecs", Handler: interruption.Tasks{Store: s}},
		interruption.InstancePath: {SigningName: "ec2", Handler: interruption.Instances{Store: s}},
	}
}

func interruptCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "interrupt TASK-ARN|INSTANCE-ID...",
		Short: "Interrupt tasks of FARGATE_SPOT, and Spot instances, as AWS does",
		Long: `Interrupt tasks of the capacity provider FARGATE_SPOT, and Spot instances, as
AWS does when it wants the capacity back. It is how to try what happens then.

A task's containers get SIGTERM at once, and SIGKILL when their stopTimeout is
over, 120 seconds at most; it stops with the code SpotInterruption and "Your
Spot Task was interrupted.", and its service starts another one. An instance is
given notice in its metadata (spot/instance-action), is drained if its capacity
provider manages draining, and terminates two minutes later.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.adoptRunning()
			for _, what := range args {
				answer, err := o.interrupt(cmd.Context(), what)
				if err != nil {
					return fmt.Errorf("interrupt %s: %w", what, err)
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s ends by %s\n", answer.ID, answer.Ends.Local().Format(time.TimeOnly)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// interrupt asks the server to interrupt a task, by its ARN, or an instance.
func (o *options) interrupt(ctx context.Context, what string) (interruption.Answer, error) {
	var answer interruption.Answer
	path, service, query, region := interruption.InstancePath, "ec2", url.Values{"instance": {what}}, o.region
	if strings.HasPrefix(what, "arn:") {
		a, err := model.ParseARN(what)
		if err != nil {
			return answer, err
		}
		path, service, query, region = interruption.TaskPath, "ecs", url.Values{"task": {what}}, a.Region
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint()+path+"?"+query.Encode(), nil)
	if err != nil {
		return answer, err
	}
	key, secret := o.rootCredentials()
	none := sha256.Sum256(nil)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, req, hex.EncodeToString(none[:]), service, region, time.Now())
	if err != nil {
		return answer, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return answer, err
	case resp.StatusCode != http.StatusOK:
		return answer, fmt.Errorf("the server answers %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, fmt.Errorf("the server's answer: %w", err)
	}
	return answer, nil
}
