package ec2

import (
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
)

// some is a filter's only value, or none where it is empty.
func some(v string) ([]string, bool) {
	if v == "" {
		return nil, true
	}
	return one(v)
}

// field gives an instance's values of DescribeInstances' filters.
func (i *shownInstance) field(name string) ([]string, bool) {
	if of, ok := strings.CutPrefix(name, "network-interface."); ok {
		return i.nicField(of)
	}
	if of, ok := strings.CutPrefix(name, "block-device-mapping."); ok {
		return i.volumeField(of)
	}
	spec := &i.v.Spec
	switch name {
	case "architecture":
		return some(spec.Architecture)
	case "availability-zone":
		return some(spec.Zone)
	case "availability-zone-id":
		return some(zoneID(spec.Zone))
	case "boot-mode":
		return some(i.image.BootMode)
	case "client-token":
		return some(spec.ClientToken)
	case "current-instance-boot-mode":
		return one(string(i.bootMode()))
	case "dns-name", "ip-address":
		a := i.association()
		switch {
		case a == nil:
			return nil, true
		case name == "ip-address":
			return some(deref(a.PublicIp))
		}
		return some(deref(a.PublicDnsName))
	case "ebs-optimized":
		return oneBool(spec.EBSOptimized)
	case "ena-support":
		return oneBool(true)
	case "enclave-options.enabled", "hibernation-options.configured", "operator.managed":
		return oneBool(false)
	case "hypervisor":
		return one("xen")
	case "iam-instance-profile.arn":
		return some(spec.ProfileARN)
	case "iam-instance-profile.id":
		return some(i.profileID)
	case "iam-instance-profile.name":
		return some(spec.ProfileARN[strings.LastIndexByte(spec.ProfileARN, '/')+1:])
	case "image-id":
		return some(spec.ImageID)
	case "instance-id":
		return some(i.v.ID)
	case "instance-lifecycle":
		return some(spec.Lifecycle)
	case "instance-state-code":
		return one(strconv.Itoa(int(model.InstanceStateCode(i.state()))))
	case "instance-state-name":
		return one(i.state())
	case "instance-type":
		return some(spec.Type)
	case "instance.group-id", "group-id", "instance.group-name", "group-name":
		return i.groupField(strings.HasSuffix(name, "id"))
	case "key-name":
		return some(spec.KeyName)
	case "launch-index":
		return one(strconv.Itoa(spec.LaunchIndex))
	case "launch-time":
		return one(spec.LaunchedAt.UTC().Format(imageTime))
	case "maintenance-options.auto-recovery":
		return one("default")
	case "metadata-options.http-endpoint":
		return some(spec.Metadata.Endpoint)
	case "metadata-options.http-protocol-ipv4":
		return some(spec.Metadata.Endpoint)
	case "metadata-options.http-protocol-ipv6":
		return one("disabled")
	case "metadata-options.http-put-response-hop-limit":
		return one(strconv.Itoa(spec.Metadata.HopLimit))
	case "metadata-options.http-tokens":
		return some(spec.Metadata.Tokens)
	case "metadata-options.instance-metadata-tags":
		return some(spec.Metadata.Tags)
	case "monitoring-state":
		return one(string(monitoringOut(spec.Monitoring).State))
	case "owner-id":
		return some(i.v.Owner)
	case "platform-details":
		return one("Linux/UNIX")
	case "private-dns-name":
		return some(spec.PrivateDNSName)
	case "private-dns-name-options.hostname-type":
		return some(spec.HostnameType)
	case "private-dns-name-options.enable-resource-name-dns-a-record", "private-dns-name-options.enable-resource-name-dns-aaaa-record":
		return oneBool(false)
	case "private-ip-address":
		return one(spec.PrivateIP.String())
	case "reason":
		return some(i.v.Desired.Reason)
	case "reservation-id":
		return some(spec.ReservationID)
	case "root-device-name":
		return one(rootDevice)
	case "root-device-type":
		return one("ebs")
	case "source-dest-check":
		return oneBool(spec.SourceDestCheck)
	case "spot-instance-request-id":
		return some(spec.SpotRequestID)
	case "state-reason-code", "state-reason-message":
		r := i.reason()
		switch {
		case r == nil:
			return nil, true
		case name == "state-reason-code":
			return one(deref(r.Code))
		}
		return one(deref(r.Message))
	case "subnet-id":
		return i.placed(spec.SubnetID)
	case "vpc-id":
		return i.placed(spec.VPCID)
	case "tenancy":
		return one("default")
	case "usage-operation":
		return one("RunInstances")
	case "virtualization-type":
		return one("hvm")
	case "affinity", "capacity-reservation-id", "capacity-reservation-specification.capacity-reservation-preference", "host-id", "ipv6-address", "kernel-id",
		"operator.principal", "outpost-arn", "placement-group-name", "placement-partition-number", "platform", "product-code", "product-code.type",
		"ramdisk-id", "requester-id", "tpm-support", "usage-operation-update-time":
		return nil, true
	}
	return nil, false
}

// placed is a value that a terminated instance no longer has.
func (i *shownInstance) placed(v string) ([]string, bool) {
	if i.state() == model.InstanceTerminated {
		return nil, true
	}
	return some(v)
}

func (i *shownInstance) groupField(ids bool) ([]string, bool) {
	var out []string
	if len(i.nics) > 0 {
		for _, id := range i.nics[0].GroupIDs {
			if !ids {
				id = i.names.groups[id]
			}
			out = append(out, id)
		}
	}
	return out, true
}

func (i *shownInstance) nicField(name string) ([]string, bool) {
	// The names differ from those of DescribeNetworkInterfaces here.
	if name == "group-name" {
		var out []string
		for _, nic := range i.nics {
			for _, id := range nic.GroupIDs {
				out = append(out, i.names.groups[id])
			}
		}
		return out, true
	}
	if of, ok := strings.CutPrefix(name, "addresses.association."); ok && of == "ip-owner-id" {
		name = "addresses.association.owner-id"
	}
	if _, ok := interfaceField(&model.NetworkInterface{}, name); !ok {
		return nil, false
	}
	var out []string
	for _, nic := range i.nics {
		values, _ := interfaceField(nic, name)
		out = append(out, values...)
	}
	return out, true
}

func (i *shownInstance) volumeField(name string) ([]string, bool) {
	if i.state() == model.InstanceTerminated {
		return nil, true
	}
	switch name {
	case "attach-time":
		return one(i.v.Spec.LaunchedAt.UTC().Format(imageTime))
	case "delete-on-termination":
		return oneBool(true)
	case "device-name":
		return one(rootDevice)
	case "status":
		return one("attached")
	case "volume-id":
		return some(i.v.Spec.RootVolume.ID)
	}
	return nil, false
}

// statusField gives an instance's values of DescribeInstanceStatus' filters.
func (i *shownInstance) statusField(name string) ([]string, bool) {
	switch name {
	case "availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name", "operator.managed", "operator.principal":
		return i.field(name)
	case "instance-status.status":
		return one(string(i.check(true).Status))
	case "system-status.status":
		return one(string(i.check(false).Status))
	case "attached-ebs-status.status":
		return one(string(i.ebs().Status))
	case "instance-status.reachability", "system-status.reachability":
		if d := i.check(strings.HasPrefix(name, "instance")).Details; len(d) > 0 {
			return one(string(d[0].Status))
		}
		return nil, true
	case "event.code", "event.description", "event.instance-event-id", "event.not-after", "event.not-before", "event.not-before-deadline":
		return nil, true
	}
	return nil, false
}
