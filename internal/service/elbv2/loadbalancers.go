package elbv2

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// CreateLoadBalancer writes a load balancer, which the controller provisions.
func (s *Service) CreateLoadBalancer(ctx context.Context, in *elbv2.CreateLoadBalancerInput) (*elbv2.CreateLoadBalancerOutput, error) {
	wanted, err := s.wantedLoadBalancer(ctx, in)
	if err != nil {
		return nil, err
	}
	c := api.CallFrom(ctx)
	var lb *model.LoadBalancer
	err = s.commit(ctx, func(tx *store.Txn) error {
		lb = new(*wanted)
		existing, err := s.sameName(ctx, lb.Name)
		if err != nil {
			return err
		}
		if existing != nil {
			lb.AvailabilityZones = existing.AvailabilityZones // has room where it stands
		}
		if err := s.placeIn(ctx, tx, lb, in.Subnets, in.SubnetMappings); err != nil {
			return err
		}
		if err := s.secure(ctx, tx, lb, in.SecurityGroups); err != nil {
			return err
		}
		if existing != nil {
			if !sameSettings(existing, lb) {
				return elbv2.NewDuplicateLoadBalancerNameException("A load balancer with the same name '%s' exists, but with different settings", lb.Name)
			}
			lb = existing
			return nil
		}
		all, err := s.loadBalancers(ctx)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(r store.Row[model.LoadBalancer]) bool { return r.V.DeletedAt != nil || r.V.Type != lb.Type })
		if len(all) >= maxLoadBalancers {
			return elbv2.NewTooManyLoadBalancersException("The maximum number of load balancers has been reached")
		}
		tables.ELBNames.Create(tx, c.Account, c.Region, "lb/"+lb.Name, &model.ELBName{ID: lb.ID})
		tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", lb.DNSName, &model.LoadBalancerDNSName{Account: c.Account, Region: c.Region, ID: lb.ID})
		tables.LoadBalancers.Create(tx, c.Account, c.Region, lb.ID, lb)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.CreateLoadBalancerOutput{LoadBalancers: []elbv2.LoadBalancer{renderLoadBalancer(c.Region, lb)}}, nil
}

// wantedLoadBalancer checks what needs no records.
func (s *Service) wantedLoadBalancer(ctx context.Context, in *elbv2.CreateLoadBalancerInput) (*model.LoadBalancer, error) {
	c := api.CallFrom(ctx)
	name := value(in.Name)
	if err := validName("Load balancer", name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, "internal-") {
		return nil, invalid("Load balancer name '%s' cannot be prefixed with 'internal-'", name)
	}
	if in.Type == elbv2.LoadBalancerTypeEnumGateway {
		return nil, unsupported("Load balancers of type '%s' are not supported", in.Type)
	}
	if in.IpAddressType != "" && in.IpAddressType != elbv2.IpAddressTypeIpv4 {
		return nil, unsupported("IP address type '%s' is not supported", in.IpAddressType)
	}
	if in.CustomerOwnedIpv4Pool != nil || in.IpamPools != nil || in.EnablePrefixForIpv6SourceNat == "on" {
		return nil, unsupported("Address pools are not supported")
	}
	tags, err := tagsOf(ctx, "CreateLoadBalancer", newLoadBalancer(c, in.Type, name), in.Tags)
	if err != nil {
		return nil, err
	}
	lb := &model.LoadBalancer{
		ID: newID(), Name: name, Type: string(elbv2.LoadBalancerTypeEnumApplication),
		Scheme: string(in.Scheme), IPAddressType: string(elbv2.IpAddressTypeIpv4), Tags: tags, CreatedAt: c.Time,
	}
	if lb.Scheme == "" {
		lb.Scheme = string(elbv2.LoadBalancerSchemeEnumInternetFacing)
	}
	if in.Type != "" {
		lb.Type = string(in.Type)
	}
	lb.ARN = loadBalancerARN(c, lb)
	lb.DNSName = dnsName(lb, c.Region)
	return lb, nil
}

// dnsName is the name under which a load balancer is reached:
// <name>-<number>.<region>.elb.localhost, as AWS's are but for the domain.
func dnsName(lb *model.LoadBalancer, region string) string {
	if lb.Type == model.LoadBalancerNetwork {
		return strings.ToLower(lb.Name) + "-" + lb.ID + "." + region + ".elb.localhost"
	}
	return loadbalancers.DNSName(lb.Name, lb.ID, region, lb.Scheme)
}

// sameName finds the load balancer that holds a name, nil when there is none.
func (s *Service) sameName(ctx context.Context, name string) (*model.LoadBalancer, error) {
	c := api.CallFrom(ctx)
	n, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, "lb/"+name)
	var row store.Row[model.LoadBalancer]
	if err == nil {
		row, err = tables.LoadBalancers.Get(ctx, s.Store, c.Account, c.Region, n.V.ID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // nobody holds it
	}
	return row.V, err
}

// sameSettings tells whether creating b would make what a is.
func sameSettings(a, b *model.LoadBalancer) bool {
	return a.Type == b.Type && a.Scheme == b.Scheme && a.IPAddressType == b.IPAddressType &&
		slices.Equal(a.AvailabilityZones, b.AvailabilityZones) && slices.Equal(a.SecurityGroups, b.SecurityGroups)
}

// placeIn gives lb its subnets, which tx then depends on.
func (s *Service) placeIn(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, subnets []string, mappings []elbv2.SubnetMapping) error {
	c := api.CallFrom(ctx)
	if len(subnets) > 0 && len(mappings) > 0 {
		return invalid("You must specify either subnets or subnet mappings, but not both")
	}
	wishes := map[string]elbv2.SubnetMapping{}
	for _, m := range mappings {
		wishes[value(m.SubnetId)] = m
		if m.IPv6Address != nil || m.SourceNatIpv6Prefix != nil {
			return unsupported("IPv6 addresses of subnet mappings are not supported")
		}
		if lb.Type == model.LoadBalancerApplication && (m.AllocationId != nil || m.PrivateIPv4Address != nil) {
			return unsupported("Addresses of subnet mappings are not supported for load balancers of type 'application'")
		}
		subnets = append(subnets, value(m.SubnetId))
	}
	if len(subnets) == 0 {
		return invalid("You must specify subnets")
	}
	var zones []model.LoadBalancerZone
	seen := map[string]bool{}
	vpc := ""
	for _, sn := range subnets {
		row, err := tables.Subnets.Get(ctx, s.Store, c.Account, c.Region, sn)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
			return elbv2.NewSubnetNotFoundException("The subnet ID '%s' does not exist", sn)
		}
		if err != nil {
			return err
		}
		if vpc != "" && row.V.VPCID != vpc {
			return elbv2.NewInvalidSubnetException("All subnets must belong to the same VPC: '%s'", vpc)
		}
		vpc = row.V.VPCID
		if seen[row.V.Zone] {
			return unsupported("A load balancer cannot be attached to multiple subnets in the same Availability Zone")
		}
		seen[row.V.Zone] = true
		if err := s.checkSpace(ctx, lb, row.V); err != nil {
			return err
		}
		tables.Subnets.Check(tx, row)
		zone := model.LoadBalancerZone{ZoneName: row.V.Zone, SubnetID: sn}
		if err := s.addressIn(ctx, tx, lb, row.V, wishes[sn], &zone); err != nil {
			return err
		}
		zones = append(zones, zone)
	}
	if len(zones) < 2 && lb.Type == model.LoadBalancerApplication {
		return invalid("At least two subnets in two different Availability Zones must be specified")
	}
	if lb.VpcID != "" && lb.VpcID != vpc {
		return elbv2.NewInvalidSubnetException("The subnets must belong to the VPC '%s' of the load balancer", lb.VpcID)
	}
	if err := s.checkGateway(ctx, lb, vpc); err != nil {
		return err
	}
	slices.SortFunc(zones, func(a, b model.LoadBalancerZone) int { return strings.Compare(a.ZoneName, b.ZoneName) })
	lb.VpcID, lb.AvailabilityZones = vpc, zones
	return nil
}

