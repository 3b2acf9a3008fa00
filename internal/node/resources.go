package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

// dir is the task's folder of files that are mounted into its containers.
func (n *Node) dir(arn string) string { return filepath.Join(n.cfg.StateDir, "files", taskID(arn)) }

// makeResources makes the task's limits, network, files and volumes. It is
// idempotent.
func (n *Node) makeResources(ctx context.Context, t *acs.Task, containers []containerState) (net Attached, err error) {
	if err := n.ensureGroup(ctx, t); err != nil {
		return net, err
	}
	if n.cfg.Network != nil {
		if net, err = n.cfg.Network.Attach(ctx, t); err != nil {
			return net, fmt.Errorf("attach the network interface: %w", err)
		}
	}
	if n.cfg.Volatile {
		return net, nil
	}
	if err := writeFiles(n.dir(t.Arn), t, containers, net); err != nil {
		return net, err
	}
	return net, makeVolumes(t, n.dir(t.Arn), n.sharedVolumes())
}

// taskPIDs is how many processes and threads a task may have: half of what
// Linux allows all of a machine by default.
const taskPIDs = 16384

// ensureGroup puts the task's limits in force.
func (n *Node) ensureGroup(ctx context.Context, t *acs.Task) error {
	return n.cfg.Engine.EnsureGroup(ctx, engine.Group{ID: taskID(t.Arn), CPUs: t.CPU, Memory: t.Memory << 20, PIDs: taskPIDs})
}

// removeResources undoes makeResources, as far as it got.
func (n *Node) removeResources(ctx context.Context, t *acs.Task) error {
	var errs []error
	if n.cfg.Network != nil {
		if err := n.cfg.Network.Detach(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("detach the network interface: %w", err))
		}
	}
	errs = append(errs, n.cfg.Engine.RemoveGroup(ctx, taskID(t.Arn)))
	if !n.cfg.Volatile {
		errs = append(errs, os.RemoveAll(n.dir(t.Arn)))
	}
	return errors.Join(errs...)
}

// environment is what ECS itself puts into a container's environment.
func (n *Node) environment(t *acs.Task, id string) []string {
	env := []string{
		"ECS_CONTAINER_METADATA_URI=" + metadataBase + "/v3/" + id,
		"ECS_CONTAINER_METADATA_URI_V4=" + metadataBase + "/v4/" + id,
		"ECS_AGENT_URI=" + metadataBase + "/api/" + id,
	}
	if t.LaunchType == "FARGATE" {
		env = append(env, "AWS_EXECUTION_ENV=AWS_ECS_FARGATE")
	} else {
		env = append(env, "AWS_EXECUTION_ENV=AWS_ECS_EC2")
	}
	if arn, err := model.ParseARN(t.Arn); err == nil {
		env = append(env, "AWS_REGION="+arn.Region, "AWS_DEFAULT_REGION="+arn.Region)
	}
	if c := t.RoleCredentials; c != nil {
		env = append(env, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/"+c.CredentialsID)
	}
	if n.cfg.APIEndpoint != "" {
		env = append(env, "AWS_ENDPOINT_URL="+n.cfg.APIEndpoint)
	}
	return env
}

// metadataBase is where containers reach Metadata.
const metadataBase = "http://169.254.170.2"
