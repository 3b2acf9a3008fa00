package elb

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestCreateAndDescribe(t *testing.T) {
	w := newWorld(t)
	out := must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{
		LoadBalancerName: new("Web"), AvailabilityZones: []string{"us-east-1b", "us-east-1a"},
		Listeners: []elb.Listener{listener("http", 80, "", 8080), listener("https", 443, "http", 8080), listener("tcp", 25, "", 25)},
		Tags:      []elb.Tag{{Key: new("team"), Value: new("blue")}},
	}))(w)
	if !strings.HasPrefix(*out.DNSName, "web-") || !strings.HasSuffix(*out.DNSName, ".us-east-1.elb.localhost") {
		t.Errorf("name %s", *out.DNSName)
	}
	d := w.describe(new("Web"))
	want := elb.LoadBalancerDescription{
		LoadBalancerName: new("Web"), DNSName: out.DNSName, CanonicalHostedZoneName: out.DNSName, CanonicalHostedZoneNameID: new("Z35SXDOTRQ7X7K"),
		Scheme: new("internet-facing"), VPCId: new("vpc-1"), CreatedTime: d.CreatedTime, SecurityGroups: d.SecurityGroups,
		Subnets: []string{"subnet-a", "subnet-b"}, AvailabilityZones: []string{"us-east-1a", "us-east-1b"},
		HealthCheck: &elb.HealthCheck{Target: new("TCP:8080"), Interval: new(int32(30)), Timeout: new(int32(5)), HealthyThreshold: new(int32(10)), UnhealthyThreshold: new(int32(2))},
		Instances:   []elb.Instance{}, BackendServerDescriptions: []elb.BackendServerDescription{},
		SourceSecurityGroup: &elb.SourceSecurityGroup{OwnerAlias: new(account), GroupName: new(standardGroupName(account, "vpc-1"))},
		ListenerDescriptions: []elb.ListenerDescription{
			{PolicyNames: []string{}, Listener: &elb.Listener{Protocol: new("TCP"), LoadBalancerPort: new(int32(25)), InstanceProtocol: new("TCP"), InstancePort: new(int32(25))}},
			{PolicyNames: []string{}, Listener: &elb.Listener{Protocol: new("HTTP"), LoadBalancerPort: new(int32(80)), InstanceProtocol: new("HTTP"), InstancePort: new(int32(8080))}},
			{PolicyNames: []string{"ELBSecurityPolicy-2016-08"}, Listener: &elb.Listener{Protocol: new("HTTPS"), LoadBalancerPort: new(int32(443)), InstanceProtocol: new("HTTP"), InstancePort: new(int32(8080)), SSLCertificateId: new(cert)}},
		},
		Policies: &elb.Policies{AppCookieStickinessPolicies: []elb.AppCookieStickinessPolicy{}, LBCookieStickinessPolicies: []elb.LBCookieStickinessPolicy{}, OtherPolicies: []string{"ELBSecurityPolicy-2016-08"}},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	tags := must(w.s.DescribeTags(w.ctx, &elb.DescribeTagsInput{LoadBalancerNames: []string{"Web"}}))(w)
	if len(tags.TagDescriptions) != 1 || *tags.TagDescriptions[0].Tags[0].Value != "blue" {
		t.Errorf("tags %+v", tags)
	}
	// Creating it again with the same settings tells its name, with others it is refused.
	again := &elb.CreateLoadBalancerInput{
		LoadBalancerName: new("Web"), Subnets: []string{"subnet-a", "subnet-b"},
		Listeners: []elb.Listener{listener("HTTP", 80, "HTTP", 8080), listener("HTTPS", 443, "HTTP", 8080), listener("TCP", 25, "TCP", 25)},
	}
	if same := must(w.s.CreateLoadBalancer(w.ctx, again))(w); *same.DNSName != *out.DNSName {
		t.Errorf("created again: %s", *same.DNSName)
	}
	again.Listeners = again.Listeners[:1]
	_, err := w.s.CreateLoadBalancer(w.ctx, again)
	refused(t, err, "DuplicateLoadBalancerName", "Load Balancer named 'Web' already exists")

	in := must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: new("in"), Scheme: new("internal"), Subnets: []string{"subnet-other"}, Listeners: []elb.Listener{listener("TCP", 80, "", 80)}}))(w)
	if d := w.describe(new("in")); !strings.HasPrefix(*in.DNSName, "internal-in-") || d.CanonicalHostedZoneName != nil || *d.VPCId != "vpc-2" {
		t.Errorf("internal: %s %+v", *in.DNSName, d)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*elb.CreateLoadBalancerInput)
		code, message string
	}{
		{"a bad name", func(in *elb.CreateLoadBalancerInput) { in.LoadBalancerName = new("a_b") }, "ValidationError", "alphanumeric"},
		{"a long name", func(in *elb.CreateLoadBalancerInput) { in.LoadBalancerName = new(strings.Repeat("a", 33)) }, "ValidationError", "32"},
		{"a hyphen first", func(in *elb.CreateLoadBalancerInput) { in.LoadBalancerName = new("-a") }, "ValidationError", "hyphen"},
		{"no listener", func(in *elb.CreateLoadBalancerInput) { in.Listeners = nil }, "ValidationError", "Listeners cannot be empty"},
		{"no place", func(in *elb.CreateLoadBalancerInput) { in.Subnets = nil }, "ValidationError", "Either AvailabilityZones or SubnetIds"},
		{"both places", func(in *elb.CreateLoadBalancerInput) { in.AvailabilityZones = []string{"us-east-1a"} }, "ValidationError", "Only one of"},
		{"an unknown zone", func(in *elb.CreateLoadBalancerInput) { in.Subnets, in.AvailabilityZones = nil, []string{"us-east-1z"} }, "ValidationError", "us-east-1z"},
		{"an unknown subnet", func(in *elb.CreateLoadBalancerInput) { in.Subnets = []string{"subnet-x"} }, "SubnetNotFound", "subnet-x"},
		{"two subnets of a zone", func(in *elb.CreateLoadBalancerInput) { in.Subnets = []string{"subnet-b", "subnet-b2"} }, "InvalidConfigurationRequest", "multiple subnets in the same AZ"},
		{"two VPCs", func(in *elb.CreateLoadBalancerInput) { in.Subnets = []string{"subnet-b", "subnet-other"} }, "InvalidSubnet", "vpc-1"},
		{"no gateway", func(in *elb.CreateLoadBalancerInput) { in.Subnets = []string{"subnet-other"} }, "InvalidSubnet", "no internet gateway"},
		{"a scheme", func(in *elb.CreateLoadBalancerInput) { in.Scheme = new("public") }, "InvalidScheme", "public"},
		{"a group", func(in *elb.CreateLoadBalancerInput) { in.SecurityGroups = []string{"sg-vpc-2"} }, "InvalidSecurityGroup", "do not exist"},
		{"a tag twice", func(in *elb.CreateLoadBalancerInput) { in.Tags = []elb.Tag{{Key: new("a")}, {Key: new("a")}} }, "DuplicateTagKeys", "a"},
		{"AWS's tag", func(in *elb.CreateLoadBalancerInput) { in.Tags = []elb.Tag{{Key: new("aws:x")}} }, "ValidationError", "aws:"},
		{"a protocol", func(in *elb.CreateLoadBalancerInput) { in.Listeners = []elb.Listener{listener("UDP", 80, "", 80)} }, "UnsupportedProtocol", "UDP"},
		{"two layers", func(in *elb.CreateLoadBalancerInput) { in.Listeners = []elb.Listener{listener("HTTP", 80, "TCP", 80)} }, "ValidationError", "same Internet protocol layer"},
		{"a port", func(in *elb.CreateLoadBalancerInput) { in.Listeners = []elb.Listener{listener("HTTP", 0, "", 80)} }, "ValidationError", "LoadBalancerPort"},
		{"a port twice", func(in *elb.CreateLoadBalancerInput) {
			in.Listeners = []elb.Listener{listener("HTTP", 80, "", 80), listener("HTTP", 80, "", 81)}
		}, "ValidationError", "twice"},
		{"no certificate", func(in *elb.CreateLoadBalancerInput) {
			in.Listeners = []elb.Listener{listener("HTTPS", 80, "", 80)}
			in.Listeners[0].SSLCertificateId = nil
		}, "ValidationError", "Secure Listeners need to specify a SSLCertificateId"},
		{"a needless certificate", func(in *elb.CreateLoadBalancerInput) { in.Listeners[0].SSLCertificateId = new(cert) }, "ValidationError", "Only Secure Listeners"},
		{"an unknown certificate", func(in *elb.CreateLoadBalancerInput) {
			in.Listeners = []elb.Listener{listener("SSL", 80, "", 80)}
			in.Listeners[0].SSLCertificateId = new(cert + "x")
		}, "CertificateNotFound", "Server Certificate not found for the key: " + cert + "x"},
		{"a certificate that is not issued", func(in *elb.CreateLoadBalancerInput) {
			in.Listeners = []elb.Listener{listener("SSL", 80, "", 80)}
			in.Listeners[0].SSLCertificateId = new(strings.TrimSuffix(cert, "c1") + "c2")
		}, "CertificateNotFound", "c2"},
		{"one instance port with and without TLS", func(in *elb.CreateLoadBalancerInput) {
			in.Listeners = []elb.Listener{listener("HTTPS", 443, "HTTPS", 80), listener("HTTP", 80, "HTTP", 80)}
		}, "InvalidConfigurationRequest", "instance port 80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			in := &elb.CreateLoadBalancerInput{LoadBalancerName: new("n"), Listeners: []elb.Listener{listener("HTTP", 80, "", 80)}, Subnets: []string{"subnet-a"}}
			c.change(in)
			_, err := w.s.CreateLoadBalancer(w.ctx, in)
			refused(t, err, c.code, c.message)
			if all := must(w.s.DescribeLoadBalancers(w.ctx, &elb.DescribeLoadBalancersInput{}))(w); len(all.LoadBalancerDescriptions) > 0 {
				t.Error("it was made nevertheless")
			}
		})
	}
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	for i := range maxLoadBalancers {
		w.create("lb" + strings.Repeat("x", i))
	}
	_, err := w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: new("more"), Listeners: []elb.Listener{listener("HTTP", 80, "", 80)}, Subnets: []string{"subnet-a"}})
	refused(t, err, "TooManyLoadBalancers", "20")
	limits := must(w.s.DescribeAccountLimits(w.ctx, &elb.DescribeAccountLimitsInput{PageSize: new(int32(2))}))(w)
	if len(limits.Limits) != 2 || *limits.Limits[1].Max != "20" || limits.NextMarker == nil {
		t.Errorf("limits %+v", limits)
	}
	rest := must(w.s.DescribeAccountLimits(w.ctx, &elb.DescribeAccountLimitsInput{PageSize: new(int32(2)), Marker: limits.NextMarker}))(w)
	if len(rest.Limits) != 1 || *rest.Limits[0].Name != "classic-registered-instances" || rest.NextMarker != nil {
		t.Errorf("limits %+v", rest)
	}
	var names []string
	in := &elb.DescribeLoadBalancersInput{PageSize: new(int32(7))}
	for {
		out := must(w.s.DescribeLoadBalancers(w.ctx, in))(w)
		for _, d := range out.LoadBalancerDescriptions {
			names = append(names, *d.LoadBalancerName)
		}
		if in.Marker = out.NextMarker; in.Marker == nil {
			break
		}
	}
	if len(names) != maxLoadBalancers {
		t.Errorf("listed %q", names)
	}
	_, err = w.s.DescribeLoadBalancers(w.ctx, &elb.DescribeLoadBalancersInput{Marker: new("x")})
	refused(t, err, "ValidationError", "marker")
	_, err = w.s.DescribeLoadBalancers(w.ctx, &elb.DescribeLoadBalancersInput{LoadBalancerNames: []string{"lb", "nope"}})
	refused(t, err, "LoadBalancerNotFound", "There is no ACTIVE Load Balancer named 'nope'")
}

