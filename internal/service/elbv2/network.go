package elbv2

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/address"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// isLayer4 tells whether a protocol is one of network load balancers.
func isLayer4(protocol string) bool {
	return slices.Contains([]string{"TCP", "TLS", "UDP", "TCP_UDP"}, protocol)
}

// addressIn gives a network load balancer's place in a subnet the addresses
// that the mapping asks for. One that it has there already stays.
func (s *Service) addressIn(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, sn *model.Subnet, m elbv2.SubnetMapping, zone *model.LoadBalancerZone) error {
	for _, z := range lb.AvailabilityZones {
		if z.SubnetID != sn.ID {
			continue
		}
		zone.AllocationID, zone.PrivateIPv4Address = z.AllocationID, z.PrivateIPv4Address
		if value(m.AllocationId) != "" && *m.AllocationId != z.AllocationID ||
			value(m.PrivateIPv4Address) != "" && *m.PrivateIPv4Address != z.PrivateIPv4Address {
			return unsupported("The addresses of the load balancer in the subnet '%s' cannot be changed", sn.ID)
		}
		return nil
	}
	internal := lb.Scheme == string(elbv2.LoadBalancerSchemeEnumInternal)
	if a := value(m.AllocationId); a != "" {
		if internal {
			return unsupported("Allocation IDs cannot be specified for internal load balancers")
		}
		if err := s.freeAllocation(ctx, tx, lb, a); err != nil {
			return err
		}
		zone.AllocationID = a
	}
	if a := value(m.PrivateIPv4Address); a != "" {
		if !internal {
			return unsupported("Private IPv4 addresses can be specified for internal load balancers only")
		}
		if err := s.freeAddress(ctx, lb, sn, a); err != nil {
			return err
		}
		zone.PrivateIPv4Address = a
	}
	return nil
}

// taken tells whether another load balancer stands, or is to stand, at a place.
func (s *Service) taken(ctx context.Context, lb *model.LoadBalancer, is func(model.LoadBalancerZone) bool) (bool, error) {
	rows, err := s.loadBalancers(ctx)
	return slices.ContainsFunc(rows, func(r store.Row[model.LoadBalancer]) bool {
		return r.V.ID != lb.ID && r.V.DeletedAt == nil && slices.ContainsFunc(r.V.AvailabilityZones, is)
	}), err
}

// freeAllocation refuses an elastic address that is not there, or in use, and
// makes tx conflict with others that come to use it.
func (s *Service) freeAllocation(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, allocation string) error {
	c := api.CallFrom(ctx)
	row, err := tables.Addresses.Get(ctx, s.Store, c.Account, c.Region, allocation)
	if errors.Is(err, store.ErrNotFound) {
		return elbv2.NewAllocationIdNotFoundException("The allocation IDs '%s' do not exist", allocation)
	}
	if err != nil {
		return err
	}
	taken, err := s.taken(ctx, lb, func(z model.LoadBalancerZone) bool { return z.AllocationID == allocation })
	if err != nil {
		return err
	}
	if taken || row.V.NetworkInterfaceID != "" || tx.Writes(row.Key) {
		return elbv2.NewResourceInUseException("The allocation IDs are already in use: %s", allocation)
	}
	tables.Addresses.Replace(tx, row, row.Copy())
	return nil
}

