package model

// TaskTarget is a task's place in a target group.
type TaskTarget struct {
	GroupARN string
	// ContainerPort as the service names it.
	ContainerPort int
	// ID and Port of the target: the address of the task's interface and the
	// container's port, or the EC2 instance and its port that leads there. ID is
	// empty and Port 0 until they are known.
	ID   string
	Port int32
}

// Known tells whether the target can be registered.
func (t *TaskTarget) Known() bool { return t.ID != "" && t.Port != 0 }

// Targets are what the task is to be in its service's target groups. External
// instances are no targets.
func (t *Task) Targets() []TaskTarget {
	var out []TaskTarget
	seen := map[TaskTarget]bool{}
	for _, lb := range t.Spec.LoadBalancers {
		if lb.Group() == "" || lb.ContainerPort == nil {
			continue
		}
		v := TaskTarget{GroupARN: lb.Group(), ContainerPort: *lb.ContainerPort}
		if a := t.ENI(); a != nil {
			v.ID, v.Port = a.Detail("privateIPv4Address"), int32(*lb.ContainerPort)
		} else {
			v.ID, v.Port = t.Status.EC2InstanceID, t.hostPort(lb.ContainerName, *lb.ContainerPort)
		}
		if lb.ClassicGroupARN != "" && v.Port != 0 {
			v.Port = ClassicTargetPort // the listeners tell the ports
		}
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// hostPort is the port of the instance that leads to a container's, 0 while
// nobody has told.
func (t *Task) hostPort(container string, port int) int32 {
	if t.Spec.NetworkMode == "host" {
		return int32(port)
	}
	c := t.Container(container)
	if c == nil {
		return 0
	}
	for _, b := range c.NetworkBindings {
		if b.ContainerPort != nil && b.HostPort != nil && *b.ContainerPort == port && b.Protocol != "udp" {
			return int32(*b.HostPort)
		}
	}
	return 0
}
