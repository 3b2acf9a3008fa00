package ec2

import (
	"context"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
)

func values[T ~string](list []string) []T {
	out := make([]T, len(list))
	for i, v := range list {
		out[i] = T(v)
	}
	return out
}

func instanceTypeOut(t *instancetype.Type) *ec2.InstanceTypeInfo {
	nitro := t.Hypervisor == "nitro"
	out := &ec2.InstanceTypeInfo{
		InstanceType: ec2.InstanceType(t.Name), CurrentGeneration: new(t.CurrentGeneration), FreeTierEligible: new(t.FreeTier),
		BareMetal: new(false), BurstablePerformanceSupported: new(t.Burstable), InstanceStorageSupported: new(false),
		Hypervisor: ec2.InstanceTypeHypervisor(t.Hypervisor), MemoryInfo: &ec2.MemoryInfo{SizeInMiB: new(t.MemoryMiB)},
		VCpuInfo: &ec2.VCpuInfo{DefaultVCpus: new(t.VCPUs), DefaultCores: new(t.Cores), DefaultThreadsPerCore: new(t.ThreadsPerCore)},
		ProcessorInfo: &ec2.ProcessorInfo{
			Manufacturer: new(t.Manufacturer), SustainedClockSpeedInGhz: new(t.SustainedGHz), SupportedArchitectures: values[ec2.ArchitectureType](t.Architectures),
		},
		EbsInfo: &ec2.EbsInfo{EncryptionSupport: "supported", EbsOptimizedSupport: "unsupported", NvmeSupport: "unsupported"},
		NetworkInfo: &ec2.NetworkInfo{
			MaximumNetworkInterfaces: new(t.MaxInterfaces), Ipv4AddressesPerInterface: new(t.IPv4PerDevice), Ipv6AddressesPerInterface: new(t.IPv4PerDevice),
			Ipv6Supported: new(true), MaximumNetworkCards: new(int32(1)), DefaultNetworkCardIndex: new(int32(0)), NetworkPerformance: new(t.Network),
			EnaSupport: "unsupported",
			NetworkCards: []ec2.NetworkCardInfo{{
				NetworkCardIndex: new(int32(0)), MaximumNetworkInterfaces: new(t.MaxInterfaces), NetworkPerformance: new(t.Network),
				BaselineBandwidthInGbps: new(t.NetworkGbps), PeakBandwidthInGbps: new(t.NetworkMaxGbps),
			}},
		},
		PlacementGroupInfo: &ec2.PlacementGroupInfo{SupportedStrategies: values[ec2.PlacementGroupStrategy](t.Placement)},
		SupportedBootModes: values[ec2.BootModeType](t.BootModes), SupportedRootDeviceTypes: []ec2.RootDeviceType{"ebs"},
		SupportedUsageClasses: []ec2.UsageClassType{"on-demand", "spot"}, SupportedVirtualizationTypes: []ec2.VirtualizationType{"hvm"},
	}
	if nitro {
		out.NetworkInfo.EnaSupport, out.EbsInfo.NvmeSupport = "required", "required"
	}
	if e := t.EBS; e != nil {
		out.EbsInfo.EbsOptimizedSupport = "default"
		out.EbsInfo.EbsOptimizedInfo = &ec2.EbsOptimizedInfo{
			BaselineBandwidthInMbps: new(e.BaseMbps), BaselineIops: new(e.BaseIOPS), BaselineThroughputInMBps: new(float64(e.BaseMbps) / 8),
			MaximumBandwidthInMbps: new(e.MaxMbps), MaximumIops: new(e.MaxIOPS), MaximumThroughputInMBps: new(float64(e.MaxMbps) / 8),
		}
	}
	return out
}

