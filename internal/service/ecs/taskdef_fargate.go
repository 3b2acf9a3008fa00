package ecs

import (
	"strconv"

	"roadstead.dev/internal/model"
)

// fargateMemory are the sizes that go with a number of CPU units, in MiB:
// from, to, step.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
var fargateMemory = map[int][]struct{ from, to, step int }{
	256:   {{512, 512, 1}, {1024, 2048, 1024}},
	512:   {{1024, 4096, 1024}},
	1024:  {{2048, 8192, 1024}},
	2048:  {{4096, 16384, 1024}},
	4096:  {{8192, 30720, 1024}},
	8192:  {{16384, 61440, 4096}},
	16384: {{32768, 122880, 8192}},
}

func validFargateSize(cpu, memory int) bool {
	for _, r := range fargateMemory[cpu] {
		if memory >= r.from && memory <= r.to && (memory-r.from)%r.step == 0 {
			return true
		}
	}
	return false
}

// checkFargateSize checks a task's size.
func checkFargateSize(cpu, memory string) error {
	switch {
	case cpu == "":
		return clientErrorf("Fargate requires that 'cpu' be defined at the task level.")
	case memory == "":
		return clientErrorf("Fargate requires that 'memory' be defined at the task level.")
	}
	c, _ := strconv.Atoi(cpu)
	m, _ := strconv.Atoi(memory)
	if !validFargateSize(c, m) {
		return clientErrorf("No Fargate configuration exists for given values: %s CPU, %s memory. See the Amazon ECS documentation for the valid values.", cpu, memory)
	}
	return nil
}

// checkFargate finds what keeps a definition from Fargate.
func checkFargate(d *model.TaskDefinition) error {
	if d.NetworkMode != "awsvpc" {
		return clientErrorf("Fargate only supports network mode ‘awsvpc’.")
	}
	if err := checkFargateSize(d.CPU, d.Memory); err != nil {
		return err
	}
	switch {
	case d.IPCMode != "":
		return clientErrorf("Tasks using the Fargate launch type do not support ipcMode.")
	case d.PIDMode != "" && d.PIDMode != "task":
		return clientErrorf("Tasks using the Fargate launch type do not support pidMode '%s'.", d.PIDMode)
	case len(d.PlacementConstraints) > 0:
		return clientErrorf("Fargate compatible task definitions do not support placementConstraints")
	case d.EphemeralStorage != nil && (d.EphemeralStorage.SizeInGiB < 21 || d.EphemeralStorage.SizeInGiB > 200):
		return clientErrorf("The ephemeral storage sizeInGiB must be between 21 and 200.")
	}
	for _, v := range d.Volumes {
		switch {
		case v.Host != nil && v.Host.SourcePath != "":
			return clientErrorf("Fargate compatible task definitions do not support sourcePath")
		case v.DockerVolumeConfiguration != nil:
			return clientErrorf("Fargate compatible task definitions do not support dockerVolumeConfiguration")
		}
	}
	for i := range d.ContainerDefinitions {
		if err := checkFargateContainer(d, &d.ContainerDefinitions[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkFargateContainer(d *model.TaskDefinition, c *model.ContainerDefinition) error {
	refuse := func(what string) error {
		return clientErrorf("Fargate compatible task definitions do not support %s", what)
	}
	switch {
	case len(c.Links) > 0:
		return refuse("links")
	case c.Privileged != nil && *c.Privileged:
		return refuse("privileged containers")
	case c.DisableNetworking != nil && *c.DisableNetworking:
		return refuse("disableNetworking")
	case c.Hostname != "":
		return clientErrorf("The 'hostname' parameter is not supported when networkMode=awsvpc.")
	case len(c.ExtraHosts) > 0:
		return clientErrorf("The 'extraHosts' parameter is not supported when networkMode=awsvpc.")
	case len(c.DockerSecurityOptions) > 0:
		return refuse("dockerSecurityOptions")
	case len(c.CredentialSpecs) > 0:
		return refuse("credentialSpecs")
	case len(c.ResourceRequirements) > 0:
		return refuse("resourceRequirements")
	case c.StopTimeout != nil && *c.StopTimeout > 120:
		return clientErrorf("Invalid 'stopTimeout' setting for container '%s'. The maximum for Fargate is 120 seconds.", c.Name)
	case c.StartTimeout != nil && *c.StartTimeout > 120:
		return clientErrorf("Invalid 'startTimeout' setting for container '%s'. The maximum for Fargate is 120 seconds.", c.Name)
	}
	if l := c.LinuxParameters; l != nil {
		switch {
		case len(l.Devices) > 0:
			return refuse("devices")
		case l.MaxSwap != nil || l.Swappiness != nil:
			return refuse("maxSwap and swappiness")
		case l.SharedMemorySize != nil:
			return refuse("sharedMemorySize")
		case len(l.Tmpfs) > 0:
			return refuse("tmpfs")
		}
		if l.Capabilities != nil {
			for _, name := range l.Capabilities.Add {
				if name != "SYS_PTRACE" {
					return clientErrorf("Fargate compatible task definitions only support SYS_PTRACE in capabilities add: %s", name)
				}
			}
		}
	}
	if isECR(c.Image) && d.ExecutionRoleARN == "" {
		return clientErrorf("Fargate requires task definition to have execution role ARN to support ECR images.")
	}
	if l := c.LogConfiguration; l != nil {
		switch l.LogDriver {
		case "awslogs":
			if d.ExecutionRoleARN == "" {
				return clientErrorf("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
			}
			if l.Options["awslogs-stream-prefix"] == "" {
				return clientErrorf("Log driver awslogs requires options: awslogs-stream-prefix")
			}
		case "splunk", "awsfirelens":
		default:
			return clientErrorf("Fargate compatible task definitions do not support log driver %s", l.LogDriver)
		}
	}
	return nil
}
