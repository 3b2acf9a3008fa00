package elbv2

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
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

// private are the ranges outside of a VPC in which targets may be.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
}

// RegisterTargets adds targets to a group. One that drains is taken back.
func (s *Service) RegisterTargets(ctx context.Context, in *elbv2.RegisterTargetsInput) (*elbv2.RegisterTargetsOutput, error) {
	c := api.CallFrom(ctx)
	if len(in.Targets) == 0 {
		return nil, invalid("A target must be specified")
	}
	err := s.commit(ctx, func(tx *store.Txn) error {
		g, err := s.targetGroup(ctx, value(in.TargetGroupArn))
		if err != nil {
			return err
		}
		tables.TargetGroups.Check(tx, g)
		wanted, err := s.newTargets(ctx, tx, g.V, in.Targets)
		if err != nil {
			return err
		}
		rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.Key.ID))
		if err != nil {
			return err
		}
		have := make(map[string]store.Row[model.Target], len(rows))
		for _, r := range rows {
			have[r.Key.ID] = r
		}
		seen := map[string]bool{}
		for _, t := range wanted {
			key := model.TargetKey(g.Key.ID, t.ID, t.Port)
			if seen[key] {
				continue
			}
			seen[key] = true
			old, registered := have[key]
			switch {
			case !registered:
				tables.Targets.Create(tx, c.Account, c.Region, key, t)
				have[key] = store.Row[model.Target]{V: t}
			case old.V.DeregisteringAt != nil:
				tables.Targets.Replace(tx, old, t)
			}
		}
		if len(have) > maxTargets {
			return elbv2.NewTooManyTargetsException("The maximum number of targets per target group is %d", maxTargets)
		}
		return s.checkBalancerTargets(ctx, g.V, len(have)-len(rows))
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.RegisterTargetsOutput{}, nil
}

// checkBalancerTargets refuses that the load balancer which uses a group gets
// too many targets.
func (s *Service) checkBalancerTargets(ctx context.Context, g *model.TargetGroup, more int) error {
	if more == 0 {
		return nil
	}
	users, err := s.usersOf(ctx, g.ARN)
	if err != nil || len(users) == 0 {
		return err
	}
	lb, _, _ := strings.Cut(users[0].Key.ID, "/")
	rules, err := tables.Rules.List(ctx, s.Store, children(ctx, lb))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range rules {
		for _, arn := range balance.ForwardsTo(r.V.Actions) {
			if seen[arn] {
				continue
			}
			seen[arn] = true
			rows, err := tables.Targets.List(ctx, s.Store, children(ctx, model.TargetGroupID(arn)))
			if err != nil {
				return err
			}
			more += len(rows)
		}
	}
	if more > maxTargetsPerBalancer {
		return elbv2.NewTooManyTargetsException("The maximum number of targets per load balancer is %d", maxTargetsPerBalancer)
	}
	return nil
}

// newTargets makes the targets that are described, if they can be the group's.
func (s *Service) newTargets(ctx context.Context, tx *store.Txn, g *model.TargetGroup, ds []elbv2.TargetDescription) ([]*model.Target, error) {
	c := api.CallFrom(ctx)
	out := make([]*model.Target, len(ds))
	for i, d := range ds {
		if d.QuicServerId != nil {
			return nil, unsupported("QUIC server IDs are not supported")
		}
		out[i] = &model.Target{
			TargetGroupARN: g.ARN, ID: value(d.Id), Port: g.Port, AvailabilityZone: value(d.AvailabilityZone), RegisteredAt: c.Time,
		}
		if d.Port != nil {
			out[i].Port = *d.Port
		}
	}
	if err := checkTargetZones(c.Region, g, out); err != nil {
		return nil, err
	}
	switch g.TargetType {
	case model.TargetTypeInstance:
		return out, s.checkInstances(ctx, tx, g, out)
	case model.TargetTypeALB:
		return out, s.checkBalancers(ctx, tx, g, out)
	}
	vpc, err := tables.VPCs.Get(ctx, s.Store, c.Account, c.Region, g.VpcID)
	if err != nil {
		return nil, err
	}
	for _, t := range out {
		if err := checkAddress(t, vpc.V); err != nil {
			return nil, err
		}
		if preservesSource(g) && t.AvailabilityZone == allZones && !inVPC(t.ID, vpc.V) {
			return nil, elbv2.NewInvalidTargetException("The following targets are outside the VPC '%s', which is not supported while client IP preservation is enabled: '%s'", vpc.V.ID, t.ID)
		}
	}
	return out, nil
}