// Deleting leaves nothing but what the controller takes down, and the name is
// free at once.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	name := w.create("n", listener("HTTP", 80, "", 80), listener("TCP", 81, "", 81))
	if err := w.register(name, "i-1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		must(w.s.DeleteLoadBalancer(w.ctx, &elb.DeleteLoadBalancerInput{LoadBalancerName: name}))(w)
	}
	q := store.Query{Account: account, Region: region}
	ls := must(tables.Listeners.List(w.ctx, w.st, q))(w)
	rs := must(tables.Rules.List(w.ctx, w.st, q))(w)
	gs := must(tables.TargetGroups.List(w.ctx, w.st, q))(w)
	lbs := must(tables.LoadBalancers.List(w.ctx, w.st, q))(w)
	if len(ls)+len(rs)+len(gs) != 0 || len(lbs) != 1 || lbs[0].V.DeletedAt == nil {
		t.Errorf("left: %v %v %v %v", ls, rs, gs, lbs)
	}
	w.create("n")
	if d := w.describe(name); len(d.ListenerDescriptions) != 1 || len(d.Instances) != 0 {
		t.Errorf("the next one is %+v", d)
	}
}

func TestListeners(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	add := func(ls ...elb.Listener) error {
		_, err := w.s.CreateLoadBalancerListeners(w.ctx, &elb.CreateLoadBalancerListenersInput{LoadBalancerName: name, Listeners: ls})
		return err
	}
	for range 2 {
		if err := add(listener("HTTPS", 443, "", 8080)); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, add(listener("HTTP", 80, "", 81)), "DuplicateListener", "A listener already exists for n with LoadBalancerPort 80, but with a different InstancePort, Protocol, or SSLCertificateId")
	refused(t, add(), "ValidationError", "empty")
	set := func(port int32, arn string) error {
		_, err := w.s.SetLoadBalancerListenerSSLCertificate(w.ctx, &elb.SetLoadBalancerListenerSSLCertificateInput{LoadBalancerName: name, LoadBalancerPort: &port, SSLCertificateId: &arn})
		return err
	}
	if err := set(443, cert2); err != nil {
		t.Fatal(err)
	}
	refused(t, set(443, "x"), "CertificateNotFound", "x")
	refused(t, set(80, cert2), "InvalidConfigurationRequest", "HTTP")
	refused(t, set(81, cert2), "ListenerNotFound", "port 81")
	if d := w.describe(name); *d.ListenerDescriptions[1].Listener.SSLCertificateId != cert2 {
		t.Errorf("listeners %+v", d.ListenerDescriptions)
	}
	must(w.s.DeleteLoadBalancerListeners(w.ctx, &elb.DeleteLoadBalancerListenersInput{LoadBalancerName: name, LoadBalancerPorts: []int32{80, 81}}))(w)
	if d := w.describe(name); len(d.ListenerDescriptions) != 1 || *d.ListenerDescriptions[0].Listener.LoadBalancerPort != 443 {
		t.Errorf("listeners %+v", d.ListenerDescriptions)
	}
}