func instanceTypeField(t *instancetype.Type, name string) ([]string, bool) {
	number := func(n int64) ([]string, bool) { return one(strconv.FormatInt(n, 10)) }
	nitro := t.Hypervisor == "nitro"
	either := func(yes bool, a, b string) ([]string, bool) {
		if yes {
			return one(a)
		}
		return one(b)
	}
	ebs := t.EBS
	if ebs == nil {
		ebs = &instancetype.EBS{}
	}
	switch name {
	case "instance-type":
		return one(t.Name)
	case "current-generation":
		return oneBool(t.CurrentGeneration)
	case "free-tier-eligible":
		return oneBool(t.FreeTier)
	case "burstable-performance-supported":
		return oneBool(t.Burstable)
	case "bare-metal", "instance-storage-supported":
		return oneBool(false)
	case "hypervisor":
		return one(t.Hypervisor)
	case "memory-info.size-in-mib":
		return number(t.MemoryMiB)
	case "vcpu-info.default-vcpus":
		return number(int64(t.VCPUs))
	case "vcpu-info.default-cores":
		return number(int64(t.Cores))
	case "vcpu-info.default-threads-per-core":
		return number(int64(t.ThreadsPerCore))
	case "processor-info.supported-architecture":
		return t.Architectures, true
	case "processor-info.manufacturer":
		return one(t.Manufacturer)
	case "processor-info.sustained-clock-speed-in-ghz":
		return one(strconv.FormatFloat(t.SustainedGHz, 'f', -1, 64))
	case "network-info.maximum-network-interfaces":
		return number(int64(t.MaxInterfaces))
	case "network-info.ipv4-addresses-per-interface", "network-info.ipv6-addresses-per-interface":
		return number(int64(t.IPv4PerDevice))
	case "network-info.ipv6-supported":
		return oneBool(true)
	case "network-info.maximum-network-cards":
		return number(1)
	case "network-info.network-performance":
		return one(t.Network)
	case "network-info.ena-support", "ebs-info.nvme-support":
		return either(nitro, "required", "unsupported")
	case "ebs-info.ebs-optimized-support":
		return either(t.EBS != nil, "default", "unsupported")
	case "ebs-info.encryption-support":
		return one("supported")
	case "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps":
		return number(int64(ebs.BaseMbps))
	case "ebs-info.ebs-optimized-info.baseline-iops":
		return number(int64(ebs.BaseIOPS))
	case "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps":
		return number(int64(ebs.MaxMbps))
	case "ebs-info.ebs-optimized-info.maximum-iops":
		return number(int64(ebs.MaxIOPS))
	case "placement-group-info.supported-strategies":
		return t.Placement, true
	case "supported-boot-mode":
		return t.BootModes, true
	case "supported-root-device-type":
		return one("ebs")
	case "supported-usage-class":
		return []string{"on-demand", "spot"}, true
	case "supported-virtualization-type":
		return one("hvm")
	}
	return nil, false
}

// DescribeInstanceTypes tells what types of instances are like.
func (s *Service) DescribeInstanceTypes(ctx context.Context, in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	var found []*instancetype.Type
	for _, t := range instancetype.All() {
		if len(in.InstanceTypes) == 0 || slices.Contains(in.InstanceTypes, ec2.InstanceType(t.Name)) {
			found = append(found, &t)
		}
	}
	ids := make([]string, len(in.InstanceTypes))
	for i, name := range in.InstanceTypes {
		ids[i] = string(name)
		if _, ok := instancetype.Find(ids[i]); !ok {
			return nil, api.NewFault("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
	}
	page, next, err := selectPage(call, found, query{"DescribeInstanceTypes", ids, in.Filters, in.MaxResults, in.NextToken},
		func(t *instancetype.Type) string { return t.Name },
		func(*instancetype.Type) model.Tags { return nil }, instanceTypeField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceTypesOutput{NextToken: next}
	for _, t := range page {
		out.InstanceTypes = append(out.InstanceTypes, *instanceTypeOut(t))
	}
	return out, nil
}

// DescribeInstanceTypeOfferings tells where types of instances are to be had:
// everywhere.
func (s *Service) DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	kind := in.LocationType
	if kind == "" {
		kind = ec2.LocationTypeRegion
	}
	var locations []string
	for _, z := range model.AvailabilityZones(call.Region) {
		switch kind {
		case ec2.LocationTypeAvailabilityZone:
			locations = append(locations, z.Name)
		case ec2.LocationTypeAvailabilityZoneId:
			locations = append(locations, z.ID)
		case ec2.LocationTypeRegion, ec2.LocationTypeOutpost:
		}
	}
	if kind == ec2.LocationTypeRegion {
		locations = []string{call.Region}
	}
	var found []*ec2.InstanceTypeOffering
	for _, t := range instancetype.All() {
		for _, l := range locations {
			found = append(found, &ec2.InstanceTypeOffering{InstanceType: ec2.InstanceType(t.Name), Location: new(l), LocationType: kind})
		}
	}
	page, next, err := selectPage(call, found, query{op: "DescribeInstanceTypeOfferings " + string(kind), filters: in.Filters, max: in.MaxResults, token: in.NextToken},
		func(o *ec2.InstanceTypeOffering) string { return string(o.InstanceType) + "/" + deref(o.Location) },
		func(*ec2.InstanceTypeOffering) model.Tags { return nil },
		func(o *ec2.InstanceTypeOffering, name string) ([]string, bool) {
			switch name {
			case "instance-type":
				return one(string(o.InstanceType))
			case "location":
				return one(deref(o.Location))
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceTypeOfferingsOutput{NextToken: next}
	for _, o := range page {
		out.InstanceTypeOfferings = append(out.InstanceTypeOfferings, *o)
	}
	return out, nil
}
