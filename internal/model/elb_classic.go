package model

import (
	"strconv"
	"strings"
)

// Classic load balancers (Elastic Load Balancing, version 2012-06-01).
//
// One is kept as other load balancers are, so that what makes those makes it:
//
//	LoadBalancer  <lb>                        of type LoadBalancerClassic, with Classic
//	Listener      <lb>/<port>                 with Classic
//	Rule          <lb>/<port>/default         forwards to the target group below
//	TargetGroup   <lb>                        with Classic: its instances, and how they are checked
//	Target        <lb>/<instance>:1           see ClassicTargetPort
//	ELBName       classic/<name>
//
// The API of version 2015-12-01 shows none of them. Whoever attaches one to an
// Auto Scaling group or an ECS service does so by the target group's ARN.

// LoadBalancerClassic is the type of a classic load balancer.
const LoadBalancerClassic = "classic"

// DescriptionNotYetHealthy is that of an unhealthy instance whose latest checks
// succeeded.
const DescriptionNotYetHealthy = "Instance has not passed the configured HealthyThreshold number of health checks consecutively."

// ClassicTargetPort stands where a target has a port: a classic load balancer
// registers instances, and its listeners tell the ports.
const ClassicTargetPort int32 = 1

// ClassicLoadBalancer is what a classic load balancer has beyond others. The
// service writes it.
type ClassicLoadBalancer struct {
	// Policies in the order in which they were made; names are unique.
	Policies []ClassicPolicy `json:"policies,omitempty"`
	// BackendPolicies are the names of the policies of instances' ports.
	BackendPolicies map[int32][]string `json:"backendPolicies,omitempty"`
}

// Policy finds a policy by name, nil when there is none.
func (c *ClassicLoadBalancer) Policy(name string) *ClassicPolicy {
	for i := range c.Policies {
		if c.Policies[i].Name == name {
			return &c.Policies[i]
		}
	}
	return nil
}

// Types of policies of classic load balancers.
const (
	PolicyAppCookie     = "AppCookieStickinessPolicyType"
	PolicyLBCookie      = "LBCookieStickinessPolicyType"
	PolicySSL           = "SSLNegotiationPolicyType"
	PolicyProxyProtocol = "ProxyProtocolPolicyType"
	PolicyBackendAuth   = "BackendServerAuthenticationPolicyType"
	PolicyPublicKey     = "PublicKeyPolicyType"
)

// ClassicPolicy is a policy of a classic load balancer.
type ClassicPolicy struct {
	Name string `json:"name"`
	// Type is a Policy… constant.
	Type string `json:"type"`
	// Attributes with the defaults of those that were not given.
	Attributes []ClassicPolicyAttribute `json:"attributes,omitempty"`
}

// ClassicPolicyAttribute is one value of an attribute.
type ClassicPolicyAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Values are those of an attribute.
func (p *ClassicPolicy) Values(name string) []string {
	var out []string
	for _, a := range p.Attributes {
		if a.Name == name {
			out = append(out, a.Value)
		}
	}
	return out
}

// Value is an attribute's only value, "" when it has none.
func (p *ClassicPolicy) Value(name string) string {
	if v := p.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// ClassicListener is what a classic load balancer's listener has beyond
// others.
type ClassicListener struct {
	// InstanceProtocol is HTTP, HTTPS, TCP or SSL.
	InstanceProtocol string `json:"instanceProtocol"`
	InstancePort     int32  `json:"instancePort"`
	// Policies are the names of those that are in force.
	Policies []string `json:"policies,omitempty"`
}

// IsHTTP tells whether a protocol is one of requests.
func IsHTTP(protocol string) bool { return protocol == "HTTP" || protocol == "HTTPS" }

// ClassicListenerID is the record id of a classic load balancer's listener.
func ClassicListenerID(lb string, port int32) string {
	return lb + "/" + strconv.Itoa(int(port))
}

// ClassicLoadBalancerARN is the ARN of a classic load balancer.
func ClassicLoadBalancerARN(region, account, name string) string {
	return MakeARN("elasticloadbalancing", region, account, "loadbalancer/"+name)
}

// ClassicName is the name in a classic load balancer's ARN, "" when arn is not
// one.
func ClassicName(arn string) string {
	if p := elbResource(arn, "loadbalancer"); len(p) == 1 {
		return p[0]
	}
	return ""
}

// classicGroup begins what stands for a name in the ARN of a classic load
// balancer's target group. No other group's name has a colon.
const classicGroup = "classic:"

// ClassicGroupARN is the ARN of a classic load balancer's target group.
func ClassicGroupARN(region, account, name, id string) string {
	return MakeARN("elasticloadbalancing", region, account, "targetgroup/"+classicGroup+name+"/"+id)
}

// ClassicGroupName is the name of the classic load balancer whose target group
// has the ARN; ok is false for any other group's.
func ClassicGroupName(arn string) (name string, ok bool) {
	p := elbResource(arn, "targetgroup")
	if len(p) != 2 {
		return "", false
	}
	return strings.CutPrefix(p[0], classicGroup)
}
