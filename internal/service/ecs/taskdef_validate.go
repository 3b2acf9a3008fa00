package ecs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
)

// normalize fills in the defaults that AWS's answer shows.
func normalize(d *model.TaskDefinition) {
	d.CPU, d.Memory = cpuUnits(d.CPU), mebibytes(d.Memory)
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if c.Essential == nil {
			c.Essential = new(true)
		}
		for j := range c.PortMappings {
			p := &c.PortMappings[j]
			if p.Protocol == "" {
				p.Protocol = "tcp"
			}
			if p.HostPort == nil && p.ContainerPort != nil {
				switch d.NetworkMode {
				case "awsvpc", "host":
					p.HostPort = new(*p.ContainerPort)
				default:
					p.HostPort = new(0)
				}
			}
		}
		if h := c.HealthCheck; h != nil {
			for _, f := range []struct {
				p        **int
				fallback int
			}{{&h.Interval, 30}, {&h.Timeout, 5}, {&h.Retries, 3}} {
				if *f.p == nil {
					*f.p = new(f.fallback)
				}
			}
		}
	}
	if checkExternal(d) == nil {
		d.Compatibilities = append(d.Compatibilities, model.LaunchTypeExternal)
	}
	d.Compatibilities = append(d.Compatibilities, model.LaunchTypeEC2)
	if checkFargate(d) == nil {
		d.Compatibilities = append(d.Compatibilities, model.LaunchTypeFargate)
	}
}

var (
	vcpus     = regexp.MustCompile(`(?i)^\s*([0-9]*\.?[0-9]+)\s*vcpu\s*$`)
	gigabytes = regexp.MustCompile(`(?i)^\s*([0-9]*\.?[0-9]+)\s*gb\s*$`)
)

// cpuUnits turns "0.5 vCPU" into "512"; mebibytes turns "2 GB" into "2048".
// What is neither stays as it is, for the check to refuse.
func cpuUnits(s string) string { return scaled(vcpus, s) }

func mebibytes(s string) string { return scaled(gigabytes, s) }

func scaled(unit *regexp.Regexp, s string) string {
	m := unit.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil || f > 1e6 {
		return s
	}
	return strconv.Itoa(int(f * 1024))
}

var roleReference = regexp.MustCompile(`^(arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+|[\w+=,.@-]{1,64})$`)

// checkTaskDefinition finds what AWS would refuse, in AWS's words.
func checkTaskDefinition(d *model.TaskDefinition) error {
	switch {
	case d.Family == "":
		return clientErrorf("Family should not be null or empty.")
	case !identifier.MatchString(d.Family):
		return clientErrorf("Family contains invalid characters.")
	case len(d.ContainerDefinitions) == 0:
		return clientErrorf("Container list cannot be empty.")
	case d.TaskRoleARN != "" && !roleReference.MatchString(d.TaskRoleARN),
		d.ExecutionRoleARN != "" && !roleReference.MatchString(d.ExecutionRoleARN):
		return clientErrorf("Role is not valid")
	}
	cpu, ok := positive(d.CPU)
	if !ok {
		return clientErrorf("Invalid 'cpu' setting for task.")
	}
	memory, ok := positive(d.Memory)
	if !ok {
		return clientErrorf("Invalid 'memory' setting for task.")
	}
	if slices.Contains(d.RequiresCompatibilities, model.LaunchTypeFargate) && (d.CPU == "" || d.Memory == "") {
		return checkFargateSize(d.CPU, d.Memory)
	}
	names := map[string]*model.ContainerDefinition{}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		switch {
		case c.Name == "":
			return clientErrorf("Container.name should not be null or empty.")
		case !identifier.MatchString(c.Name):
			return clientErrorf("Container.name contains invalid characters.")
		case names[c.Name] != nil:
			return clientErrorf("Container names should be unique. '%s' is used more than once.", c.Name)
		}
		names[c.Name] = c
	}
	volumes, err := checkVolumes(d)
	if err != nil {
		return err
	}
	for i := range d.ContainerDefinitions {
		if err := checkContainer(d, &d.ContainerDefinitions[i], names, volumes); err != nil {
			return err
		}
	}
	if err := checkSums(d, cpu, memory); err != nil {
		return err
	}
	if err := checkOrder(d); err != nil {
		return err
	}
	if err := checkPorts(d); err != nil {
		return err
	}
	if err := checkDefinitionConstraints(d); err != nil {
		return err
	}
	if slices.Contains(d.RequiresCompatibilities, model.LaunchTypeExternal) {
		if err := checkExternal(d); err != nil {
			return err
		}
	}
	if slices.Contains(d.RequiresCompatibilities, model.LaunchTypeFargate) {
		return checkFargate(d)
	}
	return nil
}

