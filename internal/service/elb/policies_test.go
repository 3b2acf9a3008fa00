package elb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elb"
)

func (w *world) policy(name *string, policy, kind string, attributes ...string) error {
	var in []elb.PolicyAttribute
	for i := 0; i < len(attributes); i += 2 {
		in = append(in, elb.PolicyAttribute{AttributeName: &attributes[i], AttributeValue: &attributes[i+1]})
	}
	_, err := w.s.CreateLoadBalancerPolicy(w.ctx, &elb.CreateLoadBalancerPolicyInput{LoadBalancerName: name, PolicyName: &policy, PolicyTypeName: &kind, PolicyAttributes: in})
	return err
}

func (w *world) enable(name *string, port int32, policies ...string) error {
	_, err := w.s.SetLoadBalancerPoliciesOfListener(w.ctx, &elb.SetLoadBalancerPoliciesOfListenerInput{LoadBalancerName: name, LoadBalancerPort: &port, PolicyNames: policies})
	return err
}

func (w *world) enableBackend(name *string, port int32, policies ...string) error {
	_, err := w.s.SetLoadBalancerPoliciesForBackendServer(w.ctx, &elb.SetLoadBalancerPoliciesForBackendServerInput{LoadBalancerName: name, InstancePort: &port, PolicyNames: policies})
	return err
}

func (w *world) attributes(name *string, policy string) map[string]string {
	w.t.Helper()
	out := must(w.s.DescribeLoadBalancerPolicies(w.ctx, &elb.DescribeLoadBalancerPoliciesInput{LoadBalancerName: name, PolicyNames: []string{policy}}))(w)
	got := map[string]string{}
	for _, a := range out.PolicyDescriptions[0].PolicyAttributeDescriptions {
		got[*a.AttributeName] = *a.AttributeValue
	}
	return got
}

func key(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestStickinessPolicies(t *testing.T) {
	w := newWorld(t)
	name := w.create("n", listener("HTTP", 80, "", 80), listener("TCP", 81, "", 81))
	must(w.s.CreateLBCookieStickinessPolicy(w.ctx, &elb.CreateLBCookieStickinessPolicyInput{LoadBalancerName: name, PolicyName: new("lb"), CookieExpirationPeriod: new(int64(60))}))(w)
	must(w.s.CreateLBCookieStickinessPolicy(w.ctx, &elb.CreateLBCookieStickinessPolicyInput{LoadBalancerName: name, PolicyName: new("session")}))(w)
	must(w.s.CreateAppCookieStickinessPolicy(w.ctx, &elb.CreateAppCookieStickinessPolicyInput{LoadBalancerName: name, PolicyName: new("app"), CookieName: new("JSESSIONID")}))(w)
	want := &elb.Policies{
		AppCookieStickinessPolicies: []elb.AppCookieStickinessPolicy{{PolicyName: new("app"), CookieName: new("JSESSIONID")}},
		LBCookieStickinessPolicies:  []elb.LBCookieStickinessPolicy{{PolicyName: new("lb"), CookieExpirationPeriod: new(int64(60))}, {PolicyName: new("session")}},
		OtherPolicies:               []string{},
	}
	if d := cmp.Diff(want, w.describe(name).Policies); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"CookieExpirationPeriod": "60"}, w.attributes(name, "lb")); d != "" {
		t.Error(d)
	}
	// 0 is AWS's default, and a session of the browser.
	if d := cmp.Diff(map[string]string{"CookieExpirationPeriod": "0"}, w.attributes(name, "session")); d != "" {
		t.Error(d)
	}
	if err := w.enable(name, 80, "lb"); err != nil {
		t.Fatal(err)
	}
	if got := w.describe(name).ListenerDescriptions[0].PolicyNames; !slices.Equal(got, []string{"lb"}) {
		t.Errorf("policies %q", got)
	}
	refused(t, w.enable(name, 80, "lb", "app"), "InvalidConfigurationRequest", "Only one policy")
	refused(t, w.enable(name, 81, "lb"), "InvalidConfigurationRequest", "HTTP and HTTPS listeners alone")
	refused(t, w.enable(name, 82, "lb"), "ListenerNotFound", "port 82")
	refused(t, w.enable(name, 80, "nope"), "PolicyNotFound", "There is no policy with name nope for load balancer n")
	remove := func(p string) error {
		_, err := w.s.DeleteLoadBalancerPolicy(w.ctx, &elb.DeleteLoadBalancerPolicyInput{LoadBalancerName: name, PolicyName: &p})
		return err
	}
	refused(t, remove("lb"), "InvalidConfigurationRequest", "listener at port 80")
	if err := w.enable(name, 80); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"lb", "lb", "session", "app"} {
		if err := remove(p); err != nil {
			t.Error(err)
		}
	}
	if all := must(w.s.DescribeLoadBalancerPolicies(w.ctx, &elb.DescribeLoadBalancerPoliciesInput{LoadBalancerName: name}))(w); len(all.PolicyDescriptions) != 0 {
		t.Errorf("left %+v", all)
	}
}

