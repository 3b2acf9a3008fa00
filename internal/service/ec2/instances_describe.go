package ec2

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var instanceKind = kind[model.Instance]{
	noun: nounInstance, table: tables.Instances,
	id:   func(v *model.Instance) string { return v.ID },
	tags: func(v *model.Instance) model.Tags { return v.Tags },
}

// shownInstance is an instance with what its description is made of.
type shownInstance struct {
	v      model.Instance
	region string
	names  interfaceNames
	// nics in the order of their device indexes; a terminated instance shows
	// none.
	nics      []*model.NetworkInterface
	profileID string
	size      instancetype.Type
	image     machineimage.Image
}

// show reads what descriptions of instances are made of.
func (s *Service) show(ctx context.Context, call *api.Call, list []*model.Instance) ([]*shownInstance, error) {
	names, err := s.interfaceNames(ctx, call)
	if err != nil {
		return nil, err
	}
	profiles := map[string]string{}
	var out []*shownInstance
	for _, v := range list {
		i := &shownInstance{v: *v, region: call.Region, names: names}
		i.size, _ = instancetype.Find(v.Spec.Type)
		i.image, _ = machineimage.Find(call.Region, v.Spec.ImageID)
		for _, id := range v.Spec.InterfaceIDs {
			row, err := tables.NetworkInterfaces.Get(ctx, s.store, call.Account, call.Region, id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			if err == nil && row.V.Attachment != nil && row.V.Attachment.InstanceID == v.ID && i.state() != model.InstanceTerminated {
				i.nics = append(i.nics, row.V)
			}
		}
		if arn := v.Spec.ProfileARN; arn != "" {
			if _, known := profiles[arn]; !known {
				if profiles[arn], err = s.profileID(ctx, call, arn); err != nil {
					return nil, err
				}
			}
			i.profileID = profiles[arn]
		}
		out = append(out, i)
	}
	return out, nil
}

// profileID is the unique id of an instance profile, empty once it is gone.
func (s *Service) profileID(ctx context.Context, call *api.Call, arn string) (string, error) {
	row, err := tables.InstanceProfiles.Get(ctx, s.store, call.Account, "", strings.ToLower(arn[strings.LastIndexByte(arn, '/')+1:]))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return row.V.ID, nil
}

func (i *shownInstance) state() string { return i.v.State() }

// association is the primary interface's public address, if any.
func (i *shownInstance) association() *ec2.NetworkInterfaceAssociation {
	if len(i.nics) == 0 {
		return nil
	}
	return i.names.public(i.nics[0], i.nics[0].PrivateIP)
}

// reasonTexts are the messages of state reasons, by code.
var reasonTexts = map[string]string{
	"Client.UserInitiatedShutdown":     "User initiated shutdown",
	"Client.InstanceInitiatedShutdown": "Instance initiated shutdown",
	"Server.SpotInstanceTermination":   "Spot instance termination",
}

func (i *shownInstance) reason() *ec2.StateReason {
	if i.state() == model.InstancePending {
		return &ec2.StateReason{Code: new("pending"), Message: new("pending")}
	}
	code := i.v.Desired.ReasonCode
	if code == "" {
		return nil
	}
	text := reasonTexts[code]
	if text == "" {
		text = i.v.Desired.Reason
	}
	return &ec2.StateReason{Code: new(code), Message: new(code + ": " + text)}
}

func (i *shownInstance) out() ec2.Instance {
	v, spec := &i.v, &i.v.Spec
	out := ec2.Instance{
		InstanceId: new(v.ID), ImageId: new(spec.ImageID), InstanceType: ec2.InstanceType(spec.Type), State: stateOut(i.state()),
		StateReason: i.reason(), StateTransitionReason: new(v.Desired.Reason), AmiLaunchIndex: new(int32(spec.LaunchIndex)),
		Architecture: ec2.ArchitectureValues(spec.Architecture), ClientToken: new(spec.ClientToken), LaunchTime: new(spec.LaunchedAt),
		EbsOptimized: new(spec.EBSOptimized), EnaSupport: new(true), Hypervisor: "xen", VirtualizationType: "hvm",
		RootDeviceName: new(rootDevice), RootDeviceType: "ebs", PlatformDetails: new("Linux/UNIX"), UsageOperation: new("RunInstances"),
		UsageOperationUpdateTime: new(spec.LaunchedAt), Monitoring: monitoringOut(spec.Monitoring),
		Placement:      &ec2.Placement{AvailabilityZone: new(spec.Zone), AvailabilityZoneId: new(zoneID(spec.Zone)), GroupName: new(""), Tenancy: "default"},
		CpuOptions:     &ec2.CpuOptions{CoreCount: new(i.size.Cores), ThreadsPerCore: new(i.size.ThreadsPerCore)},
		EnclaveOptions: &ec2.EnclaveOptions{Enabled: new(false)}, HibernationOptions: &ec2.HibernationOptions{Configured: new(false)},
		MaintenanceOptions:               &ec2.InstanceMaintenanceOptions{AutoRecovery: "default"},
		CapacityReservationSpecification: &ec2.CapacityReservationSpecificationResponse{CapacityReservationPreference: "open"},
		MetadataOptions:                  metadataOut(spec.Metadata), BootMode: ec2.BootModeValues(i.image.BootMode), InstanceLifecycle: ec2.InstanceLifecycleType(spec.Lifecycle),
		CurrentInstanceBootMode: i.bootMode(),
		PrivateDnsName:          new(""), PublicDnsName: new(""), SecurityGroups: []ec2.GroupIdentifier{}, NetworkInterfaces: []ec2.InstanceNetworkInterface{},
		BlockDeviceMappings: []ec2.InstanceBlockDeviceMapping{}, Tags: tagsOut(v.Tags),
	}
	if spec.KeyName != "" {
		out.KeyName = new(spec.KeyName)
	}
	if spec.SpotRequestID != "" {
		out.SpotInstanceRequestId = new(spec.SpotRequestID)
	}
	if spec.ProfileARN != "" {
		out.IamInstanceProfile = &ec2.IamInstanceProfile{Arn: new(spec.ProfileARN), Id: new(i.profileID)}
	}
	if i.state() == model.InstanceTerminated {
		return out
	}
	out.VpcId, out.SubnetId = new(spec.VPCID), new(spec.SubnetID)
	out.PrivateIpAddress, out.PrivateDnsName = new(spec.PrivateIP.String()), new(spec.PrivateDNSName)
	out.PrivateDnsNameOptions = &ec2.PrivateDnsNameOptionsResponse{
		HostnameType: ec2.HostnameType(spec.HostnameType), EnableResourceNameDnsARecord: new(false), EnableResourceNameDnsAAAARecord: new(false),
	}
	out.BlockDeviceMappings = append(out.BlockDeviceMappings, ec2.InstanceBlockDeviceMapping{DeviceName: new(rootDevice), Ebs: &ec2.EbsInstanceBlockDevice{
		AttachTime: new(spec.LaunchedAt), DeleteOnTermination: new(true), Status: "attached", VolumeId: new(spec.RootVolume.ID),
	}})
	if a := i.association(); a != nil {
		out.PublicIpAddress, out.PublicDnsName = a.PublicIp, a.PublicDnsName
	}
	out.SourceDestCheck = new(spec.SourceDestCheck)
	for k, nic := range i.nics {
		if k == 0 {
			out.SecurityGroups, out.SourceDestCheck = i.names.out(nic.GroupIDs), new(!nic.NoSourceDestCheck)
		}
		out.NetworkInterfaces = append(out.NetworkInterfaces, i.nicOut(nic))
	}
	return out
}

func (i *shownInstance) bootMode() ec2.InstanceBootModeValues {
	if slices.Contains(i.size.BootModes, "uefi") && strings.HasPrefix(i.image.BootMode, "uefi") {
		return "uefi"
	}
	return "legacy-bios"
}

func (i *shownInstance) nicOut(nic *model.NetworkInterface) ec2.InstanceNetworkInterface {
	public := func(k int) *ec2.InstanceNetworkInterfaceAssociation {
		a := i.names.public(nic, nic.PrivateIPs()[k])
		if a == nil {
			return nil
		}
		return &ec2.InstanceNetworkInterfaceAssociation{IpOwnerId: a.IpOwnerId, PublicDnsName: a.PublicDnsName, PublicIp: a.PublicIp}
	}
	a := nic.Attachment
	out := ec2.InstanceNetworkInterface{
		NetworkInterfaceId: new(nic.ID), OwnerId: new(nic.Owner), VpcId: new(nic.VPCID), SubnetId: new(nic.SubnetID), Description: new(nic.Description),
		MacAddress: new(nic.MAC), InterfaceType: new(nic.InterfaceType), Status: ec2.NetworkInterfaceStatus(nic.Status), SourceDestCheck: new(!nic.NoSourceDestCheck),
		Groups: i.names.out(nic.GroupIDs), PrivateIpAddress: new(nic.PrivateIP.String()), PrivateDnsName: new(model.PrivateDNSName(nic.PrivateIP, i.region)),
		Association: public(0), Attachment: &ec2.InstanceNetworkInterfaceAttachment{
			AttachmentId: new(a.ID), AttachTime: new(a.AttachedAt), DeleteOnTermination: new(a.DeleteOnTermination), DeviceIndex: new(a.DeviceIndex),
			NetworkCardIndex: new(int32(0)), Status: ec2.AttachmentStatus(a.Status),
		},
	}
	for k, ip := range nic.PrivateIPs() {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, ec2.InstancePrivateIpAddress{
			Primary: new(k == 0), PrivateIpAddress: new(ip.String()), PrivateDnsName: new(model.PrivateDNSName(ip, i.region)), Association: public(k),
		})
	}
	return out
}

