package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// emptyHash is the SHA-256 of no body.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// exports are the variables that roadstead env prints.
func (s *server) exports(t *testing.T, args ...string) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), built.roadstead, s.args(append([]string{"env"}, args...)...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		vars[name] = value
	}
	return vars
}

// secureClient trusts the server's authority and nobody else. All names lead to
// the endpoint.
func (s *server) secureClient(t *testing.T) *http.Client {
	t.Helper()
	resp, err := http.Get("http://" + s.listen + "/_roadstead/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	pem, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate: %q", pem)
	}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.listen)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// TestHTTPS talks to the endpoint by HTTPS with what eval $(roadstead env
// --https) sets: AWS's CLI and SDKs, and curl with each version of HTTP.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	vars := s.exports(t, "--https")
	if vars["AWS_ENDPOINT_URL"] != "https://"+s.listen {
		t.Fatalf("env says %v", vars)
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	env = append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	run := func(t *testing.T, program string, args ...string) string {
		t.Helper()
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ca, port := vars["AWS_CA_BUNDLE"], port(t, s.listen)

	t.Run("the AWS CLI", func(t *testing.T) {
		if got := run(t, "aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text"); got != "arn:aws:iam::000000000000:root" {
			t.Error(got)
		}
	})
	t.Run("boto3", func(t *testing.T) {
		if got := run(t, "python3", "-c", `import boto3; print(boto3.client("ec2").describe_vpcs()["Vpcs"][0]["CidrBlock"])`); got != "172.31.0.0/16" {
			t.Error(got)
		}
	})
	t.Run("curl", func(t *testing.T) {
		for _, tt := range [][]string{
			{"2", "https://localhost:" + port},
			{"2", "https://127.0.0.1:" + port},
			{"2", "https://000000000000.dkr.ecr.us-east-1.localhost:" + port},
			{"1.1", "https://localhost:" + port, "--http1.1"},
			{"1.1", "http://localhost:" + port},
			{"2", "http://localhost:" + port, "--http2-prior-knowledge"},
		} {
			args := append([]string{"-sS", "--cacert", ca, "-o", "/dev/null", "-w", "%{http_code} %{http_version}"}, tt[2:]...)
			if got := run(t, "curl", append(args, tt[1]+"/_roadstead/health")...); got != "200 "+tt[0] {
				t.Errorf("%v: %s", tt, got)
			}
		}
	})
	t.Run("curl does not take it for somebody else", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not installed")
		}
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--cacert", ca, "--connect-to", "::"+s.listen, "https://ecs.us-east-1.amazonaws.com/").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "subject") && !strings.Contains(string(out), "match") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("roadstead ca", func(t *testing.T) {
		pem, err := exec.CommandContext(t.Context(), built.roadstead, s.args("ca")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		published, err := os.ReadFile(ca)
		if err != nil || string(published) != string(pem) {
			t.Errorf("the bundle is not the authority: %v", err)
		}
	})

	secure := newClients("https://"+s.listen, "test", "test", "")
	secure.cfg.HTTPClient = s.secureClient(t)
	t.Run("the SDK for Go", func(t *testing.T) {
		client := ecs.NewFromConfig(secure.cfg)
		if _, err := client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: new("tls")}); err != nil {
			t.Fatal(err)
		}
		if out, err := client.ListClusters(t.Context(), nil); err != nil || len(out.ClusterArns) != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	})
	t.Run("addresses", func(t *testing.T) {
		out, err := ecr.NewFromConfig(secure.cfg).GetAuthorizationToken(t.Context(), nil)
		if err != nil || !strings.HasPrefix(*out.AuthorizationData[0].ProxyEndpoint, "https://000000000000.dkr.ecr.") {
			t.Errorf("%+v, %v", out, err)
		}
	})
	t.Run("a layer's part", func(t *testing.T) {
		for name, client := range map[string]*ecr.Client{"http": s.ecr, "https": ecr.NewFromConfig(secure.cfg)} {
			if _, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: new("layers-" + name)}); err != nil {
				t.Fatal(err)
			}
			up, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: new("layers-" + name)})
			if err != nil {
				t.Fatal(err)
			}
			const size = 20 << 20 // the most that a part may have
			if _, err := client.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
				RepositoryName: new("layers-" + name), UploadId: up.UploadId, PartFirstByte: new(int64(0)), PartLastByte: new(int64(size - 1)),
				LayerPartBlob: make([]byte, size),
			}); err != nil {
				t.Errorf("by %s: %v", name, err)
			}
		}
	})
	t.Run("aws:SecureTransport", func(t *testing.T) { secureTransport(t, s, secure.cfg) })
	t.Run("a balancer's name", func(t *testing.T) {
		resp, err := s.secureClient(t).Get("https://web.us-east-1.elb.localhost/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		// Nothing runs here; TestNames asks one that does.
		if resp.StatusCode != http.StatusBadGateway || resp.ProtoMajor != 1 {
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
	})
}

// secureTransport lets a user in by HTTPS alone.
func secureTransport(t *testing.T, s *server, secure aws.Config) {
	ctx := t.Context()
	if _, err := s.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: new("careful")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
		UserName: new("careful"), PolicyName: new("tls"),
		PolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecs:ListClusters","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`),
	}); err != nil {
		t.Fatal(err)
	}
	key, err := s.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: new("careful")})
	if err != nil {
		t.Fatal(err)
	}
	plain := newClients("http://"+s.listen, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	if _, err := plain.ecs.ListClusters(ctx, nil); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("by HTTP: %v", err)
	}
	secure.Credentials = plain.cfg.Credentials
	if _, err := ecs.NewFromConfig(secure).ListClusters(ctx, nil); err != nil {
		t.Errorf("by HTTPS: %v", err)
	}
}

// TestPresigned sends requests that somebody else has signed, as EKS's
// authenticator does: the signature is in the query.
func TestPresigned(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	creds := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	const query = "Action=GetCallerIdentity&Version=2011-06-15"
	for scheme, client := range map[string]*http.Client{"http": http.DefaultClient, "https": s.secureClient(t)} {
		presigned, err := sts.NewPresignClient(newClients(scheme+"://"+s.listen, "test", "test", "").sts).PresignGetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			method  string
			at      time.Time
			expires string
			cluster string
			status  int
			code    string
		}{
			"GET":             {http.MethodGet, time.Now(), "60", "cluster", 200, ""},
			"POST":            {http.MethodPost, time.Now(), "60", "cluster", 200, ""},
			"old, and good":   {http.MethodGet, time.Now().Add(-50 * time.Minute), "3600", "cluster", 200, ""},
			"expired":         {http.MethodGet, time.Now().Add(-2 * time.Minute), "60", "cluster", 400, "RequestExpired"},
			"another cluster": {http.MethodGet, time.Now(), "60", "other", 403, "SignatureDoesNotMatch"},
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), tt.method, scheme+"://"+s.listen+"/?"+query+"&X-Amz-Expires="+tt.expires, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-K8s-Aws-Id", "cluster")
				signed, headers, err := v4.NewSigner().PresignHTTP(t.Context(), creds, req, emptyHash, "sts", region, tt.at)
				if err != nil {
					t.Fatal(err)
				}
				if req.URL, err = url.Parse(signed); err != nil {
					t.Fatal(err)
				}
				for k := range headers {
					if k != "Host" {
						req.Header[k] = headers[k]
					}
				}
				req.Header.Set("X-K8s-Aws-Id", tt.cluster)
				status, code := presignedAnswer(t, client, req)
				if status != tt.status || code != tt.code {
					t.Errorf("answer %d %s, want %d %s", status, code, tt.status, tt.code)
				}
			})
		}
		t.Run(scheme+" by the SDK", func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), presigned.Method, presigned.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = presigned.SignedHeader
			if status, code := presignedAnswer(t, client, req); status != http.StatusOK {
				t.Errorf("answer %d %s", status, code)
			}
		})
	}
}

func presignedAnswer(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Code string `xml:"Error>Code"`
		Arn  string `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := xml.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if resp.StatusCode == http.StatusOK && answer.Arn != "arn:aws:iam::000000000000:root" {
		t.Errorf("the caller is %q", answer.Arn)
	}
	return resp.StatusCode, answer.Code
}

// TestAnyPort lets the machine choose the port: what the server tells others
// of itself has the one that it got.
func TestAnyPort(t *testing.T) {
	t.Parallel()
	s, err := prepareServer(t.TempDir(), "fake")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = "127.0.0.1:0"
	t.Cleanup(func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.CommandContext(t.Context(), built.roadstead, s.args("up", "--detach")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	endpoint := s.exports(t)["AWS_ENDPOINT_URL"]
	_, port, err := net.SplitHostPort(strings.TrimPrefix(endpoint, "http://"))
	if err != nil || port == "0" {
		t.Fatalf("the endpoint is %q, %v", endpoint, err)
	}
	c := newClients(endpoint, "test", "test", "")
	out, err := c.ecr.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: new("app")})
	if err != nil {
		t.Fatal(err)
	}
	if uri := *out.Repository.RepositoryUri; !strings.Contains(uri, ".localhost:"+port+"/") {
		t.Errorf("the repository is %s, the port %s", uri, port)
	}
}

// TestHTTPSInVPC reaches the endpoint from inside a VPC, by the link-local
// address that tasks have it at, and with the certificate that it hands out.
func TestHTTPSInVPC(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, tool := range []string{"nsenter", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	out, err := s.ec2.DescribeVpcs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	instance := s.prefix(t)
	endpoint := "169.254.170.2:" + port(t, s.listen)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	curl := func(vpc string, args ...string) ([]byte, error) {
		netns := filepath.Join("/run/roadstead", instance, "net/vpc", vpc)
		return exec.CommandContext(t.Context(), "nsenter", append([]string{"--net=" + netns, "curl", "-sS", "--max-time", "10"}, args...)...).CombinedOutput()
	}
	for _, v := range out.Vpcs {
		if !*v.IsDefault {
			continue
		}
		eventually(t, 30*time.Second, "the VPC has the endpoint", func() error {
			if out, err := curl(*v.VpcId, "-o", ca, "http://"+endpoint+"/_roadstead/ca.pem"); err != nil {
				return errorf("%w: %s", err, out)
			}
			return nil
		})
		got, err := curl(*v.VpcId, "--cacert", ca, "-w", " %{http_version}", "https://"+endpoint+"/?Action=GetCallerIdentity&Version=2011-06-15")
		if err != nil || !strings.Contains(string(got), "MissingAuthenticationToken") || !strings.HasSuffix(string(got), " 2") {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// TestDoctorInstallsTheAuthority makes Debian's programs trust the server, in a
// mount namespace whose /etc and /usr/local are not the machine's.
func TestDoctorInstallsTheAuthority(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"unshare", "update-ca-certificates", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	s := ownServer(t, "fake")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(`set -eu
work=$(mktemp -d); mount -t tmpfs tmpfs "$work"
for d in etc usr/local/share; do
	mkdir -p "$work/$d/up" "$work/$d/work"
	mount -t overlay overlay -o "lowerdir=/$d,upperdir=$work/$d/up,workdir=$work/$d/work" "/$d" || exit 77
done
ask() { curl -sS -o /dev/null -w '%{http_code}\n' "https://localhost:$PORT/_roadstead/health" 2>&1 || true; }
doctor() { "$ROADSTEAD" doctor "$@"; }
echo "before: $(ask)"
doctor --install-ca
echo "installed: $(ask)"
doctor | grep https || true
doctor --remove-ca
echo "removed: $(ask)"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", script)
	cmd.Env = append(os.Environ(), "ROADSTEAD="+built.roadstead, "ROADSTEAD_DATA_DIR="+s.dataDir, "ROADSTEAD_LISTEN="+s.listen, "PORT="+port(t, s.listen))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("no overlay here: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"before: curl: (60)", "installed: 200", "this machine trusts the local authority, by ", "removed: curl: (60)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
