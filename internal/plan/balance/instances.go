package balance

import (
	"slices"

	"roadstead.dev/internal/model"
)

// Locate is the address that a target of the load balancer is reached at. For
// one that cannot be reached it tells why, as its health: an instance that does
// not run, or in a zone where the load balancer is not.
func Locate(t *model.Target, instances map[string]*model.Instance, lb *model.LoadBalancer) (ip string, unusable *model.TargetHealth) {
	if !t.IsInstance() {
		return t.ID, nil
	}
	unused := func(reason, description string) (string, *model.TargetHealth) {
		return "", &model.TargetHealth{State: model.TargetHealthUnused, Reason: reason, Description: description}
	}
	i := instances[t.ID]
	if Gone(i) {
		return unused(model.ReasonInvalidState, model.DescriptionTerminated)
	}
	switch i.State() {
	case model.InstanceRunning:
	case model.InstanceStopping, model.InstanceStopped:
		return unused(model.ReasonInvalidState, model.DescriptionStopped)
	default:
		return unused(model.ReasonInvalidState, model.DescriptionInvalidState)
	}
	if !slices.ContainsFunc(lb.AvailabilityZones, func(z model.LoadBalancerZone) bool { return z.ZoneName == i.Spec.Zone }) {
		return unused(model.ReasonNotInUse, model.DescriptionZoneNotEnabled)
	}
	return i.Spec.PrivateIP.String(), nil
}

// Refuses tells, in the words of the load balancer, why an instance cannot be a
// target of the group at all; "" if it can.
func Refuses(g *model.TargetGroup, i *model.Instance) string {
	if i == nil || i.Spec.VPCID == g.VpcID {
		return ""
	}
	return "The following targets are not in the target group VPC '" + g.VpcID + "': '" + i.ID + "'"
}

// Gone tells whether an instance terminates, has terminated, or is not there
// any more: it is no target then.
func Gone(i *model.Instance) bool {
	return i == nil || i.Desired.State == model.InstanceTerminated || i.Status.State == model.InstanceTerminated
}
