package ec2_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/service/ec2"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

var amiID = machineimage.All(region)[0].ID

// run launches instances of the smallest type.
func (w *world) run(change func(in *api2.RunInstancesInput)) *api2.RunInstancesOutput {
	w.Helper()
	return must[*api2.RunInstancesOutput](w)(w.tryRun(change))
}

func (w *world) tryRun(change func(in *api2.RunInstancesInput)) (*api2.RunInstancesOutput, error) {
	in := &api2.RunInstancesInput{ImageId: &amiID, InstanceType: "t3.micro", MinCount: new(int32(1)), MaxCount: new(int32(1))}
	if change != nil {
		change(in)
	}
	return w.RunInstances(w.ctx, in)
}

// reach does what the controller does: it reports a state.
func (w *world) reach(id, state string) {
	w.Helper()
	_, err := tables.Instances.Update(w.ctx, w.store, account, region, id, func(v *model.Instance) error {
		v.Status.State = state
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) describe(ids ...string) api2.Instance {
	w.Helper()
	out := must[*api2.DescribeInstancesOutput](w)(w.DescribeInstances(w.ctx, &api2.DescribeInstancesInput{InstanceIds: ids}))
	return out.Reservations[0].Instances[0]
}

// profile stores an instance profile with a role.
func (w *world) profile(name string) string {
	w.Helper()
	arn := "arn:aws:iam::" + account + ":instance-profile/" + name
	tx := store.NewTxn()
	role := &model.Role{}
	role.Name, role.ARN = "role-"+name, "arn:aws:iam::"+account+":role/role-"+name
	tables.Roles.Create(tx, account, "", "role-"+name, role)
	tables.InstanceProfiles.Create(tx, account, "", name, &model.InstanceProfile{Name: name, ID: "AIPA" + strings.ToUpper(name), ARN: arn, Role: "role-" + name})
	if _, err := tx.Commit(w.ctx, w.store); err != nil {
		w.Fatal(err)
	}
	return arn
}

// allowing is the context of a caller who may pass on roles unless denied.
func (w *world) allowing(denied error) context.Context {
	call := *api.CallFrom(w.ctx)
	call.Authorize = func(_ context.Context, action, resource string, conditions map[string]string) error {
		if action != "iam:PassRole" || !strings.Contains(resource, ":role/") || conditions["iam:PassedToService"] != "ec2.amazonaws.com" {
			return fmt.Errorf("asked for %s of %s with %v", action, resource, conditions)
		}
		return denied
	}
	return api.WithCall(w.ctx, &call)
}

func TestRunInstances(t *testing.T) {
	w := newWorld(t)
	group := w.group(*w.defaultVPC(), "web")
	out := w.run(func(in *api2.RunInstancesInput) {
		in.MaxCount, in.SecurityGroups = new(int32(2)), []string{"Web"}
		in.UserData = new(base64.StdEncoding.EncodeToString([]byte("#!/bin/bash\n")))
		in.TagSpecifications = []api2.TagSpecification{
			{ResourceType: "instance", Tags: []api2.Tag{{Key: new("Name"), Value: new("a")}}}, {ResourceType: "volume", Tags: []api2.Tag{{Key: new("of"), Value: new("a")}}},
		}
	})
	if len(out.Instances) != 2 || *out.ReservationId == "" || *out.Instances[1].AmiLaunchIndex != 1 {
		t.Fatalf("launched %+v", out)
	}
	i := w.describe(*out.Instances[0].InstanceId)
	if i.State.Name != "pending" || *i.State.Code != 0 || *i.StateReason.Code != "pending" || *i.Tags[0].Value != "a" || *i.CpuOptions.CoreCount != 1 ||
		i.MetadataOptions.HttpTokens != "required" || *i.SecurityGroups[0].GroupId != group || !strings.HasPrefix(*i.PublicDnsName, "ec2-198-") ||
		*i.PrivateDnsName != "ip-"+strings.ReplaceAll(*i.PrivateIpAddress, ".", "-")+".eu-west-1.compute.internal" ||
		len(i.NetworkInterfaces) != 1 || *i.NetworkInterfaces[0].Attachment.DeviceIndex != 0 || *i.NetworkInterfaces[0].Association.PublicIp != *i.PublicIpAddress {
		t.Errorf("described %+v", i)
	}
	data := must[*api2.DescribeInstanceAttributeOutput](t)(w.DescribeInstanceAttribute(w.ctx, &api2.DescribeInstanceAttributeInput{InstanceId: i.InstanceId, Attribute: "userData"}))
	if *data.UserData.Value != "IyEvYmluL2Jhc2gK" {
		t.Errorf("user data %s", *data.UserData.Value)
	}
	volume := i.BlockDeviceMappings[0].Ebs.VolumeId
	v := must[*api2.DescribeVolumesOutput](t)(w.DescribeVolumes(w.ctx, &api2.DescribeVolumesInput{VolumeIds: []string{*volume}})).Volumes[0]
	if *v.Size != 8 || v.VolumeType != "gp3" || *v.Iops != 3000 || *v.Tags[0].Key != "of" || *v.Attachments[0].InstanceId != *i.InstanceId {
		t.Errorf("volume %+v", v)
	}
	// What the instance uses stays.
	_, err := w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &group})
	fails(t, err, "DependencyViolation", "")
	_, err = w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: i.SubnetId})
	fails(t, err, "DependencyViolation", "")
	_, err = w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: i.NetworkInterfaces[0].NetworkInterfaceId})
	fails(t, err, "InvalidParameterValue", "")
}

