package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// authority certifies clients, and takes its word back.
type authority struct {
	t   *testing.T
	c   *x509.Certificate
	key *ecdsa.PrivateKey
	pem string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, c: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Clients"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte("clients"),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}}
	pair := a.certify(a.c)
	a.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	return a
}

// certify signs a certificate; the authority's own is the first.
func (a *authority) certify(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.c, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) client(serial int64, name string) tls.Certificate {
	a.t.Helper()
	return a.certify(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) revoke(serial int64) string {
	a.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Now().Add(-time.Minute)}},
	}, a.c, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// exported is a certificate of Certificate Manager's for a name, with its key.
func (st *stack) exported(name string) (certificate, key string) {
	st.t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		st.t.Skip("openssl is not installed")
	}
	var out struct{ Certificate, PrivateKey string }
	answer := st.python(st.t, `
import boto3, json, time
acm = boto3.client("acm")
arn = acm.request_certificate(DomainName="`+name+`", ValidationMethod="DNS", Options={"Export": "ENABLED"})["CertificateArn"]
until = time.time() + 30
while acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] != "ISSUED" and time.time() < until: time.sleep(0.1)
print(json.dumps(acm.export_certificate(CertificateArn=arn, Passphrase=b"open sesame")))
`)
	if err := json.Unmarshal([]byte(answer[strings.IndexByte(answer, '{'):]), &out); err != nil {
		st.t.Fatal(err)
	}
	file := filepath.Join(st.t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(out.PrivateKey), 0o600); err != nil {
		st.t.Fatal(err)
	}
	plain, err := exec.CommandContext(st.t.Context(), openssl, "pkey", "-in", file, "-passin", "pass:open sesame").Output()
	if err != nil {
		st.t.Fatal(err)
	}
	return out.Certificate, string(plain)
}

// provider runs a provider of identities as a task, and returns the name that
// its VPC knows it by. A target group has it, too.
func (b *balanced) provider(issuer, redirect string) (host, group string) {
	b.t.Helper()
	certificate, key := b.exported("*.ec2.internal")
	c := b.container("provider", "-issuer", issuer, "-client", "shop", "-secret", "s3cr:et &", "-redirect", redirect)
	c.PortMappings = []ecstypes.PortMapping{{ContainerPort: new(int32(443))}}
	c.Environment = []ecstypes.KeyValuePair{{Name: new("TLS_CERTIFICATE"), Value: &certificate}, {Name: new("TLS_KEY"), Value: &key}}
	task := b.run(b.register("provider", nil, c), b.group("provider", 443, "172.31.0.0/16"))
	ip := address(b.t, b.await(task, "RUNNING"))
	tg, err := b.elb.CreateTargetGroup(b.t.Context(), &elb.CreateTargetGroupInput{
		Name: new("idp-" + b.name), Protocol: elbtypes.ProtocolEnumHttps, Port: new(int32(443)), TargetType: elbtypes.TargetTypeEnumIp, VpcId: new(b.vpc),
		HealthCheckPath: new("/jwks"), HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	group = *tg.TargetGroups[0].TargetGroupArn
	if _, err := b.elb.RegisterTargets(b.t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: []elbtypes.TargetDescription{{Id: &ip}}}); err != nil {
		b.t.Fatal(err)
	}
	return "ip-" + strings.ReplaceAll(ip, ".", "-") + ".ec2.internal", group
}

// secureListener makes an HTTPS listener of the load balancer, which the
// client it returns knows. Each call of visit makes new connections, with the
// certificates it is given.
func (b *balanced) secureListener(port int32, rules func(base string) (actions []elbtypes.Action, provider string)) (listener string, visit func(certificates ...tls.Certificate) *http.Client) {
	b.t.Helper()
	ctx := b.t.Context()
	lbs, err := b.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{b.name}})
	if err != nil {
		b.t.Fatal(err)
	}
	lb := lbs.LoadBalancers[0].LoadBalancerArn
	if _, err := b.elb.SetSecurityGroups(ctx, &elb.SetSecurityGroupsInput{LoadBalancerArn: lb, SecurityGroups: []string{b.group("secure", port, "0.0.0.0/0")}}); err != nil {
		b.t.Fatal(err)
	}
	actions, group := rules(fmt.Sprintf("https://%s:%d", b.dns, port))
	certificate, file := b.upload("known", b.dns)
	l, err := b.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: lb, Protocol: elbtypes.ProtocolEnumHttps, Port: &port, Certificates: []elbtypes.Certificate{{CertificateArn: &certificate}}, DefaultActions: actions,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	listener = *l.Listeners[0].ListenerArn
	if _, err := b.elb.CreateRule(ctx, &elb.CreateRuleInput{
		ListenerArn: &listener, Priority: new(int32(1)), Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
		Conditions: []elbtypes.RuleCondition{{Field: new("path-pattern"), Values: []string{"/authorize", "/login", "/token"}}},
	}); err != nil {
		b.t.Fatal(err)
	}
	trusted, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return listener, func(certificates ...tls.Certificate) *http.Client {
		tr := &http.Transport{
			// Names below localhost lead to this machine, where the server relays.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
			},
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12},
		}
		b.t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Jar: jar, Timeout: 10 * time.Second}
	}
}

