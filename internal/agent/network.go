package agent

import (
	"context"
	"fmt"

	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// MachineNetwork gives tasks the network of their machine, or none.
type MachineNetwork struct {
	// Netns is the path of the machine's own network namespace.
	Netns string
}

var _ node.Network = MachineNetwork{}

// Attach tells the namespace: the machine's for host mode, and "" for none,
// which gives each container one of its own with loopback alone.
func (m MachineNetwork) Attach(_ context.Context, t *acs.Task) (string, error) {
	switch t.NetworkMode {
	case "host":
		return m.Netns, nil
	case "none":
		return "", nil
	case "":
		return "", fmt.Errorf("network mode bridge is not supported by this agent")
	}
	return "", fmt.Errorf("network mode %s is not supported by this agent", t.NetworkMode)
}

// Detach has nothing to take away.
func (MachineNetwork) Detach(context.Context, *acs.Task) error { return nil }