// checkSpace refuses subnets that have no room for a load balancer which does
// not stand there yet.
func (s *Service) checkSpace(ctx context.Context, lb *model.LoadBalancer, sn *model.Subnet) error {
	if slices.ContainsFunc(lb.AvailabilityZones, func(z model.LoadBalancerZone) bool { return z.SubnetID == sn.ID }) {
		return nil
	}
	crowded, err := s.place(ctx).Crowded(ctx, sn)
	if err != nil {
		return err
	}
	if crowded {
		return elbv2.NewInvalidSubnetException("Not enough IP space available in %s. ELB requires at least %d free IP addresses in each subnet.", sn.ID, loadbalancers.MinFree)
	}
	return nil
}

// checkGateway refuses that a load balancer faces an internet that its VPC
// does not lead to.
func (s *Service) checkGateway(ctx context.Context, lb *model.LoadBalancer, vpc string) error {
	if lb.Scheme != string(elbv2.LoadBalancerSchemeEnumInternetFacing) {
		return nil
	}
	if there, err := s.place(ctx).HasGateway(ctx, vpc); err != nil || there {
		return err
	}
	return elbv2.NewInvalidSubnetException("VPC %s has no internet gateway", vpc)
}

// secure gives lb its security groups, which tx then depends on; without any
// it is the VPC's default group.
func (s *Service) secure(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, groups []string) error {
	if len(groups) == 0 && lb.Type == model.LoadBalancerNetwork {
		return nil
	}
	if len(groups) > maxSecurityGroups {
		return invalid("You can specify at most %d security groups for a load balancer", maxSecurityGroups)
	}
	var err error
	lb.SecurityGroups, err = s.place(ctx).Groups(ctx, tx, lb.VpcID, groups)
	if errors.Is(err, loadbalancers.ErrGroup) {
		return elbv2.NewInvalidSecurityGroupException("One or more security groups are invalid")
	}
	return err
}

