package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

// Parts are the records that a task's message is made of.
type Parts struct {
	Task       *model.Task
	Definition *model.TaskDefinition
	// Interface, Subnet and VPC of an awsvpc task; nil for others. DHCP is the
	// VPC's option set, nil for Amazon's own.
	Interface *model.NetworkInterface
	Subnet    *model.Subnet
	VPC       *model.VPC
	DHCP      *model.DHCPOptions
	Region    string
	// Role and Execution are the roles' credentials; nil without a role.
	Role, Execution *acs.IAMRoleCredentials
}

// Translate makes the message that tells a node to run the task: the
// definition with the task's overrides merged in.
func Translate(p Parts) (*acs.Task, error) {
	t, def := p.Task, p.Definition
	cpu, err := number(t.Spec.CPU)
	if err != nil {
		return nil, fmt.Errorf("CPU of task %s: %w", t.TaskARN, err)
	}
	memory, err := number(t.Spec.Memory)
	if err != nil {
		return nil, fmt.Errorf("memory of task %s: %w", t.TaskARN, err)
	}
	out := &acs.Task{
		Arn: t.TaskARN, TaskClusterArn: t.ClusterARN, DesiredStatus: acs.DesiredRunning,
		Family: t.Spec.Family, Version: strconv.Itoa(t.Spec.Revision), Zone: t.Spec.AvailabilityZone, Group: t.Spec.Group,
		ServiceName: t.Spec.ServiceName, LaunchType: t.Spec.LaunchType, NetworkMode: t.Spec.NetworkMode,
		CPU: float64(cpu) / 1024, Memory: memory, PidMode: def.PIDMode, IpcMode: def.IPCMode,
		RoleCredentials: p.Role, ExecutionRoleCredentials: p.Execution,
		EnableFaultInjection: def.EnableFaultInjection != nil && *def.EnableFaultInjection,
	}
	if p.Interface != nil {
		out.ElasticNetworkInterfaces = []acs.ElasticNetworkInterface{networkInterface(p)}
	}
	for _, v := range def.Volumes {
		out.Volumes = append(out.Volumes, volume(v))
	}
	for i := range def.ContainerDefinitions {
		c, err := container(p, &def.ContainerDefinitions[i])
		if err != nil {
			return nil, err
		}
		out.Containers = append(out.Containers, c)
	}
	return out, nil
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number: %w", s, err)
	}
	return n, nil
}

func volume(v model.TaskVolume) acs.Volume {
	out := acs.Volume{Name: v.Name, Type: "host"}
	switch {
	case v.EFSVolumeConfiguration != nil:
		out.Type = "efs"
	case v.DockerVolumeConfiguration != nil:
		d := v.DockerVolumeConfiguration
		out.Type = "docker"
		out.Docker = &acs.DockerVolumeConfiguration{
			Scope: cmp.Or(d.Scope, "task"), Autoprovision: isTrue(d.Autoprovision), Driver: cmp.Or(d.Driver, "local"), DriverOpts: d.DriverOpts, Labels: d.Labels,
		}
	case v.Host != nil && v.Host.SourcePath != "":
		out.Host = &acs.HostVolumeProperties{SourcePath: v.Host.SourcePath}
	}
	return out
}

func networkInterface(p Parts) acs.ElasticNetworkInterface {
	i := p.Interface
	e := acs.ElasticNetworkInterface{
		EC2ID: i.ID, MacAddress: i.MAC, VPCID: i.VPCID,
		IPv4Addresses: []acs.IPv4AddressAssignment{{PrivateAddress: i.PrivateIP.String(), Primary: true}},
	}
	for _, a := range i.SecondaryIPs {
		e.IPv4Addresses = append(e.IPv4Addresses, acs.IPv4AddressAssignment{PrivateAddress: a.String()})
	}
	if a := p.Task.ENI(); a != nil {
		e.AttachmentArn = attachmentARN(p.Task.TaskARN, a.ID)
		e.PrivateDNSName = a.Detail("privateDnsName")
	}
	if p.Subnet != nil {
		gateway := p.Subnet.CIDR.Masked().Addr().Next()
		e.SubnetGatewayIPv4Address = netip.PrefixFrom(gateway, p.Subnet.CIDR.Bits()).String()
	}
	e.DomainName, e.DomainNameServers = names(p)
	return e
}

func attachmentARN(taskARN, id string) string {
	a, err := model.ParseARN(taskARN)
	if err != nil {
		return ""
	}
	return model.MakeARN("ecs", a.Region, a.Account, "attachment/"+id)
}

