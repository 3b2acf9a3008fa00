package imds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	sdk "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/imds"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	id      = "i-0123456789abcdef0"
	mac     = "02:11:22:33:44:55"
)

// roles mints credentials that tell how many were minted.
type roles struct {
	mu    sync.Mutex
	n     int
	clock *fakeClock
	err   error
}

func (r *roles) MintRoleSession(_ context.Context, arn, session, service string, d time.Duration, _ map[string]string) (identity.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return identity.Credentials{}, r.err
	}
	r.n++
	return identity.Credentials{AccessKeyID: "ASIA" + strings.Repeat("X", r.n), Secret: arn, SessionToken: session + " " + service, Expires: r.clock.Now().Add(d)}, nil
}

// fakeClock begins with the present, which the SDK compares with.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is the service of an instance whose address is the test's own.
type fixture struct {
	t      testing.TB
	store  store.Store
	clock  *fakeClock
	roles  *roles
	signer *imds.Signer
	dir    string
	url    string
	// conn is the latest connection that was accepted.
	conn atomic.Pointer[net.Conn]
}

func newFixture(t testing.TB, change func(*model.Instance)) *fixture {
	t.Helper()
	clock := &fakeClock{now: time.Now().UTC().Truncate(time.Second)}
	x := &fixture{t: t, store: memory.New(), clock: clock, roles: &roles{clock: clock}, dir: t.TempDir()}
	t.Cleanup(func() { _ = x.store.Close() })
	v := &model.Instance{
		ID: id, Owner: account, Tags: model.Tags{"Name": "web", "team": "blue"},
		Spec: model.InstanceSpec{
			ReservationID: "r-1", ImageID: "ami-1", Type: "m5.large", KeyName: "mine", VPCID: "vpc-1", SubnetID: "subnet-1", Zone: "us-east-1a",
			InterfaceIDs: []string{"eni-1"}, PrivateIP: netip.MustParseAddr("127.0.0.1"), PrivateDNSName: "ip-127-0-0-1.ec2.internal",
			UserData: []byte("#!/bin/sh\necho\n"), ProfileARN: "arn:aws:iam::123456789012:instance-profile/a/Nodes",
			Metadata:   model.InstanceMetadataOptions{Endpoint: "enabled", Tokens: "required", Tags: "enabled", HopLimit: 2},
			LaunchedAt: clock.now, AutoScalingGroup: "group",
		},
	}
	if change != nil {
		change(v)
	}
	tx := store.NewTxn()
	key := "key-1"
	tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", CIDR: netip.MustParsePrefix("127.0.0.0/16")})
	tables.Subnets.Put(tx, account, region, "subnet-1", &model.Subnet{ID: "subnet-1", VPCID: "vpc-1", CIDR: netip.MustParsePrefix("127.0.0.0/24")})
	tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", Name: "web"})
	tables.NetworkInterfaces.Put(tx, account, region, "eni-1", &model.NetworkInterface{
		ID: "eni-1", Owner: account, VPCID: "vpc-1", SubnetID: "subnet-1", MAC: mac, PrivateIP: netip.MustParseAddr("127.0.0.1"), GroupIDs: []string{"sg-1"},
		Attachment:  &model.NetworkInterfaceAttachment{InstanceID: id},
		Association: &model.NetworkInterfaceAssociation{PublicIP: netip.MustParseAddr("198.18.0.7")},
	})
	tables.PrivateAddressClaims.Put(tx, account, region, "subnet-1/127.0.0.1", &model.PrivateAddressClaim{NetworkInterfaceID: "eni-1"})
	tables.KeyPairNames.Put(tx, account, region, "mine", &key)
	tables.KeyPairs.Put(tx, account, region, key, &model.KeyPair{ID: key, Name: "mine", PublicKey: "ssh-ed25519 AAAA"})
	tables.InstanceProfiles.Put(tx, account, "", "nodes", &model.InstanceProfile{Name: "Nodes", ARN: v.Spec.ProfileARN, ID: "AIPAX", Role: "node"})
	tables.Roles.Put(tx, account, "", "node", &model.Role{IAMPrincipal: model.IAMPrincipal{Name: "Node", ID: "AROAX", ARN: "arn:aws:iam::123456789012:role/Node"}})
	tables.ASGInstances.Put(tx, account, region, "group/"+id, &model.ASGInstance{LifecycleState: "InService"})
	tables.Instances.Put(tx, account, region, id, v)
	if _, err := tx.Commit(t.Context(), x.store); err != nil {
		t.Fatal(err)
	}
	x.serve()
	return x
}

