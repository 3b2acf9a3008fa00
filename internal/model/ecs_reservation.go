package model

import (
	"slices"
	"strconv"
)

// AttributeZone is the built-in attribute of container instances that tells
// their availability zone.
const AttributeZone = "ecs.availability-zone"

// HostPort is a port of a container instance.
type HostPort struct {
	Number int  `json:"number"`
	UDP    bool `json:"udp,omitempty"`
}

// Reservation is what a task takes of the container instance that it is on.
type Reservation struct {
	CPU    int // CPU units
	Memory int // MiB
	ENIs   int
	GPUs   int
	// Ports are the fixed ones, and those that dynamic mappings were given, as
	// far as they are known.
	Ports []HostPort
}

// Reservation is what the task takes: its own CPU and memory where it has
// them, else those of its containers, of whose memory the soft limit counts
// where there is one.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/memory-management.html
func (t *Task) Reservation() Reservation {
	r := Reservation{GPUs: t.Spec.GPUs, Ports: t.Spec.HostPorts}
	for _, c := range t.Spec.Containers {
		r.CPU += number(c.CPU)
		r.Memory += number(firstOf(c.MemoryReservation, c.Memory))
	}
	if t.Spec.CPU != "" {
		r.CPU = number(t.Spec.CPU)
	}
	if t.Spec.Memory != "" {
		r.Memory = number(t.Spec.Memory)
	}
	if t.Spec.NetworkMode == "awsvpc" {
		r.ENIs = 1
	}
	for _, c := range t.Observed.Containers {
		for i := range c.NetworkBindings {
			for _, p := range c.NetworkBindings[i].HostPorts() {
				if !slices.Contains(r.Ports, p) {
					r.Ports = append(slices.Clip(r.Ports), p)
				}
			}
		}
	}
	return r
}

// number reads decimal digits; the API has checked them.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// fixedPorts are the host's ports that a definition names: in bridge mode
// those that are not 0, in host mode all.
func (d *TaskDefinition) fixedPorts() []HostPort {
	if d.NetworkMode != "bridge" && d.NetworkMode != "host" && d.NetworkMode != "" {
		return nil
	}
	var ports []HostPort
	for i := range d.ContainerDefinitions {
		for _, m := range d.ContainerDefinitions[i].PortMappings {
			n := m.HostPort
			if d.NetworkMode == "host" && n == nil {
				n = m.ContainerPort
			}
			if n != nil && *n != 0 {
				ports = append(ports, HostPort{*n, m.Protocol == "udp"})
			}
		}
	}
	return ports
}

// gpus is how many GPUs the containers ask for.
func (d *TaskDefinition) gpus() int {
	n := 0
	for i := range d.ContainerDefinitions {
		for _, r := range d.ContainerDefinitions[i].ResourceRequirements {
			if r.Type == "GPU" {
				n += number(r.Value)
			}
		}
	}
	return n
}
