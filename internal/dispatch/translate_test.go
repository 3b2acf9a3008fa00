package dispatch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
)

func parts(def model.ContainerDefinition, change func(*Parts)) Parts {
	d := &model.TaskDefinition{
		TaskDefinitionARN: "arn:aws:ecs:eu-west-1:000000000000:task-definition/f:2", Family: "f", Revision: 2, NetworkMode: "awsvpc",
		CPU: "512", Memory: "1024", ContainerDefinitions: []model.ContainerDefinition{def},
	}
	t := model.NewTask(model.NewTaskParams{
		Account: "000000000000", Region: "eu-west-1", Definition: d, TaskID: "t1", NewID: func() string { return "u" },
		Cluster:    &model.Cluster{ClusterName: "c", ClusterARN: "arn:aws:ecs:eu-west-1:000000000000:cluster/c"},
		LaunchType: "FARGATE", SubnetID: "subnet-1", AvailabilityZone: "eu-west-1a", Group: "family:f",
	})
	p := Parts{
		Task: t, Definition: d, Region: "eu-west-1",
		Interface: &model.NetworkInterface{ID: "eni-1", VPCID: "vpc-1", MAC: "0a:00:00:00:00:01", PrivateIP: netip.MustParseAddr("10.0.16.5")},
		Subnet:    &model.Subnet{CIDR: netip.MustParsePrefix("10.0.16.0/20")}, VPC: &model.VPC{CIDR: netip.MustParsePrefix("10.0.0.0/16")},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func TestTranslate(t *testing.T) {
	got, err := Translate(parts(model.ContainerDefinition{Name: "a", Image: "nginx"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := &acs.Task{
		Arn: "arn:aws:ecs:eu-west-1:000000000000:task/c/t1", TaskClusterArn: "arn:aws:ecs:eu-west-1:000000000000:cluster/c", DesiredStatus: "RUNNING",
		Family: "f", Version: "2", Zone: "eu-west-1a", Group: "family:f", LaunchType: "FARGATE", NetworkMode: "awsvpc", CPU: 0.5, Memory: 1024,
		ElasticNetworkInterfaces: []acs.ElasticNetworkInterface{{
			EC2ID: "eni-1", AttachmentArn: "arn:aws:ecs:eu-west-1:000000000000:attachment/u", MacAddress: "0a:00:00:00:00:01", VPCID: "vpc-1",
			IPv4Addresses: []acs.IPv4AddressAssignment{{PrivateAddress: "10.0.16.5", Primary: true}}, SubnetGatewayIPv4Address: "10.0.16.1/20",
			DomainName: []string{"eu-west-1.compute.internal"}, DomainNameServers: []string{"10.0.0.2"},
		}},
		Containers: []acs.Container{{
			Name: "a", ContainerArn: "arn:aws:ecs:eu-west-1:000000000000:container/c/t1/u", Image: "nginx", Essential: true,
			Environment: map[string]string{}, DockerConfig: acs.NewDockerConfig(acs.DockerContainerConfig{}, acs.DockerHostConfig{}),
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTranslateContainer(t *testing.T) {
	for name, c := range map[string]struct {
		def    model.ContainerDefinition
		change func(*Parts)
		// want changes what a plain container gives.
		want func(c *acs.Container, config *acs.DockerContainerConfig, host *acs.DockerHostConfig)
	}{
		"links, ranges and no network": {
			model.ContainerDefinition{
				Links: []string{"b:c"}, DisableNetworking: new(true), PortMappings: []model.PortMapping{{ContainerPortRange: "80-90", Protocol: "udp"}, {ContainerPort: new(1), HostPort: new(2)}},
			},
			func(p *Parts) { p.Task.Spec.NetworkMode, p.Interface = "bridge", nil },
			func(c *acs.Container, config *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.Links, config.NetworkDisabled = []string{"b:c"}, true
				c.PortMappings = []acs.PortMapping{{ContainerPortRange: "80-90", Protocol: "udp"}, {ContainerPort: 1, HostPort: 2}}
			},
		},
		"the instance's network": {
			model.ContainerDefinition{},
			func(p *Parts) { p.Task.Spec.NetworkMode, p.Interface = "host", nil },
			func(_ *acs.Container, _ *acs.DockerContainerConfig, host *acs.DockerHostConfig) {
				host.NetworkMode = "host"
			},
		},
		"overrides win": {
			model.ContainerDefinition{
				Command: []string{"x"}, CPU: 10, Memory: new(64), Environment: []model.ECSNameValue{{Name: "A", Value: "1"}, {Name: "B", Value: "1"}},
				EnvironmentFiles: []model.EnvironmentFile{{Value: "arn:aws:s3:::b/replaced.env", Type: "s3"}},
			},
			func(p *Parts) {
				p.Task.Spec.Overrides.ContainerOverrides = []model.ContainerOverride{
					{Name: "other", Command: []string{"no"}},
					{Name: "a", Command: []string{"y"}, Environment: []model.ECSNameValue{{Name: "B", Value: "2"}, {Name: "C", Value: "2"}}, EnvironmentFiles: []model.EnvironmentFile{{Value: "arn:aws:s3:::b/own.env", Type: "s3"}}},
				}
				p.Task.Spec.Containers[0].Memory = "128"
			},
			func(c *acs.Container, _ *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.Command, c.CPU, c.Memory, c.Environment = []string{"y"}, 10, 128, map[string]string{"A": "1", "B": "2", "C": "2"}
				c.EnvironmentFiles = []acs.EnvironmentFile{{Value: "arn:aws:s3:::b/own.env", Type: "s3"}}
			},
		},
		"our registry": {
			model.ContainerDefinition{Image: "111122223333.dkr.ecr.us-west-2.localhost:4566/team/app:1"},
			func(p *Parts) { p.Execution = &acs.IAMRoleCredentials{CredentialsID: "e"} },
			func(c *acs.Container, _ *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.RegistryAuthentication = &acs.RegistryAuthenticationData{Type: "ecr", ECRAuthData: &acs.ECRAuthData{RegistryID: "111122223333", Region: "us-west-2", UseExecutionRole: true}}
			},
		},
		"private registry": {
			model.ContainerDefinition{RepositoryCredentials: &model.RepositoryCredentials{CredentialsParameter: "arn:aws:secretsmanager:us-east-2:1:secret:s"}},
			nil,
			func(c *acs.Container, _ *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.RegistryAuthentication = &acs.RegistryAuthenticationData{Type: "asm", ASMAuthData: &acs.ASMAuthData{CredentialsParameter: "arn:aws:secretsmanager:us-east-2:1:secret:s", Region: "us-east-2"}}
			},
		},
		"health check": {
			model.ContainerDefinition{HealthCheck: &model.ContainerHealthCheck{Command: []string{"true"}, Interval: new(10), Timeout: new(2), Retries: new(4), StartPeriod: new(7)}},
			nil,
			func(c *acs.Container, config *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.HealthCheckType = "docker"
				config.Healthcheck = &acs.DockerHealthcheck{Test: []string{"CMD-SHELL", "true"}, Interval: 10 * time.Second, Timeout: 2 * time.Second, StartPeriod: 7 * time.Second, Retries: 4}
			},
		},
		"secrets": {
			model.ContainerDefinition{Secrets: []model.ContainerSecret{{Name: "S", ValueFrom: "arn:aws:secretsmanager:us-east-2:1:secret:s"}, {Name: "P", ValueFrom: "/param"}}},
			nil,
			func(c *acs.Container, _ *acs.DockerContainerConfig, _ *acs.DockerHostConfig) {
				c.Secrets = []acs.Secret{
					{Name: "S", ValueFrom: "arn:aws:secretsmanager:us-east-2:1:secret:s", Region: "us-east-2", Provider: "asm", Type: "ENVIRONMENT_VARIABLE", Target: "CONTAINER"},
					{Name: "P", ValueFrom: "/param", Region: "eu-west-1", Provider: "ssm", Type: "ENVIRONMENT_VARIABLE", Target: "CONTAINER"},
				}
			},
		},
		"Docker's words": {
			model.ContainerDefinition{
				User: "u", WorkingDirectory: "/w", ReadonlyRootFilesystem: new(true), MemoryReservation: new(32), StopTimeout: new(9),
				LogConfiguration: &model.LogConfiguration{LogDriver: "awslogs", Options: map[string]string{"awslogs-group": "g"}},
				Ulimits:          []model.Ulimit{{Name: "nofile", SoftLimit: 1, HardLimit: 2}},
				SystemControls:   []model.SystemControl{{Namespace: "net.core.somaxconn", Value: "5"}},
				LinuxParameters: &model.LinuxParameters{
					InitProcessEnabled: new(true), SharedMemorySize: new(3), Capabilities: &model.KernelCapabilities{Add: []string{"SYS_PTRACE"}},
					Tmpfs: []model.ContainerTmpfs{{ContainerPath: "/t", Size: 4, MountOptions: []string{"mode=700"}}},
				},
				DependsOn:     []model.ContainerDependency{{ContainerName: "b", Condition: "HEALTHY"}},
				RestartPolicy: &model.ContainerRestartPolicy{Enabled: true, IgnoredExitCodes: []int{3}, RestartAttemptPeriod: new(60)},
				Essential:     new(false),
			},
			func(p *Parts) { p.Execution = &acs.IAMRoleCredentials{CredentialsID: "e"} },
			func(c *acs.Container, config *acs.DockerContainerConfig, host *acs.DockerHostConfig) {
				c.StopTimeout, c.LogsAuthStrategy, c.Essential = 9, "ExecutionRole", false
				c.DependsOn = []acs.ContainerDependency{{ContainerName: "b", Condition: "HEALTHY"}}
				c.RestartPolicy = &acs.RestartPolicy{Enabled: true, IgnoredExitCodes: []int32{3}, RestartAttemptPeriod: 60}
				config.User, config.WorkingDir = "u", "/w"
				*host = acs.DockerHostConfig{
					ReadonlyRootfs: true, MemoryReservation: 32 << 20, LogConfig: &acs.DockerLogConfig{Type: "awslogs", Config: map[string]string{"awslogs-group": "g"}},
					Ulimits: []acs.DockerUlimit{{Name: "nofile", Soft: 1, Hard: 2}}, Sysctls: map[string]string{"net.core.somaxconn": "5"},
					Init: new(true), ShmSize: 3 << 20, CapAdd: []string{"SYS_PTRACE"}, Tmpfs: map[string]string{"/t": "size=4m,mode=700"},
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			def := c.def
			def.Name = "a"
			if def.Image == "" {
				def.Image = "nginx"
			}
			got, err := Translate(parts(def, c.change))
			if err != nil {
				t.Fatal(err)
			}
			want := acs.Container{
				Name: "a", ContainerArn: "arn:aws:ecs:eu-west-1:000000000000:container/c/t1/u", Image: def.Image, Essential: true, Environment: map[string]string{},
			}
			config, host := acs.DockerContainerConfig{}, acs.DockerHostConfig{}
			c.want(&want, &config, &host)
			want.DockerConfig = acs.NewDockerConfig(config, host)
			if d := cmp.Diff(want, got.Containers[0]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNames(t *testing.T) {
	p := parts(model.ContainerDefinition{}, nil)
	p.DHCP = &model.DHCPOptions{Options: map[string][]string{"domain-name": {"corp.example"}, "domain-name-servers": {"AmazonProvidedDNS", "10.9.9.9"}}}
	domains, servers := names(p)
	if !cmp.Equal(domains, []string{"corp.example"}) || !cmp.Equal(servers, []string{"10.0.0.2", "10.9.9.9"}) {
		t.Error(domains, servers)
	}
	p.DHCP, p.Region = nil, "us-east-1"
	if domains, _ := names(p); !cmp.Equal(domains, []string{"ec2.internal"}) {
		t.Error(domains)
	}
}
