package model

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Task is an ECS task. Record id: "<cluster>/<task id>".
//
// Its parts have one writer each: Spec is written once, by whoever makes the
// task (service/ecs for RunTask, controller/ecsservice for a service) with
// NewTask; Desired by those who stop tasks (service/ecs, controller/ecsservice,
// controller/ecstask); Status by controller/ecstask; Observed by dispatch, from
// what the node reports; Protection and Tags by service/ecs.
type Task struct {
	TaskARN     string `json:"taskArn"`
	TaskID      string `json:"taskId"`
	ClusterName string `json:"clusterName"`
	ClusterARN  string `json:"clusterArn"`

	Spec       TaskSpec        `json:"spec"`
	Desired    TaskDesired     `json:"desired"`
	Status     TaskStatus      `json:"status"`
	Observed   TaskObserved    `json:"observed"`
	Protection *TaskProtection `json:"protection,omitempty"`
	Tags       Tags            `json:"tags,omitzero"`
}

// TaskSpec is what a task was asked to be.
type TaskSpec struct {
	TaskDefinitionARN string `json:"taskDefinitionArn"`
	Family            string `json:"family"`
	Revision          int    `json:"revision"`
	NetworkMode       string `json:"networkMode,omitempty"`
	// ServiceName and DeploymentID are empty for tasks that no service owns.
	ServiceName  string `json:"serviceName,omitempty"`
	DeploymentID string `json:"deploymentId,omitempty"`
	// Group is "service:<name>", "family:<family>" or what RunTask was given.
	Group     string `json:"group,omitempty"`
	StartedBy string `json:"startedBy,omitempty"`

	LaunchType           string `json:"launchType,omitempty"`
	CapacityProviderName string `json:"capacityProviderName,omitempty"`
	// PlatformVersion is a number (1.4.0), never LATEST.
	PlatformVersion string `json:"platformVersion,omitempty"`
	PlatformFamily  string `json:"platformFamily,omitempty"`
	// CPUArchitecture is X86_64 or ARM64.
	CPUArchitecture string `json:"cpuArchitecture,omitempty"`

	// CPU units and Memory in MiB of the whole task, decimal digits, overrides
	// applied; empty where only containers have limits.
	CPU              string            `json:"cpu,omitempty"`
	Memory           string            `json:"memory,omitempty"`
	EphemeralStorage *EphemeralStorage `json:"ephemeralStorage,omitempty"`
	// TaskRoleARN and ExecutionRoleARN, overrides applied.
	TaskRoleARN      string `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN string `json:"executionRoleArn,omitempty"`

	// Network is where an awsvpc task's interface goes, SubnetID the subnet
	// that was chosen of it, AvailabilityZone that subnet's.
	Network          *AwsvpcConfiguration `json:"network,omitempty"`
	SubnetID         string               `json:"subnetId,omitempty"`
	AvailabilityZone string               `json:"availabilityZone,omitempty"`

	// HostPorts are the ports of the instance that the task definition fixes,
	// GPUs the number that its containers ask for.
	HostPorts []HostPort `json:"hostPorts,omitempty"`
	GPUs      int        `json:"gpus,omitempty"`

	// Containers in the task definition's order.
	Containers []TaskContainer `json:"containers"`
	Overrides  TaskOverride    `json:"overrides"`
	// LoadBalancers and ServiceRegistries that the task registers with.
	LoadBalancers     []ServiceLoadBalancer `json:"loadBalancers,omitempty"`
	ServiceRegistries []ServiceRegistry     `json:"serviceRegistries,omitempty"`

	EnableExecuteCommand bool                     `json:"enableExecuteCommand,omitempty"`
	PlacementConstraints []ECSPlacementConstraint `json:"placementConstraints,omitempty"`
	PlacementStrategy    []ECSPlacementStrategy   `json:"placementStrategy,omitempty"`
	CreatedAt            time.Time                `json:"createdAt"`
}

// TaskContainer is what a task fixes of a container when it is made; the rest
// is in the task definition.
type TaskContainer struct {
	Name string `json:"name"`
	ARN  string `json:"arn"`
	// Image as the task definition names it.
	Image     string `json:"image"`
	Essential bool   `json:"essential"`
	// CPU, Memory and MemoryReservation after overrides, in decimal digits as
	// the API has them; empty where unset.
	CPU               string `json:"cpu,omitempty"`
	Memory            string `json:"memory,omitempty"`
	MemoryReservation string `json:"memoryReservation,omitempty"`
}

// TaskOverride changes a task definition for one task.
type TaskOverride struct {
	ContainerOverrides []ContainerOverride `json:"containerOverrides,omitempty"`
	CPU                string              `json:"cpu,omitempty"`
	Memory             string              `json:"memory,omitempty"`
	TaskRoleARN        string              `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN   string              `json:"executionRoleArn,omitempty"`
	EphemeralStorage   *EphemeralStorage   `json:"ephemeralStorage,omitempty"`
}

