package acs

// Task is one task as a node is told to run it: the task definition with the
// run's overrides merged in, its interfaces and its roles' credentials.
type Task struct {
	Arn            string `json:"arn"`
	TaskClusterArn string `json:"taskClusterArn,omitempty"`
	// DesiredStatus is RUNNING or STOPPED. With STOPPED nothing else need be set.
	DesiredStatus string `json:"desiredStatus"`
	Family        string `json:"family,omitempty"`
	// Version is the task definition's revision.
	Version     string `json:"version,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Group       string `json:"group,omitempty"`
	ServiceName string `json:"serviceName,omitempty"`
	LaunchType  string `json:"launchType,omitempty"`
	NetworkMode string `json:"networkMode,omitempty"`
	// CPU is the task's limit in vCPUs; 0 means none.
	CPU float64 `json:"cpu,omitempty"`
	// Memory is the task's limit in MiB; 0 means none.
	Memory                   int64                     `json:"memory,omitempty"`
	PidMode                  string                    `json:"pidMode,omitempty"`
	IpcMode                  string                    `json:"ipcMode,omitempty"`
	Containers               []Container               `json:"containers,omitempty"`
	Volumes                  []Volume                  `json:"volumes,omitempty"`
	RoleCredentials          *IAMRoleCredentials       `json:"roleCredentials,omitempty"`
	ExecutionRoleCredentials *IAMRoleCredentials       `json:"executionRoleCredentials,omitempty"`
	ElasticNetworkInterfaces []ElasticNetworkInterface `json:"elasticNetworkInterfaces,omitempty"`
	EnableFaultInjection     bool                      `json:"enableFaultInjection,omitempty"`
}

// Container is one container of a task.
type Container struct {
	Name         string `json:"name"`
	ContainerArn string `json:"containerArn,omitempty"`
	Image        string `json:"image"`
	Essential    bool   `json:"essential"`
	// CPU is in CPU units (1024 a vCPU); Memory is the hard limit in MiB.
	CPU         int64             `json:"cpu,omitempty"`
	Memory      int64             `json:"memory,omitempty"`
	EntryPoint  []string          `json:"entryPoint,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	// Overrides is a JSON object in a string; only "command" may be in it.
	Overrides    string        `json:"overrides,omitempty"`
	PortMappings []PortMapping `json:"portMappings,omitempty"`
	// Links name containers of the task that this one finds by name or, behind
	// a colon, by an alias.
	Links                  []string                    `json:"links,omitempty"`
	MountPoints            []MountPoint                `json:"mountPoints,omitempty"`
	VolumesFrom            []VolumeFrom                `json:"volumesFrom,omitempty"`
	DependsOn              []ContainerDependency       `json:"dependsOn,omitempty"`
	Secrets                []Secret                    `json:"secrets,omitempty"`
	EnvironmentFiles       []EnvironmentFile           `json:"environmentFiles,omitempty"`
	DockerConfig           *DockerConfig               `json:"dockerConfig,omitempty"`
	LinuxParameters        *LinuxParameters            `json:"linuxParameters,omitempty"`
	RegistryAuthentication *RegistryAuthenticationData `json:"registryAuthentication,omitempty"`
	// LogsAuthStrategy is "ExecutionRole" when logs are sent with that role.
	LogsAuthStrategy string `json:"logsAuthStrategy,omitempty"`
	// HealthCheckType is "docker" when DockerConfig holds a Healthcheck.
	HealthCheckType string `json:"healthCheckType,omitempty"`
	// StartTimeout and StopTimeout are in seconds; 0 means the default.
	StartTimeout  int32          `json:"startTimeout,omitempty"`
	StopTimeout   int32          `json:"stopTimeout,omitempty"`
	RestartPolicy *RestartPolicy `json:"restartPolicy,omitempty"`
}

// LinuxParameters are kernel settings that the protocol carries outside of
// DockerConfig.
type LinuxParameters struct {
	Capabilities       *KernelCapabilities `json:"capabilities,omitempty"`
	InitProcessEnabled *bool               `json:"initProcessEnabled,omitempty"`
	// SharedMemorySize is in MiB.
	SharedMemorySize *int64 `json:"sharedMemorySize,omitempty"`
}

// KernelCapabilities are laid over Docker's default set. Names have no CAP_.
type KernelCapabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

// RestartPolicy lets the node restart a container without stopping the task.
type RestartPolicy struct {
	Enabled          bool    `json:"enabled"`
	IgnoredExitCodes []int32 `json:"ignoredExitCodes,omitempty"`
	// RestartAttemptPeriod is in seconds: a container that ran for less is not
	// restarted.
	RestartAttemptPeriod int32 `json:"restartAttemptPeriod,omitempty"`
}

// Conditions of ContainerDependency.
const (
	ConditionStart    = "START"
	ConditionComplete = "COMPLETE"
	ConditionSuccess  = "SUCCESS"
	ConditionHealthy  = "HEALTHY"
)

// ContainerDependency makes a container wait for another one's condition.
type ContainerDependency struct {
	ContainerName string `json:"containerName"`
	Condition     string `json:"condition"`
}

