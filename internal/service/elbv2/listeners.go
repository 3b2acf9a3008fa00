package elbv2

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// checkProtocol accepts the protocols that listeners can have.
func checkProtocol(p elbv2.ProtocolEnum) error {
	switch p {
	case elbv2.ProtocolEnumHttp, elbv2.ProtocolEnumHttps,
		elbv2.ProtocolEnumTcp, elbv2.ProtocolEnumTls, elbv2.ProtocolEnumUdp, elbv2.ProtocolEnumTcpUdp:
		return nil
	default:
		return invalid("Protocol '%s' must be one of '[HTTPS, HTTP]'", p)
	}
}

// setProtocol gives a listener, which may be new, its protocol and what the
// request says of TLS.
func (s *Service) setProtocol(ctx context.Context, tx *store.Txn, l *model.Listener, p elbv2.ProtocolEnum, r secured) error {
	l.Protocol = string(p)
	if p == elbv2.ProtocolEnumTls {
		return s.setTLS(ctx, tx, l, r)
	}
	l.ALPNPolicy = nil
	if p == elbv2.ProtocolEnumHttps {
		return s.setHTTPS(ctx, tx, l, r)
	}
	l.Certificates, l.SSLPolicy, l.MutualAuthentication = nil, "", nil
	return r.checkInsecure(l.Protocol)
}

