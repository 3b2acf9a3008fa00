package elbv2

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// CreateTargetGroup writes a target group.
func (s *Service) CreateTargetGroup(ctx context.Context, in *elbv2.CreateTargetGroupInput) (*elbv2.CreateTargetGroupOutput, error) {
	c := api.CallFrom(ctx)
	g, err := wantedTargetGroup(ctx, in)
	if err != nil {
		return nil, err
	}
	var users []string
	err = s.commit(ctx, func(tx *store.Txn) error {
		vpc, err := tables.VPCs.Get(ctx, s.Store, c.Account, c.Region, g.VpcID)
		if errors.Is(err, store.ErrNotFound) || err == nil && vpc.V.Deleting {
			return invalid("The VPC ID '%s' is not found", g.VpcID)
		}
		if err != nil {
			return err
		}
		tables.VPCs.Check(tx, vpc)
		old, err := s.groupNamed(ctx, g.Name)
		switch {
		case err == nil:
			if !sameGroup(old.V, g) {
				return elbv2.NewDuplicateTargetGroupNameException("A target group with the same name '%s' exists, but with different settings", g.Name)
			}
			g = old.V
			users, err = s.loadBalancersOf(ctx, g.ARN)
			return err
		case !isNotFound(err):
			return err
		}
		all, err := s.targetGroups(ctx)
		if err != nil {
			return err
		}
		if len(all) >= maxTargetGroups {
			return elbv2.NewTooManyTargetGroupsException("The maximum number of target groups has been reached")
		}
		tables.ELBNames.Create(tx, c.Account, c.Region, "tg/"+g.Name, &model.ELBName{ID: g.ID})
		tables.TargetGroups.Create(tx, c.Account, c.Region, g.ID, g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.CreateTargetGroupOutput{TargetGroups: []elbv2.TargetGroup{renderTargetGroup(g, users)}}, nil
}

// groupNamed finds the target group that holds a name; store.ErrNotFound when
// there is none.
func (s *Service) groupNamed(ctx context.Context, name string) (store.Row[model.TargetGroup], error) {
	c := api.CallFrom(ctx)
	n, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, "tg/"+name)
	if err != nil {
		return store.Row[model.TargetGroup]{}, err
	}
	return tables.TargetGroups.Get(ctx, s.Store, c.Account, c.Region, n.V.ID)
}

func sameGroup(a, b *model.TargetGroup) bool {
	return a.Protocol == b.Protocol && a.ProtocolVersion == b.ProtocolVersion && a.Port == b.Port &&
		a.VpcID == b.VpcID && a.TargetType == b.TargetType && a.HealthCheck == b.HealthCheck
}

func wantedTargetGroup(ctx context.Context, in *elbv2.CreateTargetGroupInput) (*model.TargetGroup, error) {
	c := api.CallFrom(ctx)
	name := value(in.Name)
	if err := validName("Target group", name); err != nil {
		return nil, err
	}
	kind := in.TargetType
	if kind == "" {
		kind = elbv2.TargetTypeEnumInstance
	}
	switch {
	case kind == elbv2.TargetTypeEnumLambda:
		return nil, unsupported("Target groups with target type '%s' are not supported: use 'instance', 'ip' or 'alb'", kind)
	case in.Protocol == "":
		return nil, invalid("A protocol must be specified")
	case in.Protocol != elbv2.ProtocolEnumHttp && in.Protocol != elbv2.ProtocolEnumHttps && !isLayer4(string(in.Protocol)):
		return nil, elbv2.NewUnsupportedProtocolException("Target groups with protocol '%s' are not supported", in.Protocol)
	case kind == elbv2.TargetTypeEnumAlb && in.Protocol != elbv2.ProtocolEnumTcp:
		return nil, invalid("Protocol '%s' is not supported for target groups with target type 'alb'", in.Protocol)
	case in.Port == nil:
		return nil, invalid("A port must be specified")
	case in.VpcId == nil:
		return nil, invalid("A VPC ID must be specified")
	// An empty version counts as none, which is what Terraform sends.
	case value(in.ProtocolVersion) != "" && isLayer4(string(in.Protocol)):
		return nil, invalid("Protocol version cannot be specified for target groups with protocol '%s'", in.Protocol)
	case !knownVersion(value(in.ProtocolVersion)):
		return nil, invalid("Protocol version '%s' must be one of '[HTTP1, HTTP2, GRPC]'", *in.ProtocolVersion)
	case in.IpAddressType != "" && in.IpAddressType != elbv2.TargetGroupIpAddressTypeEnumIpv4:
		return nil, unsupported("IP address type '%s' is not supported", in.IpAddressType)
	case in.TargetControlPort != nil:
		return nil, unsupported("Target control ports are not supported")
	}
	tags, err := tagsOf(ctx, "CreateTargetGroup", madeUnder(c, "targetgroup/"+name), in.Tags)
	if err != nil {
		return nil, err
	}
	g := &model.TargetGroup{
		ID: newID(), Name: name, Protocol: string(in.Protocol), Port: *in.Port,
		VpcID: *in.VpcId, TargetType: string(kind), IPAddressType: string(elbv2.TargetGroupIpAddressTypeEnumIpv4),
		Tags: tags, CreatedAt: c.Time,
		HealthCheck: model.HealthCheck{
			Enabled: true, Protocol: "HTTP", Port: "traffic-port", Path: "/", IntervalSeconds: 30, TimeoutSeconds: 5,
			HealthyThreshold: 5, UnhealthyThreshold: 2, HTTPCode: "200",
		},
	}
	setVersion(g, value(in.ProtocolVersion))
	if isLayer4(g.Protocol) {
		g.ProtocolVersion, g.HealthCheck = "", networkHealthCheck(checkOf(kind, in.HealthCheckProtocol))
	}
	g.ARN = model.MakeARN("elasticloadbalancing", c.Region, c.Account, "targetgroup/"+g.Name+"/"+g.ID)
	err = setHealthCheck(g, &elbv2.ModifyTargetGroupInput{
		HealthCheckEnabled: in.HealthCheckEnabled, HealthCheckIntervalSeconds: in.HealthCheckIntervalSeconds,
		HealthCheckPath: in.HealthCheckPath, HealthCheckPort: in.HealthCheckPort,
		HealthCheckProtocol: in.HealthCheckProtocol, HealthCheckTimeoutSeconds: in.HealthCheckTimeoutSeconds,
		HealthyThresholdCount: in.HealthyThresholdCount, Matcher: in.Matcher,
		UnhealthyThresholdCount: in.UnhealthyThresholdCount,
	})
	return g, err
}

// setHealthCheck changes what is given.
func setHealthCheck(g *model.TargetGroup, in *elbv2.ModifyTargetGroupInput) error {
	hc := &g.HealthCheck
	if isLayer4(g.Protocol) {
		if err := checkNetworkHealth(g, in); err != nil {
			return err
		}
	}
	if in.HealthCheckEnabled != nil && !*in.HealthCheckEnabled {
		return invalid("Health check enabled must be true for target groups with target type '%s'", g.TargetType)
	}
	for _, n := range []struct {
		from *int32
		to   *int32
	}{
		{in.HealthCheckIntervalSeconds, &hc.IntervalSeconds},
		{in.HealthCheckTimeoutSeconds, &hc.TimeoutSeconds},
		{in.HealthyThresholdCount, &hc.HealthyThreshold},
		{in.UnhealthyThresholdCount, &hc.UnhealthyThreshold},
	} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	if hc.TimeoutSeconds > hc.IntervalSeconds || hc.TimeoutSeconds == hc.IntervalSeconds && !isLayer4(g.Protocol) {
		return invalid("Health check interval must be greater than the timeout.")
	}
	switch in.HealthCheckProtocol {
	case "":
	case elbv2.ProtocolEnumTcp:
		if !isLayer4(g.Protocol) {
			return invalid("Health check protocol '%s' must be one of '[HTTPS, HTTP]'", in.HealthCheckProtocol)
		}
	case elbv2.ProtocolEnumHttp, elbv2.ProtocolEnumHttps:
		hc.Protocol = string(in.HealthCheckProtocol)
	default:
		return invalid("Health check protocol '%s' must be one of '[HTTPS, HTTP]'", in.HealthCheckProtocol)
	}
	if p := in.HealthCheckPort; p != nil {
		if n, err := strconv.Atoi(*p); *p != "traffic-port" && (err != nil || n < 1 || n > 65535) {
			return invalid("Health check port '%s' must be 'traffic-port' or a number from 1 to 65535", *p)
		}
		hc.Port = *p
	}
	if p := in.HealthCheckPath; p != nil {
		if !strings.HasPrefix(*p, "/") || strings.IndexFunc(*p, func(r rune) bool { return r <= ' ' || r == 0x7f }) >= 0 {
			return invalid("Health check path '%s' must begin with a '/' character, and can only contain printable ASCII characters, without spaces", *p)
		}
		hc.Path = *p
	}
	return setMatcher(g, in.Matcher)
}

// loadBalancersOf names the load balancers that use a target group.
func (s *Service) loadBalancersOf(ctx context.Context, arn string) ([]string, error) {
	users, err := s.usersOf(ctx, arn)
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, u := range users {
		a, err := model.ParseARN(u.V.ListenerARN)
		if err != nil {
			return nil, err
		}
		p := strings.Split(a.Resource, "/")
		if len(p) < 4 {
			continue
		}
		a.Resource = "loadbalancer/" + strings.Join(p[1:4], "/")
		arns = append(arns, a.String())
	}
	slices.Sort(arns)
	return slices.Compact(arns), nil
}

func renderTargetGroup(g *model.TargetGroup, lbs []string) elbv2.TargetGroup {
	hc := g.HealthCheck
	if lbs == nil {
		lbs = []string{}
	}
	out := elbv2.TargetGroup{
		TargetGroupArn: new(g.ARN), TargetGroupName: new(g.Name), Protocol: elbv2.ProtocolEnum(g.Protocol),
		ProtocolVersion: text(g.ProtocolVersion), Port: new(g.Port), VpcId: new(g.VpcID),
		TargetType: elbv2.TargetTypeEnum(g.TargetType), IpAddressType: elbv2.TargetGroupIpAddressTypeEnum(g.IPAddressType),
		HealthCheckEnabled: new(hc.Enabled), HealthCheckProtocol: elbv2.ProtocolEnum(hc.Protocol),
		HealthCheckPort: new(hc.Port), HealthCheckPath: new(hc.Path),
		HealthCheckIntervalSeconds: new(hc.IntervalSeconds), HealthCheckTimeoutSeconds: new(hc.TimeoutSeconds),
		HealthyThresholdCount: new(hc.HealthyThreshold), UnhealthyThresholdCount: new(hc.UnhealthyThreshold),
		Matcher: &elbv2.Matcher{HttpCode: text(hc.HTTPCode), GrpcCode: text(hc.GRPCCode)}, LoadBalancerArns: lbs,
	}
	if hc.Protocol == "TCP" {
		out.HealthCheckPath, out.Matcher = nil, nil
	}
	return out
}

// DescribeTargetGroups lists target groups.
func (s *Service) DescribeTargetGroups(ctx context.Context, in *elbv2.DescribeTargetGroupsInput) (*elbv2.DescribeTargetGroupsOutput, error) {
	given := 0
	for _, is := range []bool{in.LoadBalancerArn != nil, len(in.Names) > 0, len(in.TargetGroupArns) > 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		return nil, invalid("You can specify only one of target group names, target group ARNs and a load balancer ARN")
	}
	var rows []store.Row[model.TargetGroup]
	out := &elbv2.DescribeTargetGroupsOutput{TargetGroups: []elbv2.TargetGroup{}}
	var err error
	switch {
	case in.LoadBalancerArn != nil:
		if rows, err = s.groupsOf(ctx, *in.LoadBalancerArn); err != nil {
			return nil, err
		}
	case len(in.Names) > 0:
		for _, name := range in.Names {
			row, err := s.groupNamed(ctx, name)
			if isNotFound(err) {
				return nil, elbv2.NewTargetGroupNotFoundException("One or more target groups not found")
			}
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	case len(in.TargetGroupArns) > 0:
		for _, arn := range in.TargetGroupArns {
			row, err := s.targetGroup(ctx, arn)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	default:
		if rows, err = s.targetGroups(ctx); err != nil {
			return nil, err
		}
	}
	if len(in.Names) == 0 && len(in.TargetGroupArns) == 0 {
		rows, out.NextMarker, err = page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeTargetGroups", value(in.LoadBalancerArn)}}, rows, byID[model.TargetGroup])
		if err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		lbs, err := s.loadBalancersOf(ctx, r.V.ARN)
		if err != nil {
			return nil, err
		}
		out.TargetGroups = append(out.TargetGroups, renderTargetGroup(r.V, lbs))
	}
	return out, nil
}

// groupsOf lists the target groups that a load balancer uses, ordered by id.
func (s *Service) groupsOf(ctx context.Context, arn string) ([]store.Row[model.TargetGroup], error) {
	lb, err := s.loadBalancer(ctx, arn)
	if err != nil {
		return nil, err
	}
	rules, err := tables.Rules.List(ctx, s.Store, children(ctx, lb.Key.ID))
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, r := range rules {
		arns = append(arns, balance.ForwardsTo(r.V.Actions)...)
	}
	slices.SortFunc(arns, func(a, b string) int { return strings.Compare(model.TargetGroupID(a), model.TargetGroupID(b)) })
	var rows []store.Row[model.TargetGroup]
	for _, a := range slices.Compact(arns) {
		row, err := s.targetGroup(ctx, a)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// changeTargetGroup lets change alter a target group.
func (s *Service) changeTargetGroup(ctx context.Context, arn string, change func(*model.TargetGroup) error) (*model.TargetGroup, error) {
	var v *model.TargetGroup
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.targetGroup(ctx, arn)
		if err != nil {
			return err
		}
		v = row.Copy()
		if err := change(v); err != nil {
			return err
		}
		tables.TargetGroups.Replace(tx, row, v)
		return nil
	})
	return v, err
}

// ModifyTargetGroup changes a target group's health check.
func (s *Service) ModifyTargetGroup(ctx context.Context, in *elbv2.ModifyTargetGroupInput) (*elbv2.ModifyTargetGroupOutput, error) {
	v, err := s.changeTargetGroup(ctx, value(in.TargetGroupArn), func(g *model.TargetGroup) error {
		return setHealthCheck(g, in)
	})
	if err != nil {
		return nil, err
	}
	lbs, err := s.loadBalancersOf(ctx, v.ARN)
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyTargetGroupOutput{TargetGroups: []elbv2.TargetGroup{renderTargetGroup(v, lbs)}}, nil
}

// DeleteTargetGroup removes a target group that no rule uses, and with it its
// targets. Deleting what is not there is no error.
func (s *Service) DeleteTargetGroup(ctx context.Context, in *elbv2.DeleteTargetGroupInput) (*elbv2.DeleteTargetGroupOutput, error) {
	c := api.CallFrom(ctx)
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.targetGroup(ctx, value(in.TargetGroupArn))
		if api.Code(err) == "TargetGroupNotFound" {
			return nil
		}
		if err != nil {
			return err
		}
		users, err := s.usersOf(ctx, row.V.ARN)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return elbv2.NewResourceInUseException("Target group '%s' is currently in use by a listener or a rule", row.V.ARN)
		}
		name, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, "tg/"+row.V.Name)
		if err != nil {
			return err
		}
		tables.ELBNames.Delete(tx, name)
		tables.TargetGroups.Delete(tx, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.DeleteTargetGroupOutput{}, nil
}
