package elb

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

func portText(p int32) string { return strconv.Itoa(int(p)) }

// Protocols of listeners and instances, by their layers.
const (
	protoHTTP  = "HTTP"
	protoHTTPS = "HTTPS"
	protoTCP   = "TCP"
	protoSSL   = "SSL"
)

func isSecure(protocol string) bool { return protocol == protoHTTPS || protocol == protoSSL }

func protocol(p string) (string, error) {
	p = strings.ToUpper(p)
	if !model.IsHTTP(p) && !isSecure(p) && p != protoTCP {
		return "", elb.NewUnsupportedProtocolException("Protocol '%s' is not supported: it must be HTTP, HTTPS, TCP or SSL", p)
	}
	return p, nil
}

// newListeners checks listeners as far as needs no records.
func newListeners(in []elb.Listener) ([]*model.Listener, error) {
	if len(in) > maxListeners {
		return nil, misconfigured("A load balancer can have at most %d listeners", maxListeners)
	}
	var out []*model.Listener
	for i := range in {
		l, err := newListener(&in[i])
		if err != nil {
			return nil, err
		}
		for _, o := range out {
			if o.Port == l.Port && !sameListener(o, l) {
				return nil, invalid("Listeners must not have the LoadBalancerPort %d twice", l.Port)
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func newListener(in *elb.Listener) (*model.Listener, error) {
	front, err := protocol(value(in.Protocol))
	if err != nil {
		return nil, err
	}
	back := protoTCP
	if model.IsHTTP(front) {
		back = protoHTTP
	}
	if p := value(in.InstanceProtocol); p != "" {
		if back, err = protocol(p); err != nil {
			return nil, err
		}
	}
	if model.IsHTTP(front) != model.IsHTTP(back) {
		return nil, invalid("Listener protocol '%s' and instance protocol '%s' must be at the same Internet protocol layer", front, back)
	}
	port := value(in.LoadBalancerPort)
	if port < 1 || port > 65535 {
		return nil, invalid("LoadBalancerPort must be between 1 and 65535")
	}
	l := &model.Listener{Port: port, Protocol: front, Classic: &model.ClassicListener{InstanceProtocol: back, InstancePort: value(in.InstancePort)}}
	switch certificate := value(in.SSLCertificateId); {
	case certificate == "" && isSecure(front):
		return nil, invalid("Secure Listeners need to specify a SSLCertificateId")
	case certificate != "" && !isSecure(front):
		return nil, invalid("Only Secure Listeners can specify a SSLCertificateId")
	case certificate != "":
		l.Certificates = []string{certificate}
	}
	return l, nil
}

func sameListener(a, b *model.Listener) bool {
	return a.Port == b.Port && a.Protocol == b.Protocol && a.Classic.InstanceProtocol == b.Classic.InstanceProtocol &&
		a.Classic.InstancePort == b.Classic.InstancePort && slices.Equal(a.Certificates, b.Certificates)
}

// addListener adds a listener to a load balancer, in b too.
func (s *Service) addListener(ctx context.Context, tx *store.Txn, b *balancer, l *model.Listener) error {
	c := api.CallFrom(ctx)
	if there, ok := b.listener(l.Port); ok {
		if sameListener(there.V, l) {
			return nil
		}
		return elb.NewDuplicateListenerException("A listener already exists for %s with LoadBalancerPort %d, but with a different InstancePort, Protocol, or SSLCertificateId", b.lb.Name, l.Port)
	}
	if len(b.listeners) >= maxListeners {
		return misconfigured("A load balancer can have at most %d listeners", maxListeners)
	}
	for _, o := range b.listeners {
		if o.V.Classic.InstancePort == l.Classic.InstancePort && isSecure(o.V.Classic.InstanceProtocol) != isSecure(l.Classic.InstanceProtocol) {
			return misconfigured("The instance port %d is used with the instance protocol %s by another listener, with which %s does not go together", l.Classic.InstancePort, o.V.Classic.InstanceProtocol, l.Classic.InstanceProtocol)
		}
	}
	v := *l
	v.ID = portText(v.Port)
	v.ARN = model.MakeARN("elasticloadbalancing", c.Region, c.Account, "listener/classic/"+b.lb.ID+"/"+v.ID)
	v.LoadBalancerARN, v.LoadBalancerID, v.CreatedAt = b.lb.ARN, b.lb.ID, c.Time
	classic := *l.Classic
	v.Classic = &classic
	if isSecure(v.Protocol) {
		if err := s.checkCertificate(ctx, tx, v.Certificates[0]); err != nil {
			return err
		}
		v.Classic.Policies = []string{defaultPolicy(b.lb.Classic)}
	}
	key := model.ClassicListenerID(b.lb.ID, v.Port)
	tables.Listeners.Create(tx, c.Account, c.Region, key, &v)
	tables.Rules.Create(tx, c.Account, c.Region, key+"/default", &model.Rule{
		ID: "default", ARN: v.ARN + "/default", ListenerARN: v.ARN, Default: true, CreatedAt: c.Time,
		Actions: []model.RuleAction{{Type: model.ActionForward, Forward: &model.ForwardAction{
			TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: groupARN(c, b.lb), Weight: 1}},
		}}},
	})
	b.listeners = append(b.listeners, store.Row[model.Listener]{V: &v})
	return nil
}

// defaultPolicy is the name of the policy that a listener with TLS begins
// with, which the load balancer gets if it has none of that name.
func defaultPolicy(lb *model.ClassicLoadBalancer) string {
	if lb.Policy(sslpolicy.Default) == nil {
		lb.Policies = append(slices.Clone(lb.Policies), predefined(sslpolicy.Classics()[0]))
	}
	return sslpolicy.Default
}

// removeListener removes a listener and its rule, which comes and goes with it.
func removeListener(tx *store.Txn, l store.Row[model.Listener]) {
	tables.Rules.Erase(tx, l.Key.Account, l.Key.Region, l.Key.ID+"/default")
	tables.Listeners.Delete(tx, l)
}

func (s *Service) checkCertificate(ctx context.Context, tx *store.Txn, arn string) error {
	err := s.place(ctx).Certificate(ctx, tx, arn)
	if errors.Is(err, loadbalancers.ErrNoCertificateARN) || errors.Is(err, loadbalancers.ErrUnusable) || errors.Is(err, store.ErrNotFound) {
		return elb.NewCertificateNotFoundException("Server Certificate not found for the key: %s", arn)
	}
	return err
}

// CreateLoadBalancerListeners adds listeners. One that is there already is left
// alone.
func (s *Service) CreateLoadBalancerListeners(ctx context.Context, in *elb.CreateLoadBalancerListenersInput) (*elb.CreateLoadBalancerListenersOutput, error) {
	if len(in.Listeners) == 0 {
		return nil, invalid("Listeners cannot be empty")
	}
	made, err := newListeners(in.Listeners)
	if err != nil {
		return nil, err
	}
	_, err = s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		for _, l := range made {
			if err := s.addListener(ctx, tx, b, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.CreateLoadBalancerListenersOutput{}, nil
}

// DeleteLoadBalancerListeners removes the listeners of ports; those without one
// are left out.
func (s *Service) DeleteLoadBalancerListeners(ctx context.Context, in *elb.DeleteLoadBalancerListenersInput) (*elb.DeleteLoadBalancerListenersOutput, error) {
	_, err := s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		for _, l := range b.listeners {
			if slices.Contains(in.LoadBalancerPorts, l.V.Port) {
				removeListener(tx, l)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.DeleteLoadBalancerListenersOutput{}, nil
}

// changeListener lets alter change the listener on a port.
func (s *Service) changeListener(ctx context.Context, name *string, port int32, alter func(tx *store.Txn, b *balancer, l *model.Listener) error) error {
	_, err := s.change(ctx, name, func(tx *store.Txn, b *balancer) error {
		row, ok := b.listener(port)
		if !ok {
			return elb.NewListenerNotFoundException("There is no listener configured at port %d for load balancer %s", port, b.lb.Name)
		}
		v := row.Copy()
		if err := alter(tx, b, v); err != nil {
			return err
		}
		tables.Listeners.Replace(tx, row, v)
		return nil
	})
	return err
}

// SetLoadBalancerListenerSSLCertificate replaces a listener's certificate.
func (s *Service) SetLoadBalancerListenerSSLCertificate(ctx context.Context, in *elb.SetLoadBalancerListenerSSLCertificateInput) (*elb.SetLoadBalancerListenerSSLCertificateOutput, error) {
	err := s.changeListener(ctx, in.LoadBalancerName, value(in.LoadBalancerPort), func(tx *store.Txn, _ *balancer, l *model.Listener) error {
		if !isSecure(l.Protocol) {
			return misconfigured("The listener at port %d has the protocol %s, which has no certificate", l.Port, l.Protocol)
		}
		l.Certificates = []string{value(in.SSLCertificateId)}
		return s.checkCertificate(ctx, tx, l.Certificates[0])
	})
	if err != nil {
		return nil, err
	}
	return &elb.SetLoadBalancerListenerSSLCertificateOutput{}, nil
}