func TestPlaces(t *testing.T) {
	w := newWorld(t)
	must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: new("n"), Listeners: []elb.Listener{listener("HTTP", 80, "", 80)}, Subnets: []string{"subnet-a"}}))(w)
	name := new("n")
	attach := func(ids ...string) (*elb.AttachLoadBalancerToSubnetsOutput, error) {
		return w.s.AttachLoadBalancerToSubnets(w.ctx, &elb.AttachLoadBalancerToSubnetsInput{LoadBalancerName: name, Subnets: ids})
	}
	if out := must(attach("subnet-b", "subnet-a"))(w); !cmp.Equal(out.Subnets, []string{"subnet-a", "subnet-b"}) {
		t.Errorf("subnets %q", out.Subnets)
	}
	_, err := attach("subnet-b2")
	refused(t, err, "InvalidConfigurationRequest", "multiple subnets in the same AZ")
	_, err = attach("subnet-other")
	refused(t, err, "InvalidSubnet", "vpc-1")
	detach := func(ids ...string) error {
		_, err := w.s.DetachLoadBalancerFromSubnets(w.ctx, &elb.DetachLoadBalancerFromSubnetsInput{LoadBalancerName: name, Subnets: ids})
		return err
	}
	refused(t, detach("subnet-a", "subnet-b"), "InvalidConfigurationRequest", "at least one subnet")
	if err := detach("subnet-b"); err != nil {
		t.Fatal(err)
	}
	if out := must(attach("subnet-b2"))(w); !cmp.Equal(out.Subnets, []string{"subnet-a", "subnet-b2"}) {
		t.Errorf("subnets %q", out.Subnets)
	}
	off := must(w.s.DisableAvailabilityZonesForLoadBalancer(w.ctx, &elb.DisableAvailabilityZonesForLoadBalancerInput{LoadBalancerName: name, AvailabilityZones: []string{"us-east-1b"}}))(w)
	if !cmp.Equal(off.AvailabilityZones, []string{"us-east-1a"}) {
		t.Errorf("zones %q", off.AvailabilityZones)
	}
	on := must(w.s.EnableAvailabilityZonesForLoadBalancer(w.ctx, &elb.EnableAvailabilityZonesForLoadBalancerInput{LoadBalancerName: name, AvailabilityZones: []string{"us-east-1a", "us-east-1b"}}))(w)
	if !cmp.Equal(on.AvailabilityZones, []string{"us-east-1a", "us-east-1b"}) {
		t.Errorf("zones %q", on.AvailabilityZones)
	}
	must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: new("in"), Scheme: new("internal"), Subnets: []string{"subnet-other"}, Listeners: []elb.Listener{listener("TCP", 80, "", 80)}}))(w)
	_, err = w.s.EnableAvailabilityZonesForLoadBalancer(w.ctx, &elb.EnableAvailabilityZonesForLoadBalancerInput{LoadBalancerName: new("in"), AvailabilityZones: []string{"us-east-1b"}})
	refused(t, err, "ValidationError", "attach it to subnets")

	groups := func(ids ...string) ([]string, error) {
		out, err := w.s.ApplySecurityGroupsToLoadBalancer(w.ctx, &elb.ApplySecurityGroupsToLoadBalancerInput{LoadBalancerName: name, SecurityGroups: ids})
		if err != nil {
			return nil, err
		}
		return out.SecurityGroups, nil
	}
	if got := must(groups("sg-2", "sg-vpc-1"))(w); !cmp.Equal(got, []string{"sg-2", "sg-vpc-1"}) {
		t.Errorf("groups %q", got)
	}
	if d := w.describe(name); *d.SourceSecurityGroup.GroupName != "web" {
		t.Errorf("source %+v", d.SourceSecurityGroup)
	}
	_, err = groups()
	refused(t, err, "InvalidConfigurationRequest", "At least one")
	_, err = groups("sg-vpc-2")
	refused(t, err, "InvalidSecurityGroup", "do not exist")
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	add := func(names []string, tags ...elb.Tag) error {
		_, err := w.s.AddTags(w.ctx, &elb.AddTagsInput{LoadBalancerNames: names, Tags: tags})
		return err
	}
	if err := add([]string{"n"}, elb.Tag{Key: new("a"), Value: new("1")}, elb.Tag{Key: new("b")}); err != nil {
		t.Fatal(err)
	}
	refused(t, add([]string{"n", "m"}, elb.Tag{Key: new("a")}), "ValidationError", "Exactly one")
	refused(t, add([]string{"m"}, elb.Tag{Key: new("a")}), "LoadBalancerNotFound", "'m'")
	var many []elb.Tag
	for i := range maxTags {
		many = append(many, elb.Tag{Key: new(strings.Repeat("k", i+1))})
	}
	refused(t, add([]string{"n"}, many...), "TooManyTags", "quota")
	must(w.s.RemoveTags(w.ctx, &elb.RemoveTagsInput{LoadBalancerNames: []string{*name}, Tags: []elb.TagKeyOnly{{Key: new("a")}, {Key: new("c")}}}))(w)
	out := must(w.s.DescribeTags(w.ctx, &elb.DescribeTagsInput{LoadBalancerNames: []string{"n"}}))(w)
	if tags := out.TagDescriptions[0].Tags; len(tags) != 1 || *tags[0].Key != "b" || *tags[0].Value != "" {
		t.Errorf("tags %+v", tags)
	}
}

