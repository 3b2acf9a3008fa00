package fleet

import (
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
)

// Subnets are where the interfaces of tasks may be, as the network
// configuration names them.
type Subnets struct {
	VPCID string
	// ByZone are the subnets' ids by availability zone.
	ByZone map[string][]string
}

// Add adds a subnet.
func (s *Subnets) Add(id, vpcID, zone string) {
	if s.ByZone == nil {
		s.ByZone = make(map[string][]string)
	}
	s.VPCID = vpcID
	s.ByZone[zone] = append(s.ByZone[zone], id)
}

// Compile makes the request for tasks like t, of the definition d. Where the
// task names no strategy, fallback is it. A task with an interface of its own
// must be in a zone, and in the VPC, of its subnets; one of a capacity provider
// on an instance of that.
func Compile(t *model.Task, d *model.TaskDefinition, fallback []model.ECSPlacementStrategy, subnets Subnets) (*placement.Request, error) {
	p := taskOf(t)
	demand := placement.Demand{
		Group: p.Group, Resources: p.Resources, Ports: p.Ports, External: t.Spec.LaunchType == model.LaunchTypeExternal, CapacityProvider: t.Spec.CapacityProviderName,
		Attributes:  slices.Clone(d.RequiresAttributes),
		Constraints: slices.Clone(t.Spec.PlacementConstraints), Strategies: t.Spec.PlacementStrategy,
	}
	if len(demand.Strategies) == 0 {
		demand.Strategies = fallback
	}
	if r := d.RuntimePlatform; r != nil && r.CPUArchitecture != "" {
		demand.Attributes = append(demand.Attributes, model.ECSAttribute{Name: "ecs.cpu-architecture", Value: strings.ToLower(r.CPUArchitecture)})
	}
	if p.Resources.ENIs > 0 {
		member := func(expression string) {
			demand.Constraints = append(demand.Constraints, model.ECSPlacementConstraint{Type: "memberOf", Expression: expression})
		}
		zones := slices.Sorted(maps.Keys(subnets.ByZone))
		member("attribute:" + model.AttributeZone + " in [" + strings.Join(zones, ", ") + "]")
		member("attribute:ecs.vpc-id == " + subnets.VPCID + " or attribute:ecs.vpc-id !exists")
	}
	return placement.Compile(demand)
}

// Settle gives the placed tasks their instances. The subnets of a zone take
// turns.
func (ch *Choice) Settle(subnets Subnets, newID func() string) {
	turn := make(map[string]int)
	for _, p := range ch.Placed {
		zone := p.Instance.Attributes[model.AttributeZone]
		in := subnets.ByZone[zone]
		if n := len(in); n > 0 {
			at := turn[zone] % n
			turn[zone]++
			in = in[at : at+1]
		}
		p.Task.PlaceOn(p.Instance, in, newID)
	}
}

// Closest are the instances that refused and count for the user: those that
// take no tasks at all, or none of the capacity provider's, are as good as not
// there. The closest to taking the task is the first.
func (ch *Choice) Closest() []placement.Refusal { return closest(ch.Refused) }

func closest(refused []placement.Refusal) []placement.Refusal {
	return slices.DeleteFunc(slices.Clone(refused), func(r placement.Refusal) bool {
		return r.Reason == placement.Inactive || r.Reason == placement.Elsewhere
	})
}