// checkExternal finds what tasks on machines outside of AWS cannot have.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-anywhere.html
func checkExternal(d *model.TaskDefinition) error {
	switch {
	case d.NetworkMode == "awsvpc":
		return clientErrorf("External compatible task definitions do not support networkMode awsvpc")
	case d.ProxyConfiguration != nil:
		return clientErrorf("External compatible task definitions do not support proxyConfiguration")
	}
	for _, v := range d.Volumes {
		if v.EFSVolumeConfiguration != nil {
			return clientErrorf("External compatible task definitions do not support efsVolumeConfiguration")
		}
	}
	return nil
}

// positive reads a number that may be absent.
func positive(s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n > 0
}

func checkVolumes(d *model.TaskDefinition) (map[string]bool, error) {
	volumes := map[string]bool{}
	for _, v := range d.Volumes {
		switch {
		case v.Name == "":
			return nil, clientErrorf("Volume.name should not be null or empty.")
		case !identifier.MatchString(v.Name):
			return nil, clientErrorf("Volume.name contains invalid characters.")
		case volumes[v.Name]:
			return nil, clientErrorf("Volume names should be unique. '%s' is used more than once.", v.Name)
		case v.Host != nil && v.Host.SourcePath != "" && (v.DockerVolumeConfiguration != nil || v.EFSVolumeConfiguration != nil),
			v.DockerVolumeConfiguration != nil && v.EFSVolumeConfiguration != nil:
			return nil, clientErrorf("Volume '%s' may have only one volume configuration.", v.Name)
		}
		volumes[v.Name] = true
	}
	return volumes, nil
}

func checkContainer(d *model.TaskDefinition, c *model.ContainerDefinition, names map[string]*model.ContainerDefinition, volumes map[string]bool) error {
	switch {
	case c.Image == "":
		return clientErrorf("Container.image should not be null or empty.")
	case len(c.Image) > 255 || strings.ContainsAny(c.Image, " \t\n"):
		return clientErrorf("Container.image contains invalid characters.")
	case c.CPU < 0:
		return clientErrorf("Invalid 'cpu' setting for container '%s'.", c.Name)
	case c.Memory != nil && *c.Memory < 6:
		return clientErrorf("Invalid 'memory' setting for container '%s'. The minimum is 6 MiB.", c.Name)
	case c.MemoryReservation != nil && *c.MemoryReservation < 6:
		return clientErrorf("Invalid 'memoryReservation' setting for container '%s'. The minimum is 6 MiB.", c.Name)
	case c.Memory != nil && c.MemoryReservation != nil && *c.Memory < *c.MemoryReservation:
		return clientErrorf("Invalid setting for container '%s'. 'memory' must be greater than or equal to 'memoryReservation'.", c.Name)
	case c.Memory == nil && c.MemoryReservation == nil && d.Memory == "":
		return clientErrorf("Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", c.Name)
	case c.StopTimeout != nil && *c.StopTimeout < 0:
		return clientErrorf("Invalid 'stopTimeout' setting for container '%s'.", c.Name)
	case c.StartTimeout != nil && *c.StartTimeout < 2:
		return clientErrorf("Invalid 'startTimeout' setting for container '%s'.", c.Name)
	}
	for _, m := range c.MountPoints {
		if !volumes[m.SourceVolume] {
			return clientErrorf("Unknown volume '%s'.", m.SourceVolume)
		}
		if m.ContainerPath == "" {
			return clientErrorf("MountPoint.containerPath should not be null or empty.")
		}
	}
	for _, v := range c.VolumesFrom {
		if names[v.SourceContainer] == nil || v.SourceContainer == c.Name {
			return clientErrorf("Unknown container '%s' in volumesFrom.", v.SourceContainer)
		}
	}
	if err := checkSecrets(d, c); err != nil {
		return err
	}
	if text := badEnvironmentFiles(c.EnvironmentFiles, d.ExecutionRoleARN); text != "" {
		return clientErrorf("%s", text)
	}
	if err := checkHealthCheck(c); err != nil {
		return err
	}
	if err := checkRestart(c); err != nil {
		return err
	}
	return checkLog(c)
}

