// Package fargate joins the node that is Fargate's capacity with the server
// that it runs in: interfaces from the VPC's data plane, registry credentials
// and log streams with the permissions of the task's execution role.
//
// It is wiring: it sees the node's interfaces on one side and the control
// plane's packages on the other, so that neither sees the other.
package fargate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
)

// tasksService is the service principal that task roles trust.
const tasksService = "ecs-tasks.amazonaws.com"

// Roles acts with the execution roles of tasks.
type Roles struct {
	Directory *identity.Directory
}

// call is a request that ECS makes for a task, as its execution role.
func (r Roles) call(ctx context.Context, roleARN, taskARN string) (*api.Call, error) {
	arn, err := model.ParseARN(taskARN)
	if err != nil {
		return nil, err
	}
	creds, err := r.Directory.MintRoleSession(ctx, roleARN, execution.TaskID(taskARN), tasksService, time.Hour, map[string]string{
		"aws:SourceAccount": arn.Account, "aws:SourceArn": taskARN,
	})
	if _, ok := errors.AsType[*identity.CannotAssume](err); ok {
		return nil, fmt.Errorf("ECS was unable to assume the role '%s' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.", roleARN)
	}
	if err != nil {
		return nil, err
	}
	_, who, account, err := r.Directory.Lookup(ctx, creds.AccessKeyID, creds.SessionToken)
	if err != nil {
		return nil, err
	}
	return &api.Call{
		Account: account, Region: arn.Region, Partition: arn.Partition,
		Identity: who, Secure: true, Time: creds.Expires.Add(-time.Hour),
	}, nil
}

// authorize is nil when the role may do action on resource, else an error in
// IAM's words.
func (r Roles) authorize(ctx context.Context, c *api.Call, action, resource string) error {
	return r.worded(c, r.Directory.Authorize(ctx, c, action, []string{resource}, nil))
}

// weigh is authorize for a resource of the account owner's that has the policy
// text, or none.
func (r Roles) weigh(ctx context.Context, c *api.Call, action, resource, owner, text string, conditions map[string]string) error {
	return r.worded(c, r.Directory.AuthorizeResource(ctx, c, action, resource, owner, text, conditions))
}

// worded says a denial in IAM's words.
func (r Roles) worded(c *api.Call, err error) error {
	if d, ok := errors.AsType[*model.Denied](err); ok {
		return fmt.Errorf("AccessDeniedException: User: %s is not authorized to perform: %s on resource: %s %s", c.Identity.ARN, d.Action, d.Resource, d.Reason)
	}
	return err
}