// ContainerOverride changes a container definition for one task. Command and
// EnvironmentFiles replace; Environment adds to what is there and wins.
type ContainerOverride struct {
	Name                 string                `json:"name,omitempty"`
	Command              []string              `json:"command,omitempty"`
	Environment          []ECSNameValue        `json:"environment,omitempty"`
	EnvironmentFiles     []EnvironmentFile     `json:"environmentFiles,omitempty"`
	CPU                  *int                  `json:"cpu,omitempty"`
	Memory               *int                  `json:"memory,omitempty"`
	MemoryReservation    *int                  `json:"memoryReservation,omitempty"`
	ResourceRequirements []ResourceRequirement `json:"resourceRequirements,omitempty"`
}

// The states of a task, in the order that a task goes through them, never
// back. DELETED is not used.
const (
	TaskProvisioning   = "PROVISIONING"
	TaskPending        = "PENDING"
	TaskActivating     = "ACTIVATING"
	TaskRunning        = "RUNNING"
	TaskDeactivating   = "DEACTIVATING"
	TaskStopping       = "STOPPING"
	TaskDeprovisioning = "DEPROVISIONING"
	TaskStopped        = "STOPPED"
)

// Stop codes.
const (
	StopTaskFailedToStart         = "TaskFailedToStart"
	StopEssentialContainerExited  = "EssentialContainerExited"
	StopUserInitiated             = "UserInitiated"
	StopServiceSchedulerInitiated = "ServiceSchedulerInitiated"
	StopSpotInterruption          = "SpotInterruption"
	StopTerminationNotice         = "TerminationNotice"
)

// Health of containers and tasks.
const (
	ECSHealthHealthy   = "HEALTHY"
	ECSHealthUnhealthy = "UNHEALTHY"
	ECSHealthUnknown   = "UNKNOWN"
)

// AttachmentENI is the type of the attachment that is a network interface.
const AttachmentENI = "ElasticNetworkInterface"

// TaskDesired says whether the task should run.
type TaskDesired struct {
	// Status is RUNNING or STOPPED; it never goes back to RUNNING.
	Status string `json:"status"`
	// StopCode and StoppedReason tell who stopped it and why: the first who
	// sets Status to STOPPED writes them.
	StopCode      string    `json:"stopCode,omitempty"`
	StoppedReason string    `json:"stoppedReason,omitempty"`
	StoppingAt    time.Time `json:"stoppingAt,omitzero"`
}

// Stop asks for the task's end, unless someone did before; it reports whether
// it changed anything.
func (t *Task) Stop(code, reason string, now time.Time) bool {
	if t.Desired.Status == TaskStopped {
		return false
	}
	t.Desired = TaskDesired{Status: TaskStopped, StopCode: code, StoppedReason: reason, StoppingAt: now}
	return true
}

// TaskStatus is where controller/ecstask has brought the task.
type TaskStatus struct {
	LastStatus string `json:"lastStatus"`
	// Version counts the changes of LastStatus and Desired, from 1.
	Version int64 `json:"version"`
	// Node runs the task: the container instance's id, or the name of the
	// Fargate node. Dispatch sends a node the tasks that name it once they are
	// PENDING or further, and tells it to stop one only when LastStatus is
	// STOPPING: while it is DEACTIVATING its connections are drained. The task
	// goes on when Observed.Status is STOPPED, which dispatch must therefore
	// also write for a task in STOPPING that the node does not know.
	Node                 string `json:"node,omitempty"`
	ContainerInstanceARN string `json:"containerInstanceArn,omitempty"`
	// EC2InstanceID is the container instance's, i-…; Fargate's node and
	// external instances have none.
	EC2InstanceID string `json:"ec2InstanceId,omitempty"`
	// CredentialsID and ExecutionCredentialsID name the sets of temporary
	// credentials of the task role and of the execution role.
	CredentialsID          string           `json:"credentialsId,omitempty"`
	ExecutionCredentialsID string           `json:"executionCredentialsId,omitempty"`
	Attachments            []TaskAttachment `json:"attachments,omitempty"`

	StartedAt time.Time `json:"startedAt,omitzero"`
	// StoppedAt is set with LastStatus STOPPED.
	StoppedAt      time.Time `json:"stoppedAt,omitzero"`
	Connectivity   string    `json:"connectivity,omitempty"`
	ConnectivityAt time.Time `json:"connectivityAt,omitzero"`
}

