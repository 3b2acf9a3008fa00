package model

import "time"

// TaskDefinition is one revision of an ECS task definition. Record id:
// TaskDefinitionID. Writer: service/ecs. All but Status, Tags and the two
// times of its end never change.
type TaskDefinition struct {
	TaskDefinitionARN string `json:"taskDefinitionArn"`
	Family            string `json:"family"`
	Revision          int    `json:"revision"`
	// Status is ACTIVE, INACTIVE (deregistered: tasks and services that have
	// it go on, new ones are refused) or DELETE_IN_PROGRESS.
	Status               string                `json:"status"`
	ContainerDefinitions []ContainerDefinition `json:"containerDefinitions"`
	TaskRoleARN          string                `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN     string                `json:"executionRoleArn,omitempty"`
	// NetworkMode is bridge, host, awsvpc or none.
	NetworkMode string `json:"networkMode,omitempty"`
	// CPU in CPU units (1024 to a vCPU) and Memory in MiB, in decimal digits:
	// the task's limits. Fargate task definitions have both.
	CPU    string `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
	// Compatibilities are the launch types that the definition fits.
	Compatibilities         []string                 `json:"compatibilities,omitempty"`
	RequiresCompatibilities []string                 `json:"requiresCompatibilities,omitempty"`
	RequiresAttributes      []ECSAttribute           `json:"requiresAttributes,omitempty"`
	PlacementConstraints    []ECSPlacementConstraint `json:"placementConstraints,omitempty"`
	PIDMode                 string                   `json:"pidMode,omitempty"`
	IPCMode                 string                   `json:"ipcMode,omitempty"`
	ProxyConfiguration      *ProxyConfiguration      `json:"proxyConfiguration,omitempty"`
	RuntimePlatform         *RuntimePlatform         `json:"runtimePlatform,omitempty"`
	EphemeralStorage        *EphemeralStorage        `json:"ephemeralStorage,omitempty"`
	EnableFaultInjection    *bool                    `json:"enableFaultInjection,omitempty"`
	Volumes                 []TaskVolume             `json:"volumes,omitempty"`
	Tags                    Tags                     `json:"tags,omitzero"`

	RegisteredAt      time.Time `json:"registeredAt,omitzero"`
	RegisteredBy      string    `json:"registeredBy,omitempty"`
	DeregisteredAt    time.Time `json:"deregisteredAt,omitzero"`
	DeleteRequestedAt time.Time `json:"deleteRequestedAt,omitzero"`
}

// TaskDefinitionFamily counts a family's revisions, which are never given
// twice. Record id: the family. Writer: service/ecs.
type TaskDefinitionFamily struct {
	Family string `json:"family"`
	// LastRevision is the newest revision that was ever registered.
	LastRevision int `json:"lastRevision"`
	// Active are the ACTIVE revisions, ascending.
	Active []int `json:"active,omitempty"`
}

// ContainerDefinition is a container of a task definition. Pointers are nil
// where the caller gave nothing and that differs from zero.
type ContainerDefinition struct {
	Name string `json:"name"`
	// Image is a reference as docker takes it.
	Image string `json:"image"`
	// CPU units reserved (shares); 0 when none were given.
	CPU int `json:"cpu"`
	// Memory is the hard limit in MiB, MemoryReservation the soft one.
	Memory            *int `json:"memory,omitempty"`
	MemoryReservation *int `json:"memoryReservation,omitempty"`
	// Essential is always set in a record: a task stops when one of its
	// essential containers does.
	Essential    *bool         `json:"essential"`
	PortMappings []PortMapping `json:"portMappings,omitempty"`
	Links        []string      `json:"links,omitempty"`

	// EntryPoint and Command are nil where the image's are meant.
	EntryPoint       []string          `json:"entryPoint,omitempty"`
	Command          []string          `json:"command,omitempty"`
	WorkingDirectory string            `json:"workingDirectory,omitempty"`
	Environment      []ECSNameValue    `json:"environment,omitempty"`
	EnvironmentFiles []EnvironmentFile `json:"environmentFiles,omitempty"`
	Secrets          []ContainerSecret `json:"secrets,omitempty"`
	// User is user, uid, user:group, uid:gid, uid:group or user:gid.
	User string `json:"user,omitempty"`

	DependsOn []ContainerDependency `json:"dependsOn,omitempty"`
	// StartTimeout and StopTimeout are in seconds.
	StartTimeout  *int                    `json:"startTimeout,omitempty"`
	StopTimeout   *int                    `json:"stopTimeout,omitempty"`
	HealthCheck   *ContainerHealthCheck   `json:"healthCheck,omitempty"`
	RestartPolicy *ContainerRestartPolicy `json:"restartPolicy,omitempty"`

	MountPoints           []MountPoint           `json:"mountPoints,omitempty"`
	VolumesFrom           []VolumeFrom           `json:"volumesFrom,omitempty"`
	LinuxParameters       *LinuxParameters       `json:"linuxParameters,omitempty"`
	LogConfiguration      *LogConfiguration      `json:"logConfiguration,omitempty"`
	FirelensConfiguration *FirelensConfiguration `json:"firelensConfiguration,omitempty"`
	RepositoryCredentials *RepositoryCredentials `json:"repositoryCredentials,omitempty"`

	Hostname               string                `json:"hostname,omitempty"`
	DNSServers             []string              `json:"dnsServers,omitempty"`
	DNSSearchDomains       []string              `json:"dnsSearchDomains,omitempty"`
	ExtraHosts             []HostEntry           `json:"extraHosts,omitempty"`
	DisableNetworking      *bool                 `json:"disableNetworking,omitempty"`
	Privileged             *bool                 `json:"privileged,omitempty"`
	ReadonlyRootFilesystem *bool                 `json:"readonlyRootFilesystem,omitempty"`
	Interactive            *bool                 `json:"interactive,omitempty"`
	PseudoTerminal         *bool                 `json:"pseudoTerminal,omitempty"`
	DockerLabels           map[string]string     `json:"dockerLabels,omitempty"`
	DockerSecurityOptions  []string              `json:"dockerSecurityOptions,omitempty"`
	CredentialSpecs        []string              `json:"credentialSpecs,omitempty"`
	Ulimits                []Ulimit              `json:"ulimits,omitempty"`
	SystemControls         []SystemControl       `json:"systemControls,omitempty"`
	ResourceRequirements   []ResourceRequirement `json:"resourceRequirements,omitempty"`
	// VersionConsistency is enabled or disabled: whether a deployment's tasks
	// all run the digest that the tag had when it began.
	VersionConsistency string `json:"versionConsistency,omitempty"`
}

