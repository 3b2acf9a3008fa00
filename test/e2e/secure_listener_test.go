package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// upload makes a certificate for a name and gives it to IAM. It returns its
// ARN and the file that curl verifies it by.
func (st *stack) upload(label, name string) (arn, file string) {
	st.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		st.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		st.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		st.t.Fatal(err)
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	out, err := st.iam.UploadServerCertificate(st.t.Context(), &iam.UploadServerCertificateInput{
		ServerCertificateName: new(st.name + "-" + label), CertificateBody: new(string(body)),
		PrivateKey: new(string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))),
	})
	if err != nil {
		st.t.Fatal(err)
	}
	file = filepath.Join(st.t.TempDir(), label+".pem")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		st.t.Fatal(err)
	}
	return *out.ServerCertificateMetadata.Arn, file
}

// TestSecureListener reaches a container through an HTTPS listener by the load
// balancer's name, by HTTP/1.1 and HTTP/2, with a certificate of the list that
// the name asks for, and with another one after a change.
func TestSecureListener(t *testing.T) {
	t.Parallel()
	const port = 8453
	st := newStack(t, shared(t))
	ctx := t.Context()
	b := st.balance(1, st.register("web", nil, st.container("serve", "-name", "secure")))
	lbs, err := st.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{st.name}})
	if err != nil {
		t.Fatal(err)
	}
	lb := lbs.LoadBalancers[0].LoadBalancerArn
	if _, err := st.elb.SetSecurityGroups(ctx, &elb.SetSecurityGroupsInput{LoadBalancerArn: lb, SecurityGroups: []string{st.group("secure", port, "0.0.0.0/0")}}); err != nil {
		t.Fatal(err)
	}
	own, ownFile := st.upload("own", b.dns)
	standard, _ := st.upload("standard", "standard.test")
	l, err := st.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: lb, Protocol: elbtypes.ProtocolEnumHttps, Port: new(int32(port)), SslPolicy: new("ELBSecurityPolicy-TLS13-1-2-2021-06"),
		Certificates:   []elbtypes.Certificate{{CertificateArn: new(standard)}},
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(b.targetGroup)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := l.Listeners[0].ListenerArn
	add := func(arn string) {
		t.Helper()
		if _, err := st.elb.AddListenerCertificates(ctx, &elb.AddListenerCertificatesInput{ListenerArn: listener, Certificates: []elbtypes.Certificate{{CertificateArn: new(arn)}}}); err != nil {
			t.Fatal(err)
		}
	}
	add(own)
	b.stable(90 * time.Second)
	curl := func(file, name, version, want string) {
		t.Helper()
		eventually(t, 30*time.Second, "curl "+name, func() error {
			url := fmt.Sprintf("https://%s:%d/", name, port)
			out, err := exec.CommandContext(ctx, "curl", "-sS", "-m", "10", version, "--cacert", file, "-w", " %{http_code} %{http_version}", url).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "secure") || !strings.HasSuffix(string(out), want) {
				return errorf("%s %v", out, err)
			}
			return nil
		})
	}
	curl(ownFile, b.dns, "--http2", " 200 2")
	curl(ownFile, b.dns, "--http1.1", " 200 1.1")
	renewed, renewedFile := st.upload("renewed", b.dns)
	add(renewed)
	if _, err := st.elb.RemoveListenerCertificates(ctx, &elb.RemoveListenerCertificatesInput{ListenerArn: listener, Certificates: []elbtypes.Certificate{{CertificateArn: new(own)}}}); err != nil {
		t.Fatal(err)
	}
	curl(renewedFile, b.dns, "--http2", " 200 2")
}