func TestPoliciesRefused(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	if err := w.policy(name, "p", "ProxyProtocolPolicyType", "ProxyProtocol", "True"); err != nil || w.attributes(name, "p")["ProxyProtocol"] != "true" {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, policy, kind string
		attributes         []string
		code, message      string
	}{
		{"the same name", "p", "PublicKeyPolicyType", []string{"PublicKey", "x"}, "DuplicatePolicyName", "p"},
		{"a name", "p p", "ProxyProtocolPolicyType", []string{"ProxyProtocol", "true"}, "ValidationError", "alphanumeric"},
		{"a type", "q", "Nope", nil, "PolicyTypeNotFound", "Nope"},
		{"an attribute", "q", "ProxyProtocolPolicyType", []string{"Nope", "true"}, "InvalidConfigurationRequest", "Nope"},
		{"nothing", "q", "ProxyProtocolPolicyType", nil, "InvalidConfigurationRequest", "needs the attribute ProxyProtocol"},
		{"a value", "q", "ProxyProtocolPolicyType", []string{"ProxyProtocol", "yes"}, "InvalidConfigurationRequest", "not a Boolean"},
		{"a value twice", "q", "ProxyProtocolPolicyType", []string{"ProxyProtocol", "true", "ProxyProtocol", "true"}, "InvalidConfigurationRequest", "only once"},
		{"a period", "q", "LBCookieStickinessPolicyType", []string{"CookieExpirationPeriod", "-1"}, "InvalidConfigurationRequest", "Long"},
		{"a cookie", "q", "AppCookieStickinessPolicyType", []string{"CookieName", "a;b"}, "InvalidConfigurationRequest", "cookie name"},
		{"no key", "q", "PublicKeyPolicyType", []string{"PublicKey", "x"}, "InvalidConfigurationRequest", "public key"},
		{"no such key", "q", "BackendServerAuthenticationPolicyType", []string{"PublicKeyPolicyName", "p"}, "InvalidConfigurationRequest", "PublicKeyPolicyType"},
		{"SSL 3.0", "q", "SSLNegotiationPolicyType", []string{"Protocol-SSLv3", "true", "AES128-SHA", "true"}, "InvalidConfigurationRequest", "SSLv3"},
		{"an old policy", "q", "SSLNegotiationPolicyType", []string{"Reference-Security-Policy", "ELBSecurityPolicy-2011-08"}, "InvalidConfigurationRequest", "2011-08"},
	} {
		t.Run(c.what, func(t *testing.T) { refused(t, w.policy(name, c.policy, c.kind, c.attributes...), c.code, c.message) })
	}
	refused(t, w.policy(new("nope"), "q", "ProxyProtocolPolicyType", "ProxyProtocol", "true"), "LoadBalancerNotFound", "nope")
	refused(t, w.enable(name, 80, "p"), "InvalidConfigurationRequest", "cannot be enabled for a listener")
}

