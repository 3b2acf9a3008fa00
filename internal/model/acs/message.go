// Package acs holds the messages of the ECS agent communication service: what
// the control plane sends to a node, what the node answers, and the state
// changes that it reports. Roadstead's own node and the agent that AWS
// publishes speak the same ones. JSON names are the protocol's.
package acs

import "context"

// Session is one end of a connection between a node and the control plane.
// Receive and Send may be used at the same time, each by one goroutine.
type Session interface {
	// Receive blocks for the next message; an error ends the session, except
	// ErrUnknownType.
	Receive(ctx context.Context) (Message, error)
	Send(ctx context.Context, m Message) error
	Close() error
}

// Message is one of the protocol's messages. Its type on the wire is the
// name of the Go type.
type Message interface{ acsMessage() }

// Role types of IAMRoleCredentialsMessage.
const (
	RoleTypeTaskApplication = "TaskApplication"
	RoleTypeTaskExecution   = "TaskExecution"
)

// Desired statuses of tasks.
const (
	DesiredRunning = "RUNNING"
	DesiredStopped = "STOPPED"
)

// PayloadMessage carries work. The node answers AckRequest, and an
// IAMRoleCredentialsAckRequest for every set of credentials in it. A payload
// may repeat tasks that the node knows already: only their desired status
// and credentials count then.
type PayloadMessage struct {
	MessageID            string `json:"messageId"`
	ClusterArn           string `json:"clusterArn,omitempty"`
	ContainerInstanceArn string `json:"containerInstanceArn,omitempty"`
	// SeqNum orders stops after starts; not used by present agents.
	SeqNum int64 `json:"seqNum,omitempty"`
	// GeneratedAt is in milliseconds since 1970.
	GeneratedAt int64  `json:"generatedAt,omitempty"`
	Tasks       []Task `json:"tasks"`
}

// AckRequest acknowledges the message with MessageID.
type AckRequest struct {
	Cluster           string `json:"cluster,omitempty"`
	ContainerInstance string `json:"containerInstance,omitempty"`
	MessageID         string `json:"messageId"`
}

// NackRequest refuses the message with MessageID.
type NackRequest struct {
	Cluster           string `json:"cluster,omitempty"`
	ContainerInstance string `json:"containerInstance,omitempty"`
	MessageID         string `json:"messageId"`
	Reason            string `json:"reason,omitempty"`
}

// HeartbeatMessage keeps the connection alive. The node answers
// HeartbeatAckRequest and closes a connection that is silent for a minute.
type HeartbeatMessage struct {
	MessageID string `json:"messageId"`
	Healthy   bool   `json:"healthy"`
}

// HeartbeatAckRequest answers HeartbeatMessage.
type HeartbeatAckRequest struct {
	MessageID string `json:"messageId"`
}

// IAMRoleCredentialsMessage refreshes one role's credentials of a task.
type IAMRoleCredentialsMessage struct {
	MessageID       string              `json:"messageId"`
	TaskArn         string              `json:"taskArn"`
	TaskClusterArn  string              `json:"taskClusterArn,omitempty"`
	RoleType        string              `json:"roleType"`
	RoleCredentials *IAMRoleCredentials `json:"roleCredentials"`
}

// IAMRoleCredentialsAckRequest acknowledges one set of credentials.
type IAMRoleCredentialsAckRequest struct {
	MessageID     string `json:"messageId"`
	CredentialsID string `json:"credentialsId"`
	Expiration    string `json:"expiration,omitempty"`
}

// IAMRoleCredentials are temporary credentials of a role.
type IAMRoleCredentials struct {
	CredentialsID   string `json:"credentialsId"`
	RoleArn         string `json:"roleArn"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken"`
	// Expiration is RFC 3339 in UTC.
	Expiration string `json:"expiration"`
}

// TaskManifestMessage lists every task that the node should have. It is
// ignored unless Timeline grows. The node answers AckRequest, then
// TaskStopVerificationMessage with the tasks that it has beyond the list.
type TaskManifestMessage struct {
	MessageID            string           `json:"messageId"`
	ClusterArn           string           `json:"clusterArn,omitempty"`
	ContainerInstanceArn string           `json:"containerInstanceArn,omitempty"`
	GeneratedAt          int64            `json:"generatedAt,omitempty"`
	Timeline             int64            `json:"timeline"`
	Tasks                []TaskIdentifier `json:"tasks"`
}

// TaskIdentifier names a task and what is wanted of it.
type TaskIdentifier struct {
	TaskArn        string `json:"taskArn"`
	TaskClusterArn string `json:"taskClusterArn,omitempty"`
	DesiredStatus  string `json:"desiredStatus,omitempty"`
}

// TaskStopVerificationMessage asks whether StopCandidates may be stopped.
// MessageID is that of the manifest.
type TaskStopVerificationMessage struct {
	MessageID      string           `json:"messageId"`
	StopCandidates []TaskIdentifier `json:"stopCandidates"`
}

// TaskStopVerificationAck confirms which candidates to stop. MessageID is
// that of the manifest.
type TaskStopVerificationAck struct {
	MessageID   string           `json:"messageId"`
	GeneratedAt int64            `json:"generatedAt,omitempty"`
	StopTasks   []TaskIdentifier `json:"stopTasks"`
}

// CloseMessage announces that the control plane ends the connection.
type CloseMessage struct {
	Message string `json:"message,omitempty"`
}

// ErrorMessage tells of an error on the other side.
type ErrorMessage struct {
	Message string `json:"message,omitempty"`
}

// AttachTaskNetworkInterfacesMessage tells the node which interfaces will
// appear for a task.
type AttachTaskNetworkInterfacesMessage struct {
	MessageID                string                    `json:"messageId"`
	ClusterArn               string                    `json:"clusterArn,omitempty"`
	ContainerInstanceArn     string                    `json:"containerInstanceArn,omitempty"`
	TaskArn                  string                    `json:"taskArn"`
	TaskClusterArn           string                    `json:"taskClusterArn,omitempty"`
	GeneratedAt              int64                     `json:"generatedAt,omitempty"`
	WaitTimeoutMs            int64                     `json:"waitTimeoutMs,omitempty"`
	ElasticNetworkInterfaces []ElasticNetworkInterface `json:"elasticNetworkInterfaces"`
}

func (*PayloadMessage) acsMessage()                     {}
func (*AckRequest) acsMessage()                         {}
func (*NackRequest) acsMessage()                        {}
func (*HeartbeatMessage) acsMessage()                   {}
func (*HeartbeatAckRequest) acsMessage()                {}
func (*IAMRoleCredentialsMessage) acsMessage()          {}
func (*IAMRoleCredentialsAckRequest) acsMessage()       {}
func (*TaskManifestMessage) acsMessage()                {}
func (*TaskStopVerificationMessage) acsMessage()        {}
func (*TaskStopVerificationAck) acsMessage()            {}
func (*CloseMessage) acsMessage()                       {}
func (*ErrorMessage) acsMessage()                       {}
func (*AttachTaskNetworkInterfacesMessage) acsMessage() {}
