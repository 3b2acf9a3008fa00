package instances_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const region = "eu-west-1"

var (
	at  = instances.Place{Account: "000000000000", Region: region}
	now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ami = machineimage.All(region)[0].ID
)

// place stores a default VPC with a group and a subnet.
func place(t *testing.T, cidr string) store.Store {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	tx := store.NewTxn()
	tables.VPCs.Create(tx, at.Account, region, "vpc-1", &model.VPC{ID: "vpc-1", DefaultGroupID: "sg-1", IsDefault: true})
	tables.SecurityGroups.Create(tx, at.Account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", VPCID: "vpc-1"})
	tables.Subnets.Create(tx, at.Account, region, "subnet-1", &model.Subnet{
		ID: "subnet-1", VPCID: "vpc-1", CIDR: netip.MustParsePrefix(cidr), Zone: region + "a", DefaultForAZ: true, MapPublicIPOnLaunch: true,
	})
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func launch(t *testing.T, s store.Store, data model.LaunchData, least, most int) ([]*model.Instance, error) {
	t.Helper()
	spec, err := instances.Resolve(t.Context(), s, at, data)
	if err != nil {
		return nil, err
	}
	spec.Min, spec.Max = least, most
	return instances.Launch(t.Context(), s, now, spec)
}

func code(err error) string {
	if e, ok := errors.AsType[*instances.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func get(t *testing.T, s store.Store, id string) *model.Instance {
	t.Helper()
	row, err := instances.Find(t.Context(), s, at, id)
	if err != nil {
		t.Fatal(err)
	}
	return row.V
}

// reach does what the controller does: it reports a state.
func reach(t *testing.T, s store.Store, id, state string) {
	t.Helper()
	_, err := tables.Instances.Update(t.Context(), s, at.Account, region, id, func(v *model.Instance) error {
		v.Status.State, v.Status.Boots = state, v.Desired.Boots
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAsManyAsFit(t *testing.T) {
	s := place(t, "10.0.0.0/28") // 11 addresses
	data := model.LaunchData{ImageID: ami, InstanceType: "t3.micro"}
	if _, err := launch(t, s, data, 12, 20); code(err) != "InsufficientFreeAddressesInSubnet" {
		t.Errorf("twelve in a subnet for eleven: %v", err)
	}
	if rows, err := tables.NetworkInterfaces.List(t.Context(), s, store.Query{}); err != nil || len(rows) != 0 {
		t.Errorf("a launch that failed left %d interfaces, %v", len(rows), err)
	}
	made, err := launch(t, s, data, 2, 20)
	if err != nil || len(made) != 11 {
		t.Fatalf("%d instances, %v", len(made), err)
	}
	seen := map[netip.Addr]bool{}
	for i, v := range made {
		e, err := tables.NetworkInterfaces.Get(t.Context(), s, at.Account, region, v.Spec.InterfaceIDs[0])
		if err != nil || seen[v.Spec.PrivateIP] || e.V.PrivateIP != v.Spec.PrivateIP || e.V.Association == nil || seen[e.V.Association.PublicIP] ||
			e.V.Attachment.InstanceID != v.ID || !e.V.Attachment.DeleteOnTermination {
			t.Fatalf("interface %+v of %+v, %v", e.V, v, err)
		}
		seen[v.Spec.PrivateIP], seen[e.V.Association.PublicIP] = true, true
		if v.Spec.LaunchIndex != i || v.Spec.ReservationID != made[0].Spec.ReservationID || v.State() != "pending" || v.Desired.Boots != 1 {
			t.Errorf("instance %+v", v)
		}
	}
}

// Launches at the same time share a subnet without sharing addresses.
func TestConcurrentLaunches(t *testing.T) {
	s := place(t, "10.0.0.0/26") // 59 addresses
	spec, err := instances.Resolve(t.Context(), s, at, model.LaunchData{ImageID: ami, InstanceType: "t3.micro"})
	if err != nil {
		t.Fatal(err)
	}
	spec.Min, spec.Max = 5, 5
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	for range 10 {
		wg.Go(func() {
			made, err := instances.Launch(context.Background(), s, now, spec)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, v := range made {
				seen[v.Spec.PrivateIP] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != 50 {
		t.Errorf("%d addresses for 50 instances", len(seen))
	}
}

func TestWithFailsTheLaunch(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	spec, err := instances.Resolve(t.Context(), s, at, model.LaunchData{ImageID: ami, InstanceType: "t3.micro"})
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	spec.With = func(*store.Txn, []*model.Instance) error { return boom }
	if _, err := instances.Launch(t.Context(), s, now, spec); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if rows, err := tables.Instances.List(t.Context(), s, store.Query{}); err != nil || len(rows) != 0 {
		t.Errorf("%d instances, %v", len(rows), err)
	}
}

// A life: what is asked for shows at once, what cannot be is refused, and the
// public address comes and goes.
func TestLife(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	made, err := launch(t, s, model.LaunchData{ImageID: ami, InstanceType: "t3.micro", DisableAPITermination: new(true)}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, ctx := made[0].ID, t.Context()
	public := func() bool {
		e, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, region, made[0].Spec.InterfaceIDs[0])
		if err != nil {
			t.Fatal(err)
		}
		return e.V.Association != nil
	}
	changes := func(want instances.Change, got []instances.Change, err error) {
		t.Helper()
		want.InstanceID = id
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
	if _, err := instances.Stop(ctx, s, at, now, instances.Why{}, false, id); code(err) != "IncorrectInstanceState" {
		t.Errorf("stop while pending: %v", err)
	}
	if err := instances.Reboot(ctx, s, at, now, id); code(err) != "IncorrectInstanceState" {
		t.Errorf("reboot while pending: %v", err)
	}
	reach(t, s, id, model.InstanceRunning)
	if err := instances.Reboot(ctx, s, at, now, id); err != nil || get(t, s, id).Desired.Boots != 2 {
		t.Errorf("reboot: %v", err)
	}
	got, err := instances.Stop(ctx, s, at, now, instances.Why{}, false, id)
	changes(instances.Change{Previous: "running", Current: "stopping"}, got, err)
	if v := get(t, s, id); v.Desired.Reason != "User initiated (2026-01-02 03:04:05 GMT)" || v.Desired.ReasonCode != "Client.UserInitiatedShutdown" || public() {
		t.Errorf("stopping for %+v, public address %v", v.Desired, public())
	}
	if _, err := instances.Start(ctx, s, at, now, id); code(err) != "IncorrectInstanceState" {
		t.Errorf("start while stopping: %v", err)
	}
	reach(t, s, id, model.InstanceStopped)
	got, err = instances.Start(ctx, s, at, now.Add(time.Hour), id)
	changes(instances.Change{Previous: "stopped", Current: "pending"}, got, err)
	if v := get(t, s, id); v.Desired.Boots != 3 || v.Desired.Reason != "" || !v.Spec.LaunchedAt.Equal(now.Add(time.Hour)) || !public() {
		t.Errorf("started: %+v, public address %v", v, public())
	}
	if _, err := instances.Terminate(ctx, s, at, now, instances.Why{}, id); code(err) != "OperationNotPermitted" {
		t.Errorf("terminate in spite of protection: %v", err)
	}
	got, err = instances.Terminate(ctx, s, at, now, instances.FromWithin, id)
	changes(instances.Change{Previous: "pending", Current: "shutting-down"}, got, err)
	if _, err := instances.Start(ctx, s, at, now, id); code(err) != "IncorrectInstanceState" {
		t.Errorf("start while terminating: %v", err)
	}
	reach(t, s, id, model.InstanceTerminated)
	got, err = instances.Terminate(ctx, s, at, now, instances.Why{}, id)
	changes(instances.Change{Previous: "terminated", Current: "terminated"}, got, err)
	for range 2 {
		if err := instances.Release(ctx, s, at, get(t, s, id)); err != nil {
			t.Error(err)
		}
	}
	for what, table := range map[string]func() int{
		"interfaces":       func() int { rows, _ := tables.NetworkInterfaces.List(ctx, s, store.Query{}); return len(rows) },
		"public addresses": func() int { rows, _ := tables.PublicAddressClaims.List(ctx, s, store.Query{}); return len(rows) },
		"addresses":        func() int { rows, _ := tables.PrivateAddressClaims.List(ctx, s, store.Query{}); return len(rows) },
	} {
		if n := table(); n != 0 {
			t.Errorf("%d %s are left", n, what)
		}
	}
}

func TestAGivenInterface(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	e, err := eni.Create(t.Context(), s, now, eni.Spec{Account: at.Account, Region: region, SubnetID: "subnet-1"})
	if err != nil {
		t.Fatal(err)
	}
	data := model.LaunchData{ImageID: ami, InstanceType: "t3.micro", NetworkInterfaces: []model.LaunchInterface{
		{DeviceIndex: new(int32(1))}, {DeviceIndex: new(int32(0)), NetworkInterfaceID: e.V.ID},
	}}
	made, err := launch(t, s, data, 1, 1)
	if err != nil || len(made[0].Spec.InterfaceIDs) != 2 || made[0].Spec.InterfaceIDs[0] != e.V.ID || made[0].Spec.PrivateIP != e.V.PrivateIP {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := launch(t, s, data, 1, 1); code(err) != "InvalidNetworkInterface.InUse" {
		t.Errorf("an interface in use: %v", err)
	}
	if _, err := launch(t, s, data, 1, 2); code(err) != "InvalidParameterCombination" {
		t.Errorf("one interface for two: %v", err)
	}
	if err := instances.Release(t.Context(), s, at, made[0]); err != nil {
		t.Fatal(err)
	}
	rows, err := tables.NetworkInterfaces.List(t.Context(), s, store.Query{})
	if err != nil || len(rows) != 1 || rows[0].V.ID != e.V.ID || rows[0].V.Attachment != nil || rows[0].V.Status != "available" {
		t.Errorf("left: %+v, %v", rows, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	bare, other := memory.New(), ""
	for _, m := range machineimage.All(region) {
		if m.Architecture == machineimage.ARM64 {
			other = m.ID
		}
	}
	tests := map[string]struct {
		change func(*model.LaunchData)
		want   string
	}{
		"no image":        {func(d *model.LaunchData) { d.ImageID = "" }, "MissingParameter"},
		"a bad image":     {func(d *model.LaunchData) { d.ImageID = "x" }, "InvalidAMIID.Malformed"},
		"another image":   {func(d *model.LaunchData) { d.ImageID = "ami-1" }, "InvalidAMIID.NotFound"},
		"a parameter":     {func(d *model.LaunchData) { d.ImageID = "resolve:ssm:/aws/none" }, "InvalidParameterValue"},
		"a type":          {func(d *model.LaunchData) { d.InstanceType = "t3.huge" }, "InvalidParameterValue"},
		"no type":         {func(d *model.LaunchData) { d.InstanceType = "" }, "InvalidParameterValue"}, // m1.small is not served
		"an architecture": {func(d *model.LaunchData) { d.ImageID = other }, "InvalidParameterValue"},
		"a key":           {func(d *model.LaunchData) { d.KeyName = "k" }, "InvalidKeyPair.NotFound"},
		"a profile":       {func(d *model.LaunchData) { d.IAMInstanceProfile = &model.LaunchProfile{Name: "p"} }, "InvalidParameterValue"},
		"a subnet":        {func(d *model.LaunchData) { d.SubnetID = "subnet-2" }, "InvalidSubnetID.NotFound"},
		"a zone":          {func(d *model.LaunchData) { d.Placement = &model.LaunchPlacement{AvailabilityZone: "x"} }, "InvalidParameterValue"},
		"an empty zone":   {func(d *model.LaunchData) { d.Placement = &model.LaunchPlacement{AvailabilityZone: region + "b"} }, "MissingInput"},
		"a zone of others": {func(d *model.LaunchData) {
			d.SubnetID, d.Placement = "subnet-1", &model.LaunchPlacement{AvailabilityZone: region + "b"}
		}, "InvalidParameterValue"},
		"a tenancy": {func(d *model.LaunchData) { d.Placement = &model.LaunchPlacement{Tenancy: "dedicated"} }, "UnsupportedOperation"},
		"a group":   {func(d *model.LaunchData) { d.SecurityGroups = []string{"x"} }, "InvalidGroup.NotFound"},
		"user data": {func(d *model.LaunchData) { d.UserData = "?" }, "InvalidParameterValue"},
		"hibernation": {func(d *model.LaunchData) {
			d.HibernationOptions = &model.LaunchHibernationOptions{Configured: new(true)}
		}, "UnsupportedOperation"},
		"credits": {func(d *model.LaunchData) { d.InstanceType, d.CreditSpecification = "m5.large", &model.LaunchCredits{} }, "InvalidParameterCombination"},
		"EBS":     {func(d *model.LaunchData) { d.InstanceType, d.EBSOptimized = "t2.micro", new(true) }, "InvalidParameterCombination"},
		"a hop limit": {func(d *model.LaunchData) {
			d.MetadataOptions = &model.LaunchMetadataOptions{HTTPPutResponseHopLimit: new(int32(65))}
		}, "InvalidParameterValue"},
		"a volume": {func(d *model.LaunchData) { d.BlockDeviceMappings = []model.LaunchBlockDevice{{DeviceName: "/dev/sdb"}} }, "UnsupportedOperation"},
		"a small disk": {func(d *model.LaunchData) {
			d.BlockDeviceMappings = []model.LaunchBlockDevice{{DeviceName: "/dev/xvda", EBS: &model.LaunchEBS{VolumeSize: new(int32(1))}}}
		}, "InvalidBlockDeviceMapping"},
		"a tag": {func(d *model.LaunchData) {
			d.TagSpecifications = []model.LaunchTags{{ResourceType: "instance", Tags: []model.LaunchTag{{Key: "aws:x"}}}}
		}, "InvalidParameterValue"},
		"two interfaces of one index": {func(d *model.LaunchData) {
			d.NetworkInterfaces = []model.LaunchInterface{{DeviceIndex: new(int32(0))}, {DeviceIndex: new(int32(0))}}
		}, "InvalidParameterCombination"},
		"too many interfaces": {func(d *model.LaunchData) {
			d.NetworkInterfaces = make([]model.LaunchInterface, 3)
			for i := range 3 {
				d.NetworkInterfaces[i].DeviceIndex = new(int32(i))
			}
		}, "AttachmentLimitExceeded"},
		"a subnet twice": {func(d *model.LaunchData) {
			d.SubnetID, d.NetworkInterfaces = "subnet-1", make([]model.LaunchInterface, 1)
		}, "InvalidParameterCombination"},
		"a Spot price": {func(d *model.LaunchData) {
			d.InstanceMarketOptions = &model.LaunchMarketOptions{MarketType: "spot", SpotOptions: &model.LaunchSpot{MaxPrice: "NaN"}}
		}, "InvalidParameterValue"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := model.LaunchData{ImageID: ami, InstanceType: "t3.micro"}
			tt.change(&data)
			if _, err := instances.Resolve(t.Context(), s, at, data); code(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := instances.Resolve(t.Context(), bare, at, model.LaunchData{ImageID: ami, InstanceType: "t3.micro"}); code(err) != "VPCIdNotSpecified" {
		t.Errorf("without a default VPC: %v", err)
	}
}

func TestImageByParameter(t *testing.T) {
	s := place(t, "10.0.0.0/24")
	const name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	spec, err := instances.Resolve(t.Context(), s, at, model.LaunchData{ImageID: "resolve:ssm:" + name, InstanceType: "t3.micro"})
	m, ok := machineimage.Find(region, spec.Template.ImageID)
	if err != nil || !ok || m.ECS == nil || spec.Template.Metadata != (model.InstanceMetadataOptions{Endpoint: "enabled", Tokens: "required", Tags: "disabled", HopLimit: 2}) {
		t.Errorf("%+v, %v", spec.Template, err)
	}
}

func TestMerge(t *testing.T) {
	tag := func(k, v string) model.LaunchTag { return model.LaunchTag{Key: k, Value: v} }
	template := model.LaunchData{
		ImageID: "ami-1", InstanceType: "t3.micro", SecurityGroupIDs: []string{"sg-1"}, EBSOptimized: new(true),
		MetadataOptions:   &model.LaunchMetadataOptions{HTTPTokens: "required", InstanceMetadataTags: "enabled"},
		TagSpecifications: []model.LaunchTags{{ResourceType: "instance", Tags: []model.LaunchTag{tag("a", "1"), tag("b", "1")}}},
	}
	got, err := instances.Merge(template, model.LaunchData{
		InstanceType: "m5.large", SecurityGroups: []string{"x"}, EBSOptimized: new(false), MetadataOptions: &model.LaunchMetadataOptions{HTTPTokens: "optional"},
		TagSpecifications: []model.LaunchTags{{ResourceType: "instance", Tags: []model.LaunchTag{tag("b", "")}}, {ResourceType: "volume", Tags: []model.LaunchTag{tag("c", "2")}}},
	})
	want := model.LaunchData{
		ImageID: "ami-1", InstanceType: "m5.large", SecurityGroups: []string{"x"}, EBSOptimized: new(false), MetadataOptions: &model.LaunchMetadataOptions{HTTPTokens: "optional"},
		TagSpecifications: []model.LaunchTags{
			{ResourceType: "instance", Tags: []model.LaunchTag{tag("a", "1"), tag("b", "")}}, {ResourceType: "volume", Tags: []model.LaunchTag{tag("c", "2")}},
		},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

// What nobody acts on is refused by name.
func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"ImageId":"ami-1","CpuOptions":{"CoreCount":2}}`:                              "UnsupportedOperation: The requested operation is not supported: CpuOptions",
		`{"NetworkInterfaces":[{"Ipv6AddressCount":1}]}`:                                "UnsupportedOperation: The requested operation is not supported: Ipv6AddressCount",
		`{"HibernationOptions":{"Configured":false},"ImageId":"ami-1"}`:                 "",
		`{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"Encrypted":true}}]}`: "UnsupportedOperation: The requested operation is not supported: encrypted volumes",
	} {
		_, err := instances.Decode([]byte(text))
		if err == nil != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	b, err := instances.Encode(map[string]any{"ImageId": "ami-1", "KeyName": "", "EbsOptimized": false, "Placement": map[string]any{"Tenancy": ""}, "TagSpecifications": []any{map[string]any{"Tags": []any{map[string]any{"Key": "a", "Value": ""}}}}})
	if err != nil || string(b) != `{"EbsOptimized":false,"ImageId":"ami-1","TagSpecifications":[{"Tags":[{"Key":"a","Value":""}]}]}` {
		t.Errorf("%s, %v", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"ImageId":"ami-1","NetworkInterfaces":[{"DeviceIndex":0,"SubnetId":"subnet-1"}],"UserData":"aGk="}`))
	f.Add([]byte(`{"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"a","Value":""}]}]}`))
	f.Add([]byte(`{"MetadataOptions":{"HttpPutResponseHopLimit":64}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := instances.Decode(b)
		if err != nil {
			return
		}
		again, err := instances.Encode(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := instances.Decode(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