func TestNegotiationPolicies(t *testing.T) {
	w := newWorld(t)
	name := w.create("n", listener("HTTPS", 443, "", 80), listener("HTTP", 80, "", 80))
	if err := w.policy(name, "ref", "SSLNegotiationPolicyType", "Reference-Security-Policy", "ELBSecurityPolicy-TLS-1-2-2017-01"); err != nil {
		t.Fatal(err)
	}
	got := w.attributes(name, "ref")
	if got["Reference-Security-Policy"] != "ELBSecurityPolicy-TLS-1-2-2017-01" || got["Protocol-TLSv1.2"] != "true" || got["Protocol-TLSv1.1"] != "false" ||
		got["ECDHE-RSA-AES128-GCM-SHA256"] != "true" || got["ECDHE-RSA-AES128-SHA"] != "false" || got["Server-Defined-Cipher-Order"] != "true" {
		t.Errorf("what the reference stands for: %v", got)
	}
	if err := w.policy(name, "own", "SSLNegotiationPolicyType", "Protocol-TLSv1.2", "true", "AES128-SHA", "true"); err != nil {
		t.Fatal(err)
	}
	if got := w.attributes(name, "own"); got["Protocol-TLSv1.2"] != "true" || got["Protocol-TLSv1"] != "false" || got["AES256-SHA"] != "false" {
		t.Errorf("one's own: %v", got)
	}
	if err := w.enable(name, 443, "own"); err != nil {
		t.Fatal(err)
	}
	refused(t, w.enable(name, 443, "own", "ref"), "InvalidConfigurationRequest", "Only one policy")
	refused(t, w.enable(name, 80, "own"), "InvalidConfigurationRequest", "HTTPS and SSL listeners alone")
	samples := must(w.s.DescribeLoadBalancerPolicies(w.ctx, &elb.DescribeLoadBalancerPoliciesInput{}))(w)
	if len(samples.PolicyDescriptions) != 6 || *samples.PolicyDescriptions[0].PolicyName != "ELBSecurityPolicy-2016-08" {
		t.Errorf("predefined: %d", len(samples.PolicyDescriptions))
	}
	_, err := w.s.DescribeLoadBalancerPolicies(w.ctx, &elb.DescribeLoadBalancerPoliciesInput{LoadBalancerName: name, PolicyNames: []string{"nope"}})
	refused(t, err, "PolicyNotFound", "nope")
}

func TestBackendPolicies(t *testing.T) {
	w := newWorld(t)
	name := w.create("n", listener("TCP", 80, "", 80), listener("HTTPS", 443, "HTTPS", 443))
	for _, c := range [][]string{
		{"proxy", "ProxyProtocolPolicyType", "ProxyProtocol", "true"},
		{"key", "PublicKeyPolicyType", "PublicKey", key(t)},
		{"auth", "BackendServerAuthenticationPolicyType", "PublicKeyPolicyName", "key"},
	} {
		if err := w.policy(name, c[0], c[1], c[2:]...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.enableBackend(name, 80, "proxy"); err != nil {
		t.Fatal(err)
	}
	if err := w.enableBackend(name, 443, "auth"); err != nil {
		t.Fatal(err)
	}
	want := []elb.BackendServerDescription{{InstancePort: new(int32(80)), PolicyNames: []string{"proxy"}}, {InstancePort: new(int32(443)), PolicyNames: []string{"auth"}}}
	if d := cmp.Diff(want, w.describe(name).BackendServerDescriptions); d != "" {
		t.Error(d)
	}
	refused(t, w.enableBackend(name, 80, "auth"), "InvalidConfigurationRequest", "HTTPS and SSL alone")
	refused(t, w.enableBackend(name, 443, "key"), "InvalidConfigurationRequest", "cannot be enabled for an instance port")
	refused(t, w.enableBackend(name, 8080, "proxy"), "InvalidConfigurationRequest", "instance port 8080")
	refused(t, w.enableBackend(name, 80, "nope"), "PolicyNotFound", "nope")
	for _, p := range []string{"proxy", "key", "auth"} {
		_, err := w.s.DeleteLoadBalancerPolicy(w.ctx, &elb.DeleteLoadBalancerPolicyInput{LoadBalancerName: name, PolicyName: &p})
		refused(t, err, "InvalidConfigurationRequest", p)
	}
	if err := w.enableBackend(name, 80); err != nil {
		t.Fatal(err)
	}
	if got := w.describe(name).BackendServerDescriptions; len(got) != 1 {
		t.Errorf("left %+v", got)
	}
}

func TestPolicyTypes(t *testing.T) {
	w := newWorld(t)
	all := must(w.s.DescribeLoadBalancerPolicyTypes(w.ctx, &elb.DescribeLoadBalancerPolicyTypesInput{}))(w)
	if len(all.PolicyTypeDescriptions) != 6 {
		t.Errorf("types %+v", all)
	}
	one := must(w.s.DescribeLoadBalancerPolicyTypes(w.ctx, &elb.DescribeLoadBalancerPolicyTypesInput{PolicyTypeNames: []string{"ProxyProtocolPolicyType"}}))(w)
	want := []elb.PolicyAttributeTypeDescription{{AttributeName: new("ProxyProtocol"), AttributeType: new("Boolean"), Cardinality: new("ONE")}}
	if d := cmp.Diff(want, one.PolicyTypeDescriptions[0].PolicyAttributeTypeDescriptions); d != "" {
		t.Error(d)
	}
	_, err := w.s.DescribeLoadBalancerPolicyTypes(w.ctx, &elb.DescribeLoadBalancerPolicyTypesInput{PolicyTypeNames: []string{"x"}})
	refused(t, err, "PolicyTypeNotFound", "x")
}
