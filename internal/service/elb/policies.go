package elb

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
	"roadstead.dev/internal/store"
)

// CreateLoadBalancerPolicy makes a policy of any type.
func (s *Service) CreateLoadBalancerPolicy(ctx context.Context, in *elb.CreateLoadBalancerPolicyInput) (*elb.CreateLoadBalancerPolicyOutput, error) {
	var given []model.ClassicPolicyAttribute
	for _, a := range in.PolicyAttributes {
		given = append(given, model.ClassicPolicyAttribute{Name: value(a.AttributeName), Value: value(a.AttributeValue)})
	}
	return &elb.CreateLoadBalancerPolicyOutput{}, s.makePolicy(ctx, in.LoadBalancerName, in.PolicyName, value(in.PolicyTypeName), given)
}

// CreateAppCookieStickinessPolicy makes a policy that binds clients for as long
// as a cookie of the application's lasts.
func (s *Service) CreateAppCookieStickinessPolicy(ctx context.Context, in *elb.CreateAppCookieStickinessPolicyInput) (*elb.CreateAppCookieStickinessPolicyOutput, error) {
	given := []model.ClassicPolicyAttribute{{Name: "CookieName", Value: value(in.CookieName)}}
	return &elb.CreateAppCookieStickinessPolicyOutput{}, s.makePolicy(ctx, in.LoadBalancerName, in.PolicyName, model.PolicyAppCookie, given)
}

// CreateLBCookieStickinessPolicy makes a policy that binds clients for some
// time, or for a session of the browser.
func (s *Service) CreateLBCookieStickinessPolicy(ctx context.Context, in *elb.CreateLBCookieStickinessPolicyInput) (*elb.CreateLBCookieStickinessPolicyOutput, error) {
	// 0 is a session of the browser.
	given := []model.ClassicPolicyAttribute{{Name: "CookieExpirationPeriod", Value: strconv.FormatInt(value(in.CookieExpirationPeriod), 10)}}
	return &elb.CreateLBCookieStickinessPolicyOutput{}, s.makePolicy(ctx, in.LoadBalancerName, in.PolicyName, model.PolicyLBCookie, given)
}

// maxPolicyName bounds the names of policies.
const maxPolicyName = 100

func (s *Service) makePolicy(ctx context.Context, lb, name *string, kind string, given []model.ClassicPolicyAttribute) error {
	p := model.ClassicPolicy{Name: value(name), Type: kind}
	if p.Name == "" || len(p.Name) > maxPolicyName || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return invalid("Policy name '%s' must have 1 to %d characters, all of them alphanumeric or hyphens", p.Name, maxPolicyName)
	}
	_, err := s.change(ctx, lb, func(_ *store.Txn, b *balancer) error {
		t, err := policyTypeNamed(kind)
		if err != nil {
			return err
		}
		if b.lb.Classic.Policy(p.Name) != nil {
			return elb.NewDuplicatePolicyNameException("A policy already exists with name %s for load balancer %s", p.Name, b.lb.Name)
		}
		if len(b.lb.Classic.Policies) >= maxPolicies {
			return elb.NewTooManyPoliciesException("The load balancer %s has reached the maximum number of policies (%d)", b.lb.Name, maxPolicies)
		}
		if p.Attributes, err = t.complete(given); err != nil {
			return err
		}
		if err := checkPolicy(b.lb.Classic, &p); err != nil {
			return err
		}
		b.lb.Classic.Policies = append(slices.Clone(b.lb.Classic.Policies), p)
		return nil
	})
	return err
}

// complete checks the attributes of a new policy, and adds the defaults of
// those that are not given.
func (t policyType) complete(given []model.ClassicPolicyAttribute) ([]model.ClassicPolicyAttribute, error) {
	for _, g := range given {
		if !slices.ContainsFunc(t.attributes, func(a attributeType) bool { return a.name == g.Name }) {
			return nil, misconfigured("Policy type %s has no attribute named %s", t.name, g.Name)
		}
	}
	var out []model.ClassicPolicyAttribute
	for _, a := range t.attributes {
		n := 0
		for _, g := range given {
			if g.Name != a.name {
				continue
			}
			if !a.takes(g.Value) {
				return nil, misconfigured("The value '%s' of the attribute %s is not a %s", g.Value, a.name, a.kind)
			}
			n++
			if a.kind == typeBoolean {
				g.Value = strings.ToLower(g.Value)
			}
			out = append(out, g)
		}
		switch {
		case n == 0 && a.standard != "":
			out = append(out, model.ClassicPolicyAttribute{Name: a.name, Value: a.standard})
		case n == 0 && a.cardinality != onceAtMost:
			return nil, misconfigured("Policy type %s needs the attribute %s", t.name, a.name)
		case n > 1 && a.cardinality != often:
			return nil, misconfigured("The attribute %s can be given only once", a.name)
		}
	}
	return out, nil
}

// takes tells whether the attribute may have the value.
func (a attributeType) takes(v string) bool {
	switch a.kind {
	case typeBoolean:
		return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case typeLong:
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n >= 0
	default:
		return v != ""
	}
}