func metadataOut(m model.InstanceMetadataOptions) *ec2.InstanceMetadataOptionsResponse {
	return &ec2.InstanceMetadataOptionsResponse{
		State: "applied", HttpEndpoint: ec2.InstanceMetadataEndpointState(m.Endpoint), HttpTokens: ec2.HttpTokensState(m.Tokens),
		HttpPutResponseHopLimit: new(int32(m.HopLimit)), HttpProtocolIpv6: "disabled", InstanceMetadataTags: ec2.InstanceMetadataTagsState(m.Tags),
	}
}

// reservationsOut groups instances by the calls that launched them, in the
// order in which they come.
func reservationsOut(list []*shownInstance) []ec2.Reservation {
	out := []ec2.Reservation{}
	at := map[string]int{}
	for _, i := range list {
		k, ok := at[i.v.Spec.ReservationID]
		if !ok {
			k = len(out)
			at[i.v.Spec.ReservationID] = k
			out = append(out, ec2.Reservation{ReservationId: new(i.v.Spec.ReservationID), OwnerId: new(i.v.Owner), Groups: []ec2.GroupIdentifier{}})
		}
		out[k].Instances = append(out[k].Instances, i.out())
	}
	return out
}

// selectInstances are the instances that a query selects, and the token of
// the next page.
func (s *Service) selectInstances(ctx context.Context, call *api.Call, q query, keep func(*model.Instance) bool, field func(*shownInstance, string) ([]string, bool)) ([]*shownInstance, *string, error) {
	var found []*model.Instance
	if len(q.ids) == 0 {
		var err error
		if found, err = instanceKind.all(ctx, s, call); err != nil {
			return nil, nil, err
		}
	}
	seen := map[string]bool{}
	for _, id := range q.ids {
		row, err := s.instance(ctx, call, id)
		if err != nil {
			return nil, nil, err
		}
		if !seen[id] {
			seen[id] = true
			found = append(found, row.V)
		}
	}
	if keep != nil {
		found = slices.DeleteFunc(found, func(v *model.Instance) bool { return !keep(v) })
	}
	shown, err := s.show(ctx, call, found)
	if err != nil {
		return nil, nil, err
	}
	return selectPage(call, shown, q,
		func(i *shownInstance) string { return i.v.ID },
		func(i *shownInstance) model.Tags { return i.v.Tags }, field)
}

