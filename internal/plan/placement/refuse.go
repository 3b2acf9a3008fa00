package placement

import (
	"cmp"
	"slices"
)

// Reason is why an instance cannot take a task, as RunTask's failures name it.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
type Reason string

// The reasons, in the order in which an instance is asked. The later one
// applies, the closer the instance is to taking the task.
const (
	// Elsewhere is an instance that does not belong to the capacity provider, or
	// to the launch type.
	Elsewhere Reason = "CAPACITY PROVIDER"
	Inactive  Reason = "INACTIVE"
	Agent     Reason = "AGENT"
	Attribute Reason = "ATTRIBUTE"
	MemberOf  Reason = "MemberOf placement constraint unsatisfied."
	Distinct  Reason = "DistinctInstance placement constraint unsatisfied."
	ENI       Reason = "RESOURCE:ENI"
	GPU       Reason = "RESOURCE:GPU"
	Ports     Reason = "RESOURCE:PORTS"
	CPU       Reason = "RESOURCE:CPU"
	Memory    Reason = "RESOURCE:MEMORY"
)

// near orders the reasons.
var near = map[Reason]int{Elsewhere: 0, Inactive: 1, Agent: 2, Attribute: 3, MemberOf: 4, Distinct: 5, ENI: 6, GPU: 7, Ports: 8, CPU: 9, Memory: 10}

// Sentence is how a service's event tells the reason, behind the instance's id.
func (r Reason) Sentence() string {
	switch r {
	case Elsewhere:
		return "is not of the capacity provider"
	case Inactive:
		return "is not active"
	case Agent:
		return "has the agent disconnected"
	case Attribute:
		return "is missing an attribute required by your task"
	case MemberOf, Distinct:
		return "does not meet the placement constraints of your task"
	case ENI:
		return `encountered error "RESOURCE:ENI"`
	case GPU:
		return "has insufficient GPU resource available"
	case Ports:
		return "is already using a port required by your task"
	case CPU:
		return "has insufficient CPU units available"
	case Memory:
		return "has insufficient memory available"
	}
	return string(r)
}

// Refusal is an instance and why it cannot take a task.
type Refusal struct {
	Instance string
	Reason   Reason
}

// Explain tells of each instance why it cannot take the task, those that are
// the closest to it first. Instances that can are left out.
func (f *Fleet) Explain(r *Request) []Refusal {
	var all []Refusal
	for _, h := range f.order {
		if why := r.refuses(h); why != "" {
			all = append(all, Refusal{h.ID, why})
		}
	}
	slices.SortFunc(all, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(near[b.Reason], near[a.Reason]), cmp.Compare(a.Instance, b.Instance))
	})
	return all
}

// Refuses tells why one instance cannot take the task, "" if it can.
func (f *Fleet) Refuses(r *Request, instance string) Reason {
	h := f.hosts[instance]
	if h == nil {
		return Inactive
	}
	return r.refuses(h)
}

func (r *Request) refuses(h *host) Reason {
	if why := r.refusesAlways(h); why != "" {
		return why
	}
	return r.refusesNow(h)
}

// refusesAlways asks what changes only with the instance itself.
func (r *Request) refusesAlways(h *host) Reason {
	why := r.lacks(h)
	switch {
	case why == Elsewhere:
		return why
	case !h.Active:
		return Inactive
	case !h.AgentConnected:
		return Agent
	}
	return why
}

// lacks asks what the instance is, whatever its state.
func (r *Request) lacks(h *host) Reason {
	if r.demand.External != h.External {
		return Elsewhere
	}
	if p := r.demand.CapacityProvider; p != "" && h.CapacityProvider != p {
		return Elsewhere
	}
	for _, a := range r.demand.Attributes {
		if v, ok := h.Attributes[a.Name]; !ok || a.Value != "" && v != a.Value {
			return Attribute
		}
	}
	for _, q := range r.static {
		if !q.Selects(&h.query) {
			return MemberOf
		}
	}
	return ""
}

// refusesNow asks what changes with the tasks on the instance.
func (r *Request) refusesNow(h *host) Reason {
	for _, q := range r.dynamic {
		if !q.Selects(&h.query) {
			return MemberOf
		}
	}
	if r.distinct && h.query.TaskGroups[r.demand.Group] > 0 {
		return Distinct
	}
	need, left := r.demand.Resources, h.left()
	switch {
	case need.ENIs > max(left.ENIs, 0):
		return ENI
	case need.GPUs > max(left.GPUs, 0):
		return GPU
	}
	for _, p := range r.demand.Ports {
		if h.ports[p] > 0 {
			return Ports
		}
	}
	switch {
	case need.CPU > max(left.CPU, 0):
		return CPU
	case need.Memory > max(left.Memory, 0):
		return Memory
	}
	return ""
}