// DescribeLoadBalancers lists load balancers.
func (s *Service) DescribeLoadBalancers(ctx context.Context, in *elbv2.DescribeLoadBalancersInput) (*elbv2.DescribeLoadBalancersOutput, error) {
	c := api.CallFrom(ctx)
	if len(in.LoadBalancerArns) > 0 && len(in.Names) > 0 {
		return nil, invalid("Load balancer names and load balancer ARNs cannot be specified at the same time")
	}
	if err := checkARNs("loadBalancerArns", in.LoadBalancerArns); err != nil {
		return nil, err
	}
	out := &elbv2.DescribeLoadBalancersOutput{LoadBalancers: []elbv2.LoadBalancer{}}
	for _, arn := range in.LoadBalancerArns {
		row, err := s.loadBalancer(ctx, arn)
		if api.Code(err) == "LoadBalancerNotFound" {
			return nil, elbv2.NewLoadBalancerNotFoundException("One or more load balancers not found")
		}
		if err != nil {
			return nil, err
		}
		out.LoadBalancers = append(out.LoadBalancers, renderLoadBalancer(c.Region, row.V))
	}
	var missing []string
	for _, name := range in.Names {
		lb, err := s.sameName(ctx, name)
		if err != nil {
			return nil, err
		}
		if lb == nil {
			missing = append(missing, name)
			continue
		}
		out.LoadBalancers = append(out.LoadBalancers, renderLoadBalancer(c.Region, lb))
	}
	if len(missing) > 0 {
		return nil, elbv2.NewLoadBalancerNotFoundException("Load balancers '[%s]' not found", strings.Join(missing, ", "))
	}
	if len(in.LoadBalancerArns) > 0 || len(in.Names) > 0 {
		return out, nil
	}
	rows, err := s.loadBalancers(ctx)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.LoadBalancer]) bool { return r.V.DeletedAt != nil })
	rows, out.NextMarker, err = page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeLoadBalancers"}}, rows, byID[model.LoadBalancer])
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		out.LoadBalancers = append(out.LoadBalancers, renderLoadBalancer(c.Region, r.V))
	}
	return out, nil
}

// DeleteLoadBalancer removes a load balancer with its listeners and rules. The
// controller takes it down. Deleting what is not there is no error.
func (s *Service) DeleteLoadBalancer(ctx context.Context, in *elbv2.DeleteLoadBalancerInput) (*elbv2.DeleteLoadBalancerOutput, error) {
	c := api.CallFrom(ctx)
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.loadBalancer(ctx, value(in.LoadBalancerArn))
		if api.Code(err) == "LoadBalancerNotFound" {
			return nil
		}
		if err != nil {
			return err
		}
		if row.V.Attributes[deletionProtection] == "true" {
			return elbv2.NewOperationNotPermittedException("Load balancer '%s' cannot be deleted because deletion protection is enabled", row.V.ARN)
		}
		if err := s.checkNoTarget(ctx, row.V.ARN); err != nil {
			return err
		}
		listeners, err := tables.Listeners.List(ctx, s.Store, children(ctx, row.Key.ID))
		if err != nil {
			return err
		}
		for _, l := range listeners {
			tables.Listeners.Delete(tx, l)
		}
		rules, err := tables.Rules.List(ctx, s.Store, children(ctx, row.Key.ID))
		if err != nil {
			return err
		}
		var used []string
		for _, r := range rules {
			tables.Rules.Delete(tx, r)
			used = append(used, balance.ForwardsTo(r.V.Actions)...)
		}
		if err := s.touch(ctx, tx, used); err != nil {
			return err
		}
		name, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, "lb/"+row.V.Name)
		if err != nil {
			return err
		}
		tables.ELBNames.Delete(tx, name)
		tables.LoadBalancerDNSNames.Erase(tx, model.AmazonAccount, "", row.V.DNSName)
		v := row.Copy()
		v.DeletedAt = new(c.Time)
		tables.LoadBalancers.Replace(tx, row, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.DeleteLoadBalancerOutput{}, nil
}