func checkSecrets(d *model.TaskDefinition, c *model.ContainerDefinition) error {
	used := map[string]bool{}
	for _, e := range c.Environment {
		if e.Name == "" {
			return clientErrorf("Environment variable name should not be null or empty.")
		}
		used[e.Name] = true
	}
	secrets := c.Secrets
	if c.LogConfiguration != nil {
		secrets = slices.Concat(secrets, c.LogConfiguration.SecretOptions)
	}
	for i, s := range secrets {
		switch {
		case d.ExecutionRoleARN == "":
			return clientErrorf("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
		case s.Name == "" || s.ValueFrom == "":
			return clientErrorf("The secret name and valueFrom should not be null or empty.")
		case strings.HasPrefix(s.ValueFrom, "arn:") && !strings.Contains(s.ValueFrom, ":secretsmanager:") && !strings.Contains(s.ValueFrom, ":ssm:"):
			return clientErrorf("The secret '%s' must be the ARN of a Secrets Manager secret or of a Systems Manager parameter.", s.Name)
		case i < len(c.Secrets) && used[s.Name]:
			return clientErrorf("The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '%s'.", s.Name)
		}
		if i < len(c.Secrets) {
			used[s.Name] = true
		}
	}
	return nil
}

// maxEnvironmentFiles is how many a container may have.
const maxEnvironmentFiles = 10

// badEnvironmentFiles says what is wrong with a container's environment files;
// "" where nothing is.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EnvironmentFile.html
func badEnvironmentFiles(files []model.EnvironmentFile, executionRole string) string {
	switch {
	case len(files) == 0:
		return ""
	case executionRole == "":
		return "When you are specifying environment files, you must also specify a value for 'executionRoleArn'."
	case len(files) > maxEnvironmentFiles:
		return fmt.Sprintf("A container may have at most %d environment files.", maxEnvironmentFiles)
	}
	for _, f := range files {
		a, err := model.ParseARN(f.Value)
		bucket, key, _ := strings.Cut(a.Resource, "/")
		if err != nil || a.Service != "s3" || bucket == "" || !strings.HasSuffix(key, ".env") {
			return fmt.Sprintf("The environment file '%s' must be the ARN of an Amazon S3 object whose name ends in .env.", f.Value)
		}
	}
	return ""
}

func checkHealthCheck(c *model.ContainerDefinition) error {
	h := c.HealthCheck
	if h == nil {
		return nil
	}
	within := func(p *int, least, most int) bool { return p == nil || *p >= least && *p <= most }
	switch {
	case len(h.Command) == 0 || h.Command[0] != "CMD" && h.Command[0] != "CMD-SHELL" && h.Command[0] != "NONE":
		return clientErrorf("Invalid 'healthCheck' setting for container '%s'. The command must begin with CMD or CMD-SHELL.", c.Name)
	case !within(h.Interval, 5, 300):
		return clientErrorf("Invalid 'healthCheck' setting for container '%s'. The interval must be between 5 and 300.", c.Name)
	case !within(h.Timeout, 2, 120):
		return clientErrorf("Invalid 'healthCheck' setting for container '%s'. The timeout must be between 2 and 120.", c.Name)
	case !within(h.Retries, 1, 10):
		return clientErrorf("Invalid 'healthCheck' setting for container '%s'. The retries must be between 1 and 10.", c.Name)
	case !within(h.StartPeriod, 0, 300):
		return clientErrorf("Invalid 'healthCheck' setting for container '%s'. The startPeriod must be between 0 and 300.", c.Name)
	}
	return nil
}

func checkRestart(c *model.ContainerDefinition) error {
	r := c.RestartPolicy
	if r == nil {
		return nil
	}
	switch {
	case r.RestartAttemptPeriod != nil && (*r.RestartAttemptPeriod < 60 || *r.RestartAttemptPeriod > 1800):
		return clientErrorf("Invalid 'restartPolicy' setting for container '%s'. The restartAttemptPeriod must be between 60 and 1800.", c.Name)
	case len(r.IgnoredExitCodes) > 50:
		return clientErrorf("Invalid 'restartPolicy' setting for container '%s'. At most 50 ignoredExitCodes may be specified.", c.Name)
	}
	return nil
}

func checkLog(c *model.ContainerDefinition) error {
	l := c.LogConfiguration
	if l == nil || l.LogDriver != "awslogs" {
		return nil
	}
	var missing []string
	for _, o := range []string{"awslogs-region", "awslogs-group"} {
		if l.Options[o] == "" {
			missing = append(missing, o)
		}
	}
	if len(missing) > 0 {
		return clientErrorf("Log driver awslogs requires options: %s", strings.Join(missing, ", "))
	}
	for o, v := range l.Options {
		switch o {
		case "awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-datetime-format", "awslogs-multiline-pattern", "awslogs-endpoint", "awslogs-credentials-endpoint", "max-buffer-size":
		case "awslogs-create-group":
			if v != "true" && v != "false" {
				return clientErrorf("Log driver awslogs: invalid value '%s' for option %s", v, o)
			}
		case "mode":
			if v != "blocking" && v != "non-blocking" {
				return clientErrorf("Log driver awslogs: invalid value '%s' for option %s", v, o)
			}
		default:
			return clientErrorf("Log driver awslogs disallows options: %s", o)
		}
	}
	return nil
}

func checkSums(d *model.TaskDefinition, cpu, memory int) error {
	essential, cpuSum, reserved := false, 0, 0
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		essential = essential || c.IsEssential()
		cpuSum += c.CPU
		if d.Memory != "" && c.Memory != nil && *c.Memory > memory {
			return clientErrorf("The 'memory' setting for container '%s' is greater than for the task.", c.Name)
		}
		switch {
		case c.MemoryReservation != nil:
			reserved += *c.MemoryReservation
		case c.Memory != nil:
			reserved += *c.Memory
		}
	}
	switch {
	case !essential:
		return clientErrorf("At least one container must be marked as essential.")
	case d.CPU != "" && cpuSum > cpu:
		return clientErrorf("The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.")
	case d.Memory != "" && reserved > memory:
		return clientErrorf("The sum of all container 'memoryReservation' values cannot be greater than the value of the task 'memory'.")
	}
	return nil
}