// allZones is the Availability Zone of targets that every zone sends to.
const allZones = "all"

// checkTargetZones refuses zones that there are not, and targets of all zones for
// a group whose targets get what comes to their own zone alone.
func checkTargetZones(region string, g *model.TargetGroup, targets []*model.Target) error {
	for _, t := range targets {
		switch zone := t.AvailabilityZone; {
		case zone == "":
		case zone == allZones && g.Attributes[crossZoneEnabled] == "false":
			return unsupported("You cannot register targets with the Availability Zone 'all' in a target group with cross-zone load balancing turned off")
		case zone == allZones:
		case !slices.ContainsFunc(model.AvailabilityZones(region), func(z model.AvailabilityZone) bool { return z.Name == zone }):
			return invalid("The Availability Zone '%s' is not valid", zone)
		}
	}
	return nil
}

// instanceID is what an instance's id looks like.
var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkInstances refuses instances that do not run in the group's VPC.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-register-targets.html
func (s *Service) checkInstances(ctx context.Context, tx *store.Txn, g *model.TargetGroup, targets []*model.Target) error {
	c := api.CallFrom(ctx)
	var missing, elsewhere, idle []string
	seen := map[string]bool{}
	for _, t := range targets {
		switch {
		case !instanceID.MatchString(t.ID):
			return invalid("Instance ID '%s' is not valid", t.ID)
		case t.AvailabilityZone != "":
			return invalid("You cannot specify an Availability Zone for targets of target groups with target type 'instance'")
		case seen[t.ID]:
			continue
		}
		seen[t.ID] = true
		quoted := "'" + t.ID + "'"
		row, err := tables.Instances.Get(ctx, s.Store, c.Account, c.Region, t.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			missing = append(missing, quoted)
		case err != nil:
			return err
		case row.V.Spec.VPCID != g.VpcID:
			elsewhere = append(elsewhere, quoted)
		case row.V.State() != model.InstanceRunning:
			idle = append(idle, quoted)
		default:
			tables.Instances.Check(tx, row)
		}
	}
	switch {
	case len(missing) > 0:
		return elbv2.NewInvalidTargetException("The following instances do not exist: %s", strings.Join(missing, ", "))
	case len(elsewhere) > 0:
		return elbv2.NewInvalidTargetException("The following targets are not in the target group VPC '%s': %s", g.VpcID, strings.Join(elsewhere, ", "))
	case len(idle) > 0:
		return elbv2.NewInvalidTargetException("The following targets are not in a running state and cannot be registered: %s", strings.Join(idle, ", "))
	}
	return nil
}

// checkAddress refuses addresses that cannot be targets of a group in the VPC.
func checkAddress(t *model.Target, vpc *model.VPC) error {
	addr, err := netip.ParseAddr(t.ID)
	if err != nil || !addr.Is4() || addr.String() != t.ID {
		return invalid("The IP address '%s' is not a valid IPv4 address", t.ID)
	}
	for _, block := range vpc.CIDRs {
		if block.CIDR.Contains(addr) {
			return nil
		}
	}
	for _, p := range private {
		if p.Contains(addr) {
			if t.AvailabilityZone != allZones {
				return invalid("You must specify the Availability Zone 'all' for the IP address '%s', which is outside the VPC", t.ID)
			}
			return nil
		}
	}
	return invalid("The IP address '%s' must be from the VPC '%s' or from the ranges 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12 and 192.168.0.0/16", t.ID, vpc.ID)
}