// changeLoadBalancer lets change alter a load balancer.
func (s *Service) changeLoadBalancer(ctx context.Context, arn string, change func(tx *store.Txn, lb *model.LoadBalancer) error) (*model.LoadBalancer, error) {
	var v *model.LoadBalancer
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.loadBalancer(ctx, arn)
		if err != nil {
			return err
		}
		v = row.Copy()
		if err := change(tx, v); err != nil {
			return err
		}
		tables.LoadBalancers.Replace(tx, row, v)
		return nil
	})
	return v, err
}

// SetSecurityGroups replaces a load balancer's security groups.
func (s *Service) SetSecurityGroups(ctx context.Context, in *elbv2.SetSecurityGroupsInput) (*elbv2.SetSecurityGroupsOutput, error) {
	if len(in.SecurityGroups) == 0 {
		return nil, invalid("At least one security group must be specified")
	}
	lb, err := s.changeLoadBalancer(ctx, value(in.LoadBalancerArn), func(tx *store.Txn, lb *model.LoadBalancer) error {
		enforced := in.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic
		switch {
		case enforced != "" && lb.Type == model.LoadBalancerApplication:
			return unsupported("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic applies to load balancers of type 'network' only")
		case enforced == "off":
			return unsupported("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic cannot be 'off': there is no PrivateLink traffic")
		case lb.Type == model.LoadBalancerNetwork && len(lb.SecurityGroups) == 0:
			return unsupported("You cannot set security groups of a Network Load Balancer that was created without security groups")
		}
		return s.secure(ctx, tx, lb, in.SecurityGroups)
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.SetSecurityGroupsOutput{SecurityGroupIds: lb.SecurityGroups}, nil
}

// SetSubnets replaces a load balancer's subnets.
func (s *Service) SetSubnets(ctx context.Context, in *elbv2.SetSubnetsInput) (*elbv2.SetSubnetsOutput, error) {
	if in.IpAddressType != "" && in.IpAddressType != elbv2.IpAddressTypeIpv4 {
		return nil, unsupported("IP address type '%s' is not supported", in.IpAddressType)
	}
	lb, err := s.changeLoadBalancer(ctx, value(in.LoadBalancerArn), func(tx *store.Txn, lb *model.LoadBalancer) error {
		return s.placeIn(ctx, tx, lb, in.Subnets, in.SubnetMappings)
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.SetSubnetsOutput{AvailabilityZones: renderZones(lb), IpAddressType: elbv2.IpAddressType(lb.IPAddressType)}, nil
}

// SetIpAddressType accepts the type that all load balancers have.
func (s *Service) SetIpAddressType(ctx context.Context, in *elbv2.SetIpAddressTypeInput) (*elbv2.SetIpAddressTypeOutput, error) { //nolint:staticcheck // the model's name
	if _, err := s.loadBalancer(ctx, value(in.LoadBalancerArn)); err != nil {
		return nil, err
	}
	if in.IpAddressType != elbv2.IpAddressTypeIpv4 {
		return nil, unsupported("IP address type '%s' is not supported", in.IpAddressType)
	}
	return &elbv2.SetIpAddressTypeOutput{IpAddressType: in.IpAddressType}, nil
}

func renderZones(lb *model.LoadBalancer) []elbv2.AvailabilityZone {
	zones := []elbv2.AvailabilityZone{}
	for _, z := range lb.AvailabilityZones {
		zones = append(zones, elbv2.AvailabilityZone{
			ZoneName: new(z.ZoneName), SubnetId: new(z.SubnetID), LoadBalancerAddresses: renderAddresses(lb, z),
		})
	}
	return zones
}

func renderLoadBalancer(region string, lb *model.LoadBalancer) elbv2.LoadBalancer {
	state := &elbv2.LoadBalancerState{Code: elbv2.LoadBalancerStateEnum(lb.Status.State), Reason: text(lb.Status.Reason)}
	if state.Code == "" {
		state.Code = elbv2.LoadBalancerStateEnumProvisioning
	}
	out := elbv2.LoadBalancer{
		LoadBalancerArn: new(lb.ARN), LoadBalancerName: new(lb.Name), DNSName: new(lb.DNSName),
		CanonicalHostedZoneId: new(loadbalancers.HostedZone(region)), CreatedTime: new(lb.CreatedAt),
		Scheme: elbv2.LoadBalancerSchemeEnum(lb.Scheme), VpcId: new(lb.VpcID), State: state,
		Type: elbv2.LoadBalancerTypeEnum(lb.Type), AvailabilityZones: renderZones(lb),
		SecurityGroups: slices.Clone(lb.SecurityGroups), IpAddressType: elbv2.IpAddressType(lb.IPAddressType),
	}
	if lb.Type == model.LoadBalancerNetwork {
		out.CanonicalHostedZoneId = new(networkZone(region))
		if len(lb.SecurityGroups) > 0 {
			out.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic = new("on")
		}
	}
	return out
}
