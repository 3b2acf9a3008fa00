package node

import "roadstead.dev/internal/model/acs"

// TaskView is what a node tells of a task that is on it.
type TaskView struct {
	Arn, Family, Version string
	// Desired and Known are the task's states: RUNNING, STOPPED, or, known
	// alone, PENDING.
	Desired, Known string
	Containers     []ContainerView
}

// ContainerView is what a node tells of a container.
type ContainerView struct{ ID, Name string }

// Tasks are the tasks on the node, in the order in which they came.
func (n *Node) Tasks() []TaskView {
	var out []TaskView
	for _, t := range n.list() {
		s := t.snapshot()
		v := TaskView{Arn: t.arn, Family: s.Task.Family, Version: s.Task.Version, Desired: acs.DesiredRunning, Known: s.status()}
		if s.Stop {
			v.Desired = acs.DesiredStopped
		}
		for _, c := range s.Containers {
			v.Containers = append(v.Containers, ContainerView{c.ID, c.Name})
		}
		out = append(out, v)
	}
	return out
}