// TaskAttachment is a network interface (or later a volume) of a task.
type TaskAttachment struct {
	// ID is a UUID.
	ID string `json:"id"`
	// Type is ElasticNetworkInterface.
	Type string `json:"type"`
	// Status is PRECREATED, CREATED, ATTACHING, ATTACHED, DETACHING, DETACHED
	// or DELETED.
	Status string `json:"status"`
	// Details has subnetId, networkInterfaceId, macAddress, privateDnsName and
	// privateIPv4Address as they become known, in this order.
	Details []ECSNameValue `json:"details,omitempty"`
	// AttachingAt is since when the node is to find the interface.
	AttachingAt time.Time `json:"attachingAt,omitzero"`
}

// The statuses of an attachment that decisions are about.
const (
	TaskAttachmentPrecreated = "PRECREATED"
	TaskAttachmentAttaching  = "ATTACHING"
	TaskAttachmentAttached   = "ATTACHED"
	TaskAttachmentDeleted    = "DELETED"
)

// Attaching tells whether the task's interface is there and its container
// instance has not told of it yet.
func (t *Task) Attaching() bool {
	a := t.ENI()
	return t.Status.LastStatus == TaskProvisioning && a != nil && a.Status == TaskAttachmentAttaching && !slices.Contains(t.Observed.Attached, a.ID)
}

// Detail is the value of the detail name, "" where there is none.
func (a *TaskAttachment) Detail(name string) string {
	for _, d := range a.Details {
		if d.Name == name {
			return d.Value
		}
	}
	return ""
}

// SetDetail changes or adds a detail.
func (a *TaskAttachment) SetDetail(name, value string) {
	for i := range a.Details {
		if a.Details[i].Name == name {
			a.Details[i].Value = value
			return
		}
	}
	a.Details = append(a.Details, ECSNameValue{Name: name, Value: value})
}

// TaskObserved is what the node tells of the task.
type TaskObserved struct {
	// Status is what the node says of the whole: "", PENDING, RUNNING or
	// STOPPED.
	Status             string           `json:"status,omitempty"`
	Reason             string           `json:"reason,omitempty"`
	PullStartedAt      time.Time        `json:"pullStartedAt,omitzero"`
	PullStoppedAt      time.Time        `json:"pullStoppedAt,omitzero"`
	ExecutionStoppedAt time.Time        `json:"executionStoppedAt,omitzero"`
	Containers         []ContainerState `json:"containers,omitempty"`
	// HealthStatus is HEALTHY, UNHEALTHY or UNKNOWN, of the essential
	// containers that have a health check.
	HealthStatus string `json:"healthStatus,omitempty"`
	// Attached are the ids of the attachments that the node has seen.
	Attached []string `json:"attached,omitempty"`
	// Sequence is the number of the newest report that is in here; older ones
	// are ignored.
	Sequence int64 `json:"sequence,omitempty"`
}

// ContainerState is what the node tells of a container.
type ContainerState struct {
	Name string `json:"name"`
	// LastStatus is PENDING, RUNNING or STOPPED.
	LastStatus      string           `json:"lastStatus,omitempty"`
	RuntimeID       string           `json:"runtimeId,omitempty"`
	ImageDigest     string           `json:"imageDigest,omitempty"`
	ExitCode        *int             `json:"exitCode,omitempty"`
	Reason          string           `json:"reason,omitempty"`
	HealthStatus    string           `json:"healthStatus,omitempty"`
	NetworkBindings []NetworkBinding `json:"networkBindings,omitempty"`
	StartedAt       time.Time        `json:"startedAt,omitzero"`
	StoppedAt       time.Time        `json:"stoppedAt,omitzero"`
	RestartCount    int              `json:"restartCount,omitempty"`
}

// NetworkBinding is a container's port, or a range of them ("80-90"), as the
// instance shows it.
type NetworkBinding struct {
	BindIP             string `json:"bindIP,omitempty"`
	ContainerPort      *int   `json:"containerPort,omitempty"`
	HostPort           *int   `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	HostPortRange      string `json:"hostPortRange,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
}

