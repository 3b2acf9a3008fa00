package ec2

import (
	"context"
	"encoding/base64"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// DescribeInstanceAttribute tells one attribute of an instance.
func (s *Service) DescribeInstanceAttribute(ctx context.Context, in *ec2.DescribeInstanceAttributeInput) (*ec2.DescribeInstanceAttributeOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	row, err := s.instance(ctx, call, deref(in.InstanceId))
	if err != nil {
		return nil, err
	}
	shown, err := s.show(ctx, call, []*model.Instance{row.V})
	if err != nil {
		return nil, err
	}
	v, spec := shown[0].out(), &row.V.Spec
	out := &ec2.DescribeInstanceAttributeOutput{InstanceId: in.InstanceId}
	text := func(v string) *ec2.AttributeValue { return &ec2.AttributeValue{Value: new(v)} }
	flag := func(v bool) *ec2.AttributeBooleanValue { return &ec2.AttributeBooleanValue{Value: new(v)} }
	switch in.Attribute {
	case ec2.InstanceAttributeNameInstanceType:
		out.InstanceType = text(spec.Type)
	case ec2.InstanceAttributeNameUserData:
		out.UserData = &ec2.AttributeValue{}
		if len(spec.UserData) > 0 {
			out.UserData = text(base64.StdEncoding.EncodeToString(spec.UserData))
		}
	case ec2.InstanceAttributeNameDisableApiTermination:
		out.DisableApiTermination = flag(spec.DisableAPITermination)
	case ec2.InstanceAttributeNameDisableApiStop:
		out.DisableApiStop = flag(spec.DisableAPIStop)
	case ec2.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		out.InstanceInitiatedShutdownBehavior = text(spec.ShutdownBehavior)
	case ec2.InstanceAttributeNameRootDeviceName:
		out.RootDeviceName = text(rootDevice)
	case ec2.InstanceAttributeNameBlockDeviceMapping:
		out.BlockDeviceMappings = v.BlockDeviceMappings
	case ec2.InstanceAttributeNameSourceDestCheck:
		out.SourceDestCheck = &ec2.AttributeBooleanValue{Value: v.SourceDestCheck}
	case ec2.InstanceAttributeNameGroupSet:
		out.Groups = v.SecurityGroups
	case ec2.InstanceAttributeNameEbsOptimized:
		out.EbsOptimized = flag(spec.EBSOptimized)
	case ec2.InstanceAttributeNameEnaSupport:
		out.EnaSupport = flag(true)
	case ec2.InstanceAttributeNameEnclaveOptions:
		out.EnclaveOptions = v.EnclaveOptions
	case ec2.InstanceAttributeNameSriovNetSupport:
		out.SriovNetSupport = text("simple")
	case ec2.InstanceAttributeNameKernel:
		out.KernelId = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameRamdisk:
		out.RamdiskId = &ec2.AttributeValue{}
	case ec2.InstanceAttributeNameProductCodes:
		out.ProductCodes = []ec2.ProductCode{}
	default:
		return nil, required("attribute")
	}
	return out, nil
}

// named puts an attribute that is given by name and value where it belongs.
func named(in *ec2.ModifyInstanceAttributeInput) error {
	if in.Attribute == "" {
		return nil
	}
	if in.Value == nil {
		return required("value")
	}
	text := &ec2.AttributeValue{Value: in.Value}
	flag := &ec2.AttributeBooleanValue{Value: new(*in.Value == "true")}
	switch in.Attribute {
	case ec2.InstanceAttributeNameInstanceType:
		in.InstanceType = text
	case ec2.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		in.InstanceInitiatedShutdownBehavior = text
	case ec2.InstanceAttributeNameUserData:
		b, err := base64.StdEncoding.DecodeString(*in.Value)
		if err != nil {
			return invalidValue("Invalid BASE64 encoding of user data.")
		}
		in.UserData = &ec2.BlobAttributeValue{Value: b}
	case ec2.InstanceAttributeNameDisableApiTermination:
		in.DisableApiTermination = flag
	case ec2.InstanceAttributeNameDisableApiStop:
		in.DisableApiStop = flag
	case ec2.InstanceAttributeNameSourceDestCheck:
		in.SourceDestCheck = flag
	case ec2.InstanceAttributeNameEbsOptimized:
		in.EbsOptimized = flag
	default:
		return unsupported("changes of " + string(in.Attribute))
	}
	return nil
}

// ModifyInstanceAttribute sets an attribute of an instance.
func (s *Service) ModifyInstanceAttribute(ctx context.Context, in *ec2.ModifyInstanceAttributeInput) (*ec2.ModifyInstanceAttributeOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	set := *in
	if err := named(&set); err != nil {
		return nil, err
	}
	if set.EnaSupport != nil || set.Kernel != nil || set.Ramdisk != nil || set.SriovNetSupport != nil {
		return nil, unsupported("this attribute of an instance")
	}
	for _, b := range set.BlockDeviceMappings {
		if deref(b.DeviceName) != rootDevice || b.Ebs != nil && b.Ebs.DeleteOnTermination != nil && !*b.Ebs.DeleteOnTermination {
			return nil, unsupported("a root volume that outlives its instance, and further volumes")
		}
	}
	given := map[string]bool{
		"blockDeviceMapping": len(set.BlockDeviceMappings) > 0, "disableApiStop": set.DisableApiStop != nil, "disableApiTermination": set.DisableApiTermination != nil,
		"ebsOptimized": set.EbsOptimized != nil, "groupSet": len(set.Groups) > 0, "instanceInitiatedShutdownBehavior": set.InstanceInitiatedShutdownBehavior != nil,
		"instanceType": set.InstanceType != nil, "sourceDestCheck": set.SourceDestCheck != nil, "userData": set.UserData != nil,
	}
	if err := oneAttribute(given); err != nil {
		return nil, err
	}
	id := deref(in.InstanceId)
	row, err := s.living(ctx, call, id)
	if err != nil {
		return nil, err
	}
	if err := s.modifyPrimary(ctx, call, row.V, &set); err != nil {
		return nil, err
	}
	_, err = s.changeInstance(ctx, call, id, func(v *model.Instance) error { return modify(v, &set) })
	return &ec2.ModifyInstanceAttributeOutput{}, err
}

// modifyPrimary changes what is the primary interface's.
func (s *Service) modifyPrimary(ctx context.Context, call *api.Call, v *model.Instance, set *ec2.ModifyInstanceAttributeInput) error {
	primary := v.Spec.InterfaceIDs[0]
	if len(set.Groups) > 0 {
		if len(v.Spec.InterfaceIDs) > 1 {
			return api.NewFault("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", v.ID)
		}
		err := eni.SetGroups(ctx, s.store, call.Account, call.Region, primary, set.Groups)
		return answer(nounInterface.orMissing(err, primary))
	}
	if c := set.SourceDestCheck; c != nil && c.Value != nil {
		if len(v.Spec.InterfaceIDs) > 1 {
			return api.NewFault("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", v.ID)
		}
		_, err := tables.NetworkInterfaces.Update(ctx, s.store, call.Account, call.Region, primary, func(e *model.NetworkInterface) error {
			e.NoSourceDestCheck = !*c.Value
			return nil
		})
		return nounInterface.orMissing(err, primary)
	}
	return nil
}

// modify changes what is the instance's own.
func modify(v *model.Instance, set *ec2.ModifyInstanceAttributeInput) error {
	flag := func(p *bool, a *ec2.AttributeBooleanValue) {
		if a != nil && a.Value != nil {
			*p = *a.Value
		}
	}
	protects := deref(valueOf(set.DisableApiStop)) || deref(valueOf(set.DisableApiTermination))
	if v.Spec.Lifecycle == "spot" && protects {
		return api.NewFault("UnsupportedOperation", "Modifying this attribute is not supported for spot instances.")
	}
	flag(&v.Spec.DisableAPIStop, set.DisableApiStop)
	flag(&v.Spec.DisableAPITermination, set.DisableApiTermination)
	flag(&v.Spec.SourceDestCheck, set.SourceDestCheck)
	if b := set.InstanceInitiatedShutdownBehavior; b != nil {
		if !slices.Contains([]string{"stop", "terminate"}, deref(b.Value)) {
			return invalidValue("Invalid value '%s' for InstanceInitiatedShutdownBehavior.", deref(b.Value))
		}
		v.Spec.ShutdownBehavior = *b.Value
	}
	if set.UserData == nil && set.InstanceType == nil && set.EbsOptimized == nil {
		return nil
	}
	if v.State() != model.InstanceStopped {
		return api.NewFault("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", v.ID)
	}
	if set.UserData != nil {
		if len(set.UserData.Value) > 16384 {
			return invalidValue("User data is limited to 16384 bytes")
		}
		v.Spec.UserData = set.UserData.Value
	}
	name := v.Spec.Type
	if set.InstanceType != nil {
		name = deref(set.InstanceType.Value)
	}
	size, ok := instancetype.Find(name)
	switch {
	case !ok:
		return invalidValue("Invalid value '%s' for InstanceType.", name)
	case !slices.Contains(size.Architectures, v.Spec.Architecture):
		return invalidValue("The architecture of the instance type '%s' does not match the architecture '%s' of the instance's image.", name, v.Spec.Architecture)
	case len(v.Spec.InterfaceIDs) > int(size.MaxInterfaces):
		return api.NewFault("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(v.Spec.InterfaceIDs), name)
	}
	v.Spec.Type = name
	flag(&v.Spec.EBSOptimized, set.EbsOptimized)
	if v.Spec.EBSOptimized && size.EBS == nil {
		return api.NewFault("InvalidParameterCombination", "EBS-optimized instances are not supported for your requested configuration.")
	}
	return nil
}

func valueOf(a *ec2.AttributeBooleanValue) *bool {
	if a == nil {
		return nil
	}
	return a.Value
}

// ModifyInstanceMetadataOptions changes how the metadata service answers an
// instance.
func (s *Service) ModifyInstanceMetadataOptions(ctx context.Context, in *ec2.ModifyInstanceMetadataOptionsInput) (*ec2.ModifyInstanceMetadataOptionsOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	o := &model.LaunchMetadataOptions{
		HTTPEndpoint: string(in.HttpEndpoint), HTTPTokens: string(in.HttpTokens), HTTPPutResponseHopLimit: in.HttpPutResponseHopLimit,
		HTTPProtocolIPv6: string(in.HttpProtocolIpv6), InstanceMetadataTags: string(in.InstanceMetadataTags),
	}
	if err := instances.CheckMetadata(o); err != nil {
		return nil, answer(err)
	}
	v, err := s.changeInstance(ctx, call, deref(in.InstanceId), func(v *model.Instance) error {
		instances.SetMetadata(&v.Spec.Metadata, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ModifyInstanceMetadataOptionsOutput{InstanceId: in.InstanceId, InstanceMetadataOptions: metadataOut(v.Spec.Metadata)}, nil
}