// DeregisterTargets lets targets of a group drain. Those that are not
// registered are left out.
func (s *Service) DeregisterTargets(ctx context.Context, in *elbv2.DeregisterTargetsInput) (*elbv2.DeregisterTargetsOutput, error) {
	c := api.CallFrom(ctx)
	if len(in.Targets) == 0 {
		return nil, invalid("A target must be specified")
	}
	err := s.commit(ctx, func(tx *store.Txn) error {
		g, err := s.targetGroup(ctx, value(in.TargetGroupArn))
		if err != nil {
			return err
		}
		rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.Key.ID))
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.V.DeregisteringAt != nil || !described(r.V, in.Targets) {
				continue
			}
			v := r.Copy()
			v.DeregisteringAt = new(c.Time)
			tables.Targets.Replace(tx, r, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.DeregisterTargetsOutput{}, nil
}

// described tells whether t is one of those; a description without a port
// means all ports.
func described(t *model.Target, ds []elbv2.TargetDescription) bool {
	for _, d := range ds {
		if value(d.Id) == t.ID && (d.Port == nil || *d.Port == t.Port) {
			return true
		}
	}
	return false
}

// DescribeTargetHealth tells the health of a group's targets.
func (s *Service) DescribeTargetHealth(ctx context.Context, in *elbv2.DescribeTargetHealthInput) (*elbv2.DescribeTargetHealthOutput, error) {
	g, err := s.targetGroup(ctx, value(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.Key.ID))
	if err != nil {
		return nil, err
	}
	healthRows, err := tables.TargetsHealth.List(ctx, s.Store, children(ctx, g.Key.ID))
	if err != nil {
		return nil, err
	}
	found := make(map[string]*model.TargetHealth, len(healthRows))
	for _, h := range healthRows {
		found[h.Key.ID] = h.V
	}
	out := &elbv2.DescribeTargetHealthOutput{TargetHealthDescriptions: []elbv2.TargetHealthDescription{}}
	for _, r := range rows {
		if len(in.Targets) > 0 && !described(r.V, in.Targets) {
			continue
		}
		d := describeTarget(g.V, r.V, found[r.Key.ID])
		if len(in.Include) > 0 && !isLayer4(g.V.Protocol) {
			d.AnomalyDetection = renderAnomaly(found[r.Key.ID])
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	for _, d := range in.Targets {
		if !registered(rows, d) {
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, elbv2.TargetHealthDescription{
				Target: &elbv2.TargetDescription{Id: d.Id, Port: d.Port},
				TargetHealth: renderHealth(model.TargetHealth{
					State: model.TargetHealthUnused, Reason: model.ReasonNotRegistered, Description: model.DescriptionNotRegistered,
				}),
			})
		}
	}
	return out, nil
}

func registered(rows []store.Row[model.Target], d elbv2.TargetDescription) bool {
	for _, r := range rows {
		if described(r.V, []elbv2.TargetDescription{d}) {
			return true
		}
	}
	return false
}

func describeTarget(g *model.TargetGroup, t *model.Target, h *model.TargetHealth) elbv2.TargetHealthDescription {
	shown := model.TargetHealth{
		State: model.TargetHealthInitial, Reason: model.ReasonRegistrationInProgress, Description: model.DescriptionRegistration,
	}
	switch {
	case t.DeregisteringAt != nil:
		shown = model.TargetHealth{
			State: model.TargetHealthDraining, Reason: model.ReasonDeregistrationInProgress, Description: model.DescriptionDeregistration,
		}
	case h != nil && h.State != model.TargetHealthDraining:
		shown = *h
	}
	port := g.HealthCheck.Port
	if port == "traffic-port" {
		port = strconv.Itoa(int(t.Port))
	}
	return elbv2.TargetHealthDescription{
		Target:          &elbv2.TargetDescription{Id: new(t.ID), Port: new(t.Port), AvailabilityZone: text(t.AvailabilityZone)},
		HealthCheckPort: new(port), TargetHealth: renderHealth(shown), AdministrativeOverride: noOverride(),
	}
}

// noOverride tells that no zonal shift keeps requests from a target: nobody
// starts any.
func noOverride() *elbv2.AdministrativeOverride {
	return &elbv2.AdministrativeOverride{
		State:  elbv2.TargetAdministrativeOverrideStateEnumNoOverride,
		Reason: elbv2.TargetAdministrativeOverrideReasonEnumAdministrativeOverrideNoOverride, Description: new("No override is currently active on target"),
	}
}

// renderAnomaly tells how the target does in comparison with the others.
func renderAnomaly(h *model.TargetHealth) *elbv2.AnomalyDetection {
	d := &elbv2.AnomalyDetection{Result: elbv2.AnomalyResultEnumNormal, MitigationInEffect: elbv2.MitigationInEffectEnumNo}
	if h != nil && h.Anomalous {
		d.Result = elbv2.AnomalyResultEnumAnomalous
	}
	if h != nil && h.Mitigated {
		d.MitigationInEffect = elbv2.MitigationInEffectEnumYes
	}
	return d
}

func renderHealth(h model.TargetHealth) *elbv2.TargetHealth {
	return &elbv2.TargetHealth{
		State: elbv2.TargetHealthStateEnum(h.State), Reason: elbv2.TargetHealthReasonEnum(h.Reason), Description: text(h.Description),
	}
}