func (w *world) defaultVPC() *string {
	w.Helper()
	return must[*api2.DescribeVpcsOutput](w)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{Filters: filter("is-default", "true")})).Vpcs[0].VpcId
}

func TestRunInstancesRefuses(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		change        func(in *api2.RunInstancesInput)
		code, message string
	}{
		"none":         {func(in *api2.RunInstancesInput) { in.MinCount = new(int32(0)) }, "InvalidParameterValue", ""},
		"less":         {func(in *api2.RunInstancesInput) { in.MinCount = new(int32(2)) }, "InvalidParameterValue", ""},
		"far too many": {func(in *api2.RunInstancesInput) { in.MinCount, in.MaxCount = new(int32(1<<31-1)), new(int32(1<<31-1)) }, "InstanceLimitExceeded", ""},
		"an image":     {func(in *api2.RunInstancesInput) { in.ImageId = new("ami-1") }, "InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist"},
		"a key":        {func(in *api2.RunInstancesInput) { in.KeyName = new("x") }, "InvalidKeyPair.NotFound", "The key pair 'x' does not exist"},
		"CPU options":  {func(in *api2.RunInstancesInput) { in.CpuOptions = &api2.CpuOptionsRequest{CoreCount: new(int32(1))} }, "UnsupportedOperation", "The requested operation is not supported: CpuOptions"},
		"IPv6":         {func(in *api2.RunInstancesInput) { in.Ipv6AddressCount = new(int32(1)) }, "UnsupportedOperation", ""},
		"a template": {func(in *api2.RunInstancesInput) {
			in.LaunchTemplate = &api2.LaunchTemplateSpecification{LaunchTemplateName: new("x")}
		}, "InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name x, does not exist."},
		"a dry run":     {func(in *api2.RunInstancesInput) { in.DryRun = new(true) }, "DryRunOperation", ""},
		"a dry mistake": {func(in *api2.RunInstancesInput) { in.DryRun, in.ImageId = new(true), new("ami-1") }, "InvalidAMIID.NotFound", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := w.tryRun(tt.change)
			fails(t, err, tt.code, tt.message)
		})
	}
	if rows, err := tables.Instances.List(w.ctx, w.store, store.Query{}); err != nil || len(rows) != 0 {
		t.Errorf("%d instances, %v", len(rows), err)
	}
}

func TestClientTokenOfRunInstances(t *testing.T) {
	w := newWorld(t)
	token := func(in *api2.RunInstancesInput) { in.ClientToken = new("t") }
	one, two := w.run(token), w.run(token)
	if *one.Instances[0].InstanceId != *two.Instances[0].InstanceId || *one.ReservationId != *two.ReservationId {
		t.Errorf("launched %s and %s", *one.Instances[0].InstanceId, *two.Instances[0].InstanceId)
	}
	_, err := w.tryRun(func(in *api2.RunInstancesInput) { in.ClientToken, in.InstanceType = new("t"), "t3.small" })
	fails(t, err, "IdempotentParameterMismatch", "")
}

