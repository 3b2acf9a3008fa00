package imds

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/instances"
)

// publicKeys is the folder of SSH keys; its only file besides the key is the
// list of the keys' names.
const (
	publicKeys    = "meta-data/public-keys"
	publicKeyName = publicKeys + "/0="
)

// tree is all that an instance finds.
func (s *Service) tree(ctx context.Context, v *view) (tree, error) {
	t := tree{}
	spec := &v.instance.Spec
	for path, text := range map[string]string{
		"ami-id": spec.ImageID, "ami-launch-index": strconv.Itoa(spec.LaunchIndex), "ami-manifest-path": "(unknown)",
		"hostname": spec.PrivateDNSName, "local-hostname": spec.PrivateDNSName, "local-ipv4": spec.PrivateIP.String(),
		"instance-action": "none", "instance-id": v.instance.ID, "instance-life-cycle": lifeCycle(spec.Lifecycle), "instance-type": spec.Type,
		"placement/availability-zone": spec.Zone, "placement/availability-zone-id": zoneID(v.region, spec.Zone), "placement/region": v.region,
		"profile": "default-hvm", "reservation-id": spec.ReservationID, "system": "nitro",
		"services/domain": domain(v.region), "services/partition": model.Partition(v.region),
		"block-device-mapping/ami": "/dev/xvda", "block-device-mapping/root": "/dev/xvda",
	} {
		t.text("meta-data/"+path, text)
	}
	t.network(v)
	t.optional("meta-data/autoscaling/target-lifecycle-state", v.lifecycle)
	if spec.KeyName != "" && v.publicKey != "" {
		t.text(publicKeyName, "0="+spec.KeyName)
		t.text(publicKeys+"/0/openssh-key", v.publicKey+" "+spec.KeyName)
	}
	if spec.Metadata.Tags == "enabled" {
		for key, value := range v.instance.Tags {
			t.text("meta-data/tags/instance/"+key, value)
		}
	}
	t.spot(v)
	t.optional("user-data", string(spec.UserData))
	if v.profile != nil {
		t["meta-data/iam/info"] = func(context.Context) (string, error) { return s.profileInfo(v) }
		if v.role != nil {
			t["meta-data/iam/security-credentials/"+v.role.Name] = func(ctx context.Context) (string, error) { return s.credentials(ctx, v) }
		}
	}
	s.identity(t, v)
	return t, ctx.Err()
}

// network adds the instance's interfaces.
func (t tree) network(v *view) {
	for i, d := range v.interfaces {
		base := "meta-data/network/interfaces/macs/" + d.MAC + "/"
		var public []string
		for _, a := range d.PrivateIPs() {
			if as := d.AssociationOf(a); as != nil {
				public = append(public, as.PublicIP.String())
				t.text(base+"ipv4-associations/"+as.PublicIP.String(), a.String())
			}
		}
		for path, text := range map[string]string{
			"device-number": strconv.Itoa(int(d.Attachment.DeviceIndex)), "interface-id": d.ID, "mac": d.MAC, "owner-id": d.Owner,
			"local-hostname": model.PrivateDNSName(d.PrivateIP, v.region), "local-ipv4s": lines(d.PrivateIPs()),
			"security-group-ids": strings.Join(d.GroupIDs, "\n"), "security-groups": strings.Join(d.groups, "\n"),
			"subnet-id": d.SubnetID, "vpc-id": d.VPCID, "vpc-ipv4-cidr-block": v.vpc.CIDR.String(), "vpc-ipv4-cidr-blocks": blocks(v.vpc),
		} {
			t.text(base+path, text)
		}
		if d.subnet != nil {
			t.text(base+"subnet-ipv4-cidr-block", d.subnet.CIDR.String())
		}
		t.optional(base+"public-ipv4s", strings.Join(public, "\n"))
		if as := d.Association; as != nil {
			t.text(base+"public-hostname", publicHostname(as.PublicIP, v.region))
		}
		if i > 0 {
			continue
		}
		t.text("meta-data/mac", d.MAC)
		t.text("meta-data/security-groups", strings.Join(d.groups, "\n"))
		if as := d.Association; as != nil {
			t.text("meta-data/public-ipv4", as.PublicIP.String())
			t.text("meta-data/public-hostname", publicHostname(as.PublicIP, v.region))
		}
	}
}

// spot adds the notice that a Spot instance was given.
func (t tree) spot(v *view) {
	at := v.instance.Desired.SpotInterruptionAt
	if at.IsZero() {
		return
	}
	t.text("meta-data/spot/instance-action", fmt.Sprintf(`{"action":"terminate","time":"%s"}`, instant(at)))
	t.text("meta-data/spot/termination-time", instant(at))
	t.text("meta-data/events/recommendations/rebalance", fmt.Sprintf(`{"noticeTime":"%s"}`, instant(at.Add(-instances.SpotNotice))))
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func lifeCycle(kind string) string {
	if kind == "" {
		return "on-demand"
	}
	return kind
}

func zoneID(region, zone string) string {
	for _, z := range model.AvailabilityZones(region) {
		if z.Name == zone {
			return z.ID
		}
	}
	return ""
}

func domain(region string) string {
	if model.Partition(region) == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

func publicHostname(a netip.Addr, region string) string {
	where := region + ".compute"
	if region == "us-east-1" {
		where = "compute-1"
	}
	return "ec2-" + strings.ReplaceAll(a.String(), ".", "-") + "." + where + "." + domain(region)
}

func lines(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return strings.Join(out, "\n")
}

func blocks(vpc *model.VPC) string {
	var out []string
	for _, c := range vpc.CIDRs {
		out = append(out, c.CIDR.String())
	}
	if len(out) == 0 {
		return vpc.CIDR.String()
	}
	return strings.Join(out, "\n")
}

// indented is v as the service writes JSON.
func indented(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b), err
}