// told asks a task for the fields of the request that it sees.
func told(browser *http.Client, url string) (http.Header, error) {
	status, body, err := get(browser, url)
	if err != nil {
		return nil, err
	}
	fields := http.Header{}
	if err := json.Unmarshal([]byte(body), &fields); err != nil || status != http.StatusOK {
		return nil, errorf("%d %s %v", status, body, err)
	}
	return fields, nil
}

// claims checks what a task is told of a user as the task would: by the key
// that the endpoint has.
func (s *server) claims(t *testing.T, data string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(data, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", data)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.URLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	status, body, err := get(http.DefaultClient, fmt.Sprintf("http://%s/_roadstead/elb/public-keys/%s", s.listen, header["kid"]))
	block, _ := pem.Decode([]byte(body))
	if err != nil || block == nil {
		t.Fatalf("the public key: %d %q %v", status, body, err)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.URLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		t.Fatalf("the signature %q: %v", parts[2], err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key.(*ecdsa.PublicKey), sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		t.Error("the signature is not by the key that the endpoint has")
	}
	return header, claims
}

// TestKnownClients has a user log in at a provider that the load balancer
// reaches inside its VPC, and clients show certificates of an authority whose
// certificate is in a bucket, until one is revoked; a program passes with a
// token. A task sees who they are.
func TestKnownClients(t *testing.T) {
	t.Parallel()
	const port, issuer = 8455, "https://identities.test"
	st := newStack(t, shared(t))
	ctx := t.Context()
	b := st.balance(1, st.register("web", nil, st.container("serve", "-name", "known")))
	var base, host string
	listener, visit := b.secureListener(port, func(at string) (actions []elbtypes.Action, group string) {
		base = at
		host, group = b.provider(issuer, base+"/oauth2/idpresponse")
		return []elbtypes.Action{
			{Type: elbtypes.ActionTypeEnumAuthenticateOidc, Order: new(int32(1)), AuthenticateOidcConfig: &elbtypes.AuthenticateOidcActionConfig{
				Issuer: new(issuer), AuthorizationEndpoint: new(base + "/authorize"), TokenEndpoint: new("https://" + host + "/token"),
				UserInfoEndpoint: new("https://" + host + "/userinfo"), ClientId: new("shop"), ClientSecret: new("s3cr:et &"),
			}},
			{Type: elbtypes.ActionTypeEnumForward, Order: new(int32(2)), TargetGroupArn: &b.targetGroup},
		}, group
	})
	b.stable(90 * time.Second)

	// Whoever is not logged in meets the provider's page, and no task.
	browser := visit()
	var page *url.URL
	eventually(t, 30*time.Second, "the page to log in at", func() error {
		resp, err := browser.Get(base + "/headers")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(body), "<form") {
			return errorf("%s %s %v", resp.Status, body, err)
		}
		page = resp.Request.URL
		return nil
	})
	page.Path = "/login"
	resp, err := browser.PostForm(page.String(), url.Values{"user": {"alice"}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/headers" {
		t.Fatalf("the login ends at %s: %s %s %v", resp.Request.URL, resp.Status, body, err)
	}
	fields, err := told(browser, base+"/headers")
	if err != nil {
		t.Fatal(err)
	}
	header, claims := st.claims(t, fields.Get("X-Amzn-Oidc-Data"))
	if fields.Get("X-Amzn-Oidc-Identity") != "alice" || fields.Get("X-Amzn-Oidc-Accesstoken") == "" || claims["sub"] != "alice" || claims["email"] != "user@example.com" || header["iss"] != issuer {
		t.Errorf("the task was told %v; %v %v", fields, header, claims)
	}

	b.tokens(listener, host, issuer, base, browser)

	// From now on clients show certificates, or are not heard.
	clients := newAuthority(t)
	files := s3.NewFromConfig(st.cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := files.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &st.name}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"authorities.pem": clients.pem, "revoked.pem": clients.revoke(7)} {
		if _, err := files.PutObject(ctx, &s3.PutObjectInput{Bucket: &st.name, Key: &name, Body: strings.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	ts, err := st.elb.CreateTrustStore(ctx, &elb.CreateTrustStoreInput{Name: &st.name, CaCertificatesBundleS3Bucket: &st.name, CaCertificatesBundleS3Key: new("authorities.pem")})
	if err != nil {
		t.Fatal(err)
	}
	trust := ts.TrustStores[0].TrustStoreArn
	if _, err := st.elb.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &listener, MutualAuthentication: &elbtypes.MutualAuthenticationAttributes{Mode: new("verify"), TrustStoreArn: trust}}); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, certificates ...tls.Certificate) {
		t.Helper()
		eventually(t, 10*time.Second, what+" is refused", func() error {
			client := visit(certificates...)
			defer client.CloseIdleConnections()
			status, body, err := get(client, base+"/headers")
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
				return errorf("%d %s %v", status, body, err)
			}
			return nil
		})
	}
	refused("a client without certificate")
	refused("another authority's client", newAuthority(t).client(8, "stranger"))
	seven, eight := clients.client(7, "seven"), clients.client(8, "eight")
	early := visit(seven)
	accepted := func(client *http.Client, serial, subject string) {
		t.Helper()
		fields, err := told(client, base+"/headers")
		if err != nil {
			t.Fatal(err)
		}
		if fields.Get("X-Amzn-Mtls-Clientcert-Serial-Number") != serial || fields.Get("X-Amzn-Mtls-Clientcert-Subject") != subject || fields.Get("X-Amzn-Mtls-Clientcert-Issuer") != "CN=Clients" ||
			!strings.HasPrefix(fields.Get("X-Amzn-Mtls-Clientcert-Validity"), "NotBefore=") || !strings.HasPrefix(fields.Get("X-Amzn-Mtls-Clientcert-Leaf"), "-----BEGIN%20CERTIFICATE") {
			t.Errorf("the task was told %v", fields)
		}
		if fields.Get("X-Amzn-Oidc-Identity") != "alice" {
			t.Errorf("the session is forgotten: %v", fields)
		}
	}
	accepted(early, "07", "CN=seven")
	if _, err := st.elb.AddTrustStoreRevocations(ctx, &elb.AddTrustStoreRevocationsInput{TrustStoreArn: trust, RevocationContents: []elbtypes.RevocationContent{{S3Bucket: &st.name, S3Key: new("revoked.pem")}}}); err != nil {
		t.Fatal(err)
	}
	refused("a revoked client", seven)
	accepted(visit(eight), "08", "CN=eight")
	// What was let in before goes on.
	accepted(early, "07", "CN=seven")

	// Whoever shows what he likes: the task is to judge it.
	if _, err := st.elb.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &listener, MutualAuthentication: &elbtypes.MutualAuthenticationAttributes{Mode: new("passthrough")}}); err != nil {
		t.Fatal(err)
	}
	stranger := newAuthority(t).client(9, "stranger")
	eventually(t, 10*time.Second, "the task judges certificates", func() error {
		fields, err := told(visit(stranger), base+"/headers")
		if err != nil {
			return err
		}
		shown, err := url.PathUnescape(fields.Get("X-Amzn-Mtls-Clientcert"))
		block, _ := pem.Decode([]byte(shown))
		if err != nil || block == nil || !bytes.Equal(block.Bytes, stranger.Certificate[0]) || fields.Get("X-Amzn-Mtls-Clientcert-Subject") != "" {
			return errorf("the task was told %v", fields)
		}
		return nil
	})
	if fields, err := told(visit(), base+"/headers"); err != nil || fields.Get("X-Amzn-Mtls-Clientcert") != "" {
		t.Errorf("without a certificate the task was told %v %v", fields, err)
	}
}