func TestPassRole(t *testing.T) {
	w := newWorld(t)
	arn := w.profile("web")
	with := func(in *api2.RunInstancesInput) {
		in.IamInstanceProfile = &api2.IamInstanceProfileSpecification{Name: new("web")}
	}
	plain := w.ctx
	w.ctx = w.allowing(api.NewFault("UnauthorizedOperation", "no"))
	_, err := w.tryRun(with)
	fails(t, err, "UnauthorizedOperation", "no")
	w.ctx = plain
	w.ctx = w.allowing(nil)
	i := w.run(with).Instances[0]
	if *i.IamInstanceProfile.Arn != arn || *i.IamInstanceProfile.Id != "AIPAWEB" {
		t.Errorf("profile %+v", i.IamInstanceProfile)
	}
	of := func() []api2.IamInstanceProfileAssociation {
		return must[*api2.DescribeIamInstanceProfileAssociationsOutput](t)(w.DescribeIamInstanceProfileAssociations(w.ctx, &api2.DescribeIamInstanceProfileAssociationsInput{Filters: filter("instance-id", *i.InstanceId)})).IamInstanceProfileAssociations
	}
	other := w.profile("other")
	_, err = w.AssociateIamInstanceProfile(w.ctx, &api2.AssociateIamInstanceProfileInput{InstanceId: i.InstanceId, IamInstanceProfile: &api2.IamInstanceProfileSpecification{Arn: &other}})
	fails(t, err, "IncorrectState", "There is an existing association for instance "+*i.InstanceId)
	_, err = w.ReplaceIamInstanceProfileAssociation(w.ctx, &api2.ReplaceIamInstanceProfileAssociationInput{AssociationId: of()[0].AssociationId, IamInstanceProfile: &api2.IamInstanceProfileSpecification{Arn: &other}})
	if err != nil || *of()[0].IamInstanceProfile.Arn != other {
		t.Errorf("replaced: %v, %+v", err, of())
	}
	gone := of()[0].AssociationId
	must[*api2.DisassociateIamInstanceProfileOutput](t)(w.DisassociateIamInstanceProfile(w.ctx, &api2.DisassociateIamInstanceProfileInput{AssociationId: gone}))
	_, err = w.DisassociateIamInstanceProfile(w.ctx, &api2.DisassociateIamInstanceProfileInput{AssociationId: gone})
	fails(t, err, "NoSuchAssociation", "")
	must[*api2.AssociateIamInstanceProfileOutput](t)(w.AssociateIamInstanceProfile(w.ctx, &api2.AssociateIamInstanceProfileInput{InstanceId: i.InstanceId, IamInstanceProfile: &api2.IamInstanceProfileSpecification{Name: new("web")}}))
	if got := of(); len(got) != 1 || *got[0].IamInstanceProfile.Arn != arn {
		t.Errorf("associations %+v", got)
	}
	_, err = w.tryRun(func(in *api2.RunInstancesInput) {
		in.IamInstanceProfile = &api2.IamInstanceProfileSpecification{Name: new("none")}
	})
	fails(t, err, "InvalidParameterValue", "Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
}

func TestInstanceStates(t *testing.T) {
	w := newWorld(t)
	i := *w.run(nil).Instances[0].InstanceId
	ids := []string{i}
	w.reach(i, "running")
	status := func(all bool) []api2.InstanceStatus {
		return must[*api2.DescribeInstanceStatusOutput](t)(w.DescribeInstanceStatus(w.ctx, &api2.DescribeInstanceStatusInput{InstanceIds: ids, IncludeAllInstances: &all})).InstanceStatuses
	}
	if got := status(false); len(got) != 1 || got[0].InstanceStatus.Status != "ok" || got[0].SystemStatus.Status != "ok" {
		t.Errorf("status %+v", got)
	}
	must[*api2.RebootInstancesOutput](t)(w.RebootInstances(w.ctx, &api2.RebootInstancesInput{InstanceIds: ids}))
	if got := must[*api2.MonitorInstancesOutput](t)(w.MonitorInstances(w.ctx, &api2.MonitorInstancesInput{InstanceIds: ids})); got.InstanceMonitorings[0].Monitoring.State != "enabled" || w.describe(i).Monitoring.State != "enabled" {
		t.Errorf("monitoring %+v", got)
	}
	if got := must[*api2.UnmonitorInstancesOutput](t)(w.UnmonitorInstances(w.ctx, &api2.UnmonitorInstancesInput{InstanceIds: ids})); got.InstanceMonitorings[0].Monitoring.State != "disabled" {
		t.Errorf("monitoring %+v", got)
	}
	_, err := w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: ids, Hibernate: new(true)})
	fails(t, err, "UnsupportedHibernationConfiguration", "")
	stopped := must[*api2.StopInstancesOutput](t)(w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: ids})).StoppingInstances[0]
	if stopped.CurrentState.Name != "stopping" || *stopped.CurrentState.Code != 64 || stopped.PreviousState.Name != "running" {
		t.Errorf("stopping %+v", stopped)
	}
	if got := w.describe(i); *got.StateTransitionReason != "User initiated (2023-11-14 22:13:20 GMT)" || *got.StateReason.Message != "Client.UserInitiatedShutdown: User initiated shutdown" || got.PublicIpAddress != nil {
		t.Errorf("stopping: %+v", got)
	}
	if len(status(false)) != 0 || status(true)[0].InstanceStatus.Status != "not-applicable" {
		t.Errorf("status %+v", status(true))
	}
	w.reach(i, "stopped")
	if got := must[*api2.StartInstancesOutput](t)(w.StartInstances(w.ctx, &api2.StartInstancesInput{InstanceIds: ids})).StartingInstances[0]; got.CurrentState.Name != "pending" || got.PreviousState.Name != "stopped" {
		t.Errorf("starting %+v", got)
	}
	_, err = w.TerminateInstances(w.ctx, &api2.TerminateInstancesInput{InstanceIds: []string{i, "i-0"}})
	fails(t, err, "InvalidInstanceID.NotFound", "The instance ID 'i-0' does not exist")
	_, err = w.TerminateInstances(w.ctx, &api2.TerminateInstancesInput{InstanceIds: []string{"x"}})
	fails(t, err, "InvalidInstanceID.Malformed", `Invalid id: "x"`)
	if got := must[*api2.TerminateInstancesOutput](t)(w.TerminateInstances(w.ctx, &api2.TerminateInstancesInput{InstanceIds: ids})).TerminatingInstances[0]; got.CurrentState.Name != "shutting-down" {
		t.Errorf("terminating %+v", got)
	}
	w.reach(i, "terminated")
	if got := w.describe(i); got.State.Name != "terminated" || got.SubnetId != nil || len(got.NetworkInterfaces) != 0 || len(got.BlockDeviceMappings) != 0 {
		t.Errorf("terminated %+v", got)
	}
	_, err = w.ModifyInstanceAttribute(w.ctx, &api2.ModifyInstanceAttributeInput{InstanceId: &i, DisableApiStop: &api2.AttributeBooleanValue{Value: new(true)}})
	fails(t, err, "IncorrectInstanceState", "")
}