// checkPolicy checks what the types of attributes do not say, and writes out
// what a reference stands for.
func checkPolicy(lb *model.ClassicLoadBalancer, p *model.ClassicPolicy) error {
	switch p.Type {
	case model.PolicySSL:
		n, err := sslpolicy.Negotiate(p.Name, p.Value(sslpolicy.Reference), func(a string) bool { return p.Value(a) == "true" })
		if err != nil {
			return misconfigured("%s", err)
		}
		if p.Value(sslpolicy.Reference) != "" {
			p.Attributes = predefined(n).Attributes
		}
	case model.PolicyBackendAuth:
		for _, name := range p.Values("PublicKeyPolicyName") {
			if k := lb.Policy(name); k == nil || k.Type != model.PolicyPublicKey {
				return misconfigured("There is no policy of type %s with name %s", model.PolicyPublicKey, name)
			}
		}
	case model.PolicyPublicKey:
		if !isPublicKey(p.Value("PublicKey")) {
			return misconfigured("The value of the attribute PublicKey is not a public key in PEM")
		}
	case model.PolicyAppCookie:
		if name := p.Value("CookieName"); strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
			return misconfigured("The cookie name '%s' is not valid", name)
		}
	}
	return nil
}

// isPublicKey tells whether text is a public key in PEM, or what stands
// between PEM's lines.
func isPublicKey(text string) bool {
	var der []byte
	if b, _ := pem.Decode([]byte(text)); b != nil {
		der = b.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			return false
		}
	}
	_, err := x509.ParsePKIXPublicKey(der)
	return err == nil
}

// predefined is a predefined security policy as a load balancer's own.
func predefined(n sslpolicy.Negotiation) model.ClassicPolicy {
	p := model.ClassicPolicy{Name: n.Name, Type: model.PolicySSL, Attributes: []model.ClassicPolicyAttribute{{Name: sslpolicy.Reference, Value: n.Name}}}
	flag := func(name string, on bool) {
		p.Attributes = append(p.Attributes, model.ClassicPolicyAttribute{Name: name, Value: strconv.FormatBool(on)})
	}
	for _, v := range slices.Backward(sslpolicy.ClassicProtocols) {
		flag(sslpolicy.ProtocolAttribute(v), slices.Contains(n.Protocols, v))
	}
	flag(sslpolicy.ServerOrder, n.ServerOrder)
	for _, c := range sslpolicy.ClassicCiphers {
		flag(c, slices.Contains(n.Ciphers, c))
	}
	return p
}

// DeleteLoadBalancerPolicy removes a policy that nothing uses. One that is not
// there is no error.
func (s *Service) DeleteLoadBalancerPolicy(ctx context.Context, in *elb.DeleteLoadBalancerPolicyInput) (*elb.DeleteLoadBalancerPolicyOutput, error) {
	name := value(in.PolicyName)
	_, err := s.change(ctx, in.LoadBalancerName, func(_ *store.Txn, b *balancer) error {
		for _, l := range b.listeners {
			if slices.Contains(l.V.Classic.Policies, name) {
				return misconfigured("Policy %s is enabled for the listener at port %d", name, l.V.Port)
			}
		}
		for port, names := range b.lb.Classic.BackendPolicies {
			if slices.Contains(names, name) {
				return misconfigured("Policy %s is enabled for the instance port %d", name, port)
			}
		}
		for i := range b.lb.Classic.Policies {
			if p := &b.lb.Classic.Policies[i]; p.Type == model.PolicyBackendAuth && slices.Contains(p.Values("PublicKeyPolicyName"), name) {
				return misconfigured("Policy %s is part of the policy %s", name, p.Name)
			}
		}
		b.lb.Classic.Policies = slices.DeleteFunc(slices.Clone(b.lb.Classic.Policies), func(p model.ClassicPolicy) bool { return p.Name == name })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.DeleteLoadBalancerPolicyOutput{}, nil
}

// DescribeLoadBalancerPolicies lists a load balancer's policies, or the
// predefined ones where none is named.
func (s *Service) DescribeLoadBalancerPolicies(ctx context.Context, in *elb.DescribeLoadBalancerPoliciesInput) (*elb.DescribeLoadBalancerPoliciesOutput, error) {
	var all []model.ClassicPolicy
	name := value(in.LoadBalancerName)
	if name == "" {
		for _, n := range sslpolicy.Classics() {
			all = append(all, predefined(n))
		}
	} else {
		b, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		all = b.lb.Classic.Policies
	}
	out := &elb.DescribeLoadBalancerPoliciesOutput{PolicyDescriptions: []elb.PolicyDescription{}}
	for _, n := range in.PolicyNames {
		if !slices.ContainsFunc(all, func(p model.ClassicPolicy) bool { return p.Name == n }) {
			return nil, elb.NewPolicyNotFoundException("There is no policy with name %s for load balancer %s", n, name)
		}
	}
	for _, p := range all {
		if len(in.PolicyNames) > 0 && !slices.Contains(in.PolicyNames, p.Name) {
			continue
		}
		d := elb.PolicyDescription{PolicyName: &p.Name, PolicyTypeName: &p.Type, PolicyAttributeDescriptions: []elb.PolicyAttributeDescription{}}
		for _, a := range p.Attributes {
			d.PolicyAttributeDescriptions = append(d.PolicyAttributeDescriptions, elb.PolicyAttributeDescription{AttributeName: &a.Name, AttributeValue: &a.Value})
		}
		out.PolicyDescriptions = append(out.PolicyDescriptions, d)
	}
	return out, nil
}
