package elbv2

import (
	"testing"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TestWhatHTTPListenersHaveNot asks for what only other load balancers have.
func TestWhatHTTPListenersHaveNot(t *testing.T) {
	w := newWorld(t)
	lb, group := w.loadBalancer("a"), w.group("g")
	listener := w.listener(lb, 80, forward(group))
	certificates := must(w.s.DescribeListenerCertificates(w.ctx, &elbv2.DescribeListenerCertificatesInput{ListenerArn: &listener}))(w)
	if len(certificates.Certificates) != 0 {
		t.Errorf("certificates %+v", certificates.Certificates)
	}
	_, err := w.s.DescribeListenerCertificates(w.ctx, &elbv2.DescribeListenerCertificatesInput{ListenerArn: new(listener[:len(listener)-1] + "x")})
	refused(t, err, "ListenerNotFound", "")
	_, err = w.s.AddListenerCertificates(w.ctx, &elbv2.AddListenerCertificatesInput{ListenerArn: &listener, Certificates: []elbv2.Certificate{{CertificateArn: new("arn:aws:iam::123456789012:server-certificate/a")}}})
	refused(t, err, "ValidationError", "Certificates cannot be specified for HTTP listeners")
	if out := must(w.s.DescribeCapacityReservation(w.ctx, &elbv2.DescribeCapacityReservationInput{LoadBalancerArn: &lb}))(w); len(out.CapacityReservationState) != 0 {
		t.Errorf("reserved: %+v", out)
	}
}

func TestAddressType(t *testing.T) {
	w := newWorld(t)
	lb := w.loadBalancer("a")
	out := must(w.s.SetIpAddressType(w.ctx, &elbv2.SetIpAddressTypeInput{LoadBalancerArn: &lb, IpAddressType: elbv2.IpAddressTypeIpv4}))(w)
	if out.IpAddressType != elbv2.IpAddressTypeIpv4 {
		t.Errorf("type %s", out.IpAddressType)
	}
	if _, err := w.s.SetIpAddressType(w.ctx, &elbv2.SetIpAddressTypeInput{LoadBalancerArn: &lb, IpAddressType: elbv2.IpAddressTypeDualstack}); err == nil {
		t.Error("a load balancer took IPv6")
	}
}

func TestTargetGroupIsModified(t *testing.T) {
	w := newWorld(t)
	group := w.group("g")
	must(w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: &group, HealthCheckPath: new("/ready"), HealthyThresholdCount: new(int32(3)), Matcher: &elbv2.Matcher{HttpCode: new("200-299")}}))(w)
	tg := must(w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{group}}))(w).TargetGroups[0]
	if *tg.HealthCheckPath != "/ready" || *tg.HealthyThresholdCount != 3 || *tg.Matcher.HttpCode != "200-299" {
		t.Errorf("group %+v", tg)
	}
	found := false
	for _, a := range must(w.s.DescribeTargetGroupAttributes(w.ctx, &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &group}))(w).Attributes {
		found = found || *a.Key == "deregistration_delay.timeout_seconds" && *a.Value == "300"
	}
	if !found {
		t.Error("a group does not tell its deregistration delay")
	}
}

// TestNamesOfOldLoadBalancers opens records that were written before DNS names
// had records of their own.
func TestNamesOfOldLoadBalancers(t *testing.T) {
	w := newWorld(t)
	w.loadBalancer("a")
	name := *must(w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{}))(w).LoadBalancers[0].DNSName
	tx := store.NewTxn()
	tables.LoadBalancerDNSNames.Erase(tx, model.AmazonAccount, "", name)
	if _, err := tx.Commit(t.Context(), w.st); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.s.NameAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if row, err := tables.LoadBalancerByDNSName(t.Context(), w.st, name); err != nil || row.V.DNSName != name {
		t.Errorf("found %+v, %v", row.V, err)
	}
}

// Nothing can be reserved, and nothing is given up without an error.
func TestCapacityReservation(t *testing.T) {
	w := newWorld(t)
	lb := w.loadBalancer("app")
	modify := func(arn string, units int32, reset bool) error {
		in := &elbv2.ModifyCapacityReservationInput{LoadBalancerArn: &arn, ResetCapacityReservation: &reset}
		if units > 0 {
			in.MinimumLoadBalancerCapacity = &elbv2.MinimumLoadBalancerCapacity{CapacityUnits: &units}
		}
		_, err := w.s.ModifyCapacityReservation(w.ctx, in)
		return err
	}
	refused(t, modify(lb, 3000, false), "CapacityUnitsLimitExceeded", lb)
	refused(t, modify(lb, 3000, true), "ValidationError", "both")
	refused(t, modify(lb, 0, false), "ValidationError", "reset")
	refused(t, modify(lb+"x", 0, true), "LoadBalancerNotFound", "")
	if err := modify(lb, 0, true); err != nil {
		t.Error(err)
	}
}