func TestAttributes(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	describe := func() *elb.LoadBalancerAttributes {
		return must(w.s.DescribeLoadBalancerAttributes(w.ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerName: name}))(w).LoadBalancerAttributes
	}
	modify := func(a elb.LoadBalancerAttributes) (*elb.ModifyLoadBalancerAttributesOutput, error) {
		return w.s.ModifyLoadBalancerAttributes(w.ctx, &elb.ModifyLoadBalancerAttributesInput{LoadBalancerName: name, LoadBalancerAttributes: &a})
	}
	want := &elb.LoadBalancerAttributes{
		CrossZoneLoadBalancing: &elb.CrossZoneLoadBalancing{Enabled: new(false)}, AccessLog: &elb.AccessLog{Enabled: new(false)},
		ConnectionDraining: &elb.ConnectionDraining{Enabled: new(false), Timeout: new(int32(300))}, ConnectionSettings: &elb.ConnectionSettings{IdleTimeout: new(int32(60))},
		AdditionalAttributes: []elb.AdditionalAttribute{{Key: new("elb.http.desyncmitigationmode"), Value: new("defensive")}},
	}
	if d := cmp.Diff(want, describe()); d != "" {
		t.Error(d)
	}
	delay := func() string {
		b := must(w.s.find(w.ctx, *name))(w)
		return b.group.V.Attributes[drainDelay]
	}
	if delay() != "0" {
		t.Errorf("without draining: %s", delay())
	}
	out := must(modify(elb.LoadBalancerAttributes{ConnectionDraining: &elb.ConnectionDraining{Enabled: new(true)}}))(w)
	if d := cmp.Diff(&elb.LoadBalancerAttributes{ConnectionDraining: &elb.ConnectionDraining{Enabled: new(true), Timeout: new(int32(300))}}, out.LoadBalancerAttributes); d != "" || delay() != "300" {
		t.Error(d, delay())
	}
	set := elb.LoadBalancerAttributes{
		CrossZoneLoadBalancing: &elb.CrossZoneLoadBalancing{Enabled: new(true)}, AccessLog: &elb.AccessLog{Enabled: new(false)},
		ConnectionDraining: &elb.ConnectionDraining{Enabled: new(true), Timeout: new(int32(7))}, ConnectionSettings: &elb.ConnectionSettings{IdleTimeout: new(int32(5))},
		AdditionalAttributes: []elb.AdditionalAttribute{{Key: new("elb.http.desyncmitigationmode"), Value: new("strictest")}},
	}
	must(modify(set))(w)
	if d := cmp.Diff(&set, describe()); d != "" || delay() != "7" {
		t.Error(d, delay())
	}
	_, err := modify(elb.LoadBalancerAttributes{ConnectionDraining: &elb.ConnectionDraining{Enabled: new(true), Timeout: new(int32(3601))}})
	refused(t, err, "ValidationError", "3600")
	_, err = modify(elb.LoadBalancerAttributes{AdditionalAttributes: []elb.AdditionalAttribute{{Key: new("x"), Value: new("y")}}})
	refused(t, err, "LoadBalancerAttributeNotFound", "x")
	_, err = modify(elb.LoadBalancerAttributes{AdditionalAttributes: []elb.AdditionalAttribute{{Key: new(desyncKey), Value: new("y")}}})
	refused(t, err, "InvalidConfigurationRequest", "strictest")
}