// CreateListener adds a listener with its default rule.
func (s *Service) CreateListener(ctx context.Context, in *elbv2.CreateListenerInput) (*elbv2.CreateListenerOutput, error) {
	c := api.CallFrom(ctx)
	if in.Port == nil {
		return nil, invalid("A port must be specified")
	}
	if in.Protocol == "" {
		return nil, invalid("A protocol must be specified")
	}
	if err := checkProtocol(in.Protocol); err != nil {
		return nil, err
	}
	want, err := actions(in.DefaultActions)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(ctx, "CreateListener", under(value(in.LoadBalancerArn), "listener", "*"), in.Tags)
	if err != nil {
		return nil, err
	}
	var l *model.Listener
	var acts []model.RuleAction
	err = s.commit(ctx, func(tx *store.Txn) error {
		lb, err := s.loadBalancer(ctx, value(in.LoadBalancerArn))
		if err != nil {
			return err
		}
		if err := s.checkListener(ctx, lb.V, string(in.Protocol), want.actions); err != nil {
			return err
		}
		others, err := tables.Listeners.List(ctx, s.Store, children(ctx, lb.Key.ID))
		if err != nil {
			return err
		}
		for _, o := range others {
			if o.V.Port != *in.Port {
				continue
			}
			def, err := s.defaultRule(ctx, o.V)
			if err != nil {
				return err
			}
			same, err := want.same(s, def.V.ARN, def.V.Actions)
			if err != nil {
				return err
			}
			if same && o.V.Protocol == string(in.Protocol) && sameTLS(o.V, in) {
				l, acts = o.V, def.V.Actions
				return nil
			}
			return elbv2.NewDuplicateListenerException("A listener already exists on this port for this load balancer '%s'", lb.V.ARN)
		}
		if len(others) >= maxListeners {
			return elbv2.NewTooManyListenersException("The maximum number of listeners per load balancer is %d", maxListeners)
		}
		lid := newID()
		l = &model.Listener{
			ID: lid, ARN: under(lb.V.ARN, "listener", lid), LoadBalancerARN: lb.V.ARN, LoadBalancerID: lb.Key.ID,
			Port: *in.Port, Tags: tags, CreatedAt: c.Time,
		}
		if err := s.setProtocol(ctx, tx, l, in.Protocol, secured{in.Certificates, in.SslPolicy, in.AlpnPolicy, in.MutualAuthentication}); err != nil {
			return err
		}
		rid := newID()
		def := &model.Rule{
			ID: rid, ARN: under(l.ARN, "listener-rule", rid), ListenerARN: l.ARN, Default: true, CreatedAt: c.Time,
		}
		if acts, err = want.seal(s, def.ARN, nil); err != nil {
			return err
		}
		def.Actions = acts
		if err := s.bind(ctx, tx, lb, acts, nil); err != nil {
			return err
		}
		v := lb.Copy()
		v.Generation++
		tables.LoadBalancers.Replace(tx, lb, v)
		tables.Listeners.Create(tx, c.Account, c.Region, lb.Key.ID+"/"+lid, l)
		tables.Rules.Create(tx, c.Account, c.Region, lb.Key.ID+"/"+lid+"/"+rid, def)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.CreateListenerOutput{Listeners: []elbv2.Listener{renderListener(l, acts)}}, nil
}

// defaultRule finds the default rule of a listener.
func (s *Service) defaultRule(ctx context.Context, l *model.Listener) (store.Row[model.Rule], error) {
	rules, err := tables.Rules.List(ctx, s.Store, children(ctx, l.LoadBalancerID+"/"+l.ID))
	if err != nil {
		return store.Row[model.Rule]{}, err
	}
	for _, r := range rules {
		if r.V.Default {
			return r, nil
		}
	}
	// The listener was deleted since it was read.
	return store.Row[model.Rule]{}, elbv2.NewListenerNotFoundException("One or more listeners not found")
}

func renderListener(l *model.Listener, acts []model.RuleAction) elbv2.Listener {
	out := elbv2.Listener{
		ListenerArn: new(l.ARN), LoadBalancerArn: new(l.LoadBalancerARN), Port: new(l.Port),
		Protocol: elbv2.ProtocolEnum(l.Protocol), DefaultActions: renderActions(acts),
	}
	renderSecured(l, &out)
	return out
}

// DescribeListeners lists listeners by their ARNs or by load balancer.
func (s *Service) DescribeListeners(ctx context.Context, in *elbv2.DescribeListenersInput) (*elbv2.DescribeListenersOutput, error) {
	if (in.LoadBalancerArn == nil) == (len(in.ListenerArns) == 0) {
		return nil, invalid("You must specify either listener ARNs or a load balancer ARN")
	}
	out := &elbv2.DescribeListenersOutput{Listeners: []elbv2.Listener{}}
	var rows []store.Row[model.Listener]
	if in.LoadBalancerArn != nil {
		lb, err := s.loadBalancer(ctx, *in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		if rows, err = tables.Listeners.List(ctx, s.Store, children(ctx, lb.Key.ID)); err != nil {
			return nil, err
		}
	}
	for _, arn := range in.ListenerArns {
		row, err := s.listener(ctx, arn)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	if in.LoadBalancerArn != nil {
		var err error
		rows, out.NextMarker, err = page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeListeners", *in.LoadBalancerArn}}, rows, byID[model.Listener])
		if err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		def, err := s.defaultRule(ctx, r.V)
		if in.LoadBalancerArn != nil && api.Code(err) == "ListenerNotFound" {
			continue // deleted since the list was read
		}
		if err != nil {
			return nil, err
		}
		out.Listeners = append(out.Listeners, renderListener(r.V, def.V.Actions))
	}
	return out, nil
}

// ModifyListener changes a listener's port, protocol or default actions.
func (s *Service) ModifyListener(ctx context.Context, in *elbv2.ModifyListenerInput) (*elbv2.ModifyListenerOutput, error) {
	if in.Protocol != "" {
		if err := checkProtocol(in.Protocol); err != nil {
			return nil, err
		}
	}
	var want requested
	if len(in.DefaultActions) > 0 {
		var err error
		if want, err = actions(in.DefaultActions); err != nil {
			return nil, err
		}
	}
	var l *model.Listener
	var shown []model.RuleAction
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.listener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
		}
		lb, err := s.loadBalancer(ctx, row.V.LoadBalancerARN)
		if err != nil {
			return err
		}
		def, err := s.defaultRule(ctx, row.V)
		if err != nil {
			return err
		}
		shown = def.V.Actions
		if err := s.checkChange(ctx, lb.V, row.V, string(in.Protocol), shown, want.actions); err != nil {
			return err
		}
		if want.actions != nil {
			if err := s.bind(ctx, tx, lb, want.actions, &def); err != nil {
				return err
			}
			d := def.Copy()
			if d.Actions, err = want.seal(s, d.ARN, def.V.Actions); err != nil {
				return err
			}
			shown = d.Actions
			tables.Rules.Replace(tx, def, d)
		}
		l = row.Copy()
		protocol := in.Protocol
		if protocol == "" {
			protocol = elbv2.ProtocolEnum(l.Protocol)
		}
		if err := s.setProtocol(ctx, tx, l, protocol, secured{in.Certificates, in.SslPolicy, in.AlpnPolicy, in.MutualAuthentication}); err != nil {
			return err
		}
		if in.Port != nil && *in.Port != l.Port {
			if err := s.freePort(ctx, lb, *in.Port); err != nil {
				return err
			}
			if err := s.checkFree(ctx, lb.V.ARN, l.Port); err != nil {
				return err
			}
			l.Port = *in.Port
			v := lb.Copy()
			v.Generation++
			tables.LoadBalancers.Replace(tx, lb, v)
		}
		tables.Listeners.Replace(tx, row, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyListenerOutput{Listeners: []elbv2.Listener{renderListener(l, shown)}}, nil
}

func (s *Service) freePort(ctx context.Context, lb store.Row[model.LoadBalancer], port int32) error {
	others, err := tables.Listeners.List(ctx, s.Store, children(ctx, lb.Key.ID))
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.V.Port == port {
			return elbv2.NewDuplicateListenerException("A listener already exists on this port for this load balancer '%s'", lb.V.ARN)
		}
	}
	return nil
}

// DeleteListener removes a listener with its rules.
func (s *Service) DeleteListener(ctx context.Context, in *elbv2.DeleteListenerInput) (*elbv2.DeleteListenerOutput, error) {
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.listener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
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
		if err := s.checkFree(ctx, row.V.LoadBalancerARN, row.V.Port); err != nil {
			return err
		}
		tables.Listeners.Delete(tx, row)
		return s.touch(ctx, tx, used)
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.DeleteListenerOutput{}, nil
}

// isNotFound tells that a record is gone.
func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
