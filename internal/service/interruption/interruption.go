// Package interruption interrupts what runs on Spot capacity, as AWS does when
// it wants the capacity back. On AWS nobody can ask for it but through the
// Fault Injection Service, which is not served; so these are paths of
// Roadstead's own, for `roadstead interrupt`. Requests are signed as those of
// the service's operations, and need its permission.
package interruption

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// The paths, to be posted to: a task's is signed for "ecs" and names the task's
// ARN in its query, an instance's for "ec2" and names the instance's id.
const (
	TaskPath     = "/_roadstead/interrupt/task"
	InstancePath = "/_roadstead/interrupt/instance"
)

// Answer is what was interrupted, and when it ends at the latest.
type Answer struct {
	ID   string    `json:"id"`
	Ends time.Time `json:"ends"`
}

// Tasks interrupts tasks of the capacity provider FARGATE_SPOT. Its requests
// name the task's ARN in the query: ?task=arn:….
type Tasks struct{ Store store.Store }

// ServeSigned serves a request.
func (t Tasks) ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error {
	return serve(w, r, func(ctx context.Context) (Answer, error) { return t.interrupt(ctx, c, r.URL.Query().Get("task")) })
}

// interrupt stops a task as Fargate does: its containers get SIGTERM at once
// and are killed when their stopTimeout is over, which is two minutes at most.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html
func (t Tasks) interrupt(ctx context.Context, c *api.Call, arn string) (Answer, error) {
	a, err := model.ParseARN(arn)
	id := model.ECSResourceID(arn)
	cluster, _, ok := strings.Cut(id, "/")
	if err != nil || !ok || !strings.HasPrefix(a.Resource, "task/") {
		return Answer{}, ecs.NewInvalidParameterException("Name the task by its ARN: %s", arn)
	}
	none := ecs.NewInvalidParameterException("The referenced task was not found.")
	if a.Account != c.Account || a.Region != c.Region {
		return Answer{}, none
	}
	if err := c.Authorize(ctx, "ecs:StopTask", arn, map[string]string{"ecs:cluster": model.ECSClusterARN(c.Region, c.Account, cluster)}); err != nil {
		return Answer{}, err
	}
	now := c.Time.UTC().Truncate(time.Millisecond)
	_, err = tables.ECSTasks.Update(ctx, t.Store, c.Account, c.Region, id, func(t *model.Task) error {
		if t.Spec.CapacityProviderName != model.CapacityProviderFargateSpot {
			return ecs.NewInvalidParameterException("The task does not use the capacity provider FARGATE_SPOT.")
		}
		if !t.Stop(model.StopSpotInterruption, "Your Spot Task was interrupted.", now) {
			return ecs.NewInvalidParameterException("The task is stopping, or has stopped.")
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = none
	}
	return Answer{arn, now.Add(instances.SpotNotice)}, err
}

// Instances interrupts Spot instances. Its requests name the instance in the
// query: ?instance=i-….
type Instances struct{ Store store.Store }

// ServeSigned serves a request.
func (i Instances) ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error {
	return serve(w, r, func(ctx context.Context) (Answer, error) { return i.interrupt(ctx, c, r.URL.Query().Get("instance")) })
}

// interrupt gives notice, which the instance's metadata tell; two minutes later
// it terminates.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
func (i Instances) interrupt(ctx context.Context, c *api.Call, id string) (Answer, error) {
	if err := c.Authorize(ctx, "ec2:SendSpotInstanceInterruptions", model.MakeARN("ec2", c.Region, c.Account, "instance/"+id), nil); err != nil {
		return Answer{}, err
	}
	ends, err := instances.Interrupt(ctx, i.Store, instances.Place{Account: c.Account, Region: c.Region}, c.Time.UTC().Truncate(time.Millisecond), id)
	if refusal, ok := errors.AsType[*instances.Error](err); ok {
		err = api.NewFault(refusal.Code, "%s", refusal.Message)
	}
	return Answer{id, ends}, err
}

func serve(w http.ResponseWriter, r *http.Request, f func(context.Context) (Answer, error)) error {
	if r.Method != http.MethodPost {
		return &api.Fault{Code: "MethodNotAllowed", Message: "Post to this path.", Status: http.StatusMethodNotAllowed}
	}
	answer, err := f(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client is gone when it fails
	return nil
}