// names are the search domains and the name servers of the VPC: its DHCP
// options', or Amazon's.
func names(p Parts) (domains, servers []string) {
	if p.DHCP != nil {
		domains = p.DHCP.Options["domain-name"]
		for _, s := range p.DHCP.Options["domain-name-servers"] {
			if s == "AmazonProvidedDNS" {
				s = amazonDNS(p.VPC)
			}
			if s != "" {
				servers = append(servers, s)
			}
		}
		return domains, servers
	}
	domains = []string{p.Region + ".compute.internal"}
	if p.Region == "us-east-1" {
		domains = []string{"ec2.internal"}
	}
	if s := amazonDNS(p.VPC); s != "" {
		servers = []string{s}
	}
	return domains, servers
}

// amazonDNS is the VPC's base address plus two.
func amazonDNS(v *model.VPC) string {
	if v == nil || !v.CIDR.IsValid() {
		return ""
	}
	return v.CIDR.Masked().Addr().Next().Next().String()
}

func container(p Parts, def *model.ContainerDefinition) (acs.Container, error) {
	t := p.Task
	limits := model.TaskContainer{Name: def.Name, Image: def.Image, Essential: def.IsEssential()}
	if i := slices.IndexFunc(t.Spec.Containers, func(c model.TaskContainer) bool { return c.Name == def.Name }); i >= 0 {
		limits = t.Spec.Containers[i]
	}
	cpu, err1 := number(limits.CPU)
	memory, err2 := number(limits.Memory)
	reservation, err3 := number(limits.MemoryReservation)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return acs.Container{}, fmt.Errorf("container %s of task %s: %w", def.Name, t.TaskARN, err)
		}
	}
	c := acs.Container{
		Name: def.Name, ContainerArn: limits.ARN, Image: def.Image, Essential: def.IsEssential(), CPU: cpu, Memory: memory,
		EntryPoint: def.EntryPoint, Command: def.Command, Environment: map[string]string{},
		StartTimeout: seconds(def.StartTimeout), StopTimeout: seconds(def.StopTimeout),
		RegistryAuthentication: registryAuth(p.Execution != nil, def),
	}
	for _, e := range def.Environment {
		c.Environment[e.Name] = e.Value
	}
	files := def.EnvironmentFiles
	for _, o := range t.Spec.Overrides.ContainerOverrides {
		if o.Name != def.Name {
			continue
		}
		if len(o.Command) > 0 {
			c.Command = o.Command
		}
		for _, e := range o.Environment {
			c.Environment[e.Name] = e.Value
		}
		if len(o.EnvironmentFiles) > 0 {
			files = o.EnvironmentFiles
		}
	}
	for _, f := range files {
		c.EnvironmentFiles = append(c.EnvironmentFiles, acs.EnvironmentFile{Value: f.Value, Type: f.Type})
	}
	for _, m := range def.PortMappings {
		c.PortMappings = append(c.PortMappings, acs.PortMapping{
			ContainerPort: seconds(m.ContainerPort), HostPort: seconds(m.HostPort),
			ContainerPortRange: m.ContainerPortRange, Protocol: m.Protocol,
		})
	}
	c.Links = def.Links
	for _, m := range def.MountPoints {
		c.MountPoints = append(c.MountPoints, acs.MountPoint{SourceVolume: m.SourceVolume, ContainerPath: m.ContainerPath, ReadOnly: isTrue(m.ReadOnly)})
	}
	for _, v := range def.VolumesFrom {
		c.VolumesFrom = append(c.VolumesFrom, acs.VolumeFrom{SourceContainer: v.SourceContainer, ReadOnly: isTrue(v.ReadOnly)})
	}
	for _, d := range def.DependsOn {
		c.DependsOn = append(c.DependsOn, acs.ContainerDependency{ContainerName: d.ContainerName, Condition: d.Condition})
	}
	for _, s := range def.Secrets {
		c.Secrets = append(c.Secrets, secret(s, p.Region, "CONTAINER"))
	}
	if r := def.RestartPolicy; r != nil {
		c.RestartPolicy = &acs.RestartPolicy{Enabled: r.Enabled, RestartAttemptPeriod: seconds(r.RestartAttemptPeriod)}
		for _, code := range r.IgnoredExitCodes {
			c.RestartPolicy.IgnoredExitCodes = append(c.RestartPolicy.IgnoredExitCodes, int32(code))
		}
	}
	if l := def.LogConfiguration; l != nil {
		if l.LogDriver == "awslogs" && p.Execution != nil {
			c.LogsAuthStrategy = "ExecutionRole"
		}
		for _, s := range l.SecretOptions {
			c.Secrets = append(c.Secrets, secret(s, p.Region, "LOG_DRIVER"))
		}
	}
	config, host := dockerConfig(def, reservation)
	if mode := t.Spec.NetworkMode; mode == "host" || mode == "none" {
		host.NetworkMode = mode // which the published agent does not take from the task
	}
	if config.Healthcheck != nil {
		c.HealthCheckType = "docker"
	}
	c.DockerConfig = acs.NewDockerConfig(config, host)
	return c, nil
}

