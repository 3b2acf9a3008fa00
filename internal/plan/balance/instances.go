package balance

import "roadstead.dev/internal/model"

// instance is Addresses for a target that is an instance: it must run.
func (in *Input) instance(i *model.Instance) (ips []string, unusable *model.TargetHealth) {
	if Gone(i) {
		return nil, unused(model.ReasonInvalidState, model.DescriptionTerminated)
	}
	switch i.State() {
	case model.InstanceRunning:
	case model.InstanceStopping, model.InstanceStopped:
		return nil, unused(model.ReasonInvalidState, model.DescriptionStopped)
	default:
		return nil, unused(model.ReasonInvalidState, model.DescriptionInvalidState)
	}
	if !in.enabled(i.Spec.Zone) {
		unusable = unused(model.ReasonNotInUse, model.DescriptionZoneNotEnabled)
	}
	return []string{i.Spec.PrivateIP.String()}, unusable
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