// checkOrder checks dependsOn and links, neither of which may go in circles.
func checkOrder(d *model.TaskDefinition) error {
	byName := map[string]*model.ContainerDefinition{}
	depends, links := map[string][]string{}, map[string][]string{}
	for i := range d.ContainerDefinitions {
		byName[d.ContainerDefinitions[i].Name] = &d.ContainerDefinitions[i]
	}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		for _, dep := range c.DependsOn {
			on := byName[dep.ContainerName]
			switch {
			case on == nil:
				return clientErrorf("Cannot depend on container + '%s' because it does not exist", dep.ContainerName)
			case (dep.Condition == "COMPLETE" || dep.Condition == "SUCCESS") && on.IsEssential():
				return clientErrorf("A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
			case dep.Condition == "HEALTHY" && on.HealthCheck == nil:
				return clientErrorf("A dependency container with HEALTHY condition must have a health check defined: '%s'", on.Name)
			}
			depends[c.Name] = append(depends[c.Name], dep.ContainerName)
		}
		for _, l := range c.Links {
			name, _, _ := strings.Cut(l, ":")
			if byName[name] == nil {
				return clientErrorf("Container link '%s' refers to a container that does not exist.", l)
			}
			links[c.Name] = append(links[c.Name], name)
		}
	}
	if circular(depends) {
		return clientErrorf("Container dependencies should not have a cycle")
	}
	if circular(links) {
		return clientErrorf("Container links should not have a cycle")
	}
	if len(links) > 0 && d.NetworkMode != "" && d.NetworkMode != "bridge" {
		return clientErrorf("Links are not supported when networkMode=%s.", d.NetworkMode)
	}
	return nil
}

