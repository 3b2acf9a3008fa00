// Package agent is Roadstead's own agent: it registers the machine that it
// runs on with an ECS cluster, connects the node (internal/node) to the control
// plane over ECS's API and its websockets, and keeps both up. It reads the
// environment that the published agent reads.
package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	// External: the machine is no EC2 instance.
	External bool
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
	s := Settings{Cluster: get("ECS_CLUSTER"), ReservedPorts: standardPorts, External: get("ECS_EXTERNAL") == "true"}
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
	if v := strings.TrimSpace(get("ECS_RESERVED_MEMORY")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("ECS_RESERVED_MEMORY: %q is no number of MiB", v))
		}
		s.ReservedMemory = n
	}
	for _, p := range append(append([]int{}, s.ReservedPorts...), s.ReservedUDPPorts...) {
		if p < 1 || p > 65535 {
			errs = append(errs, fmt.Errorf("reserved ports: %d is no port", p))
		}
	}
	return s, errors.Join(errs...)
}