func TestInstanceAttributes(t *testing.T) {
	w := newWorld(t)
	i := w.run(nil).Instances[0]
	flag := func(v bool) *api2.AttributeBooleanValue { return &api2.AttributeBooleanValue{Value: &v} }
	modify := func(change func(in *api2.ModifyInstanceAttributeInput)) error {
		in := &api2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId}
		change(in)
		_, err := w.ModifyInstanceAttribute(w.ctx, in)
		return err
	}
	group := w.group(*i.VpcId, "other")
	w.reach(*i.InstanceId, "running")
	for name, err := range map[string]error{
		"protection": modify(func(in *api2.ModifyInstanceAttributeInput) { in.DisableApiTermination = flag(true) }),
		"by name":    modify(func(in *api2.ModifyInstanceAttributeInput) { in.Attribute, in.Value = "disableApiStop", new("true") }),
		"shutdown": modify(func(in *api2.ModifyInstanceAttributeInput) {
			in.InstanceInitiatedShutdownBehavior = &api2.AttributeValue{Value: new("terminate")}
		}),
		"groups":  modify(func(in *api2.ModifyInstanceAttributeInput) { in.Groups = []string{group} }),
		"routing": modify(func(in *api2.ModifyInstanceAttributeInput) { in.SourceDestCheck = flag(false) }),
		"root volume": modify(func(in *api2.ModifyInstanceAttributeInput) {
			in.BlockDeviceMappings = []api2.InstanceBlockDeviceMappingSpecification{{DeviceName: new("/dev/xvda")}}
		}),
		"nothing at all": nil,
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.describe(*i.InstanceId); *got.SecurityGroups[0].GroupId != group || *got.SourceDestCheck {
		t.Errorf("described %+v", got)
	}
	_, err := w.TerminateInstances(w.ctx, &api2.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	fails(t, err, "OperationNotPermitted", "The instance '"+*i.InstanceId+"' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.")
	_, err = w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: []string{*i.InstanceId}})
	fails(t, err, "OperationNotPermitted", "The instance '"+*i.InstanceId+"' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.")
	big := func(in *api2.ModifyInstanceAttributeInput) {
		in.InstanceType = &api2.AttributeValue{Value: new("m5.large")}
	}
	fails(t, modify(big), "IncorrectInstanceState", "The instance '"+*i.InstanceId+"' is not in the 'stopped' state.")
	if err := modify(func(in *api2.ModifyInstanceAttributeInput) { in.DisableApiStop = flag(false) }); err != nil {
		t.Fatal(err)
	}
	must[*api2.StopInstancesOutput](t)(w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: []string{*i.InstanceId}}))
	w.reach(*i.InstanceId, "stopped")
	if err := modify(big); err != nil || w.describe(*i.InstanceId).InstanceType != "m5.large" {
		t.Errorf("another type: %v", err)
	}
	fails(t, modify(func(in *api2.ModifyInstanceAttributeInput) {
		in.InstanceType = &api2.AttributeValue{Value: new("m6g.large")}
	}), "InvalidParameterValue", "")
	fails(t, modify(func(in *api2.ModifyInstanceAttributeInput) {
		in.SriovNetSupport = &api2.AttributeValue{Value: new("simple")}
	}), "UnsupportedOperation", "")
	if err := modify(func(in *api2.ModifyInstanceAttributeInput) {
		in.UserData = &api2.BlobAttributeValue{Value: []byte("x")}
	}); err != nil {
		t.Error(err)
	}
	want := map[api2.InstanceAttributeName]string{"disableApiTermination": "true", "disableApiStop": "false", "instanceInitiatedShutdownBehavior": "terminate", "instanceType": "m5.large", "userData": "eA==", "sourceDestCheck": "false"}
	for name, v := range want {
		a := must[*api2.DescribeInstanceAttributeOutput](t)(w.DescribeInstanceAttribute(w.ctx, &api2.DescribeInstanceAttributeInput{InstanceId: i.InstanceId, Attribute: name}))
		got := ""
		for _, text := range []*api2.AttributeValue{a.InstanceInitiatedShutdownBehavior, a.InstanceType, a.UserData} {
			if text != nil {
				got += *text.Value
			}
		}
		for _, on := range []*api2.AttributeBooleanValue{a.DisableApiStop, a.DisableApiTermination, a.SourceDestCheck} {
			if on != nil {
				got += fmt.Sprint(*on.Value)
			}
		}
		if got != v {
			t.Errorf("%s is %s, want %s", name, got, v)
		}
	}
}

