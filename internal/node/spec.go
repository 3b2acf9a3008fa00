package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
)

// Labels of the node's containers; those of ECS's own names are what the
// metadata endpoint shows.
const (
	labelNode      = "roadstead.dev/node"
	labelTask      = "com.amazonaws.ecs.task-arn"
	labelContainer = "com.amazonaws.ecs.container-name"
	labelCluster   = "com.amazonaws.ecs.cluster"
	labelFamily    = "com.amazonaws.ecs.task-definition-family"
	labelVersion   = "com.amazonaws.ecs.task-definition-version"
)

// defaultNofile is Fargate's limit of open files.
const defaultNofile = 65535

// specContext is what a container's specification needs beside its task.
type specContext struct {
	node  string
	netns string
	// files is the task's folder: hosts, resolv.conf, hostname, volumes; shared
	// is that of the volumes that tasks share.
	files    string
	shared   string
	hostname string
	// env is ECS's own environment for the container.
	env []string
	// envFiles are the variables of the container's environment files, secrets
	// those of its secrets, by name.
	envFiles, secrets map[string]string
	logURI            string
}

// containerSpec translates a container of a task for the engine.
func containerSpec(t *acs.Task, c *acs.Container, state *containerState, x specContext) (engine.ContainerSpec, error) {
	config, host, err := c.DockerConfig.Parse()
	if err != nil {
		return engine.ContainerSpec{}, err
	}
	command, err := overriddenCommand(c)
	if err != nil {
		return engine.ContainerSpec{}, err
	}
	spec := engine.ContainerSpec{
		ID: state.ID, Group: taskID(t.Arn), Image: c.Image,
		Labels:     labels(t, c, config, x.node),
		EntryPoint: c.EntryPoint, Command: command, Env: environment(c, x.env, x.envFiles, x.secrets),
		WorkingDir: config.WorkingDir, User: config.User, Hostname: x.hostname,
		TTY: config.Tty, OpenStdin: config.OpenStdin, StopSignal: config.StopSignal,
		NetNS: x.netns, SharedIPC: t.IpcMode == "task", SharedPID: t.PidMode == "task",
		HostIPC: t.IpcMode == "host", HostPID: t.PidMode == "host",
		ReadonlyRootfs: host.ReadonlyRootfs, ShmSize: host.ShmSize, Init: host.Init != nil && *host.Init,
		CapAdd: host.CapAdd, CapDrop: host.CapDrop, Privileged: host.Privileged, Sysctls: host.Sysctls,
		Ulimits: ulimits(host.Ulimits),
		Resources: engine.Resources{
			CPUShares: max(2, c.CPU), Memory: c.Memory << 20, MemoryReservation: host.MemoryReservation,
		},
		LogURI: x.logURI,
	}
	if l := c.LinuxParameters; l != nil {
		if l.SharedMemorySize != nil {
			spec.ShmSize = *l.SharedMemorySize << 20
		}
		if l.InitProcessEnabled != nil {
			spec.Init = *l.InitProcessEnabled
		}
		if l.Capabilities != nil {
			spec.CapAdd = append(slices.Clone(spec.CapAdd), l.Capabilities.Add...)
			spec.CapDrop = append(slices.Clone(spec.CapDrop), l.Capabilities.Drop...)
		}
	}
	if config.Hostname != "" {
		spec.Hostname = config.Hostname
	}
	spec.Mounts, err = mounts(t, c, x.files, x.shared)
	if err != nil {
		return engine.ContainerSpec{}, err
	}
	for target, options := range host.Tmpfs {
		m := engine.Mount{Target: target}
		if options != "" {
			m.Options = strings.Split(options, ",")
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return spec, nil
}

// overriddenCommand is the container's command, or its override's: the only
// key that the protocol has.
func overriddenCommand(c *acs.Container) ([]string, error) {
	if c.Overrides == "" {
		return c.Command, nil
	}
	var o struct {
		Command []string `json:"command"`
	}
	d := json.NewDecoder(strings.NewReader(c.Overrides))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("decode the overrides of container %s: %w", c.Name, err)
	}
	if len(o.Command) > 0 {
		return o.Command, nil
	}
	return c.Command, nil
}

func labels(t *acs.Task, c *acs.Container, config acs.DockerContainerConfig, node string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, config.Labels)
	maps.Copy(l, map[string]string{
		labelNode: node, labelTask: t.Arn, labelContainer: c.Name, labelCluster: t.TaskClusterArn,
		labelFamily: t.Family, labelVersion: t.Version,
	})
	return l
}

// environment lays the variables of environment files over ECS's own, the task
// definition's over those, and the secrets over all.
func environment(c *acs.Container, own []string, files, secrets map[string]string) []string {
	set := map[string]string{}
	maps.Copy(set, files)
	maps.Copy(set, c.Environment)
	maps.Copy(set, secrets)
	var env []string
	for _, kv := range own {
		name, _, _ := strings.Cut(kv, "=")
		if _, ok := set[name]; !ok {
			env = append(env, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		env = append(env, name+"="+set[name])
	}
	return env
}

func ulimits(in []acs.DockerUlimit) []engine.Ulimit {
	var out []engine.Ulimit
	nofile := false
	for _, u := range in {
		out = append(out, engine.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
		nofile = nofile || u.Name == "nofile"
	}
	if !nofile {
		out = append(out, engine.Ulimit{Name: "nofile", Soft: defaultNofile, Hard: defaultNofile})
	}
	return out
}

// mounts are the task's files, the container's volumes, and what it has from
// other containers.
func mounts(t *acs.Task, c *acs.Container, dir, shared string) ([]engine.Mount, error) {
	var out []engine.Mount
	if dir == "" {
		return nil, nil
	}
	for _, f := range []string{"hosts", "resolv.conf", "hostname"} {
		out = append(out, engine.Mount{Source: filepath.Join(filesDir(dir, t, c.Name), f), Target: "/etc/" + f})
	}
	points, err := mountPoints(t, c, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		source, err := volumeSource(t, p.SourceVolume, dir, shared)
		if err != nil {
			return nil, err
		}
		out = append(out, engine.Mount{Source: source, Target: filepath.Clean(p.ContainerPath), ReadOnly: p.ReadOnly, CopyUp: true})
	}
	return out, nil
}

// mountPoints are the container's own and those of volumesFrom, whose paths
// the own ones win.
func mountPoints(t *acs.Task, c *acs.Container, seen []string) ([]acs.MountPoint, error) {
	if slices.Contains(seen, c.Name) {
		return nil, errors.New("volumesFrom goes in a circle")
	}
	seen = append(seen, c.Name)
	points := slices.Clone(c.MountPoints)
	for _, v := range c.VolumesFrom {
		i := slices.IndexFunc(t.Containers, func(o acs.Container) bool { return o.Name == v.SourceContainer })
		if i < 0 {
			return nil, fmt.Errorf("volumesFrom names container %s, which is not in the task", v.SourceContainer)
		}
		from, err := mountPoints(t, &t.Containers[i], seen)
		if err != nil {
			return nil, err
		}
		for _, p := range from {
			p.ReadOnly = p.ReadOnly || v.ReadOnly
			if !slices.ContainsFunc(points, func(o acs.MountPoint) bool { return o.ContainerPath == p.ContainerPath }) {
				points = append(points, p)
			}
		}
	}
	return points, nil
}
