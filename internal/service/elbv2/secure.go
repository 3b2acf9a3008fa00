package elbv2

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// secured is what a request says of a listener's TLS.
type secured struct {
	certificates []elbv2.Certificate
	policy       *string
	alpn         []string
	auth         *elbv2.MutualAuthenticationAttributes
}

// checkInsecure refuses what listeners without TLS cannot have.
func (r secured) checkInsecure(protocol string) error {
	switch {
	case len(r.certificates) > 0:
		return invalid("Certificates cannot be specified for %s listeners", protocol)
	case value(r.policy) != "":
		return invalid("An SSL policy cannot be specified for %s listeners", protocol)
	case len(r.alpn) > 0:
		return invalid("An ALPN policy cannot be specified for %s listeners", protocol)
	case mutual(r.auth):
		return invalid("Mutual authentication cannot be specified for %s listeners", protocol)
	}
	return nil
}

// setHTTPS gives an HTTPS listener, which may be new, the certificate, the
// policy and the mutual authentication that the request names, and makes tx
// depend on them.
func (s *Service) setHTTPS(ctx context.Context, tx *store.Txn, l *model.Listener, r secured) error {
	if len(r.alpn) > 0 {
		return invalid("An ALPN policy cannot be specified for HTTPS listeners")
	}
	if err := s.setMutual(ctx, tx, l, r.auth); err != nil {
		return err
	}
	return s.setCertificate(ctx, tx, l, r)
}

// setCertificate is setHTTPS's part that holds for every listener with TLS.
func (s *Service) setCertificate(ctx context.Context, tx *store.Txn, l *model.Listener, r secured) error {
	switch {
	case len(r.certificates) > 1:
		return elbv2.NewTooManyCertificatesException("Only one certificate can be specified for a listener: add the others to its certificate list")
	case len(r.certificates) == 0 && len(l.Certificates) == 0:
		return invalid("A certificate must be specified for %s listeners", l.Protocol)
	case len(r.certificates) == 1:
		arn, err := s.certificate(ctx, tx, r.certificates[0])
		if err != nil {
			return err
		}
		rest := l.Certificates
		if len(rest) > 0 {
			rest = rest[1:]
		}
		l.Certificates = append([]string{arn}, rest...)
	}
	if name := value(r.policy); name != "" {
		if _, ok := sslpolicy.Lookup(name); !ok {
			return elbv2.NewSSLPolicyNotFoundException("SSL policy '%s' not found", name)
		}
		l.SSLPolicy = name
	}
	if l.SSLPolicy == "" {
		l.SSLPolicy = sslpolicy.Default
	}
	return nil
}

// certificate checks that a certificate is there and can be served by, and
// makes tx depend on it.
func (s *Service) certificate(ctx context.Context, tx *store.Txn, in elbv2.Certificate) (string, error) {
	arn := value(in.CertificateArn)
	if in.IsDefault != nil {
		return "", invalid("You cannot specify IsDefault")
	}
	if arn == "" {
		return "", invalid("A certificate ARN must be specified")
	}
	switch err := s.place(ctx).Certificate(ctx, tx, arn); {
	case errors.Is(err, loadbalancers.ErrNoCertificateARN):
		return "", invalid("Certificate ARN '%s' is not valid", arn)
	case isNotFound(err):
		return "", elbv2.NewCertificateNotFoundException("Certificate '%s' not found", arn)
	case errors.Is(err, loadbalancers.ErrUnusable):
		return "", api.NewFault("UnsupportedCertificate", "The certificate '%s' must have a fully-qualified domain name, a supported signature, and a supported key size.", arn)
	default:
		return arn, err
	}
}

// securedListener finds a listener that has certificates.
func (s *Service) securedListener(ctx context.Context, arn string) (store.Row[model.Listener], error) {
	row, err := s.listener(ctx, arn)
	if err == nil && len(row.V.Certificates) == 0 {
		err = invalid("Certificates cannot be specified for %s listeners", row.V.Protocol)
	}
	return row, err
}