// DescribeInstances lists instances by the calls that launched them.
func (s *Service) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := s.selectInstances(ctx, call, query{"DescribeInstances", in.InstanceIds, in.Filters, in.MaxResults, in.NextToken}, nil, (*shownInstance).field)
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstancesOutput{Reservations: reservationsOut(found), NextToken: next}, nil
}

// DescribeInstanceStatus tells how instances do: those that run, or all.
func (s *Service) DescribeInstanceStatus(ctx context.Context, in *ec2.DescribeInstanceStatusInput) (*ec2.DescribeInstanceStatusOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	running := func(v *model.Instance) bool {
		return deref(in.IncludeAllInstances) || v.State() == model.InstanceRunning
	}
	found, next, err := s.selectInstances(ctx, call, query{"DescribeInstanceStatus", in.InstanceIds, in.Filters, in.MaxResults, in.NextToken}, running, (*shownInstance).statusField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceStatusOutput{InstanceStatuses: []ec2.InstanceStatus{}, NextToken: next}
	for _, i := range found {
		status := ec2.InstanceStatus{
			InstanceId: new(i.v.ID), AvailabilityZone: new(i.v.Spec.Zone), AvailabilityZoneId: new(zoneID(i.v.Spec.Zone)), InstanceState: stateOut(i.state()),
			SystemStatus: i.check(false), InstanceStatus: i.check(true), AttachedEbsStatus: i.ebs(),
		}
		if at := i.v.Desired.SpotInterruptionAt; !at.IsZero() && i.state() == model.InstanceRunning {
			status.Events = []ec2.InstanceStatusEvent{{Code: "instance-stop", Description: new("The Spot instance is going to be interrupted"), NotBefore: new(at)}}
		}
		out.InstanceStatuses = append(out.InstanceStatuses, status)
	}
	return out, nil
}

// check is the result of the instance's own status check, or of the system's,
// which fails for none: it is the machine that this runs on.
func (i *shownInstance) check(own bool) *ec2.InstanceStatusSummary {
	switch {
	case i.state() != model.InstanceRunning:
		return &ec2.InstanceStatusSummary{Status: "not-applicable"}
	case own && i.v.Status.Impaired != "":
		return &ec2.InstanceStatusSummary{Status: "impaired", Details: []ec2.InstanceStatusDetails{{Name: "reachability", Status: "failed"}}}
	}
	return &ec2.InstanceStatusSummary{Status: "ok", Details: []ec2.InstanceStatusDetails{{Name: "reachability", Status: "passed"}}}
}

func (i *shownInstance) ebs() *ec2.EbsStatusSummary {
	if i.state() != model.InstanceRunning {
		return &ec2.EbsStatusSummary{Status: "not-applicable"}
	}
	return &ec2.EbsStatusSummary{Status: "ok", Details: []ec2.EbsStatusDetails{{Name: "reachability", Status: "passed"}}}
}