func TestDescribeInstancesSelects(t *testing.T) {
	w := newWorld(t)
	w.run(func(in *api2.RunInstancesInput) { in.MinCount, in.MaxCount = new(int32(3)), new(int32(3)) })
	spot := w.run(func(in *api2.RunInstancesInput) {
		in.InstanceMarketOptions = &api2.InstanceMarketOptionsRequest{MarketType: "spot", SpotOptions: &api2.SpotMarketOptions{MaxPrice: new("0.1")}}
	}).Instances[0]
	w.reach(*spot.InstanceId, "running")
	for name, n := range map[string]int{
		"instance-state-name=running": 1, "instance-lifecycle=spot": 1, "instance-type=t3.*": 4, "network-interface.status=in-use": 4, "image-id=ami-0": 0,
		"private-ip-address=" + *spot.PrivateIpAddress: 1, "network-interface.addresses.private-ip-address=" + *spot.PrivateIpAddress: 1,
		"ip-address=" + *spot.PublicIpAddress: 1, "block-device-mapping.status=attached": 4, "instance.group-name=default": 4, "reservation-id=r-*": 4,
		"spot-instance-request-id=" + *spot.SpotInstanceRequestId: 1, "state-reason-code=pending": 3, "launch-index=2": 1, "metadata-options.http-tokens=required": 4,
	} {
		key, value, _ := strings.Cut(name, "=")
		got := 0
		for _, r := range must[*api2.DescribeInstancesOutput](t)(w.DescribeInstances(w.ctx, &api2.DescribeInstancesInput{Filters: filter(key, value)})).Reservations {
			got += len(r.Instances)
		}
		if got != n {
			t.Errorf("%s selects %d, want %d", name, got, n)
		}
	}
	_, err := w.DescribeInstances(w.ctx, &api2.DescribeInstancesInput{Filters: filter("network-interface.colour", "red")})
	fails(t, err, "InvalidParameterValue", "The filter 'network-interface.colour' is invalid")
	in, seen := &api2.DescribeInstancesInput{MaxResults: new(int32(3))}, map[string]bool{}
	for {
		out := must[*api2.DescribeInstancesOutput](t)(w.DescribeInstances(w.ctx, in))
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				seen[*i.InstanceId] = true
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != 4 {
		t.Errorf("pages have %d instances", len(seen))
	}
	requests := must[*api2.DescribeSpotInstanceRequestsOutput](t)(w.DescribeSpotInstanceRequests(w.ctx, &api2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*spot.SpotInstanceRequestId}})).SpotInstanceRequests
	if len(requests) != 1 || *requests[0].InstanceId != *spot.InstanceId || requests[0].State != "active" || *requests[0].SpotPrice != "0.1" {
		t.Errorf("Spot requests %+v", requests)
	}
	_, err = w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: []string{*spot.InstanceId}})
	fails(t, err, "UnsupportedOperation", "")
	must[*api2.CancelSpotInstanceRequestsOutput](t)(w.CancelSpotInstanceRequests(w.ctx, &api2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*spot.SpotInstanceRequestId}}))
	requests = must[*api2.DescribeSpotInstanceRequestsOutput](t)(w.DescribeSpotInstanceRequests(w.ctx, &api2.DescribeSpotInstanceRequestsInput{Filters: filter("state", "cancelled")})).SpotInstanceRequests
	if len(requests) != 1 || *requests[0].Status.Code != "request-canceled-and-instance-running" || w.describe(*spot.InstanceId).State.Name != "running" {
		t.Errorf("Spot requests %+v", requests)
	}
	_, err = w.CancelSpotInstanceRequests(w.ctx, &api2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-0"}})
	fails(t, err, "InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID 'sir-0' does not exist")
	credits := must[*api2.DescribeInstanceCreditSpecificationsOutput](t)(w.DescribeInstanceCreditSpecifications(w.ctx, &api2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{*spot.InstanceId}}))
	if len(credits.InstanceCreditSpecifications) != 1 || *credits.InstanceCreditSpecifications[0].CpuCredits != "unlimited" {
		t.Errorf("credits %+v", credits)
	}
}

