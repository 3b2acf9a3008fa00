package elb

import (
	"context"
	"slices"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
)

// How often a policy may have an attribute.
const (
	once       = "ONE"
	onceAtMost = "ZERO_OR_ONE"
	often      = "ONE_OR_MORE"
)

// Types of attributes.
const (
	typeBoolean = "Boolean"
	typeString  = "String"
	typeLong    = "Long"
	typePolicy  = "PolicyName"
)

type attributeType struct {
	name, kind, cardinality, standard, description string
}

// policyType is a type of policies with its attributes.
type policyType struct {
	name, description string
	attributes        []attributeType
}

// policyTypes are all that there are.
var policyTypes = []policyType{
	{model.PolicySSL, "Listener policy that defines the ciphers and protocols that will be accepted by the load balancer. This policy can be associated only with HTTPS/SSL listeners.", negotiationAttributes()},
	{model.PolicyBackendAuth, "Policy that controls authentication to back-end server(s) and contains one or more policies, such as an instance of a PublicKeyPolicyType. This policy can be associated only with back-end servers that are using HTTPS/SSL.", []attributeType{
		{name: "PublicKeyPolicyName", kind: typePolicy, cardinality: often},
	}},
	{model.PolicyPublicKey, "Policy containing a list of public keys to accept when authenticating the back-end server(s). This policy cannot be applied directly to back-end servers or listeners but must be part of a BackendServerAuthenticationPolicyType.", []attributeType{
		{name: "PublicKey", kind: typeString, cardinality: once},
	}},
	{model.PolicyAppCookie, "Stickiness policy with session lifetimes controlled by the lifetime of the application-generated cookie. This policy can be associated only with HTTP/HTTPS listeners.", []attributeType{
		{name: "CookieName", kind: typeString, cardinality: once},
	}},
	{model.PolicyLBCookie, "Stickiness policy with session lifetimes controlled by the browser (user-agent) or a specified expiration period. This policy can be associated only with HTTP/HTTPS listeners.", []attributeType{
		{name: "CookieExpirationPeriod", kind: typeLong, cardinality: onceAtMost},
	}},
	{model.PolicyProxyProtocol, "Policy that controls whether to include the IP address and port of the originating request for TCP messages. This policy operates on TCP/SSL listeners only", []attributeType{
		{name: "ProxyProtocol", kind: typeBoolean, cardinality: once},
	}},
}

// negotiationAttributes are the versions and ciphers that a policy can turn
// on.
func negotiationAttributes() []attributeType {
	var out []attributeType
	flag := func(name, description string) {
		out = append(out, attributeType{name: name, kind: typeBoolean, cardinality: onceAtMost, standard: "false", description: description})
	}
	for _, v := range slices.Backward(sslpolicy.ClassicProtocols) {
		description := ""
		if v == "SSLv3" {
			description = "Not supported"
		}
		flag(sslpolicy.ProtocolAttribute(v), description)
	}
	flag(sslpolicy.ServerOrder, "")
	out = append(out, attributeType{
		name: sslpolicy.Reference, kind: typeString, cardinality: onceAtMost, description: "The name of a predefined security policy, which takes the place of all other attributes",
	})
	for _, c := range sslpolicy.ClassicCiphers {
		flag(c, "")
	}
	return out
}

func policyTypeNamed(name string) (policyType, error) {
	i := slices.IndexFunc(policyTypes, func(t policyType) bool { return t.name == name })
	if i < 0 {
		return policyType{}, elb.NewPolicyTypeNotFoundException("There is no policy type with name %s", name)
	}
	return policyTypes[i], nil
}

// DescribeLoadBalancerPolicyTypes lists the types of policies.
func (s *Service) DescribeLoadBalancerPolicyTypes(_ context.Context, in *elb.DescribeLoadBalancerPolicyTypesInput) (*elb.DescribeLoadBalancerPolicyTypesOutput, error) {
	names := in.PolicyTypeNames
	if len(names) == 0 {
		for _, t := range policyTypes {
			names = append(names, t.name)
		}
	}
	out := &elb.DescribeLoadBalancerPolicyTypesOutput{PolicyTypeDescriptions: []elb.PolicyTypeDescription{}}
	for _, n := range names {
		t, err := policyTypeNamed(n)
		if err != nil {
			return nil, err
		}
		d := elb.PolicyTypeDescription{PolicyTypeName: &t.name, Description: &t.description}
		for _, a := range t.attributes {
			r := elb.PolicyAttributeTypeDescription{AttributeName: &a.name, AttributeType: &a.kind, Cardinality: &a.cardinality}
			if a.standard != "" {
				r.DefaultValue = &a.standard
			}
			if a.description != "" {
				r.Description = &a.description
			}
			d.PolicyAttributeTypeDescriptions = append(d.PolicyAttributeTypeDescriptions, r)
		}
		out.PolicyTypeDescriptions = append(out.PolicyTypeDescriptions, d)
	}
	return out, nil
}