// circular tells whether a graph has a cycle.
func circular(edges map[string][]string) bool {
	const visiting, visited = 1, 2
	state := map[string]int{}
	var visit func(string) bool
	visit = func(n string) bool {
		switch state[n] {
		case visiting:
			return true
		case visited:
			return false
		}
		state[n] = visiting
		if slices.ContainsFunc(edges[n], visit) {
			return true
		}
		state[n] = visited
		return false
	}
	for n := range edges {
		if visit(n) {
			return true
		}
	}
	return false
}

var portRange = regexp.MustCompile(`^([0-9]{1,5})-([0-9]{1,5})$`)

func checkPorts(d *model.TaskDefinition) error {
	same := d.NetworkMode == "awsvpc" || d.NetworkMode == "host"
	taken, mappingNames := map[string]string{}, map[string]bool{}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		for _, p := range c.PortMappings {
			switch {
			case p.ContainerPortRange != "":
				m := portRange.FindStringSubmatch(p.ContainerPortRange)
				if m == nil || p.ContainerPort != nil || p.HostPort != nil {
					return clientErrorf("Invalid 'containerPortRange' setting for container '%s'.", c.Name)
				}
				from, _ := strconv.Atoi(m[1])
				to, _ := strconv.Atoi(m[2])
				if from < 1 || to > 65535 || from > to {
					return clientErrorf("Invalid 'containerPortRange' setting for container '%s'.", c.Name)
				}
				continue
			case p.ContainerPort == nil || *p.ContainerPort < 1 || *p.ContainerPort > 65535:
				return clientErrorf("Invalid 'containerPort' setting for container '%s'.", c.Name)
			case p.HostPort != nil && (*p.HostPort < 0 || *p.HostPort > 65535):
				return clientErrorf("Invalid 'hostPort' setting for container '%s'.", c.Name)
			case same && p.HostPort != nil && *p.HostPort != *p.ContainerPort:
				return clientErrorf("When networkMode=%s, the host ports and container ports in port mappings must match.", d.NetworkMode)
			}
			if p.Name != "" {
				if mappingNames[p.Name] {
					return clientErrorf("Port mapping names should be unique. '%s' is used more than once.", p.Name)
				}
				mappingNames[p.Name] = true
			}
			if p.HostPort == nil || *p.HostPort == 0 {
				continue
			}
			port := strconv.Itoa(*p.HostPort) + "/" + p.Protocol
			if other, used := taken[port]; used && other != c.Name {
				return clientErrorf("The port %d is mapped by the containers '%s' and '%s'.", *p.HostPort, other, c.Name)
			}
			taken[port] = c.Name
		}
	}
	return nil
}