func TestTagsOfInstances(t *testing.T) {
	w := newWorld(t)
	template := w.template("web", &api2.RequestLaunchTemplateData{ImageId: &amiID, InstanceType: "t3.micro"})
	i := w.run(func(in *api2.RunInstancesInput) {
		in.ImageId, in.InstanceType, in.LaunchTemplate = nil, "", &api2.LaunchTemplateSpecification{LaunchTemplateId: &template}
	}).Instances[0]
	volume := *w.describe(*i.InstanceId).BlockDeviceMappings[0].Ebs.VolumeId
	all := []string{*i.InstanceId, volume, template}
	must[*api2.CreateTagsOutput](t)(w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: all, Tags: []api2.Tag{{Key: new("k"), Value: new("v")}}}))
	tags := func() []string {
		var out []string
		for _, tag := range must[*api2.DescribeTagsOutput](t)(w.DescribeTags(w.ctx, &api2.DescribeTagsInput{Filters: filter("resource-id", all...)})).Tags {
			out = append(out, string(tag.ResourceType)+" "+*tag.Key)
		}
		slices.Sort(out)
		return out
	}
	own := []string{"instance aws:ec2launchtemplate:id", "instance aws:ec2launchtemplate:version"}
	if got := tags(); !slices.Equal(got, append(slices.Clone(own), "instance k", "launch-template k", "volume k")) {
		t.Errorf("tags %v", got)
	}
	// All of them are the user's own: AWS's stay.
	must[*api2.DeleteTagsOutput](t)(w.DeleteTags(w.ctx, &api2.DeleteTagsInput{Resources: all}))
	if got := tags(); !slices.Equal(got, own) {
		t.Errorf("tags %v", got)
	}
	_, err := w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: []string{"vol-0"}, Tags: []api2.Tag{{Key: new("k")}}})
	fails(t, err, "InvalidVolume.NotFound", "The volume 'vol-0' does not exist.")
}

