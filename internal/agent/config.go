// Package agent is Roadstead's own agent: it registers the machine that it
// runs on with an ECS cluster, connects the node (internal/node) to the control
// plane over ECS's API and its websockets, and keeps both up. It reads the
// environment that the published agent reads.
package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/network/machine"
)

// Settings are what /etc/ecs/ecs.config says.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
type Settings struct {
	Cluster    string
	Attributes map[string]string
	Tags       map[string]string
	// ReservedMemory in MiB is kept from tasks.
	ReservedMemory int
	// ReservedPorts and ReservedUDPPorts are those that no task gets.
	ReservedPorts, ReservedUDPPorts []int
	// DynamicPorts are the host ports that mappings without one get; zero means
	// ECS's.
	DynamicPorts machine.PortRange
	// External: the machine is no EC2 instance.
	External bool
	// StopTimeout is how long containers have to end that say nothing of it.
	StopTimeout time.Duration
	// CachedImages are taken without a look at their registry.
	CachedImages bool
	// SpotDraining drains the instance when it is told of its interruption.
	SpotDraining bool
	// InstanceTags: the container instance gets the tags of its EC2 instance.
	InstanceTags bool
}

// Bounds of the time that containers have to end.
const (
	defaultStopTimeout = 30 * time.Second
	minStopTimeout     = time.Second
)

// heeded are the variables that are acted upon, here or by the program's
// command.
var heeded = []string{
	"ECS_CLUSTER", "ECS_INSTANCE_ATTRIBUTES", "ECS_CONTAINER_INSTANCE_TAGS", "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", "ECS_RESERVED_PORTS",
	"ECS_RESERVED_PORTS_UDP", "ECS_DYNAMIC_HOST_PORT_RANGE", "ECS_RESERVED_MEMORY", "ECS_EXTERNAL", "ECS_CONTAINER_STOP_TIMEOUT", "ECS_IMAGE_PULL_BEHAVIOR",
	"ECS_ENABLE_SPOT_INSTANCE_DRAINING", "ECS_DATADIR", "ECS_LOGFILE",
}

// Unheeded names the variables of an environment, NAME=VALUE each, that are for
// the agent and that it does not act upon.
func Unheeded(environment []string) []string {
	var out []string
	for _, kv := range environment {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "ECS_") && !slices.Contains(heeded, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// standardPorts are those that agents keep by default: SSH's, Docker's and
// their own.
var standardPorts = []int{22, 2375, 2376, introspectionPort, credentialsPort}

const (
	introspectionPort = 51678
	credentialsPort   = 51679
)

// SettingsFrom reads the environment.
func SettingsFrom(get func(string) string) (Settings, error) {
	s := Settings{Cluster: get("ECS_CLUSTER"), ReservedPorts: standardPorts, External: get("ECS_EXTERNAL") == "true", StopTimeout: defaultStopTimeout}
	if s.Cluster == "" {
		s.Cluster = "default"
	}
	var errs []error
	decode := func(name string, into any) {
		if v := get(name); v != "" {
			if err := json.Unmarshal([]byte(v), into); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	decode("ECS_INSTANCE_ATTRIBUTES", &s.Attributes)
	decode("ECS_CONTAINER_INSTANCE_TAGS", &s.Tags)
	decode("ECS_RESERVED_PORTS", &s.ReservedPorts)
	decode("ECS_RESERVED_PORTS_UDP", &s.ReservedUDPPorts)
	if v := get("ECS_DYNAMIC_HOST_PORT_RANGE"); v != "" {
		r, err := portRange(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("ECS_DYNAMIC_HOST_PORT_RANGE: %w", err))
		}
		s.DynamicPorts = r
	}
	if v := strings.TrimSpace(get("ECS_RESERVED_MEMORY")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("ECS_RESERVED_MEMORY: %q is no number of MiB", v))
		}
		s.ReservedMemory = n
	}
	if v := get("ECS_CONTAINER_STOP_TIMEOUT"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < minStopTimeout {
			errs = append(errs, fmt.Errorf("ECS_CONTAINER_STOP_TIMEOUT: %q is no time of a second or more, such as 30s", v))
		}
		s.StopTimeout = d
	}
	switch v := get("ECS_IMAGE_PULL_BEHAVIOR"); v {
	case "", "default", "always":
	case "once", "prefer-cached":
		s.CachedImages = true
	default:
		errs = append(errs, fmt.Errorf("ECS_IMAGE_PULL_BEHAVIOR: %q is none of default, always, once, prefer-cached", v))
	}
	switch v := get("ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM"); v {
	case "", "none":
	case "ec2_instance":
		s.InstanceTags = true
	default:
		errs = append(errs, fmt.Errorf("ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM: %q is neither none nor ec2_instance", v))
	}
	s.SpotDraining = get("ECS_ENABLE_SPOT_INSTANCE_DRAINING") == "true"
	for _, p := range append(append([]int{}, s.ReservedPorts...), s.ReservedUDPPorts...) {
		if p < 1 || p > 65535 {
			errs = append(errs, fmt.Errorf("reserved ports: %d is no port", p))
		}
	}
	return s, errors.Join(errs...)
}