// tokens lets requests below /api pass with a token of the provider's, and gets
// one as a program would that has a user log in by itself.
func (b *balanced) tokens(listener, host, issuer, base string, browser *http.Client) {
	b.t.Helper()
	if _, err := b.elb.CreateRule(b.t.Context(), &elb.CreateRuleInput{
		ListenerArn: &listener, Priority: new(int32(2)), Conditions: []elbtypes.RuleCondition{{Field: new("path-pattern"), Values: []string{"/api/*"}}},
		Actions: []elbtypes.Action{
			{Type: elbtypes.ActionTypeEnumJwtValidation, Order: new(int32(1)), JwtValidationConfig: &elbtypes.JwtValidationActionConfig{
				Issuer: &issuer, JwksEndpoint: new("https://" + host + "/jwks"),
				AdditionalClaims: []elbtypes.JwtValidationActionAdditionalClaim{{Name: new("aud"), Format: elbtypes.JwtValidationActionAdditionalClaimFormatEnumSingleString, Values: []string{"shop"}}},
			}},
			{Type: elbtypes.ActionTypeEnumForward, Order: new(int32(2)), TargetGroupArn: &b.targetGroup},
		},
	}); err != nil {
		b.t.Fatal(err)
	}
	redirect := base + "/oauth2/idpresponse"
	ask := func(method, path string, body url.Values, change func(*http.Request)) (status int, location *url.URL, answer string) {
		b.t.Helper()
		req, err := http.NewRequestWithContext(b.t.Context(), method, base+path, strings.NewReader(body.Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if change != nil {
			change(req)
		}
		once := *browser
		once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := once.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		defer resp.Body.Close()
		all, err := io.ReadAll(resp.Body)
		if err != nil {
			b.t.Fatal(err)
		}
		location, _ = resp.Location()
		return resp.StatusCode, location, string(all)
	}
	status, location, answer := ask(http.MethodGet, "/authorize?"+url.Values{"client_id": {"shop"}, "redirect_uri": {redirect}, "response_type": {"code"}, "state": {"s"}}.Encode(), nil, nil)
	if status != http.StatusFound || location == nil {
		b.t.Fatalf("the provider answers %d %s", status, answer)
	}
	status, _, answer = ask(http.MethodPost, "/token", url.Values{"grant_type": {"authorization_code"}, "code": {location.Query().Get("code")}, "redirect_uri": {redirect}}, func(r *http.Request) {
		r.SetBasicAuth("shop", url.QueryEscape("s3cr:et &"))
	})
	var got struct {
		Token string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.Token == "" {
		b.t.Fatalf("the provider gives no token: %d %s %v", status, answer, err)
	}
	bearing := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	eventually(b.t, 20*time.Second, "the rule holds", func() error {
		if status, _, answer := ask(http.MethodGet, "/api/a", nil, nil); status != http.StatusUnauthorized {
			return errorf("without a token: %d %s", status, answer)
		}
		return nil
	})
	signed, signature := got.Token[:strings.LastIndexByte(got.Token, '.')+1], got.Token[strings.LastIndexByte(got.Token, '.')+1:]
	if status, _, answer := ask(http.MethodGet, "/api/a", nil, bearing(signed+strings.Repeat("A", len(signature)))); status != http.StatusUnauthorized {
		b.t.Errorf("with another signature: %d %s", status, answer)
	}
	if status, _, answer := ask(http.MethodGet, "/api/a", nil, bearing(got.Token)); status != http.StatusOK || !strings.Contains(answer, `"uri":"/api/a"`) {
		b.t.Errorf("with a token: %d %s", status, answer)
	}
}
