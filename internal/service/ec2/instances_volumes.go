package ec2

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/store/tables"
)

// withVolume are the instances that have their root volume still, or the one
// whose root volume has an id.
func (s *Service) withVolume(ctx context.Context, call *api.Call, volumeID string) ([]*model.Instance, error) {
	all, err := instanceKind.all(ctx, s, call)
	return slices.DeleteFunc(all, func(v *model.Instance) bool {
		return v.State() == model.InstanceTerminated || volumeID != "" && v.Spec.RootVolume.ID != volumeID
	}), err
}

// volumeTags reaches the tags of root volumes, which are stored with their
// instances.
var volumeTags = taggable{
	noun: nounVolume, name: typeVolume,
	list: func(ctx context.Context, s *Service, call *api.Call) (map[string]model.Tags, error) {
		all, err := s.withVolume(ctx, call, "")
		out := map[string]model.Tags{}
		for _, v := range all {
			out[v.Spec.RootVolume.ID] = v.Spec.RootVolume.Tags
		}
		return out, err
	},
	find: func(ctx context.Context, s *Service, call *api.Call, id string) error {
		found, err := s.withVolume(ctx, call, id)
		if err == nil && len(found) == 0 {
			err = nounVolume.missing(id)
		}
		return err
	},
	change: func(ctx context.Context, s *Service, call *api.Call, id string, f func(model.Tags) error) error {
		found, err := s.withVolume(ctx, call, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return nounVolume.missing(id)
		}
		_, err = tables.Instances.Update(ctx, s.store, call.Account, call.Region, found[0].ID, func(v *model.Instance) error {
			if v.Spec.RootVolume.Tags == nil {
				v.Spec.RootVolume.Tags = model.Tags{}
			}
			return f(v.Spec.RootVolume.Tags)
		})
		return nounVolume.orMissing(err, id)
	},
}

// instanceTags keeps AWS's own tags of instances out of users' hands.
func instanceTags() taggable {
	t := taggableOf(instanceKind, typeInstance, func(v *model.Instance) *model.Tags { return &v.Tags })
	change := t.change
	t.change = func(ctx context.Context, s *Service, call *api.Call, id string, f func(model.Tags) error) error {
		return change(ctx, s, call, id, func(tags model.Tags) error {
			own := model.Tags{}
			for k, v := range tags {
				if strings.HasPrefix(k, "aws:") {
					own[k] = v
					delete(tags, k)
				}
			}
			err := f(tags)
			maps.Copy(tags, own)
			return err
		})
	}
	return t
}

func volumeField(v *model.Instance, name string) ([]string, bool) {
	r := &v.Spec.RootVolume
	switch name {
	case "attachment.attach-time", "create-time":
		return one(v.Spec.LaunchedAt.UTC().Format(imageTime))
	case "attachment.delete-on-termination":
		return oneBool(true)
	case "attachment.device":
		return one(rootDevice)
	case "attachment.instance-id":
		return one(v.ID)
	case "attachment.status":
		return one("attached")
	case "availability-zone":
		return one(v.Spec.Zone)
	case "availability-zone-id":
		return one(zoneID(v.Spec.Zone))
	case "encrypted", "multi-attach-enabled", "fast-restored", "operator.managed":
		return oneBool(false)
	case "size":
		return one(strconv.Itoa(int(r.Size)))
	case "snapshot-id":
		return one(r.SnapshotID)
	case "status":
		return one("in-use")
	case "volume-id":
		return one(r.ID)
	case "volume-type":
		return one(r.Type)
	case "operator.principal":
		return nil, true
	}
	return nil, false
}

// DescribeVolumes lists the instances' root volumes: there are no others.
func (s *Service) DescribeVolumes(ctx context.Context, in *ec2.DescribeVolumesInput) (*ec2.DescribeVolumesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.withVolume(ctx, call, "")
	if err != nil {
		return nil, err
	}
	if len(in.VolumeIds) > 0 {
		for _, id := range in.VolumeIds {
			if !slices.ContainsFunc(all, func(v *model.Instance) bool { return v.Spec.RootVolume.ID == id }) {
				return nil, nounVolume.missing(id)
			}
		}
		all = slices.DeleteFunc(all, func(v *model.Instance) bool { return !slices.Contains(in.VolumeIds, v.Spec.RootVolume.ID) })
	}
	found, next, err := selectPage(call, all, query{"DescribeVolumes", in.VolumeIds, in.Filters, in.MaxResults, in.NextToken},
		func(v *model.Instance) string { return v.Spec.RootVolume.ID },
		func(v *model.Instance) model.Tags { return v.Spec.RootVolume.Tags }, volumeField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVolumesOutput{Volumes: []ec2.Volume{}, NextToken: next}
	for _, v := range found {
		r := &v.Spec.RootVolume
		volume := ec2.Volume{
			VolumeId: new(r.ID), Size: new(r.Size), SnapshotId: new(r.SnapshotID), VolumeType: ec2.VolumeType(r.Type), State: "in-use",
			AvailabilityZone: new(v.Spec.Zone), AvailabilityZoneId: new(zoneID(v.Spec.Zone)), CreateTime: new(v.Spec.LaunchedAt),
			Encrypted: new(false), MultiAttachEnabled: new(false), Tags: tagsOut(r.Tags),
			Attachments: []ec2.VolumeAttachment{{
				AttachTime: new(v.Spec.LaunchedAt), DeleteOnTermination: new(true), Device: new(rootDevice), InstanceId: new(v.ID), State: "attached", VolumeId: new(r.ID),
			}},
		}
		if r.IOPS > 0 {
			volume.Iops = new(r.IOPS)
		}
		if r.Throughput > 0 {
			volume.Throughput = new(r.Throughput)
		}
		out.Volumes = append(out.Volumes, volume)
	}
	return out, nil
}

// DescribeInstanceCreditSpecifications tells how burstable instances burst:
// nothing ever throttles them.
func (s *Service) DescribeInstanceCreditSpecifications(ctx context.Context, in *ec2.DescribeInstanceCreditSpecificationsInput) (*ec2.DescribeInstanceCreditSpecificationsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range in.InstanceIds {
		row, err := s.instance(ctx, call, id)
		if err != nil {
			return nil, err
		}
		if t, _ := instancetype.Find(row.V.Spec.Type); !t.Burstable {
			return nil, api.NewFault("InvalidInstanceID.NotFound", "The instance ID '%s' does not have CPU credits", id)
		}
	}
	burstable := func(v *model.Instance) bool {
		t, _ := instancetype.Find(v.Spec.Type)
		return t.Burstable && v.State() != model.InstanceTerminated
	}
	found, next, err := s.selectInstances(ctx, call, query{"DescribeInstanceCreditSpecifications", in.InstanceIds, in.Filters, in.MaxResults, in.NextToken}, burstable,
		func(i *shownInstance, name string) ([]string, bool) {
			if name == "instance-id" {
				return one(i.v.ID)
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceCreditSpecificationsOutput{InstanceCreditSpecifications: []ec2.InstanceCreditSpecification{}, NextToken: next}
	for _, i := range found {
		out.InstanceCreditSpecifications = append(out.InstanceCreditSpecifications, ec2.InstanceCreditSpecification{InstanceId: new(i.v.ID), CpuCredits: new("unlimited")})
	}
	return out, nil
}
