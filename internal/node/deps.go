// Package node is the node's side of the ECS agent protocol: it takes tasks
// from the control plane, moves each through its life on an engine, and
// reports what it observes. It serves the tasks' metadata and credentials.
//
// What a node runs survives it: the engine keeps the containers, a file per
// task keeps the rest, and the next start adopts both.
package node

import (
	"context"
	"net/netip"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
)

// Session is one connection to the control plane.
type Session = acs.Session

// Transport reaches the control plane.
type Transport interface {
	// Connect opens a session. On a session's start the control plane sends
	// every task that it wants here, with credentials, and a manifest.
	Connect(ctx context.Context) (Session, error)
	// SubmitTaskStateChange reports; nil means that the control plane has
	// recorded it. It is called again after an error.
	SubmitTaskStateChange(ctx context.Context, change acs.TaskStateChange) error
}

// Network gives tasks their network. Both methods are idempotent.
type Network interface {
	// Attach makes the network that the task's mode asks for: one namespace for
	// the task, or one for each container. *ContainerError tells of a container
	// that cannot have its own.
	Attach(ctx context.Context, t *acs.Task) (Attached, error)
	// Detach takes it away.
	Detach(ctx context.Context, t *acs.Task) error
}

// Attached is the network of a task.
type Attached struct {
	// Netns is the path of the namespace of the containers that have no place
	// of their own. Empty gives each one without interfaces.
	Netns string
	// Containers are places by the containers' names.
	Containers map[string]Place
}

// Place is where one container is in the network.
type Place struct {
	// Netns is the path of its namespace.
	Netns string `json:"netns,omitempty"`
	// Address is zero for a container with its machine's addresses.
	Address netip.Addr `json:"address,omitzero"`
	// Bindings are its ports as its machine has them.
	Bindings []acs.NetworkBinding `json:"bindings,omitempty"`
}

// ContainerError is why a container of a task cannot be started, in AWS's
// words.
type ContainerError struct{ Container, Reason string }

func (e *ContainerError) Error() string { return e.Reason }

// Interfaces are those of the machine.
type Interfaces interface {
	// WaitInterface returns once there is one with the MAC address.
	WaitInterface(ctx context.Context, mac string) error
}

// RegistryCredentials finds the credentials for a container's image, asking
// ECR with the task's execution role or Secrets Manager. nil means anonymous.
// An error's text follows "CannotPullContainerError: " or
// "ResourceInitializationError: ", as ErrResourceInitialization tells.
type RegistryCredentials interface {
	ForImage(ctx context.Context, task *acs.Task, c *acs.Container) (*engine.RegistryAuth, error)
}

// Secrets reads what containers' secrets hold, with the permissions of the
// task's execution role.
type Secrets interface {
	// Values gives the value of each of the container's secrets, in their
	// order. An error's text follows "ResourceInitializationError: unable to
	// pull secrets or registry auth: execution resource retrieval failed: ".
	Values(ctx context.Context, task *acs.Task, c *acs.Container) ([]string, error)
}

// EnvironmentFiles reads containers' environment files, with the permissions of
// the task's execution role.
type EnvironmentFiles interface {
	// Variables gives what the files of a container set. An error's text follows
	// "ResourceInitializationError: failed to download env files: ".
	Variables(ctx context.Context, task *acs.Task, c *acs.Container) (map[string]string, error)
}

// LogTarget is where one container's output belongs.
type LogTarget struct {
	TaskArn       string
	ContainerName string
	ContainerID   string
	Driver        string
	Options       map[string]string
	// Execution is the execution role, whose permission the log stream needs;
	// nil without one.
	Execution *acs.IAMRoleCredentials
}

// Logs prepares log destinations.
type Logs interface {
	// Open checks the driver and its options, makes what must exist (the
	// stream), and returns the URI that the runtime sends output to; "" for a
	// driver that discards. An error's text follows
	// "ResourceInitializationError: ".
	Open(ctx context.Context, t LogTarget) (uri string, err error)
}