func TestHealthCheck(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	configure := func(target string, timeout int32) (*elb.ConfigureHealthCheckOutput, error) {
		return w.s.ConfigureHealthCheck(w.ctx, &elb.ConfigureHealthCheckInput{LoadBalancerName: name, HealthCheck: &elb.HealthCheck{
			Target: &target, Interval: new(int32(10)), Timeout: &timeout, HealthyThreshold: new(int32(2)), UnhealthyThreshold: new(int32(3)),
		}})
	}
	for target, want := range map[string]model.HealthCheck{
		"HTTP:80/ping?x=/": {Protocol: "HTTP", Port: "80", Path: "/ping?x=/", HTTPCode: "200"},
		"https:443/":       {Protocol: "HTTPS", Port: "443", Path: "/", HTTPCode: "200"},
		"TCP:0022":         {Protocol: "TCP", Port: "22"},
		"SSL:443":          {Protocol: "SSL", Port: "443"},
	} {
		want.Enabled, want.IntervalSeconds, want.TimeoutSeconds, want.HealthyThreshold, want.UnhealthyThreshold = true, 10, 5, 2, 3
		must(configure(target, 5))(w)
		b := must(w.s.find(w.ctx, *name))(w)
		if d := cmp.Diff(want, b.group.V.HealthCheck); d != "" {
			t.Errorf("%s: %s", target, d)
		}
	}
	for target, message := range map[string]string{
		"UDP:80":     "must begin with one of HTTP, TCP, HTTPS, SSL",
		"":           "must begin with one of HTTP, TCP, HTTPS, SSL",
		"HTTP:80":    "followed by a path",
		"TCP:80/":    "nothing else",
		"TCP:":       "port",
		"TCP:65536":  "port",
		"TCP:+80":    "port",
		"HTTP:80/ x": "printable",
		"HTTP:80/" + strings.Repeat("x", maxPath): "1024",
	} {
		_, err := configure(target, 5)
		refused(t, err, "ValidationError", message)
	}
	_, err := configure("TCP:80", 10)
	refused(t, err, "ValidationError", "Timeout")
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"HTTP:80/a", "TCP:80", "SSL:1", "HTTPS:65535/" + strings.Repeat("a", 1023), ":", "http:/", "TCP:-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hc, err := parseTarget(s)
		if err != nil {
			return
		}
		again, err := parseTarget(*renderCheck(&hc).Target)
		if err != nil || again != hc {
			t.Errorf("%q is %+v, and read again %+v, %v", s, hc, again, err)
		}
	})
}