func seconds(n *int) int32 {
	if n == nil {
		return 0
	}
	return int32(*n)
}

func isTrue(b *bool) bool { return b != nil && *b }

func secret(s model.ContainerSecret, region, target string) acs.Secret {
	out := acs.Secret{Name: s.Name, ValueFrom: s.ValueFrom, Region: region, Provider: "ssm", Type: "ENVIRONMENT_VARIABLE", Target: target}
	if a, err := model.ParseARN(s.ValueFrom); err == nil {
		out.Region = a.Region
		if a.Service == "secretsmanager" {
			out.Provider = "asm"
		}
	}
	return out
}

// ecrHost is the host of an ECR registry, of AWS's or of ours.
var ecrHost = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.[^/]+/`)

// registryAuth is how the container's image is pulled: from ECR with the
// execution role, or with the instance's own where the task has none.
func registryAuth(role bool, def *model.ContainerDefinition) *acs.RegistryAuthenticationData {
	if m := ecrHost.FindStringSubmatch(def.Image); m != nil {
		return &acs.RegistryAuthenticationData{
			Type: acs.RegistryAuthECR, ECRAuthData: &acs.ECRAuthData{RegistryID: m[1], Region: m[2], UseExecutionRole: role},
		}
	}
	if r := def.RepositoryCredentials; r != nil {
		data := &acs.ASMAuthData{CredentialsParameter: r.CredentialsParameter}
		if a, err := model.ParseARN(r.CredentialsParameter); err == nil {
			data.Region = a.Region
		}
		return &acs.RegistryAuthenticationData{Type: acs.RegistryAuthASM, ASMAuthData: data}
	}
	return nil
}

// dockerConfig is what the protocol carries in Docker's own words.
func dockerConfig(def *model.ContainerDefinition, reservation int64) (acs.DockerContainerConfig, acs.DockerHostConfig) {
	config := acs.DockerContainerConfig{
		User: def.User, WorkingDir: def.WorkingDirectory, Hostname: def.Hostname,
		Tty: isTrue(def.PseudoTerminal), OpenStdin: isTrue(def.Interactive), Labels: maps.Clone(def.DockerLabels),
		NetworkDisabled: isTrue(def.DisableNetworking),
	}
	if h := def.HealthCheck; h != nil && len(h.Command) > 0 {
		test := h.Command
		// A bare command is run by a shell, as ECS has it.
		if test[0] != "CMD" && test[0] != "CMD-SHELL" && test[0] != "NONE" {
			test = []string{"CMD-SHELL", strings.Join(test, " ")}
		}
		config.Healthcheck = &acs.DockerHealthcheck{
			Test: test, Interval: duration(h.Interval), Timeout: duration(h.Timeout), StartPeriod: duration(h.StartPeriod),
			Retries: int(seconds(h.Retries)),
		}
	}
	host := acs.DockerHostConfig{
		Privileged: isTrue(def.Privileged), ReadonlyRootfs: isTrue(def.ReadonlyRootFilesystem), MemoryReservation: reservation << 20,
		DNS: def.DNSServers, DNSSearch: def.DNSSearchDomains,
	}
	if l := def.LogConfiguration; l != nil {
		host.LogConfig = &acs.DockerLogConfig{Type: l.LogDriver, Config: maps.Clone(l.Options)}
	}
	for _, e := range def.ExtraHosts {
		host.ExtraHosts = append(host.ExtraHosts, e.Hostname+":"+e.IPAddress)
	}
	for _, u := range def.Ulimits {
		host.Ulimits = append(host.Ulimits, acs.DockerUlimit{Name: u.Name, Soft: int64(u.SoftLimit), Hard: int64(u.HardLimit)})
	}
	for _, s := range def.SystemControls {
		if host.Sysctls == nil {
			host.Sysctls = map[string]string{}
		}
		host.Sysctls[s.Namespace] = s.Value
	}
	if l := def.LinuxParameters; l != nil {
		linux(&host, l)
	}
	return config, host
}

func linux(host *acs.DockerHostConfig, l *model.LinuxParameters) {
	if l.Capabilities != nil {
		host.CapAdd, host.CapDrop = l.Capabilities.Add, l.Capabilities.Drop
	}
	host.Init = l.InitProcessEnabled
	if l.SharedMemorySize != nil {
		host.ShmSize = int64(*l.SharedMemorySize) << 20
	}
	for _, m := range l.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		host.Tmpfs[m.ContainerPath] = strings.Join(append([]string{fmt.Sprintf("size=%dm", m.Size)}, m.MountOptions...), ",")
	}
}

func duration(n *int) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}