// HostPorts are the instance's ports of the binding.
func (b *NetworkBinding) HostPorts() []HostPort {
	if b.HostPort != nil {
		return []HostPort{{*b.HostPort, b.Protocol == "udp"}}
	}
	first, last, ok := strings.Cut(b.HostPortRange, "-")
	var out []HostPort
	for p := number(first); ok && p <= min(number(last), 65535); p++ {
		out = append(out, HostPort{p, b.Protocol == "udp"})
	}
	return out
}

// TaskProtection keeps a service's task from scale-in and deployments until
// it expires.
type TaskProtection struct {
	Enabled   bool      `json:"enabled"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// Protected tells whether the task must not be stopped by its service now.
func (t *Task) Protected(now time.Time) bool {
	return t.Protection != nil && t.Protection.Enabled && now.Before(t.Protection.ExpiresAt)
}

// Container finds what the node told of a container, nil when nothing.
func (t *Task) Container(name string) *ContainerState {
	for i := range t.Observed.Containers {
		if t.Observed.Containers[i].Name == name {
			return &t.Observed.Containers[i]
		}
	}
	return nil
}

// ENI is the task's network interface attachment, nil when it has none.
func (t *Task) ENI() *TaskAttachment {
	for i := range t.Status.Attachments {
		if t.Status.Attachments[i].Type == AttachmentENI {
			return &t.Status.Attachments[i]
		}
	}
	return nil
}

// NewTaskParams is what NewTask makes a task of. Ids and the time come from
// the caller.
type NewTaskParams struct {
	Account, Region string
	Cluster         *Cluster
	Definition      *TaskDefinition
	// TaskID has 32 hexadecimal digits.
	TaskID string
	// NewID makes a random UUID: for containers and the interface.
	NewID func() string
	Now   time.Time

	LaunchType           string
	CapacityProviderName string
	// PlatformVersion may be LATEST or empty for Fargate's newest.
	PlatformVersion      string
	Network              *AwsvpcConfiguration
	SubnetID             string
	AvailabilityZone     string
	Overrides            TaskOverride
	Group                string
	StartedBy            string
	EnableExecuteCommand bool
	Tags                 Tags
	PlacementConstraints []ECSPlacementConstraint
	PlacementStrategy    []ECSPlacementStrategy
	// Service and Deployment are set for a service's task; Group and StartedBy
	// are then made from them.
	Service    *Service
	Deployment *Deployment
}

// FargatePlatformVersion is the platform version that LATEST means on Linux.
const FargatePlatformVersion = "1.4.0"

// NewTask makes a task that is PROVISIONING and desired to run. Tags of
// ECS itself (aws:ecs:clusterName, aws:ecs:serviceName) and propagated ones
// are the caller's to put in p.Tags.
func NewTask(p NewTaskParams) *Task {
	def := p.Definition
	t := &Task{
		TaskARN:     ECSTaskARN(p.Region, p.Account, p.Cluster.ClusterName, p.TaskID),
		TaskID:      p.TaskID,
		ClusterName: p.Cluster.ClusterName,
		ClusterARN:  p.Cluster.ClusterARN,
		Tags:        p.Tags.Initial(),
		Desired:     TaskDesired{Status: TaskRunning},
		Status:      TaskStatus{LastStatus: TaskProvisioning, Version: 1},
		Spec: TaskSpec{
			TaskDefinitionARN:    def.TaskDefinitionARN,
			Family:               def.Family,
			Revision:             def.Revision,
			NetworkMode:          def.NetworkMode,
			Group:                p.Group,
			StartedBy:            p.StartedBy,
			LaunchType:           p.LaunchType,
			CapacityProviderName: p.CapacityProviderName,
			CPU:                  firstOf(p.Overrides.CPU, def.CPU),
			Memory:               firstOf(p.Overrides.Memory, def.Memory),
			EphemeralStorage:     def.EphemeralStorage,
			TaskRoleARN:          firstOf(p.Overrides.TaskRoleARN, def.TaskRoleARN),
			ExecutionRoleARN:     firstOf(p.Overrides.ExecutionRoleARN, def.ExecutionRoleARN),
			Network:              p.Network,
			SubnetID:             p.SubnetID,
			AvailabilityZone:     p.AvailabilityZone,
			Overrides:            p.Overrides,
			EnableExecuteCommand: p.EnableExecuteCommand,
			PlacementConstraints: p.PlacementConstraints,
			PlacementStrategy:    p.PlacementStrategy,
			CPUArchitecture:      "X86_64",
			CreatedAt:            p.Now,
		},
	}
	s := &t.Spec
	s.HostPorts, s.GPUs = def.fixedPorts(), def.gpus()
	if p.Overrides.EphemeralStorage != nil {
		s.EphemeralStorage = p.Overrides.EphemeralStorage
	}
	if def.RuntimePlatform != nil && def.RuntimePlatform.CPUArchitecture != "" {
		s.CPUArchitecture = def.RuntimePlatform.CPUArchitecture
	}
	if p.LaunchType == LaunchTypeFargate {
		s.PlatformFamily = "Linux"
		s.PlatformVersion = p.PlatformVersion
		if s.PlatformVersion == "" || s.PlatformVersion == "LATEST" {
			s.PlatformVersion = FargatePlatformVersion
		}
	}
	if p.Service != nil {
		s.ServiceName = p.Service.ServiceName
		s.Group = "service:" + p.Service.ServiceName
	}
	if p.Deployment != nil {
		s.DeploymentID = p.Deployment.ID
		s.StartedBy = p.Deployment.ID
		s.LoadBalancers = p.Deployment.LoadBalancers
		s.ServiceRegistries = p.Deployment.ServiceRegistries
	}
	for i := range def.ContainerDefinitions {
		s.Containers = append(s.Containers, newTaskContainer(&def.ContainerDefinitions[i], p))
	}
	if def.NetworkMode == "awsvpc" {
		t.Status.Attachments = []TaskAttachment{{
			ID:      p.NewID(),
			Type:    AttachmentENI,
			Status:  "PRECREATED",
			Details: []ECSNameValue{{Name: "subnetId", Value: p.SubnetID}},
		}}
	}
	return t
}

// PlaceOn makes the instance the node of a new task, before it is written, and
// the first of the subnets its interface's: they are those that the task may be
// in of the instance's zone. A task without an interface has nothing to be
// provisioned with, so it is PENDING at once.
func (t *Task) PlaceOn(i *ContainerInstance, subnets []string, newID func() string) {
	t.Status.Node, t.Status.ContainerInstanceARN = i.ID, i.ARN
	if !i.External {
		t.Status.EC2InstanceID = i.EC2InstanceID
	}
	t.Spec.AvailabilityZone = i.Attributes[AttributeZone]
	if a := t.ENI(); a != nil {
		if len(subnets) > 0 {
			t.Spec.SubnetID = subnets[0]
			a.SetDetail("subnetId", subnets[0])
		}
		return
	}
	t.Status.LastStatus = TaskPending
	t.NameCredentials(newID)
}

// AwaitsInstance tells whether the task waits for an instance of its capacity
// provider: controller/capacityprovider finds it one. Until then its Status is
// that controller's, too.
func (t *Task) AwaitsInstance() bool {
	return t.Status.LastStatus == TaskProvisioning && t.Status.Node == "" &&
		t.Spec.LaunchType != LaunchTypeFargate && t.Spec.CapacityProviderName != ""
}

// NameCredentials gives names to the credentials of the task's roles.
func (t *Task) NameCredentials(newID func() string) {
	if t.Spec.TaskRoleARN != "" {
		t.Status.CredentialsID = newID()
	}
	if t.Spec.ExecutionRoleARN != "" {
		t.Status.ExecutionCredentialsID = newID()
	}
}

func newTaskContainer(c *ContainerDefinition, p NewTaskParams) TaskContainer {
	tc := TaskContainer{
		Name:              c.Name,
		ARN:               ECSContainerARN(p.Region, p.Account, p.Cluster.ClusterName, p.TaskID, p.NewID()),
		Image:             c.Image,
		Essential:         c.IsEssential(),
		CPU:               strconv.Itoa(c.CPU),
		Memory:            digits(c.Memory),
		MemoryReservation: digits(c.MemoryReservation),
	}
	for _, o := range p.Overrides.ContainerOverrides {
		if o.Name == c.Name {
			tc.CPU = firstOf(digits(o.CPU), tc.CPU)
			tc.Memory = firstOf(digits(o.Memory), tc.Memory)
			tc.MemoryReservation = firstOf(digits(o.MemoryReservation), tc.MemoryReservation)
		}
	}
	return tc
}

func digits(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// TaskServiceID is the record id of the service that owns the task, "" for a
// task of no service.
func (t *Task) TaskServiceID() string {
	if t.Spec.ServiceName == "" {
		return ""
	}
	return strings.Join([]string{t.ClusterName, t.Spec.ServiceName}, "/")
}