// In a default VPC load balancers that name no security group share one that
// lets in what comes for the ports of the first; elsewhere they have the VPC's.
func TestStandardGroup(t *testing.T) {
	w := newWorld(t)
	first := w.describe(w.create("a", listener("HTTP", 80, "", 8080), listener("TCP", 6379, "", 6379)))
	second := w.describe(w.create("b", listener("TCP", 25, "", 25)))
	if len(first.SecurityGroups) != 1 || !slices.Equal(first.SecurityGroups, second.SecurityGroups) {
		t.Fatalf("the groups are %v and %v", first.SecurityGroups, second.SecurityGroups)
	}
	g := must(tables.SecurityGroups.Get(w.ctx, w.st, account, region, first.SecurityGroups[0]))(w).V
	var in []int32
	out := false
	for _, r := range g.Rules {
		if r.Egress {
			out = out || r.Protocol == "-1"
		} else if r.Protocol == "tcp" && r.FromPort == r.ToPort && r.CIDR.Bits() == 0 {
			in = append(in, r.FromPort)
		}
	}
	if !slices.Equal(in, []int32{80, 6379}) || !out || g.VPCID != "vpc-1" || g.Name != *first.SourceSecurityGroup.GroupName || !strings.HasPrefix(g.Name, "default_elb_") {
		t.Errorf("the group is %+v", g)
	}
	must(w.s.CreateLoadBalancer(w.ctx, &elb.CreateLoadBalancerInput{LoadBalancerName: new("c"), Scheme: new("internal"), Subnets: []string{"subnet-other"}, Listeners: []elb.Listener{listener("TCP", 80, "", 80)}}))(w)
	if d := w.describe(new("c")); !slices.Equal(d.SecurityGroups, []string{"sg-vpc-2"}) {
		t.Errorf("in another VPC the groups are %v", d.SecurityGroups)
	}
}