// IsEssential tells whether the task stops with the container; AWS's default
// is that it does.
func (c *ContainerDefinition) IsEssential() bool { return c.Essential == nil || *c.Essential }

// PortMapping opens a container's port. Under awsvpc and host HostPort equals
// ContainerPort in records.
type PortMapping struct {
	ContainerPort      *int   `json:"containerPort,omitempty"`
	HostPort           *int   `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	// Protocol is tcp or udp; always set in records.
	Protocol    string `json:"protocol,omitempty"`
	Name        string `json:"name,omitempty"`
	AppProtocol string `json:"appProtocol,omitempty"`
}

// EnvironmentFile is a file of variables in S3; Value is the object's ARN.
type EnvironmentFile struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// ContainerSecret gives a variable or a log option the value of a Secrets
// Manager secret or a Systems Manager parameter.
type ContainerSecret struct {
	Name string `json:"name"`
	// ValueFrom is the secret's ARN (with optional :json-key:stage:version) or
	// the parameter's ARN or name.
	ValueFrom string `json:"valueFrom"`
}

// ContainerDependency makes a container wait for another.
type ContainerDependency struct {
	ContainerName string `json:"containerName"`
	// Condition is START, COMPLETE, SUCCESS or HEALTHY.
	Condition string `json:"condition"`
}

// ContainerHealthCheck is a command that tells whether a container is well.
// Times are in seconds; in records none is nil but StartPeriod.
type ContainerHealthCheck struct {
	// Command starts with CMD, CMD-SHELL or NONE.
	Command     []string `json:"command"`
	Interval    *int     `json:"interval,omitempty"`
	Timeout     *int     `json:"timeout,omitempty"`
	Retries     *int     `json:"retries,omitempty"`
	StartPeriod *int     `json:"startPeriod,omitempty"`
}

// ContainerRestartPolicy restarts a container without ending its task.
type ContainerRestartPolicy struct {
	Enabled          bool  `json:"enabled"`
	IgnoredExitCodes []int `json:"ignoredExitCodes,omitempty"`
	// RestartAttemptPeriod in seconds is how long a container must have run to
	// be restarted.
	RestartAttemptPeriod *int `json:"restartAttemptPeriod,omitempty"`
}

// MountPoint mounts a volume of the task definition.
type MountPoint struct {
	SourceVolume  string `json:"sourceVolume,omitempty"`
	ContainerPath string `json:"containerPath,omitempty"`
	ReadOnly      *bool  `json:"readOnly,omitempty"`
}

// VolumeFrom mounts all that another container has mounted.
type VolumeFrom struct {
	SourceContainer string `json:"sourceContainer,omitempty"`
	ReadOnly        *bool  `json:"readOnly,omitempty"`
}

// LinuxParameters are kernel settings of a container.
type LinuxParameters struct {
	Capabilities       *KernelCapabilities `json:"capabilities,omitempty"`
	Devices            []ContainerDevice   `json:"devices,omitempty"`
	InitProcessEnabled *bool               `json:"initProcessEnabled,omitempty"`
	// MaxSwap and SharedMemorySize are in MiB.
	MaxSwap          *int             `json:"maxSwap,omitempty"`
	Swappiness       *int             `json:"swappiness,omitempty"`
	SharedMemorySize *int             `json:"sharedMemorySize,omitempty"`
	Tmpfs            []ContainerTmpfs `json:"tmpfs,omitempty"`
}

// KernelCapabilities are added to, and dropped from, Docker's default set.
// Names have no CAP_ prefix; ALL means all.
type KernelCapabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

// ContainerDevice is a host's device in a container.
type ContainerDevice struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath,omitempty"`
	Permissions   []string `json:"permissions,omitempty"`
}