// freeAddress refuses an address that the subnet cannot give.
func (s *Service) freeAddress(ctx context.Context, lb *model.LoadBalancer, sn *model.Subnet, text string) error {
	c := api.CallFrom(ctx)
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return invalid("The IP address '%s' is not a valid IPv4 address", text)
	}
	if !sn.CIDR.Contains(a) {
		return elbv2.NewInvalidSubnetException("The private IPv4 address '%s' is not in the subnet '%s'", text, sn.ID)
	}
	if address.IsReserved(sn.CIDR, a) {
		return elbv2.NewInvalidSubnetException("The private IPv4 address '%s' is reserved in the subnet '%s'", text, sn.ID)
	}
	taken, err := s.taken(ctx, lb, func(z model.LoadBalancerZone) bool { return z.SubnetID == sn.ID && z.PrivateIPv4Address == text })
	if err != nil {
		return err
	}
	_, err = tables.PrivateAddressClaims.Get(ctx, s.Store, c.Account, c.Region, sn.ID+"/"+text)
	if err == nil || taken {
		return elbv2.NewInvalidSubnetException("The private IPv4 address '%s' is already in use in the subnet '%s'", text, sn.ID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// renderAddresses are the static addresses of a network load balancer in a
// zone: those that its user chose.
func renderAddresses(lb *model.LoadBalancer, z model.LoadBalancerZone) []elbv2.LoadBalancerAddress {
	out := []elbv2.LoadBalancerAddress{}
	if z.PrivateIPv4Address != "" {
		out = append(out, elbv2.LoadBalancerAddress{PrivateIPv4Address: new(z.PrivateIPv4Address)})
	}
	if z.AllocationID != "" {
		a := elbv2.LoadBalancerAddress{AllocationId: new(z.AllocationID)}
		for _, i := range lb.Status.Interfaces {
			if i.SubnetID == z.SubnetID {
				a.IpAddress = text(i.PublicIPv4Address)
			}
		}
		out = append(out, a)
	}
	return out
}

// checkListener refuses a protocol that the load balancer does not have, and
// actions that its listeners cannot have.
func (s *Service) checkListener(ctx context.Context, lb *model.LoadBalancer, protocol string, acts []model.RuleAction) error {
	if lb.Type != model.LoadBalancerNetwork {
		if isLayer4(protocol) {
			return invalid("Protocol '%s' must be one of '[HTTPS, HTTP]'", protocol)
		}
		return s.checkForwards(ctx, protocol, acts)
	}
	if !isLayer4(protocol) {
		return invalid("Protocol '%s' must be one of '[TCP, TLS, UDP, TCP_UDP]'", protocol)
	}
	if len(acts) != 1 || acts[0].Forward == nil {
		return elbv2.NewInvalidLoadBalancerActionException("Listeners with protocol '%s' must have one action of type 'forward'", protocol)
	}
	if acts[0].Forward.Sticky && protocol == "TLS" {
		return elbv2.NewInvalidLoadBalancerActionException("Target group stickiness is not supported for listeners with protocol '%s'", protocol)
	}
	if err := s.checkUsedBalancers(ctx, lb, acts); err != nil {
		return err
	}
	return s.checkFlowGroups(ctx, protocol, acts)
}

// checkFlowGroups refuses groups that a network load balancer's listener with
// the protocol cannot forward to, or not together.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html#default-actions
func (s *Service) checkFlowGroups(ctx context.Context, protocol string, acts []model.RuleAction) error {
	var first *model.TargetGroup
	for _, arn := range balance.ForwardsTo(acts) {
		row, err := s.targetGroup(ctx, arn)
		if err != nil {
			return err
		}
		g := row.V
		if first == nil {
			first = g
		}
		switch sticky := g.Attributes[stickinessEnabled] == "true"; {
		case !forwardable(protocol, g):
			return elbv2.NewIncompatibleProtocolsException("Target group '%s' has protocol '%s', which a listener with protocol '%s' cannot forward to", arn, g.Protocol, protocol)
		case protocol == "TLS" && g.Protocol != first.Protocol:
			return elbv2.NewIncompatibleProtocolsException("All target groups of a listener with protocol 'TLS' must have the same protocol: '%s' has protocol '%s', and '%s' has protocol '%s'", first.ARN, first.Protocol, arn, g.Protocol)
		case sticky && protocol == "TLS":
			return unsupported("Stickiness is not supported for listeners with protocol 'TLS': it is enabled for the target group '%s'", arn)
		case sticky && unbound(acts, arn):
			return unsupported("You must enable group stickiness on a rule if you enabled target stickiness on one of its target groups")
		}
	}
	return nil
}

// checkStickyListeners refuses stickiness of a group that a TLS listener
// forwards to.
func (s *Service) checkStickyListeners(ctx context.Context, g *model.TargetGroup) error {
	if g.Attributes[stickinessEnabled] != "true" {
		return nil
	}
	users, err := s.usersOf(ctx, g.ARN)
	if err != nil {
		return err
	}
	for _, u := range users {
		l, err := s.listener(ctx, u.V.ListenerARN)
		if err != nil {
			return err
		}
		if l.V.Protocol == "TLS" {
			return unsupported("Stickiness is not supported for target groups of listeners with protocol 'TLS': '%s'", l.V.ARN)
		}
	}
	return nil
}

// forwardable tells whether a listener with the protocol can forward to a
// group.
func forwardable(protocol string, g *model.TargetGroup) bool {
	switch protocol {
	case "TCP", "UDP":
		return g.Protocol == protocol || g.Protocol == "TCP_UDP"
	case "TLS":
		return g.Protocol == "TLS" || g.Protocol == "TCP" && g.TargetType != model.TargetTypeALB
	default:
		return g.Protocol == protocol
	}
}

// checkChange is checkListener for one that changes: protocol and actions that
// are not given stay.
func (s *Service) checkChange(ctx context.Context, lb *model.LoadBalancer, l *model.Listener, protocol string, now, then []model.RuleAction) error {
	if protocol == "" {
		protocol = l.Protocol
	}
	if then == nil {
		then = now
	}
	if err := s.checkAllForwards(ctx, l, protocol); err != nil {
		return err
	}
	return s.checkListener(ctx, lb, protocol, then)
}

// networkHealthCheck is the check that a network load balancer's groups have
// where nothing else is said.
func networkHealthCheck(protocol elbv2.ProtocolEnum) model.HealthCheck {
	hc := model.HealthCheck{
		Enabled: true, Protocol: "TCP", Port: "traffic-port", IntervalSeconds: 30, TimeoutSeconds: 10,
		HealthyThreshold: 5, UnhealthyThreshold: 2,
	}
	switch protocol {
	case elbv2.ProtocolEnumHttp:
		hc.Protocol, hc.Path, hc.HTTPCode, hc.TimeoutSeconds = "HTTP", "/", "200-399", 6
	case elbv2.ProtocolEnumHttps:
		hc.Protocol, hc.Path, hc.HTTPCode = "HTTPS", "/", "200-399"
	default:
	}
	return hc
}

// checkNetworkHealth refuses what a check of a network load balancer's group
// cannot have, and prepares hc for the protocol that it gets.
func checkNetworkHealth(g *model.TargetGroup, in *elbv2.ModifyTargetGroupInput) error {
	hc := &g.HealthCheck
	switch in.HealthCheckProtocol {
	case elbv2.ProtocolEnumTcp:
		if g.TargetType == model.TargetTypeALB {
			return invalid("Health check protocol 'TCP' must be one of '[HTTPS, HTTP]'")
		}
	case "", elbv2.ProtocolEnumHttp, elbv2.ProtocolEnumHttps:
	default:
		return invalid("Health check protocol '%s' must be one of '[HTTPS, TCP, HTTP]'", in.HealthCheckProtocol)
	}
	after := hc.Protocol
	if in.HealthCheckProtocol != "" {
		after = string(in.HealthCheckProtocol)
	}
	if after == "TCP" {
		if value(in.HealthCheckPath) != "" {
			return invalid("Health check path cannot be specified for health checks with protocol 'TCP'")
		}
		if in.Matcher != nil && (value(in.Matcher.HttpCode) != "" || value(in.Matcher.GrpcCode) != "") {
			return invalid("Health check matcher cannot be specified for health checks with protocol 'TCP'")
		}
		in.HealthCheckPath, in.Matcher = nil, nil
		hc.Protocol, hc.Path, hc.HTTPCode = after, "", ""
		return nil
	}
	if hc.Path == "" {
		hc.Path, hc.HTTPCode = "/", "200-399"
	}
	return nil
}

// networkZones are the ids of the Route 53 zones that network load balancers'
// names belong to.
var networkZones = map[string]string{
	"us-east-1":      "Z26RNL4JYFTOTI",
	"us-east-2":      "ZLMOA37VPKANP",
	"us-west-1":      "Z24FKFUX50B4VW",
	"us-west-2":      "Z18D5FSROUN65G",
	"ap-northeast-1": "Z31USIVHYNEOWT",
	"ap-northeast-2": "ZIBE1TIR4HY56",
	"ap-south-1":     "ZVDDRBQ08TROA",
	"ap-southeast-1": "ZKVM4W9LS7TM",
	"ap-southeast-2": "ZCT6FZBF4DROD",
	"ca-central-1":   "Z2EPGBW3API2WT",
	"eu-central-1":   "Z3F0SRJ5LGBH90",
	"eu-north-1":     "Z1UDT6IFJ4EJM",
	"eu-west-1":      "Z2IFOLAFXWLO4F",
	"eu-west-2":      "ZD4D7Y8KGAS4G",
	"eu-west-3":      "Z1CMS0P5QUZ6D5",
	"sa-east-1":      "ZTK26PT1VY4CU",
}

func networkZone(region string) string {
	if z, ok := networkZones[region]; ok {
		return z
	}
	return networkZones["us-east-1"]
}
