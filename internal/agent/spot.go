package agent

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"roadstead.dev/internal/clock"
)

// spotEvery is how often the instance's interruption is looked for.
const spotEvery = 5 * time.Second

// DrainOnInterruption drains the container instance once its metadata tell that
// the Spot instance will be interrupted. It returns then, or when ctx ends.
func (a *Agent) DrainOnInterruption(ctx context.Context, metadata *imds.Client) error {
	for clock.Sleep(ctx, a.cfg.Clock, spotEvery) {
		if !interrupted(ctx, metadata) {
			continue
		}
		id := a.identity()
		err := a.cfg.API.Call(ctx, "UpdateContainerInstancesState", map[string]any{
			"cluster": id.Cluster, "containerInstances": []string{id.ContainerInstanceArn}, "status": "DRAINING",
		}, nil)
		if err == nil {
			a.cfg.Log.Info("the Spot instance will be interrupted: its tasks leave")
			return nil
		}
		a.cfg.Log.Error("the instance cannot be drained before its interruption", "error", err)
	}
	return nil
}

// interrupted tells whether there is a notice that ends the instance.
func interrupted(ctx context.Context, metadata *imds.Client) bool {
	out, err := metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: "spot/instance-action"})
	if err != nil {
		return false // there is none
	}
	defer func() { _ = out.Content.Close() }()
	var notice struct {
		Action string `json:"action"`
	}
	b, err := io.ReadAll(io.LimitReader(out.Content, 1<<10))
	if err != nil || json.Unmarshal(b, &notice) != nil {
		return false
	}
	return notice.Action == "terminate" || notice.Action == "stop" || notice.Action == "hibernate"
}
