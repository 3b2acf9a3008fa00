package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path"
	"path/filepath"
	"time"

	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/instance/host"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/network"
)

// instancesDir holds the folders of EC2 instances.
func (o *options) instancesDir() string { return filepath.Join(o.absDataDir(), "instances") }

// instancesCgroup is the group below which instances have theirs.
func (o *options) instancesCgroup() string { return "/roadstead-" + o.prefix() + ".instances" }

// instanceRuntime runs instances' namespaces and processes.
func (o *options) instanceRuntime() (*instance.Runtime, error) {
	exe, err := helper()
	if err != nil {
		return nil, err
	}
	return &instance.Runtime{Dir: o.instancesDir(), Program: exe}, nil
}

// consoles are those of instances, which the API reads; what never ran has
// written nothing.
type consoles struct{ instance.Runtime }

func (c *consoles) Console(id string) ([]byte, time.Time, error) {
	b, at, err := c.Runtime.Console(id)
	if errors.Is(err, instance.ErrNotFound) {
		err = nil
	}
	return b, at, err
}

func (o *options) consoles() *consoles {
	return &consoles{instance.Runtime{Dir: o.instancesDir()}}
}

// programsDir is where instances find Roadstead's own programs.
const programsDir = "/usr/libexec/roadstead"

// newInstances makes the machine on which instances run.
func (s *server) newInstances(plane *network.Network) (*host.Host, error) {
	runtime, err := s.instanceRuntime()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &host.Host{
		Instances: runtime, Plane: plane, Cgroup: s.instancesCgroup(),
		Programs: map[string]string{path.Join(programsDir, "roadstead"): self, path.Join(programsDir, "roadstead-helper"): runtime.Program},
		Prepare: func(i *instance.Spec) {
			i.Env = []string{
				"AWS_ENDPOINT_URL=http://" + net.JoinHostPort(network.MetadataAddr.String(), s.port()),
				"AWS_REGION=" + i.Region, "AWS_DEFAULT_REGION=" + i.Region,
			}
			addAgent(i)
		},
	}, nil
}

// The agent's files in an instance, at the places where Amazon ECS's images
// have them.
const (
	agentConfig = "/etc/ecs/ecs.config"
	agentLog    = "/var/log/ecs/ecs-agent.log"
)

// addAgent gives an instance the ECS agent if its image has it.
func addAgent(i *instance.Spec) {
	image, ok := machineimage.Find(i.Region, i.ImageID)
	if !ok || image.ECS == nil {
		return
	}
	i.Files = map[string]instance.File{agentConfig: {Mode: 0o644}}
	i.Services = []instance.Service{{
		Name: "ecs", Args: []string{path.Join(programsDir, "roadstead"), "node"}, EnvFile: agentConfig, Env: []string{"ECS_LOGFILE=" + agentLog},
	}}
}

// newInstanceMetadata makes what instances find at 169.254.169.254.
func (s *server) newInstanceMetadata() *imds.Service {
	return imds.New(imds.Config{
		Store: s.store, Clock: s.clock, Roles: s.directory, Key: s.apis.sealing, Log: s.log, Signer: s.identities,
	})
}

// endInstances ends what runs in instances; they boot again with the next
// server.
func (o *options) endInstances(ctx context.Context) error {
	runtime, err := o.instanceRuntime()
	if err != nil {
		return err
	}
	return host.Teardown(ctx, runtime, o.instancesCgroup())
}
