package elbv2

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// certificate writes an issued certificate.
func (w *world) certificate(id string) string {
	w.t.Helper()
	arn := model.MakeARN("acm", region, account, "certificate/"+id)
	w.put(func(tx *store.Txn) {
		tables.Certificates.Put(tx, account, region, id, &model.Certificate{ID: id, ARN: arn, Status: model.CertificateIssued, Leaf: "leaf", Key: "key"})
	})
	return arn
}

func (w *world) put(f func(*store.Txn)) {
	w.t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(w.ctx, w.st); err != nil {
		w.t.Fatal(err)
	}
}

func named(arns ...string) []elbv2.Certificate {
	var out []elbv2.Certificate
	for _, a := range arns {
		out = append(out, elbv2.Certificate{CertificateArn: new(a)})
	}
	return out
}

func TestHTTPSListeners(t *testing.T) {
	w := newWorld(t)
	lb, group := w.loadBalancer("lb"), w.group("g")
	a, b := w.certificate("a"), w.certificate("b")
	create := func(port int32, policy string, cs ...elbv2.Certificate) (*elbv2.Listener, error) {
		in := &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: &port, Protocol: "HTTPS", DefaultActions: forward(group), Certificates: cs}
		if policy != "" {
			in.SslPolicy = &policy
		}
		out, err := w.s.CreateListener(w.ctx, in)
		if err != nil {
			return nil, err
		}
		return &out.Listeners[0], nil
	}
	pending := model.MakeARN("acm", region, account, "certificate/pending")
	w.put(func(tx *store.Txn) {
		tables.Certificates.Put(tx, account, region, "pending", &model.Certificate{ID: "pending", ARN: pending, Status: model.CertificatePending})
	})
	for _, c := range []struct {
		code, text, policy string
		certificates       []elbv2.Certificate
	}{
		{"ValidationError", "A certificate must be specified for HTTPS listeners", "", nil},
		{"TooManyCertificates", "", "", named(a, b)},
		{"CertificateNotFound", a + "x", "", named(a + "x")},
		{"CertificateNotFound", "", "", named("arn:aws:acm:eu-west-1:" + account + ":certificate/a")},
		{"CertificateNotFound", "", "", named("arn:aws:iam::" + account + ":server-certificate/none")},
		{"UnsupportedCertificate", "", "", named(pending)},
		{"ValidationError", "is not valid", "", named("mine")},
		{"SSLPolicyNotFound", "SSL policy 'none' not found", "none", named(a)},
	} {
		_, err := create(443, c.policy, c.certificates...)
		refused(t, err, c.code, c.text)
	}
	l, err := create(443, "", named(a)...)
	if err != nil {
		t.Fatal(err)
	}
	if *l.SslPolicy != "ELBSecurityPolicy-2016-08" || *l.Certificates[0].CertificateArn != a || *l.MutualAuthentication.Mode != "off" {
		t.Errorf("listener %+v", l)
	}
	if again, err := create(443, "", named(a)...); err != nil || *again.ListenerArn != *l.ListenerArn {
		t.Errorf("the same listener again: %v, %v", again, err)
	}
	_, err = create(443, "", named(b)...)
	refused(t, err, "DuplicateListener", "")

	// The list, with the default certificate in it as well.
	for range 2 {
		must(w.s.AddListenerCertificates(w.ctx, &elbv2.AddListenerCertificatesInput{ListenerArn: l.ListenerArn, Certificates: named(a, b)}))(w)
	}
	list := func() (out []string) {
		for _, c := range must(w.s.DescribeListenerCertificates(w.ctx, &elbv2.DescribeListenerCertificatesInput{ListenerArn: l.ListenerArn}))(w).Certificates {
			out = append(out, fmt.Sprint(*c.CertificateArn == a, *c.IsDefault))
		}
		return out
	}
	if d := cmp.Diff([]string{"true true", "true false", "false false"}, list()); d != "" {
		t.Error(d)
	}
	remove := func(arn string) error {
		_, err := w.s.RemoveListenerCertificates(w.ctx, &elbv2.RemoveListenerCertificatesInput{ListenerArn: l.ListenerArn, Certificates: named(arn)})
		return err
	}
	if err := remove(a); err != nil {
		t.Error(err)
	}
	refused(t, remove(a), "OperationNotPermitted", "")

	// Another default leaves the list alone, and what is not named stays.
	out := must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Certificates: named(b), SslPolicy: new("ELBSecurityPolicy-TLS13-1-2-2021-06")}))(w).Listeners[0]
	if *out.Certificates[0].CertificateArn != b || *out.SslPolicy != "ELBSecurityPolicy-TLS13-1-2-2021-06" {
		t.Errorf("listener %+v", out)
	}
	if d := cmp.Diff([]string{"false true", "false false"}, list()); d != "" {
		t.Error(d)
	}
	out = must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Port: new(int32(8443))}))(w).Listeners[0]
	if *out.Port != 8443 || *out.Certificates[0].CertificateArn != b || *out.SslPolicy != "ELBSecurityPolicy-TLS13-1-2-2021-06" {
		t.Errorf("listener %+v", out)
	}
	out = must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Protocol: "HTTP"}))(w).Listeners[0]
	if out.Certificates != nil || out.SslPolicy != nil || len(list()) != 0 {
		t.Errorf("listener %+v", out)
	}
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Protocol: "HTTPS"})
	refused(t, err, "ValidationError", "A certificate must be specified")
	must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Protocol: "HTTPS", Certificates: named(a)}))(w)
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, MutualAuthentication: &elbv2.MutualAuthenticationAttributes{Mode: new("verify")}})
	refused(t, err, "ValidationError", "A trust store ARN must be specified")
}