func TestMetadataOptions(t *testing.T) {
	w := newWorld(t)
	_, err := w.ModifyInstanceMetadataDefaults(w.ctx, &api2.ModifyInstanceMetadataDefaultsInput{HttpPutResponseHopLimit: new(int32(65))})
	fails(t, err, "InvalidParameterValue", "")
	must[*api2.ModifyInstanceMetadataDefaultsOutput](t)(w.ModifyInstanceMetadataDefaults(w.ctx, &api2.ModifyInstanceMetadataDefaultsInput{HttpTokens: "optional", InstanceMetadataTags: "enabled", HttpPutResponseHopLimit: new(int32(7))}))
	must[*api2.ModifyInstanceMetadataDefaultsOutput](t)(w.ModifyInstanceMetadataDefaults(w.ctx, &api2.ModifyInstanceMetadataDefaultsInput{InstanceMetadataTags: "no-preference"}))
	got := must[*api2.GetInstanceMetadataDefaultsOutput](t)(w.GetInstanceMetadataDefaults(w.ctx, &api2.GetInstanceMetadataDefaultsInput{})).AccountLevel
	if got.HttpTokens != "optional" || got.InstanceMetadataTags != "" || *got.HttpPutResponseHopLimit != 7 {
		t.Errorf("defaults %+v", got)
	}
	i := w.run(func(in *api2.RunInstancesInput) {
		in.MetadataOptions = &api2.InstanceMetadataOptionsRequest{HttpPutResponseHopLimit: new(int32(3))}
	}).Instances[0]
	if m := i.MetadataOptions; m.HttpTokens != "optional" || *m.HttpPutResponseHopLimit != 3 || m.InstanceMetadataTags != "disabled" {
		t.Errorf("options %+v", m)
	}
	m := must[*api2.ModifyInstanceMetadataOptionsOutput](t)(w.ModifyInstanceMetadataOptions(w.ctx, &api2.ModifyInstanceMetadataOptionsInput{InstanceId: i.InstanceId, HttpTokens: "required"})).InstanceMetadataOptions
	if m.HttpTokens != "required" || *m.HttpPutResponseHopLimit != 3 {
		t.Errorf("options %+v", m)
	}
	_, err = w.ModifyInstanceMetadataOptions(w.ctx, &api2.ModifyInstanceMetadataOptionsInput{InstanceId: i.InstanceId, HttpProtocolIpv6: "enabled"})
	fails(t, err, "UnsupportedOperation", "")
}

// Elastic addresses find an instance's interface.
func TestAssociateAddressWithAnInstance(t *testing.T) {
	w := newWorld(t)
	i := w.run(nil).Instances[0]
	a := must[*api2.AllocateAddressOutput](t)(w.AllocateAddress(w.ctx, &api2.AllocateAddressInput{}))
	must[*api2.AssociateAddressOutput](t)(w.AssociateAddress(w.ctx, &api2.AssociateAddressInput{AllocationId: a.AllocationId, InstanceId: i.InstanceId}))
	if got := w.describe(*i.InstanceId); *got.PublicIpAddress != *a.PublicIp {
		t.Errorf("address %s, want %s", *got.PublicIpAddress, *a.PublicIp)
	}
	if got := must[*api2.DescribeAddressesOutput](t)(w.DescribeAddresses(w.ctx, &api2.DescribeAddressesInput{})).Addresses[0]; *got.InstanceId != *i.InstanceId {
		t.Errorf("described %+v", got)
	}
	_, err := w.AssociateAddress(w.ctx, &api2.AssociateAddressInput{AllocationId: a.AllocationId, InstanceId: new("i-0")})
	fails(t, err, "InvalidInstanceID.NotFound", "The instance ID 'i-0' does not exist")
}

