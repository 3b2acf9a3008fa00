package model

import "time"

// The states of a container instance.
const (
	ContainerInstanceActive        = "ACTIVE"
	ContainerInstanceDraining      = "DRAINING"
	ContainerInstanceRegistering   = "REGISTERING"
	ContainerInstanceDeregistering = "DEREGISTERING"
	ContainerInstanceInactive      = "INACTIVE"
)

// ContainerInstance is an instance that runs tasks of a cluster: an EC2
// instance, or a machine of the user's (EXTERNAL). Record id: "<cluster>/<id>".
//
// Writers: service/ecs writes all (the agent registers and the user drains
// through the API) but Connection and the versions of the agent, which dispatch
// writes; controller/ecsinstance deregisters those whose EC2 instance is gone;
// controller/capacityprovider keeps CapacityProviderName, and drains what its
// group terminates. What its tasks take is in no record: the tasks say it, see
// InstanceClaim.
type ContainerInstance struct {
	ARN         string `json:"arn"`
	ID          string `json:"id"` // 32 hexadecimal digits
	ClusterName string `json:"clusterName"`
	ClusterARN  string `json:"clusterArn"`
	// EC2InstanceID is i-… of EC2 instances and mi-… of external ones.
	EC2InstanceID string `json:"ec2InstanceId,omitempty"`
	External      bool   `json:"external,omitempty"`
	// AgentID is the IAM id of the caller that registered the instance: his
	// reports of its tasks are believed, and nobody else's.
	AgentID string `json:"agentId,omitempty"`
	// CapacityProviderName is the provider of the Auto Scaling group that the
	// instance belongs to.
	CapacityProviderName string `json:"capacityProviderName,omitempty"`
	// Status is ACTIVE, DRAINING, DEREGISTERING or INACTIVE.
	Status       string `json:"status"`
	StatusReason string `json:"statusReason,omitempty"`
	// CPU units, Memory in MiB, and GPU ids that the agent offers; ENIs are the
	// interfaces that tasks can have, by the instance's type.
	CPU    int      `json:"cpu"`
	Memory int      `json:"memory"`
	ENIs   int      `json:"enis,omitempty"`
	GPUs   []string `json:"gpus,omitempty"`
	// ReservedPorts and ReservedUDPPorts are those that no task gets.
	ReservedPorts    []int `json:"reservedPorts,omitempty"`
	ReservedUDPPorts []int `json:"reservedUdpPorts,omitempty"`
	// Attributes by name: the agent's capabilities, the built-in ones
	// (ecs.availability-zone, …), and the user's, which Custom names.
	Attributes map[string]string `json:"attributes,omitempty"`
	Custom     []string          `json:"custom,omitempty"`
	// AgentVersion, AgentHash and DockerVersion as the agent told.
	AgentVersion  string    `json:"agentVersion,omitempty"`
	AgentHash     string    `json:"agentHash,omitempty"`
	DockerVersion string    `json:"dockerVersion,omitempty"`
	RegisteredAt  time.Time `json:"registeredAt"`
	// DeregisteredAt is when it became INACTIVE; it is kept for an hour then.
	DeregisteredAt time.Time `json:"deregisteredAt,omitzero"`
	// Version counts changes.
	Version int64 `json:"version"`
	Tags    Tags  `json:"tags,omitzero"`

	Connection AgentConnection `json:"connection"`
}

// ContainerInstanceRetention is how long an instance that was deregistered can
// be seen.
const ContainerInstanceRetention = time.Hour

// Deregister makes the instance INACTIVE.
func (i *ContainerInstance) Deregister(now time.Time) {
	i.Status, i.StatusReason, i.DeregisteredAt = ContainerInstanceInactive, "", now
	i.Connection.Connected = false
	i.Version++
}

// AgentConnection is what dispatch knows of an instance's agent.
type AgentConnection struct {
	Connected bool `json:"connected,omitempty"`
	// Server is the server that holds the connection, for clusters of servers.
	Server string    `json:"server,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Impaired tells why the agent says that its container runtime is not well.
	Impaired string `json:"impaired,omitempty"`
}

// InstanceClaim guards what is placed on a container instance. Record id: the
// container instance's. Whoever puts a task on the instance makes the claim
// anew in the same transaction, on condition that it is the one that he knew
// when he looked for room: so no two can take the same room. Freeing room
// needs no claim.
type InstanceClaim struct {
	// Count of the placements, and the latest task.
	Count  int64  `json:"count"`
	TaskID string `json:"taskId"`
}

// CapacityProvider is an ECS capacity provider that is an Auto Scaling group's.
// Record id: its name. FARGATE and FARGATE_SPOT have no record.
//
// Writer: service/ecs, but for the end of a deletion, which is
// controller/capacityprovider's.
type CapacityProvider struct {
	Name string `json:"name"`
	ARN  string `json:"arn"`
	// Status is ACTIVE, or INACTIVE once it is deleted.
	Status string `json:"status"`
	// UpdateStatus is DELETE_IN_PROGRESS, DELETE_COMPLETE, UPDATE_COMPLETE, ….
	UpdateStatus       string         `json:"updateStatus,omitempty"`
	UpdateStatusReason string         `json:"updateStatusReason,omitempty"`
	GroupARN           string         `json:"groupArn"`
	GroupName          string         `json:"groupName"`
	Scaling            ManagedScaling `json:"scaling"`
	// TerminationProtection and Draining are managed.
	TerminationProtection bool      `json:"terminationProtection,omitempty"`
	Draining              bool      `json:"draining"`
	CreatedAt             time.Time `json:"createdAt"`
	Tags                  Tags      `json:"tags,omitzero"`
}

// What becomes of a capacity provider: the values of its UpdateStatus that are
// used here.
const (
	ProviderUpdated      = "UPDATE_COMPLETE"
	ProviderDeleting     = "DELETE_IN_PROGRESS"
	ProviderDeleted      = "DELETE_COMPLETE"
	ProviderDeleteFailed = "DELETE_FAILED"
)

// WhyProviderStays is the reason of a deletion that failed since a cluster has
// the provider.
func WhyProviderStays(cluster string) string {
	return "The capacity provider cannot be deleted because it is associated with cluster: " + cluster + ". Remove the capacity provider from the cluster and try again."
}

// Deleting tells whether the provider takes no new clusters any more.
func (p *CapacityProvider) Deleting() bool {
	return p.Status == ECSInactive || p.UpdateStatus == ProviderDeleting
}

// ManagedScaling is how ECS scales a capacity provider's group.
type ManagedScaling struct {
	Enabled bool `json:"enabled,omitempty"`
	// TargetCapacity is the CapacityProviderReservation to hold, 1 to 100.
	TargetCapacity int `json:"targetCapacity,omitempty"`
	MinimumStep    int `json:"minimumStep,omitempty"`
	MaximumStep    int `json:"maximumStep,omitempty"`
	// WarmupSeconds is how long a new instance is not counted.
	WarmupSeconds int `json:"warmupSeconds,omitempty"`
}