// PortMapping publishes a container's port. In awsvpc mode both are equal.
type PortMapping struct {
	ContainerPort      int32  `json:"containerPort,omitempty"`
	HostPort           int32  `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
}

// MountPoint mounts one of the task's volumes.
type MountPoint struct {
	SourceVolume  string `json:"sourceVolume"`
	ContainerPath string `json:"containerPath"`
	ReadOnly      bool   `json:"readOnly,omitempty"`
}

// VolumeFrom mounts everything that another container mounts.
type VolumeFrom struct {
	SourceContainer string `json:"sourceContainer"`
	ReadOnly        bool   `json:"readOnly,omitempty"`
}

// Secret is a value to fetch with the execution role before start.
type Secret struct {
	Name      string `json:"name"`
	ValueFrom string `json:"valueFrom"`
	Region    string `json:"region,omitempty"`
	// Provider is ssm or asm.
	Provider string `json:"provider"`
	// Type is ENVIRONMENT_VARIABLE; Target is CONTAINER or LOG_DRIVER.
	Type   string `json:"type,omitempty"`
	Target string `json:"target,omitempty"`
}

// EnvironmentFile is a file of variables in S3.
type EnvironmentFile struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// Volume is storage of the task. Type is host (the default), docker, efs or
// fsxWindowsFileServer; a host volume without a source path lives and dies
// with the task.
type Volume struct {
	Name   string                     `json:"name"`
	Type   string                     `json:"type,omitempty"`
	Host   *HostVolumeProperties      `json:"host,omitempty"`
	Docker *DockerVolumeConfiguration `json:"dockerVolumeConfiguration,omitempty"`
}

// DockerVolumeConfiguration of a docker volume.
type DockerVolumeConfiguration struct {
	// Scope is task, whose volume ends with it, or shared by the instance's
	// tasks.
	Scope         string            `json:"scope,omitempty"`
	Autoprovision bool              `json:"autoprovision,omitempty"`
	Driver        string            `json:"driver,omitempty"`
	DriverOpts    map[string]string `json:"driverOpts,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// HostVolumeProperties of a host volume.
type HostVolumeProperties struct {
	SourcePath string `json:"sourcePath,omitempty"`
}

// Types of RegistryAuthenticationData.
const (
	RegistryAuthECR = "ecr"
	RegistryAuthASM = "asm"
)

// RegistryAuthenticationData tells how to authenticate at the image's
// registry.
type RegistryAuthenticationData struct {
	Type        string       `json:"type"`
	ECRAuthData *ECRAuthData `json:"ecrAuthData,omitempty"`
	ASMAuthData *ASMAuthData `json:"asmAuthData,omitempty"`
}

// ECRAuthData is a token of ECR's, asked for with the execution role.
type ECRAuthData struct {
	RegistryID       string `json:"registryId,omitempty"`
	Region           string `json:"region,omitempty"`
	EndpointOverride string `json:"endpointOverride,omitempty"`
	UseExecutionRole bool   `json:"useExecutionRole,omitempty"`
}

// ASMAuthData is user name and password in a secret of Secrets Manager's.
type ASMAuthData struct {
	CredentialsParameter string `json:"credentialsParameter"`
	Region               string `json:"region,omitempty"`
}

// ElasticNetworkInterface is a task's interface.
type ElasticNetworkInterface struct {
	EC2ID             string                  `json:"ec2Id"`
	AttachmentArn     string                  `json:"attachmentArn,omitempty"`
	Index             int32                   `json:"index,omitempty"`
	Name              string                  `json:"name,omitempty"`
	MacAddress        string                  `json:"macAddress,omitempty"`
	IPv4Addresses     []IPv4AddressAssignment `json:"ipv4Addresses,omitempty"`
	IPv6Addresses     []IPv6AddressAssignment `json:"ipv6Addresses,omitempty"`
	PrivateDNSName    string                  `json:"privateDnsName,omitempty"`
	DomainName        []string                `json:"domainName,omitempty"`
	DomainNameServers []string                `json:"domainNameServers,omitempty"`
	// SubnetGatewayIPv4Address is the gateway with the subnet's prefix length,
	// 172.31.0.1/20.
	SubnetGatewayIPv4Address     string `json:"subnetGatewayIpv4Address,omitempty"`
	SubnetGatewayIPv6Address     string `json:"subnetGatewayIpv6Address,omitempty"`
	InterfaceAssociationProtocol string `json:"interfaceAssociationProtocol,omitempty"`
	// VPCID is beyond the published protocol.
	VPCID string `json:"vpcId,omitempty"`
}

// IPv4AddressAssignment is one address of an interface.
type IPv4AddressAssignment struct {
	PrivateAddress string `json:"privateAddress"`
	Primary        bool   `json:"primary"`
}

// IPv6AddressAssignment is one address of an interface.
type IPv6AddressAssignment struct {
	Address string `json:"address"`
	Primary bool   `json:"primary,omitempty"`
}

// PrimaryIPv4 is the interface's primary address, "" when there is none.
func (e ElasticNetworkInterface) PrimaryIPv4() string {
	for _, a := range e.IPv4Addresses {
		if a.Primary {
			return a.PrivateAddress
		}
	}
	if len(e.IPv4Addresses) > 0 {
		return e.IPv4Addresses[0].PrivateAddress
	}
	return ""
}