// ContainerTmpfs is a mount in memory; Size is in MiB.
type ContainerTmpfs struct {
	ContainerPath string   `json:"containerPath"`
	Size          int      `json:"size"`
	MountOptions  []string `json:"mountOptions,omitempty"`
}

// LogConfiguration is a container's log driver with its options.
type LogConfiguration struct {
	LogDriver     string            `json:"logDriver"`
	Options       map[string]string `json:"options,omitempty"`
	SecretOptions []ContainerSecret `json:"secretOptions,omitempty"`
}

// FirelensConfiguration makes a container the task's log router.
type FirelensConfiguration struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options,omitempty"`
}

// RepositoryCredentials names the secret that opens a private registry.
type RepositoryCredentials struct {
	CredentialsParameter string `json:"credentialsParameter"`
}

// HostEntry is a line of /etc/hosts.
type HostEntry struct {
	Hostname  string `json:"hostname"`
	IPAddress string `json:"ipAddress"`
}

// Ulimit is a resource limit by Docker's name of it.
type Ulimit struct {
	Name      string `json:"name"`
	SoftLimit int    `json:"softLimit"`
	HardLimit int    `json:"hardLimit"`
}

// SystemControl is a namespaced sysctl.
type SystemControl struct {
	Namespace string `json:"namespace,omitempty"`
	Value     string `json:"value,omitempty"`
}

// ResourceRequirement asks for GPUs or accelerators.
type ResourceRequirement struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// ProxyConfiguration is App Mesh's.
type ProxyConfiguration struct {
	Type          string         `json:"type,omitempty"`
	ContainerName string         `json:"containerName"`
	Properties    []ECSNameValue `json:"properties,omitempty"`
}

// RuntimePlatform is the processor and system that a definition is for.
type RuntimePlatform struct {
	CPUArchitecture       string `json:"cpuArchitecture,omitempty"`
	OperatingSystemFamily string `json:"operatingSystemFamily,omitempty"`
}

// EphemeralStorage is a Fargate task's disk.
type EphemeralStorage struct {
	SizeInGiB int `json:"sizeInGiB"`
}

// TaskVolume is a volume of a task definition: at most one of its
// configurations is set; none, or an empty Host, is an empty folder that lives
// as long as the task.
type TaskVolume struct {
	Name                      string                     `json:"name,omitempty"`
	Host                      *HostVolumeProperties      `json:"host,omitempty"`
	DockerVolumeConfiguration *DockerVolumeConfiguration `json:"dockerVolumeConfiguration,omitempty"`
	EFSVolumeConfiguration    *EFSVolumeConfiguration    `json:"efsVolumeConfiguration,omitempty"`
	ConfiguredAtLaunch        *bool                      `json:"configuredAtLaunch,omitempty"`
}

// HostVolumeProperties names a folder of the container instance.
type HostVolumeProperties struct {
	SourcePath string `json:"sourcePath,omitempty"`
}

// DockerVolumeConfiguration describes a volume of a Docker volume driver.
type DockerVolumeConfiguration struct {
	Scope         string            `json:"scope,omitempty"`
	Autoprovision *bool             `json:"autoprovision,omitempty"`
	Driver        string            `json:"driver,omitempty"`
	DriverOpts    map[string]string `json:"driverOpts,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// EFSVolumeConfiguration describes an EFS mount.
type EFSVolumeConfiguration struct {
	FileSystemID          string                  `json:"fileSystemId"`
	RootDirectory         string                  `json:"rootDirectory,omitempty"`
	TransitEncryption     string                  `json:"transitEncryption,omitempty"`
	TransitEncryptionPort *int                    `json:"transitEncryptionPort,omitempty"`
	AuthorizationConfig   *EFSAuthorizationConfig `json:"authorizationConfig,omitempty"`
}

// EFSAuthorizationConfig says by what right an EFS mount is made.
type EFSAuthorizationConfig struct {
	AccessPointID string `json:"accessPointId,omitempty"`
	IAM           string `json:"iam,omitempty"`
}

// ECSAttribute is an attribute that a container instance has or that a task
// definition needs.
type ECSAttribute struct {
	Name       string `json:"name"`
	Value      string `json:"value,omitempty"`
	TargetType string `json:"targetType,omitempty"`
	TargetID   string `json:"targetId,omitempty"`
}

// ECSPlacementConstraint is distinctInstance or memberOf with an expression.
type ECSPlacementConstraint struct {
	Type       string `json:"type,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// ECSPlacementStrategy is random, spread or binpack over a field.
type ECSPlacementStrategy struct {
	Type  string `json:"type,omitempty"`
	Field string `json:"field,omitempty"`
}
