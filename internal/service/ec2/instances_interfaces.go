package ec2

import (
	"context"

	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/store/instances"
)

// AttachNetworkInterface puts a further interface into an instance.
func (s *Service) AttachNetworkInterface(ctx context.Context, in *ec2.AttachNetworkInterfaceInput) (*ec2.AttachNetworkInterfaceOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.DeviceIndex == nil:
		return nil, required("deviceIndex")
	case deref(in.NetworkCardIndex) != 0:
		return nil, invalidValue("The network card index '%d' is not valid for this instance type", *in.NetworkCardIndex)
	case in.EnaSrdSpecification != nil:
		return nil, unsupported("EnaSrdSpecification")
	case in.EnaQueueCount != nil:
		return nil, unsupported("EnaQueueCount")
	}
	row, err := interfaces.get(ctx, s, call, deref(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	attachment, err := instances.Attach(ctx, s.store, placeOf(call), call.Time, deref(in.InstanceId), row.V.ID, *in.DeviceIndex)
	if err != nil {
		return nil, answer(err)
	}
	return &ec2.AttachNetworkInterfaceOutput{AttachmentId: &attachment, NetworkCardIndex: new(int32(0))}, nil
}

// DetachNetworkInterface takes a further interface out of an instance. With
// force or without, it is as if the cable was pulled.
func (s *Service) DetachNetworkInterface(ctx context.Context, in *ec2.DetachNetworkInterfaceInput) (*ec2.DetachNetworkInterfaceOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &ec2.DetachNetworkInterfaceOutput{}, answer(instances.Detach(ctx, s.store, placeOf(call), deref(in.AttachmentId)))
}
