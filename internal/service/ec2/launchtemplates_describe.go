package ec2

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/instances"
)

// DescribeLaunchTemplates lists templates.
func (s *Service) DescribeLaunchTemplates(ctx context.Context, in *ec2.DescribeLaunchTemplatesInput) (*ec2.DescribeLaunchTemplatesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, tid := range in.LaunchTemplateIds {
		row, err := s.template(ctx, call, &tid, nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, row.V.ID)
	}
	for _, name := range in.LaunchTemplateNames {
		row, err := s.template(ctx, call, nil, &name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, row.V.ID)
	}
	found, next, err := launchTemplates.describe(ctx, s, call, query{"DescribeLaunchTemplates", ids, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeLaunchTemplatesOutput{LaunchTemplates: []ec2.LaunchTemplate{}, NextToken: next}
	for _, v := range found {
		out.LaunchTemplates = append(out.LaunchTemplates, *templateOut(v))
	}
	return out, nil
}

// shownVersion is a version with its template.
type shownVersion struct {
	v    model.LaunchTemplateVersion
	t    model.LaunchTemplate
	data model.LaunchData
}

func (s *Service) versionOut(ctx context.Context, call *api.Call, t *model.LaunchTemplate, v *model.LaunchTemplateVersion, resolve bool) (*ec2.LaunchTemplateVersion, error) {
	data := &ec2.ResponseLaunchTemplateData{}
	if err := json.Unmarshal(v.Data, data); err != nil {
		return nil, fmt.Errorf("launch template %s: %w", t.ID, err)
	}
	if resolve && data.ImageId != nil {
		image, err := instances.ImageID(ctx, s.store, placeOf(call), *data.ImageId)
		if err != nil {
			return nil, answer(err)
		}
		data.ImageId = &image
	}
	out := &ec2.LaunchTemplateVersion{
		LaunchTemplateId: new(t.ID), LaunchTemplateName: new(t.Name), VersionNumber: new(v.Version), DefaultVersion: new(v.Version == t.DefaultVersion),
		CreateTime: new(v.CreatedAt), CreatedBy: new(v.CreatedBy), LaunchTemplateData: data,
	}
	if v.Description != "" {
		out.VersionDescription = new(v.Description)
	}
	return out, nil
}

func (i *shownVersion) field(name string) ([]string, bool) {
	m := i.data.MetadataOptions
	if m == nil {
		m = &model.LaunchMetadataOptions{}
	}
	switch name {
	case "create-time":
		return one(i.v.CreatedAt.UTC().Format(imageTime))
	case "ebs-optimized":
		if i.data.EBSOptimized == nil {
			return nil, true
		}
		return oneBool(*i.data.EBSOptimized)
	case "http-endpoint":
		return some(m.HTTPEndpoint)
	case "http-tokens":
		return some(m.HTTPTokens)
	case "iam-instance-profile":
		if p := i.data.IAMInstanceProfile; p != nil {
			return []string{p.ARN + p.Name}, true
		}
		return nil, true
	case "image-id":
		return some(i.data.ImageID)
	case "instance-type":
		return some(i.data.InstanceType)
	case "is-default-version":
		return oneBool(i.v.Version == i.t.DefaultVersion)
	case "http-protocol-ipv4", "host-resource-group-arn", "kernel-id", "license-configuration-arn", "network-card-index", "ram-disk-id":
		return nil, true
	}
	return nil, false
}

// wantedVersions are the versions that a request names, of the templates that
// it means.
func (s *Service) wantedVersions(ctx context.Context, call *api.Call, in *ec2.DescribeLaunchTemplateVersionsInput) ([]*shownVersion, error) {
	var of []*model.LaunchTemplate
	whole := in.LaunchTemplateId == nil && in.LaunchTemplateName == nil
	if whole {
		if len(in.Versions) == 0 || slices.ContainsFunc(in.Versions, func(v string) bool { return v != instances.Latest && v != instances.Default }) {
			return nil, api.NewFault("MissingParameter", "Either the launch template ID or the launch template name must be specified, unless the versions are $Latest or $Default.")
		}
		all, err := launchTemplates.all(ctx, s, call)
		if err != nil {
			return nil, err
		}
		of = all
	} else {
		row, err := s.template(ctx, call, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return nil, err
		}
		of = append(of, row.V)
	}
	least, most, err := versionRange(in)
	if err != nil {
		return nil, err
	}
	var out []*shownVersion
	add := func(t *model.LaunchTemplate, v *model.LaunchTemplateVersion) error {
		if v.Version < least || most > 0 && v.Version > most || slices.ContainsFunc(out, func(o *shownVersion) bool { return o.t.ID == t.ID && o.v.Version == v.Version }) {
			return nil
		}
		data, err := instances.Decode(v.Data)
		out = append(out, &shownVersion{*v, *t, data})
		return answer(err)
	}
	for _, t := range of {
		for _, version := range in.Versions {
			row, err := s.version(ctx, call, t, version)
			if err != nil {
				return nil, err
			}
			if err := add(t, row.V); err != nil {
				return nil, err
			}
		}
		if len(in.Versions) > 0 {
			continue
		}
		rows, err := s.versionsOf(ctx, call, t.ID)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if err := add(t, row.V); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func versionRange(in *ec2.DescribeLaunchTemplateVersionsInput) (least, most int64, err error) {
	for _, b := range []struct {
		text *string
		n    *int64
	}{{in.MinVersion, &least}, {in.MaxVersion, &most}} {
		if b.text == nil {
			continue
		}
		if len(in.Versions) > 0 {
			return 0, 0, api.NewFault("InvalidParameterCombination", "The parameters Versions and MinVersion or MaxVersion cannot be used together.")
		}
		if *b.n, err = strconv.ParseInt(*b.text, 10, 64); err != nil || *b.n < 1 {
			return 0, 0, invalidValue("Invalid launch template version: %s", *b.text)
		}
	}
	return least, most, nil
}

// DescribeLaunchTemplateVersions lists versions, the newest first.
func (s *Service) DescribeLaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.wantedVersions(ctx, call, in)
	if err != nil {
		return nil, err
	}
	const past = 1e10 // beyond all version numbers
	op := fmt.Sprintf("DescribeLaunchTemplateVersions/%q/%q/%q/%q/%q", deref(in.LaunchTemplateId), deref(in.LaunchTemplateName), in.Versions, deref(in.MinVersion), deref(in.MaxVersion))
	found, next, err := selectPage(call, all, query{op: op, filters: in.Filters, max: in.MaxResults, token: in.NextToken},
		func(i *shownVersion) string { return fmt.Sprintf("%s/%010d", i.t.ID, past-i.v.Version) },
		func(*shownVersion) model.Tags { return nil }, (*shownVersion).field)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{LaunchTemplateVersions: []ec2.LaunchTemplateVersion{}, NextToken: next}
	for _, i := range found {
		v, err := s.versionOut(ctx, call, &i.t, &i.v, deref(in.ResolveAlias))
		if err != nil {
			return nil, err
		}
		out.LaunchTemplateVersions = append(out.LaunchTemplateVersions, *v)
	}
	return out, nil
}

// GetLaunchTemplateData is what a template would hold that launches an
// instance like one that is there.
func (s *Service) GetLaunchTemplateData(ctx context.Context, in *ec2.GetLaunchTemplateDataInput) (*ec2.GetLaunchTemplateDataOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	row, err := s.living(ctx, call, deref(in.InstanceId))
	if err != nil {
		return nil, err
	}
	shown, err := s.show(ctx, call, []*model.Instance{row.V})
	if err != nil {
		return nil, err
	}
	v, spec := shown[0].out(), &row.V.Spec
	root := &spec.RootVolume
	data := &ec2.ResponseLaunchTemplateData{
		ImageId: v.ImageId, InstanceType: v.InstanceType, KeyName: v.KeyName, EbsOptimized: v.EbsOptimized,
		DisableApiTermination: new(spec.DisableAPITermination), DisableApiStop: new(spec.DisableAPIStop),
		InstanceInitiatedShutdownBehavior: ec2.ShutdownBehavior(spec.ShutdownBehavior), Monitoring: &ec2.LaunchTemplatesMonitoring{Enabled: new(spec.Monitoring)},
		Placement: &ec2.LaunchTemplatePlacement{AvailabilityZone: new(spec.Zone), Tenancy: "default"},
		MetadataOptions: &ec2.LaunchTemplateInstanceMetadataOptions{
			HttpEndpoint: ec2.LaunchTemplateInstanceMetadataEndpointState(spec.Metadata.Endpoint), HttpTokens: ec2.LaunchTemplateHttpTokensState(spec.Metadata.Tokens),
			HttpPutResponseHopLimit: new(int32(spec.Metadata.HopLimit)), InstanceMetadataTags: ec2.LaunchTemplateInstanceMetadataTagsState(spec.Metadata.Tags),
		},
		BlockDeviceMappings: []ec2.LaunchTemplateBlockDeviceMapping{{DeviceName: new(rootDevice), Ebs: &ec2.LaunchTemplateEbsBlockDevice{
			DeleteOnTermination: new(true), Encrypted: new(false), SnapshotId: new(root.SnapshotID), VolumeSize: new(root.Size), VolumeType: ec2.VolumeType(root.Type),
		}}},
	}
	if e := data.BlockDeviceMappings[0].Ebs; root.Type != "gp2" && root.IOPS > 0 {
		e.Iops = new(root.IOPS)
		if root.Throughput > 0 {
			e.Throughput = new(root.Throughput)
		}
	}
	if spec.ProfileARN != "" {
		data.IamInstanceProfile = &ec2.LaunchTemplateIamInstanceProfileSpecification{Arn: new(spec.ProfileARN)}
	}
	if len(spec.UserData) > 0 {
		data.UserData = new(base64.StdEncoding.EncodeToString(spec.UserData))
	}
	if spec.Lifecycle == "spot" {
		data.InstanceMarketOptions = &ec2.LaunchTemplateInstanceMarketOptions{MarketType: "spot"}
	}
	for _, nic := range shown[0].nics {
		data.NetworkInterfaces = append(data.NetworkInterfaces, ec2.LaunchTemplateInstanceNetworkInterfaceSpecification{
			DeviceIndex: new(nic.Attachment.DeviceIndex), DeleteOnTermination: new(nic.Attachment.DeleteOnTermination), SubnetId: new(nic.SubnetID),
			Groups: nic.GroupIDs, Description: new(nic.Description), InterfaceType: new(nic.InterfaceType),
		})
	}
	if len(row.V.Tags) > 0 {
		spec := ec2.LaunchTemplateTagSpecification{ResourceType: typeInstance}
		for _, t := range tagsOut(row.V.Tags) {
			if len(*t.Key) < 4 || (*t.Key)[:4] != "aws:" {
				spec.Tags = append(spec.Tags, t)
			}
		}
		if len(spec.Tags) > 0 {
			data.TagSpecifications = append(data.TagSpecifications, spec)
		}
	}
	return &ec2.GetLaunchTemplateDataOutput{LaunchTemplateData: data}, nil
}