// serve starts a service as a server's start does.
func (x *fixture) serve() {
	key, err := seal.Load(filepath.Join(x.dir, "key"))
	if err != nil {
		x.t.Fatal(err)
	}
	x.signer = imds.NewSigner(filepath.Join(x.dir, "identity.pem"))
	s := httptest.NewUnstartedServer(imds.New(imds.Config{Store: x.store, Clock: x.clock, Roles: x.roles, Key: key, Signer: x.signer}).Handler("vpc-1"))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		x.conn.Store(&c)
		return imds.ConnContext(ctx, c)
	}
	s.Start()
	x.t.Cleanup(s.Close)
	x.url = s.URL
}

// do makes a request; header holds names and values by turns.
func (x *fixture) do(method, path string, header ...string) (int, string) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), method, x.url+path, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (x *fixture) token(ttl string) string {
	x.t.Helper()
	code, token := x.do(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", ttl)
	if code != http.StatusOK {
		x.t.Fatalf("no token: %d %s", code, token)
	}
	return token
}

// get reads a path with a token.
func (x *fixture) get(path string) (int, string) {
	x.t.Helper()
	return x.do(http.MethodGet, path, "X-aws-ec2-metadata-token", x.token("60"))
}

func TestContents(t *testing.T) {
	x := newFixture(t, nil)
	macs := "/latest/meta-data/network/interfaces/macs/"
	for path, want := range map[string]string{
		"/latest":                                              "dynamic\nmeta-data\nuser-data",
		"/latest/meta-data/instance-id":                        id,
		"/2021-07-15/meta-data/instance-type":                  "m5.large",
		"/latest/meta-data/local-hostname":                     "ip-127-0-0-1.ec2.internal",
		"/latest/meta-data/public-ipv4":                        "198.18.0.7",
		"/latest/meta-data/public-hostname":                    "ec2-198-18-0-7.compute-1.amazonaws.com",
		"/latest/meta-data/mac":                                mac,
		"/latest/meta-data/security-groups":                    "web",
		"/latest/meta-data/placement/":                         "availability-zone\navailability-zone-id\nregion",
		"/latest/meta-data/placement":                          "availability-zone\navailability-zone-id\nregion",
		"/latest/meta-data/placement/region":                   region,
		"/latest/meta-data/services/domain":                    "amazonaws.com",
		"/latest/meta-data/instance-life-cycle":                "on-demand",
		macs:                                                   mac + "/",
		macs + mac + "/subnet-id":                              "subnet-1",
		macs + mac + "/vpc-ipv4-cidr-blocks":                   "127.0.0.0/16",
		macs + mac + "/security-group-ids":                     "sg-1",
		macs + mac + "/device-number":                          "0",
		macs + mac + "/ipv4-associations/198.18.0.7":           "127.0.0.1",
		"/latest/meta-data/tags/instance":                      "Name\nteam",
		"/latest/meta-data/tags/instance/team":                 "blue",
		"/latest/meta-data/public-keys/":                       "0=mine",
		"/latest/meta-data/public-keys/0/":                     "openssh-key",
		"/latest/meta-data/public-keys/0/openssh-key":          "ssh-ed25519 AAAA mine",
		"/latest/meta-data/iam/security-credentials/":          "Node",
		"/latest/meta-data/autoscaling/":                       "target-lifecycle-state",
		"/latest/user-data":                                    "#!/bin/sh\necho\n",
		"/latest/dynamic/":                                     "instance-identity/",
		"/latest/dynamic/instance-identity/":                   "document\npkcs7\nrsa2048\nsignature",
		"/latest/meta-data/autoscaling/target-lifecycle-state": "InService",
	} {
		if code, got := x.get(path); code != http.StatusOK || got != want {
			t.Errorf("%s: %d %q, want %q", path, code, got, want)
		}
	}
	for _, path := range []string{
		"/next/meta-data/", "/latest/nothing", "/latest/meta-data/instance-id/", "/latest/meta-data/instance-id/x", "/latest/meta-data/spot/instance-action",
		"/latest/meta-data/iam/security-credentials/Other", "/latest/meta-data/kernel-id", "/latest/meta-data/tags/instance/none",
	} {
		if code, got := x.get(path); code != http.StatusNotFound || !strings.Contains(got, "<title>404 - Not Found</title>") {
			t.Errorf("%s: %d %q", path, code, got)
		}
	}
}

func TestTokens(t *testing.T) {
	x := newFixture(t, nil)
	const ttl, session = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	put, read := http.MethodPut, http.MethodGet
	const at, path = "/latest/api/token", "/latest/meta-data/instance-id"
	good := x.token("21600")
	for name, tt := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"no TTL":            {put, at, nil, 400},
		"TTL of nothing":    {put, at, []string{ttl, "0"}, 400},
		"TTL too long":      {put, at, []string{ttl, "21601"}, 400},
		"TTL no number":     {put, at, []string{ttl, "x"}, 400},
		"forwarded":         {put, at, []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		"GET of a token":    {read, at, []string{session, good}, 405},
		"no token":          {read, path, nil, 401},
		"forged":            {read, path, []string{session, "AQAEA" + good[5:]}, 401},
		"good":              {read, path, []string{session, good}, 200},
		"HEAD":              {http.MethodHead, path, []string{session, good}, 200},
		"POST":              {http.MethodPost, path, []string{session, good}, 405},
		"PUT of a document": {put, path, []string{session, good}, 405},
	} {
		if code, body := x.do(tt.method, tt.path, tt.header...); code != tt.want {
			t.Errorf("%s: %d %s, want %d", name, code, body, tt.want)
		}
	}
	// A token outlives the server, and no instance takes another's.
	x.serve()
	if code, _ := x.do(read, path, session, good); code != 200 {
		t.Errorf("after a restart: %d", code)
	}
	x.clock.pass(6 * time.Hour)
	if code, _ := x.do(read, path, session, good); code != 401 {
		t.Errorf("after its end: %d", code)
	}
	token := x.token("60")
	other := *mustGet(t, x)
	other.ID = "i-other"
	tx := store.NewTxn()
	tables.Instances.Put(tx, account, region, id, &other)
	if _, err := tx.Commit(t.Context(), x.store); err != nil {
		t.Fatal(err)
	}
	if code, _ := x.do(read, path, session, token); code != 401 {
		t.Errorf("another instance's: %d", code)
	}
}

// The answer with a token goes no further than the hop limit; answers before it
// go anywhere.
func TestHopLimit(t *testing.T) {
	x := newFixture(t, nil)
	hops := func() int {
		raw, err := (*x.conn.Load()).(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		ttl := 0
		if err := raw.Control(func(fd uintptr) { ttl, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL) }); err != nil {
			t.Fatal(err)
		}
		return ttl
	}
	x.do(http.MethodGet, "/latest/meta-data/")
	if got := hops(); got < 32 {
		t.Errorf("%d hops without a token", got)
	}
	x.token("60")
	if got := hops(); got != 2 {
		t.Errorf("a token goes %d hops, want 2", got)
	}
}

func mustGet(t *testing.T, x *fixture) *model.Instance {
	t.Helper()
	row, err := tables.Instances.Get(t.Context(), x.store, account, region, id)
	if err != nil {
		t.Fatal(err)
	}
	return row.Copy()
}

func TestOptions(t *testing.T) {
	x := newFixture(t, func(v *model.Instance) {
		v.Spec.Metadata.Tokens, v.Spec.Metadata.Tags = "optional", "disabled"
		v.Spec.UserData, v.Spec.ProfileARN, v.Spec.KeyName = nil, "", ""
		v.Desired.SpotInterruptionAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		v.Spec.Lifecycle = "spot"
	})
	for path, want := range map[string]int{
		"/": 200, "/latest/meta-data/": 200, "/latest/meta-data/tags/instance": 404, "/latest/user-data": 404, "/latest/meta-data/iam/": 404, "/latest/meta-data/public-keys/": 404,
	} {
		if code, _ := x.do(http.MethodGet, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if _, got := x.do(http.MethodGet, "/latest/meta-data/spot/instance-action"); got != `{"action":"terminate","time":"2026-01-02T03:04:05Z"}` {
		t.Errorf("notice %q", got)
	}
	// A token that is given must be good, even so.
	if code, _ := x.do(http.MethodGet, "/latest/meta-data/", "X-aws-ec2-metadata-token", "bad"); code != 401 {
		t.Errorf("a bad token: %d", code)
	}
	x = newFixture(t, func(v *model.Instance) { v.Spec.Metadata.Endpoint = "disabled" })
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if code, _ := x.do(method, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60"); code != 403 {
			t.Errorf("%s while disabled: %d", method, code)
		}
	}
}

// What is no instance's interface, such as a Fargate task's, finds nothing.
func TestNoInstance(t *testing.T) {
	x := newFixture(t, nil)
	_, err := tables.NetworkInterfaces.Update(t.Context(), x.store, account, region, "eni-1", func(e *model.NetworkInterface) error {
		e.Attachment.InstanceID = ""
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := x.do(http.MethodGet, "/latest/meta-data/"); code != 404 {
		t.Errorf("%d", code)
	}
}

// TestSDK reads as programs do.
func TestSDK(t *testing.T) {
	x := newFixture(t, nil)
	client := sdk.New(sdk.Options{Endpoint: x.url})
	doc, err := client.GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil || doc.InstanceID != id || doc.AccountID != account || doc.Region != region || !doc.PendingTime.Equal(x.clock.Now()) {
		t.Errorf("%+v, %v", doc, err)
	}
	if out, err := client.GetRegion(t.Context(), nil); err != nil || out.Region != region {
		t.Errorf("%+v, %v", out, err)
	}
	if info, err := client.GetIAMInfo(t.Context(), nil); err != nil || info.InstanceProfileID != "AIPAX" {
		t.Errorf("%+v, %v", info, err)
	}
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
	creds, err := provider.Retrieve(t.Context())
	if err != nil || creds.AccessKeyID != "ASIAX" || creds.SecretAccessKey != "arn:aws:iam::123456789012:role/Node" || creds.SessionToken != id+" ec2.amazonaws.com" {
		t.Errorf("%+v, %v", creds, err)
	}
	// The same last until an hour before their end.
	x.clock.pass(5*time.Hour - time.Second)
	if creds, err = provider.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "ASIAX" {
		t.Errorf("%+v, %v", creds, err)
	}
	x.clock.pass(time.Second)
	if creds, err = provider.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "ASIAXX" {
		t.Errorf("%+v, %v", creds, err)
	}
	x.clock.pass(6 * time.Hour)
	x.roles.err = &identity.CannotAssume{Role: "x"}
	_, got := x.get("/latest/meta-data/iam/security-credentials/Node")
	var answer struct{ Code string }
	if err := json.Unmarshal([]byte(got), &answer); err != nil || answer.Code != "AssumeRoleUnauthorizedAccess" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestSignatures(t *testing.T) {
	x := newFixture(t, nil)
	_, doc := x.get("/latest/dynamic/instance-identity/document")
	_, sig := x.get("/latest/dynamic/instance-identity/signature")
	if err := x.signer.Verify([]byte(doc), sig); err != nil {
		t.Error(err)
	}
	// The key is the same after a restart.
	x.serve()
	if err := x.signer.Verify([]byte(doc), sig); err != nil {
		t.Error(err)
	}
	if x.signer.Verify([]byte(strings.Replace(doc, id, "i-other", 1)), sig) == nil || x.signer.Verify([]byte(doc), "AAAA") == nil || x.signer.Verify([]byte(doc), "*") == nil {
		t.Error("another document passes")
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("the rest needs openssl")
	}
	_, signed := x.get("/latest/dynamic/instance-identity/rsa2048")
	cert, err := x.signer.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), openssl, "smime", "-verify", "-inform", "PEM", "-certfile", path, "-CAfile", path, "-purpose", "any")
	cmd.Stdin = strings.NewReader("-----BEGIN PKCS7-----\n" + signed + "\n-----END PKCS7-----\n")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || strings.ReplaceAll(out.String(), "\r", "") != doc {
		t.Errorf("%v: %s\n%s", err, said.String(), out.String())
	}
}

// FuzzPath asks for paths with any header: nothing but a known answer comes.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/", "/latest/meta-data/", "//latest//meta-data/public-keys/0=", "/latest/api/token", "/latest/../user-data", "/latest/meta-data/tags/instance/%00"} {
		f.Add("GET", path, "", "60")
		f.Add("PUT", path, "token", "21600")
	}
	x := newFixture(f, nil)
	key, err := seal.Load(filepath.Join(x.dir, "key"))
	if err != nil {
		f.Fatal(err)
	}
	h := imds.New(imds.Config{Store: x.store, Clock: x.clock, Roles: x.roles, Key: key, Signer: x.signer}).Handler("vpc-1")
	client, served := net.Pipe()
	f.Cleanup(func() { _ = client.Close(); _ = served.Close() })
	f.Fuzz(func(t *testing.T, method, path, token, ttl string) {
		r := httptest.NewRequestWithContext(imds.ConnContext(t.Context(), served), http.MethodGet, "/", nil)
		r.Method, r.URL.Path, r.RemoteAddr = method, path, "127.0.0.1:1234"
		r.Header.Set("X-Aws-Ec2-Metadata-Token", token)
		r.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 400, 401, 404, 405:
		case 500: // a pipe has no hops to limit
			if method != http.MethodPut || path != "/latest/api/token" {
				t.Errorf("%s %q: %d", method, path, w.Code)
			}
		default:
			t.Errorf("%s %q without a good token: %d %s", method, path, w.Code, w.Body)
		}
	})
}