func TestFurtherInterfaces(t *testing.T) {
	w := newWorld(t)
	i := w.run(func(in *api2.RunInstancesInput) {
		in.NetworkInterfaces = []api2.InstanceNetworkInterfaceSpecification{{DeviceIndex: new(int32(0))}}
	}).Instances[0]
	here := *i.SubnetId
	var elsewhere string
	for _, s := range must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{})).Subnets {
		if *s.AvailabilityZone != *i.Placement.AvailabilityZone {
			elsewhere = *s.SubnetId
		}
	}
	nic, other := *w.iface(here).NetworkInterfaceId, *w.iface(elsewhere).NetworkInterfaceId
	attach := func(nic string, index int32) (string, error) {
		out, err := w.AttachNetworkInterface(w.ctx, &api2.AttachNetworkInterfaceInput{InstanceId: i.InstanceId, NetworkInterfaceId: &nic, DeviceIndex: &index})
		if err != nil {
			return "", err
		}
		return *out.AttachmentId, nil
	}
	detach := func(attachment string) error {
		_, err := w.DetachNetworkInterface(w.ctx, &api2.DetachNetworkInterfaceInput{AttachmentId: &attachment})
		return err
	}
	refused := func(nic string, index int32, code, message string) {
		t.Helper()
		_, err := attach(nic, index)
		fails(t, err, code, message)
	}
	refused(nic, 1, "IncorrectState", "Instance '"+*i.InstanceId+"' is not 'running' or 'stopped'.")
	w.reach(*i.InstanceId, "running")
	refused("eni-00000000000000000", 1, "InvalidNetworkInterfaceID.NotFound", "")
	refused(*i.NetworkInterfaces[0].NetworkInterfaceId, 1, "InvalidNetworkInterface.InUse", "Interface: ["+*i.NetworkInterfaces[0].NetworkInterfaceId+"] in use.")
	refused(other, 1, "InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone")
	refused(nic, 0, "InvalidParameterValue", "Instance '"+*i.InstanceId+"' already has an interface attached at device index '0'.")
	_, err := w.AttachNetworkInterface(w.ctx, &api2.AttachNetworkInterfaceInput{InstanceId: i.InstanceId, NetworkInterfaceId: &nic})
	fails(t, err, "MissingParameter", "")

	status := func() string {
		t.Helper()
		n := must[*api2.DescribeNetworkInterfacesOutput](t)(w.DescribeNetworkInterfaces(w.ctx, &api2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{nic}})).NetworkInterfaces[0]
		if n.Attachment == nil {
			return string(n.Status)
		}
		return string(n.Status) + " " + string(n.Attachment.Status)
	}
	settle := func() {
		t.Helper()
		row, err := tables.Instances.Get(w.ctx, w.store, account, region, *i.InstanceId)
		if err == nil {
			err = instances.Settle(w.ctx, w.store, row)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	attachment, err := attach(nic, 1)
	if got := status(); err != nil || got != "in-use attaching" || len(w.describe(*i.InstanceId).NetworkInterfaces) != 2 {
		t.Fatalf("attached: %v, %s", err, got)
	}
	_, err = w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &nic})
	fails(t, err, "InvalidParameterValue", "Network interface '"+nic+"' is currently in use.")
	if settle(); status() != "in-use attached" {
		t.Error(status())
	}
	must[*api2.ModifyNetworkInterfaceAttributeOutput](t)(w.ModifyNetworkInterfaceAttribute(w.ctx, &api2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &nic, Attachment: &api2.NetworkInterfaceAttachmentChanges{AttachmentId: &attachment, DeleteOnTermination: new(true)},
	}))
	if a := w.describe(*i.InstanceId).NetworkInterfaces[1].Attachment; !*a.DeleteOnTermination {
		t.Errorf("attachment %+v", a)
	}
	// The type, t3.micro, has two interfaces.
	refused(*w.iface(here).NetworkInterfaceId, 2, "AttachmentLimitExceeded", "Interface count 3 exceeds the limit for t3.micro")

	fails(t, detach("eni-attach-0"), "InvalidAttachmentID.NotFound", "The attachment ID 'eni-attach-0' does not exist")
	fails(t, detach(*w.describe(*i.InstanceId).NetworkInterfaces[0].Attachment.AttachmentId), "OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")
	for range 2 { // the second time changes nothing
		if err := detach(attachment); err != nil || status() != "in-use detaching" {
			t.Fatal(err, status())
		}
	}
	if settle(); status() != "available" || len(w.describe(*i.InstanceId).NetworkInterfaces) != 1 {
		t.Error(status())
	}

	// A stopped instance has nothing to wait for.
	must[*api2.StopInstancesOutput](t)(w.StopInstances(w.ctx, &api2.StopInstancesInput{InstanceIds: []string{*i.InstanceId}}))
	w.reach(*i.InstanceId, "stopped")
	attachment, err = attach(nic, 1)
	if err != nil || status() != "in-use attached" {
		t.Fatal(err, status())
	}
	if err := detach(attachment); err != nil || status() != "available" {
		t.Fatal(err, status())
	}
	must[*api2.DeleteNetworkInterfaceOutput](t)(w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &nic}))
}

type console string

func (c console) Console(string) ([]byte, time.Time, error) {
	return []byte(c), time.Unix(1_700_000_100, 0), nil
}

func TestConsoleOutput(t *testing.T) {
	w := newWorld(t)
	i := w.run(nil).Instances[0].InstanceId
	if got := must[*api2.GetConsoleOutputOutput](t)(w.GetConsoleOutput(w.ctx, &api2.GetConsoleOutputInput{InstanceId: i})); got.Output != nil {
		t.Errorf("output %+v", got)
	}
	w.Service = ec2.New(ec2.Config{Store: w.store, Clock: clock.System{}, Consoles: console("hello")})
	if got := must[*api2.GetConsoleOutputOutput](t)(w.GetConsoleOutput(w.ctx, &api2.GetConsoleOutputInput{InstanceId: i})); *got.Output != "aGVsbG8=" || got.Timestamp.Unix() != 1_700_000_100 {
		t.Errorf("output %+v", got)
	}
}
