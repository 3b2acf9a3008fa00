package acs

import (
	"errors"
	"time"
)

// ErrUnknownTask tells that the control plane has no such task for the node that
// reported it. The node need not report it again.
var ErrUnknownTask = errors.New("the control plane does not know the task")

// Statuses that a node reports.
const (
	StatusPending = "PENDING"
	StatusRunning = "RUNNING"
	StatusStopped = "STOPPED"
)

// Health statuses of containers and tasks.
const (
	HealthUnknown   = "UNKNOWN"
	HealthHealthy   = "HEALTHY"
	HealthUnhealthy = "UNHEALTHY"
)

// TaskStateChange reports what a node observes of a task: the body of
// SubmitTaskStateChange. Every report is complete: it repeats all that the
// node knows, so that a lost or doubled one does no harm, and Sequence tells
// which of two is newer.
type TaskStateChange struct {
	Cluster string `json:"cluster,omitempty"`
	Task    string `json:"task"`
	// Status is PENDING (while containers are prepared), RUNNING or STOPPED.
	Status string `json:"status,omitempty"`
	// Reason tells why the task stopped, in AWS's words.
	Reason string `json:"reason,omitempty"`
	// StopCode as in DescribeTasks, when the node knows it.
	StopCode           string                  `json:"stopCode,omitempty"`
	Containers         []ContainerStateChange  `json:"containers,omitempty"`
	Attachments        []AttachmentStateChange `json:"attachments,omitempty"`
	PullStartedAt      *time.Time              `json:"pullStartedAt,omitempty"`
	PullStoppedAt      *time.Time              `json:"pullStoppedAt,omitempty"`
	ExecutionStoppedAt *time.Time              `json:"executionStoppedAt,omitempty"`
	// StartedAt, StoppingAt and HealthStatus are beyond the published
	// protocol; an agent that sends none leaves them to the control plane.
	StartedAt    *time.Time `json:"startedAt,omitempty"`
	StoppingAt   *time.Time `json:"stoppingAt,omitempty"`
	HealthStatus string     `json:"healthStatus,omitempty"`
	// Sequence grows with every report of a task; 0 when the sender has none.
	Sequence int64 `json:"sequence,omitempty"`
}

// ContainerStateChange is the part of one container.
type ContainerStateChange struct {
	ContainerName   string           `json:"containerName"`
	RuntimeID       string           `json:"runtimeId,omitempty"`
	Status          string           `json:"status,omitempty"`
	ExitCode        *int32           `json:"exitCode,omitempty"`
	Reason          string           `json:"reason,omitempty"`
	ImageDigest     string           `json:"imageDigest,omitempty"`
	NetworkBindings []NetworkBinding `json:"networkBindings,omitempty"`
	HealthStatus    string           `json:"healthStatus,omitempty"`
	RestartCount    int32            `json:"restartCount,omitempty"`
	// StartedAt and StoppedAt are beyond the published protocol too.
	StartedAt *time.Time `json:"startedAt,omitempty"`
	StoppedAt *time.Time `json:"stoppedAt,omitempty"`
}

// NetworkBinding is a port, or a range of ports ("80-90"), that a container got
// on its host.
type NetworkBinding struct {
	BindIP             string `json:"bindIP,omitempty"`
	ContainerPort      int32  `json:"containerPort,omitempty"`
	HostPort           int32  `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	HostPortRange      string `json:"hostPortRange,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
}

// AttachmentAttached is the status of an interface that a node has seen.
const AttachmentAttached = "ATTACHED"

// AttachmentStateChange reports an attachment's status.
type AttachmentStateChange struct {
	AttachmentArn string `json:"attachmentArn"`
	Status        string `json:"status"`
}
