package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
)

// imageTime is how EC2 writes when an image was made.
const imageTime = "2006-01-02T15:04:05.000Z"

const rootDevice = "/dev/xvda"

func imageOut(m *machineimage.Image) *ec2.Image {
	out := &ec2.Image{
		ImageId: new(m.ID), Name: new(m.Name), Description: new(m.Description), Architecture: ec2.ArchitectureValues(m.Architecture),
		CreationDate: new(m.CreatedAt.UTC().Format(imageTime)), OwnerId: new(m.Owner), ImageOwnerAlias: new(machineimage.OwnerAlias),
		ImageLocation: new(machineimage.OwnerAlias + "/" + m.Name), ImageType: "machine", State: "available", Public: new(true),
		Hypervisor: "xen", VirtualizationType: "hvm", EnaSupport: new(true), SriovNetSupport: new("simple"), BootMode: ec2.BootModeValues(m.BootMode),
		PlatformDetails: new("Linux/UNIX"), UsageOperation: new("RunInstances"), DeregistrationProtection: new("disabled"),
		RootDeviceName: new(rootDevice), RootDeviceType: "ebs",
		BlockDeviceMappings: []ec2.BlockDeviceMapping{{DeviceName: new(rootDevice), Ebs: &ec2.EbsBlockDevice{
			DeleteOnTermination: new(true), Encrypted: new(false), SnapshotId: new(m.SnapshotID), VolumeSize: new(m.VolumeSize), VolumeType: ec2.VolumeType(m.VolumeType),
		}}},
	}
	if m.VolumeType == "gp3" {
		out.BlockDeviceMappings[0].Ebs.Iops, out.BlockDeviceMappings[0].Ebs.Throughput = new(int32(3000)), new(int32(125))
	}
	if m.IMDSv2 {
		out.ImdsSupport = "v2.0"
	}
	return out
}

func imageField(v *ec2.Image, name string) ([]string, bool) {
	var disk ec2.BlockDeviceMapping
	if len(v.BlockDeviceMappings) > 0 {
		disk = v.BlockDeviceMappings[0]
	}
	if disk.Ebs == nil {
		disk.Ebs = &ec2.EbsBlockDevice{}
	}
	switch name {
	case "architecture":
		return one(string(v.Architecture))
	case "block-device-mapping.delete-on-termination":
		return oneBool(deref(disk.Ebs.DeleteOnTermination))
	case "block-device-mapping.device-name":
		return one(deref(disk.DeviceName))
	case "block-device-mapping.snapshot-id":
		return one(deref(disk.Ebs.SnapshotId))
	case "block-device-mapping.volume-size":
		return one(strconv.Itoa(int(deref(disk.Ebs.VolumeSize))))
	case "block-device-mapping.volume-type":
		return one(string(disk.Ebs.VolumeType))
	case "block-device-mapping.encrypted":
		return oneBool(deref(disk.Ebs.Encrypted))
	case "creation-date":
		return one(deref(v.CreationDate))
	case "description":
		return one(deref(v.Description))
	case "ena-support":
		return oneBool(deref(v.EnaSupport))
	case "hypervisor":
		return one(string(v.Hypervisor))
	case "image-id":
		return one(deref(v.ImageId))
	case "image-type":
		return one(string(v.ImageType))
	case "is-public":
		return oneBool(deref(v.Public))
	case "manifest-location":
		return one(deref(v.ImageLocation))
	case "name":
		return one(deref(v.Name))
	case "owner-alias":
		return one(deref(v.ImageOwnerAlias))
	case "owner-id":
		return one(deref(v.OwnerId))
	case "root-device-name":
		return one(deref(v.RootDeviceName))
	case "root-device-type":
		return one(string(v.RootDeviceType))
	case "sriov-net-support":
		return one(deref(v.SriovNetSupport))
	case "state":
		return one(string(v.State))
	case "virtualization-type":
		return one(string(v.VirtualizationType))
	case "free-tier-eligible", "image-allowed", "kernel-id", "platform", "product-code", "product-code.type", "ramdisk-id",
		"source-image-id", "source-image-region", "source-instance-id", "state-reason-code", "state-reason-message":
		return nil, true
	}
	return nil, false
}

// DescribeImages lists the public images; no account has any of its own.
func (s *Service) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput) (*ec2.DescribeImagesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	var found []*ec2.Image
	for _, m := range machineimage.All(call.Region) {
		if (len(in.ImageIds) == 0 || slices.Contains(in.ImageIds, m.ID)) && ownedBy(&m, in.Owners) && executableBy(in.ExecutableUsers) {
			found = append(found, imageOut(&m))
		}
	}
	for _, iid := range in.ImageIds {
		if _, ok := machineimage.Find(call.Region, iid); !ok {
			return nil, noImage(iid)
		}
	}
	page, next, err := selectPage(call, found, query{"DescribeImages", in.ImageIds, in.Filters, in.MaxResults, in.NextToken},
		func(v *ec2.Image) string { return deref(v.ImageId) },
		func(*ec2.Image) model.Tags { return nil }, imageField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeImagesOutput{NextToken: next}
	for _, v := range page {
		out.Images = append(out.Images, *v)
	}
	return out, nil
}

func noImage(iid string) error {
	if !strings.HasPrefix(iid, "ami-") {
		return api.NewFault("InvalidAMIID.Malformed", "Invalid id: %q (expecting \"ami-...\")", iid)
	}
	return api.NewFault("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", iid)
}

// ownedBy tells whether one of owners, ids or aliases, has the image.
func ownedBy(m *machineimage.Image, owners []string) bool {
	return len(owners) == 0 || slices.Contains(owners, m.Owner) || slices.Contains(owners, machineimage.OwnerAlias)
}

// executableBy tells whether a public image is among those that users were
// given leave to launch: by name that is everybody alone.
func executableBy(users []string) bool { return len(users) == 0 || slices.Contains(users, "all") }