// AddListenerCertificates adds to a listener's certificate list.
func (s *Service) AddListenerCertificates(ctx context.Context, in *elbv2.AddListenerCertificatesInput) (*elbv2.AddListenerCertificatesOutput, error) {
	if len(in.Certificates) == 0 {
		return nil, invalid("A certificate must be specified")
	}
	var out *elbv2.AddListenerCertificatesOutput
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.securedListener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
		}
		lb, err := s.loadBalancer(ctx, row.V.LoadBalancerARN)
		if err != nil {
			return err
		}
		out = &elbv2.AddListenerCertificatesOutput{Certificates: []elbv2.Certificate{}}
		l := row.Copy()
		l.Certificates = slices.Clone(l.Certificates)
		for _, c := range in.Certificates {
			arn, err := s.certificate(ctx, tx, c)
			if err != nil {
				return err
			}
			if !slices.Contains(l.Certificates[1:], arn) {
				l.Certificates = append(l.Certificates, arn)
			}
			out.Certificates = append(out.Certificates, elbv2.Certificate{CertificateArn: &arn, IsDefault: new(false)})
		}
		count := len(l.Certificates) - 1
		others, err := tables.Listeners.List(ctx, s.Store, children(ctx, lb.Key.ID))
		if err != nil {
			return err
		}
		for _, o := range others {
			if o.Key != row.Key && len(o.V.Certificates) > 0 {
				count += len(o.V.Certificates) - 1
			}
		}
		if count > maxCertificates {
			return elbv2.NewTooManyCertificatesException("The maximum number of certificates per load balancer is %d", maxCertificates)
		}
		tables.Listeners.Replace(tx, row, l)
		// Two listeners that grow at once share the quota.
		v := lb.Copy()
		v.Generation++
		tables.LoadBalancers.Replace(tx, lb, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RemoveListenerCertificates takes certificates from a listener's list. The
// default certificate stays.
func (s *Service) RemoveListenerCertificates(ctx context.Context, in *elbv2.RemoveListenerCertificatesInput) (*elbv2.RemoveListenerCertificatesOutput, error) {
	if len(in.Certificates) == 0 {
		return nil, invalid("A certificate must be specified")
	}
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.securedListener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
		}
		l := row.Copy()
		l.Certificates = slices.Clone(l.Certificates)
		for _, c := range in.Certificates {
			if c.IsDefault != nil {
				return invalid("You cannot specify IsDefault")
			}
			arn := value(c.CertificateArn)
			switch i := slices.Index(l.Certificates[1:], arn); {
			case i >= 0:
				l.Certificates = slices.Delete(l.Certificates, i+1, i+2)
			case l.Certificates[0] == arn:
				return elbv2.NewOperationNotPermittedException("The default certificate '%s' cannot be removed from the listener", arn)
			}
		}
		tables.Listeners.Replace(tx, row, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.RemoveListenerCertificatesOutput{}, nil
}

// DescribeListenerCertificates lists a listener's certificates, the default
// one first.
func (s *Service) DescribeListenerCertificates(ctx context.Context, in *elbv2.DescribeListenerCertificatesInput) (*elbv2.DescribeListenerCertificatesOutput, error) {
	row, err := s.listener(ctx, value(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	all := make([]elbv2.Certificate, 0, len(row.V.Certificates))
	for i, arn := range row.V.Certificates {
		all = append(all, elbv2.Certificate{CertificateArn: &arn, IsDefault: new(i == 0)})
	}
	slices.SortStableFunc(all, func(a, b elbv2.Certificate) int {
		return strings.Compare(certificatePosition(a), certificatePosition(b))
	})
	shown, next, err := page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeListenerCertificates", *in.ListenerArn}}, all, certificatePosition)
	return &elbv2.DescribeListenerCertificatesOutput{Certificates: shown, NextMarker: next}, err
}

func certificatePosition(c elbv2.Certificate) string {
	if value(c.IsDefault) {
		return "0"
	}
	return "1" + *c.CertificateArn
}

// DescribeSSLPolicies lists the policies that listeners can have.
func (s *Service) DescribeSSLPolicies(ctx context.Context, in *elbv2.DescribeSSLPoliciesInput) (*elbv2.DescribeSSLPoliciesOutput, error) {
	var all []elbv2.SslPolicy
	if in.LoadBalancerType != elbv2.LoadBalancerTypeEnumGateway {
		for _, p := range sslpolicy.All() {
			all = append(all, renderPolicy(p))
		}
	}
	if len(in.Names) > 0 {
		named := []elbv2.SslPolicy{}
		for _, n := range in.Names {
			i := slices.IndexFunc(all, func(p elbv2.SslPolicy) bool { return *p.Name == n })
			if i < 0 {
				return nil, elbv2.NewSSLPolicyNotFoundException("SSL policy '%s' not found", n)
			}
			named = append(named, all[i])
		}
		return &elbv2.DescribeSSLPoliciesOutput{SslPolicies: named}, nil
	}
	slices.SortFunc(all, func(a, b elbv2.SslPolicy) int { return strings.Compare(*a.Name, *b.Name) })
	shown, next, err := page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeSSLPolicies", string(in.LoadBalancerType)}}, all, func(p elbv2.SslPolicy) string { return *p.Name })
	return &elbv2.DescribeSSLPoliciesOutput{SslPolicies: shown, NextMarker: next}, err
}

func renderPolicy(p sslpolicy.Policy) elbv2.SslPolicy {
	out := elbv2.SslPolicy{Name: &p.Name, SslProtocols: p.Protocols, SupportedLoadBalancerTypes: []string{"application", "network"}}
	for i, c := range p.Ciphers {
		out.Ciphers = append(out.Ciphers, elbv2.Cipher{Name: &c, Priority: new(int32(i + 1))})
	}
	return out
}

// renderSecured completes what is shown of a listener with certificates.
func renderSecured(l *model.Listener, out *elbv2.Listener) {
	if len(l.Certificates) == 0 {
		return
	}
	out.Certificates = []elbv2.Certificate{{CertificateArn: &l.Certificates[0]}}
	out.SslPolicy, out.AlpnPolicy = &l.SSLPolicy, l.ALPNPolicy
	if l.Protocol == string(elbv2.ProtocolEnumHttps) {
		out.MutualAuthentication = renderMutual(l.MutualAuthentication)
	}
}

// sameTLS tells whether a listener has the certificate, the policies and the
// mutual authentication that the request asks for.
func sameTLS(l *model.Listener, in *elbv2.CreateListenerInput) bool {
	if len(l.Certificates) == 0 {
		return len(in.Certificates) == 0
	}
	policy := value(in.SslPolicy)
	if policy == "" {
		policy = sslpolicy.Default
	}
	auth := in.MutualAuthentication
	if auth == nil {
		auth = &elbv2.MutualAuthenticationAttributes{}
	}
	m, err := mutualOf(auth)
	return err == nil && reflect.DeepEqual(m, l.MutualAuthentication) && slices.Equal(in.AlpnPolicy, l.ALPNPolicy) &&
		len(in.Certificates) == 1 && value(in.Certificates[0].CertificateArn) == l.Certificates[0] && policy == l.SSLPolicy
}