func TestCertificateQuota(t *testing.T) {
	w := newWorld(t)
	lb, group := w.loadBalancer("lb"), w.group("g")
	a := w.certificate("default")
	var arns []string
	for _, port := range []int32{443, 444} {
		out := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: &port, Protocol: "HTTPS", DefaultActions: forward(group), Certificates: named(a)}))(w)
		arns = append(arns, *out.Listeners[0].ListenerArn)
	}
	for i := range maxCertificates {
		c := w.certificate(fmt.Sprint("c", i))
		must(w.s.AddListenerCertificates(w.ctx, &elbv2.AddListenerCertificatesInput{ListenerArn: &arns[i%2], Certificates: named(c)}))(w)
	}
	_, err := w.s.AddListenerCertificates(w.ctx, &elbv2.AddListenerCertificatesInput{ListenerArn: &arns[0], Certificates: named(w.certificate("more"))})
	refused(t, err, "TooManyCertificates", "")
}

func TestSSLPolicies(t *testing.T) {
	w := newWorld(t)
	var names []string
	in := &elbv2.DescribeSSLPoliciesInput{PageSize: new(int32(7))}
	for {
		out := must(w.s.DescribeSSLPolicies(w.ctx, in))(w)
		for _, p := range out.SslPolicies {
			names = append(names, *p.Name)
		}
		if in.Marker = out.NextMarker; in.Marker == nil {
			break
		}
	}
	if len(names) != 38 {
		t.Errorf("policies %v", names)
	}
	p := must(w.s.DescribeSSLPolicies(w.ctx, &elbv2.DescribeSSLPoliciesInput{Names: []string{"ELBSecurityPolicy-TLS13-1-2-Res-2021-06"}}))(w).SslPolicies[0]
	if d := cmp.Diff([]string{"TLSv1.2", "TLSv1.3"}, p.SslProtocols); d != "" || len(p.Ciphers) != 7 || *p.Ciphers[6].Priority != 7 {
		t.Errorf("policy %+v", p)
	}
	_, err := w.s.DescribeSSLPolicies(w.ctx, &elbv2.DescribeSSLPoliciesInput{Names: []string{"mine"}})
	refused(t, err, "SSLPolicyNotFound", "mine")
}
