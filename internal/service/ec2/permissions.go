package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// legacy puts the parameters of requests from before there were lists of
// permissions into such a list.
func legacy(list []ec2.IpPermission, protocol, cidr *string, from, to *int32) []ec2.IpPermission {
	if protocol == nil && cidr == nil {
		return list
	}
	p := ec2.IpPermission{IpProtocol: protocol, FromPort: from, ToPort: to}
	if cidr != nil {
		p.IpRanges = []ec2.IpRange{{CidrIp: cidr}}
	}
	return append(slices.Clone(list), p)
}

// protocolName is how EC2 writes a protocol: a name where it knows one, else
// the number.
func protocolName(p string) (string, error) {
	switch strings.ToLower(p) {
	case "tcp", "6":
		return "tcp", nil
	case "udp", "17":
		return "udp", nil
	case "icmp", "1":
		return "icmp", nil
	case "icmpv6", "58":
		return "icmpv6", nil
	case "-1", "all":
		return "-1", nil
	}
	if n, err := strconv.Atoi(p); err == nil && n >= 0 && n <= 255 {
		return strconv.Itoa(n), nil
	}
	return "", invalidValue("Invalid value '%s' for IP protocol. Unknown protocol.", p)
}

// ports checks a rule's ports, and sets them to -1 where they mean nothing.
func ports(r *model.SecurityGroupRule, from, to *int32) error {
	r.FromPort, r.ToPort = -1, -1
	switch r.Protocol {
	case "tcp", "udp":
		if from == nil || to == nil {
			return invalidValue("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		f, t := *from, *to
		if f == -1 && t == -1 {
			f, t = 0, 65535
		}
		if f < 0 || t > 65535 || f > t {
			return invalidValue("Invalid %s port range (%d to %d)", strings.ToUpper(r.Protocol), f, t)
		}
		r.FromPort, r.ToPort = f, t
	case "icmp", "icmpv6":
		if from == nil {
			break
		}
		r.FromPort = *from
		if to != nil {
			r.ToPort = *to
		}
		if r.FromPort < -1 || r.FromPort > 255 || r.ToPort < -1 || r.ToPort > 255 || r.FromPort == -1 && r.ToPort != -1 {
			return invalidValue("Invalid value for ICMP type and code (%d, %d)", r.FromPort, r.ToPort)
		}
	}
	return nil
}

func parsePeer(text string, is4 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4() != is4 {
		return p, invalidValue("CIDR block %s is malformed", text)
	}
	return p.Masked(), nil
}

// rulesOf are the rules, without ids, that permissions stand for: one for
// each peer.
func (s *Service) rulesOf(ctx context.Context, call *api.Call, g *model.SecurityGroup, egress bool, list []ec2.IpPermission) ([]model.SecurityGroupRule, error) {
	if len(list) == 0 {
		return nil, required("ipPermissions")
	}
	var rules []model.SecurityGroupRule
	bad := false
	for _, p := range list {
		if p.IpProtocol == nil {
			return nil, required("ipProtocol")
		}
		protocol, err := protocolName(*p.IpProtocol)
		if err != nil {
			return nil, err
		}
		base := model.SecurityGroupRule{Egress: egress, Protocol: protocol}
		if err := ports(&base, p.FromPort, p.ToPort); err != nil {
			return nil, err
		}
		before := len(rules)
		add := func(description *string, set func(*model.SecurityGroupRule)) {
			r := base
			r.Description = deref(description)
			bad = bad || !describes(r.Description)
			set(&r)
			rules = append(rules, r)
		}
		for _, x := range p.IpRanges {
			cidr, err := parsePeer(deref(x.CidrIp), true)
			if err != nil {
				return nil, err
			}
			add(x.Description, func(r *model.SecurityGroupRule) { r.CIDR = cidr })
		}
		for _, x := range p.Ipv6Ranges {
			cidr, err := parsePeer(deref(x.CidrIpv6), false)
			if err != nil {
				return nil, err
			}
			add(x.Description, func(r *model.SecurityGroupRule) { r.CIDR = cidr })
		}
		for _, x := range p.UserIdGroupPairs {
			ref, err := s.groupBy(ctx, call, x.GroupId, x.GroupName)
			if err != nil {
				return nil, err
			}
			if ref.V.VPCID != g.VPCID {
				return nil, api.NewFault("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
			}
			add(x.Description, func(r *model.SecurityGroupRule) { r.GroupID, r.GroupOwner = ref.V.ID, ref.V.Owner })
		}
		for _, x := range p.PrefixListIds {
			list, err := prefixLists.get(ctx, s, call, deref(x.PrefixListId))
			if err != nil {
				return nil, err
			}
			add(x.Description, func(r *model.SecurityGroupRule) { r.PrefixListID = list.V.ID })
		}
		if len(rules) == before {
			return nil, api.NewFault("MissingParameter", "Must specify a source or destination: a CIDR block, a prefix list or a security group")
		}
	}
	if bad {
		return nil, invalidValue("Invalid rule description. %s", validDescriptions)
	}
	return rules, nil
}

// sameTraffic tells whether two rules allow the same.
func sameTraffic(a, b *model.SecurityGroupRule) bool {
	return a.Egress == b.Egress && a.Protocol == b.Protocol && a.FromPort == b.FromPort && a.ToPort == b.ToPort &&
		a.CIDR == b.CIDR && a.GroupID == b.GroupID && a.PrefixListID == b.PrefixListID
}

func duplicate(r *model.SecurityGroupRule) error {
	peer := r.GroupID + r.PrefixListID
	if peer == "" {
		peer = r.CIDR.String()
	}
	what := "ALL"
	if r.Protocol != "-1" {
		what = strings.ToUpper(r.Protocol)
		if r.FromPort >= 0 {
			what += fmt.Sprintf(", from port: %d, to port: %d", r.FromPort, r.ToPort)
		}
	}
	return api.NewFault("InvalidPermission.Duplicate", "the specified rule \"peer: %s, %s, ALLOW\" already exists", peer, what)
}

// permissionsOut groups rules by protocol and ports, as DescribeSecurityGroups
// shows them.
func permissionsOut(rules []model.SecurityGroupRule, egress bool) []ec2.IpPermission {
	type key struct {
		protocol string
		from, to int32
	}
	out := []ec2.IpPermission{}
	at := map[key]int{}
	for _, r := range rules {
		if r.Egress != egress {
			continue
		}
		k := key{r.Protocol, r.FromPort, r.ToPort}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			p := ec2.IpPermission{IpProtocol: new(r.Protocol)}
			if r.Protocol != "-1" {
				p.FromPort, p.ToPort = new(r.FromPort), new(r.ToPort)
			}
			out = append(out, p)
		}
		p := &out[i]
		var description *string
		if r.Description != "" {
			description = new(r.Description)
		}
		switch {
		case r.GroupID != "":
			p.UserIdGroupPairs = append(p.UserIdGroupPairs, ec2.UserIdGroupPair{GroupId: new(r.GroupID), UserId: new(r.GroupOwner), Description: description})
		case r.PrefixListID != "":
			p.PrefixListIds = append(p.PrefixListIds, ec2.PrefixListId{PrefixListId: new(r.PrefixListID), Description: description})
		case r.CIDR.Addr().Is4():
			p.IpRanges = append(p.IpRanges, ec2.IpRange{CidrIp: new(r.CIDR.String()), Description: description})
		default:
			p.Ipv6Ranges = append(p.Ipv6Ranges, ec2.Ipv6Range{CidrIpv6: new(r.CIDR.String()), Description: description})
		}
	}
	return out
}

// checkReferences makes tx depend on the groups and prefix lists that rules
// name, so that they cannot vanish meanwhile.
func (s *Service) checkReferences(ctx context.Context, call *api.Call, tx *store.Txn, self string, rules []model.SecurityGroupRule) error {
	seen := map[string]bool{self: true, "": true}
	for _, r := range rules {
		if !seen[r.PrefixListID] {
			seen[r.PrefixListID] = true
			row, err := prefixLists.get(ctx, s, call, r.PrefixListID)
			if err != nil {
				return err
			}
			tables.PrefixLists.Check(tx, row)
		}
		if seen[r.GroupID] {
			continue
		}
		seen[r.GroupID] = true
		row, err := groups.get(ctx, s, call, r.GroupID)
		if err != nil {
			return err
		}
		tables.SecurityGroups.Check(tx, row)
	}
	return nil
}
