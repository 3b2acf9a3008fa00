package ec2

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

func spotState(v *model.Instance) (state, code string) {
	ended := v.Desired.State == model.InstanceTerminated
	switch {
	case ended && v.Desired.ReasonCode == instances.Interrupted.Code:
		return "closed", "instance-terminated-no-capacity"
	case v.Spec.SpotCancelled && ended:
		return "cancelled", "instance-terminated-by-user"
	case v.Spec.SpotCancelled:
		return "cancelled", "request-canceled-and-instance-running"
	case ended:
		return "closed", "instance-terminated-by-user"
	}
	if !v.Desired.SpotInterruptionAt.IsZero() {
		return "active", "marked-for-termination"
	}
	return "active", "fulfilled"
}

// DescribeSpotInstanceRequests lists the requests of Spot instances, each of
// which was fulfilled as it was made.
func (s *Service) DescribeSpotInstanceRequests(ctx context.Context, in *ec2.DescribeSpotInstanceRequestsInput) (*ec2.DescribeSpotInstanceRequestsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := tables.Instances.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
	if err != nil {
		return nil, err
	}
	var all []*model.Instance
	for _, r := range rows {
		if sir := r.V.Spec.SpotRequestID; sir != "" && (len(in.SpotInstanceRequestIds) == 0 || slices.Contains(in.SpotInstanceRequestIds, sir)) {
			all = append(all, r.V)
		}
	}
	for _, sir := range in.SpotInstanceRequestIds {
		if !slices.ContainsFunc(all, func(v *model.Instance) bool { return v.Spec.SpotRequestID == sir }) {
			return nil, noSpotRequest(sir)
		}
	}
	found, next, err := selectPage(call, all, query{"DescribeSpotInstanceRequests", in.SpotInstanceRequestIds, in.Filters, in.MaxResults, in.NextToken},
		func(v *model.Instance) string { return v.Spec.SpotRequestID },
		func(*model.Instance) model.Tags { return nil },
		func(v *model.Instance, name string) ([]string, bool) {
			state, code := spotState(v)
			switch name {
			case "instance-id":
				return one(v.ID)
			case "spot-instance-request-id":
				return one(v.Spec.SpotRequestID)
			case "state":
				return one(state)
			case "status-code":
				return one(code)
			case "type":
				return one("one-time")
			case "launched-availability-zone":
				return one(v.Spec.Zone)
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSpotInstanceRequestsOutput{SpotInstanceRequests: []ec2.SpotInstanceRequest{}, NextToken: next}
	for _, v := range found {
		state, code := spotState(v)
		r := ec2.SpotInstanceRequest{
			SpotInstanceRequestId: new(v.Spec.SpotRequestID), InstanceId: new(v.ID), State: ec2.SpotInstanceState(state), Type: "one-time",
			InstanceInterruptionBehavior: "terminate", LaunchedAvailabilityZone: new(v.Spec.Zone), LaunchedAvailabilityZoneId: new(zoneID(v.Spec.Zone)),
			CreateTime: new(v.Spec.LaunchedAt), ProductDescription: "Linux/UNIX", Status: &ec2.SpotInstanceStatus{Code: new(code), UpdateTime: new(v.Desired.Since)},
			LaunchSpecification: &ec2.LaunchSpecification{
				ImageId: new(v.Spec.ImageID), InstanceType: ec2.InstanceType(v.Spec.Type), SubnetId: new(v.Spec.SubnetID), Placement: &ec2.SpotPlacement{AvailabilityZone: new(v.Spec.Zone)},
			},
		}
		if v.Spec.SpotMaxPrice != "" {
			r.SpotPrice = new(v.Spec.SpotMaxPrice)
		}
		out.SpotInstanceRequests = append(out.SpotInstanceRequests, r)
	}
	return out, nil
}

// CancelSpotInstanceRequests cancels requests. Their instances run on.
func (s *Service) CancelSpotInstanceRequests(ctx context.Context, in *ec2.CancelSpotInstanceRequestsInput) (*ec2.CancelSpotInstanceRequestsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	rows, err := tables.Instances.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
	if err != nil {
		return nil, err
	}
	out := &ec2.CancelSpotInstanceRequestsOutput{CancelledSpotInstanceRequests: []ec2.CancelledSpotInstanceRequest{}}
	var found []string
	for _, sir := range in.SpotInstanceRequestIds {
		i := slices.IndexFunc(rows, func(r store.Row[model.Instance]) bool { return sir != "" && r.V.Spec.SpotRequestID == sir })
		if i < 0 {
			return nil, noSpotRequest(sir)
		}
		found = append(found, rows[i].V.ID)
	}
	for i, sir := range in.SpotInstanceRequestIds {
		_, err := tables.Instances.Update(ctx, s.store, call.Account, call.Region, found[i], func(v *model.Instance) error {
			v.Spec.SpotCancelled = true
			return nil
		})
		if err != nil {
			return nil, nounInstance.orMissing(err, found[i])
		}
		out.CancelledSpotInstanceRequests = append(out.CancelledSpotInstanceRequests, ec2.CancelledSpotInstanceRequest{SpotInstanceRequestId: new(sir), State: "cancelled"})
	}
	return out, nil
}

func noSpotRequest(sir string) error {
	return api.NewFault("InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", sir)
}
