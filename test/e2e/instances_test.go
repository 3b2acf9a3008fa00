package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"roadstead.dev/internal/engine/cgroup"
)

const instanceTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// fleet are the instances of one test on a server of its own.
type fleet struct {
	*server
	t *testing.T
}

// launch runs an instance with user data.
func (f *fleet) launch(userData string, change func(*ec2.RunInstancesInput)) ec2types.Instance {
	f.t.Helper()
	in := &ec2.RunInstancesInput{
		ImageId:      new("resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
		InstanceType: ec2types.InstanceTypeT3Micro, MinCount: new(int32(1)), MaxCount: new(int32(1)),
		UserData: new(base64.StdEncoding.EncodeToString([]byte(userData))),
	}
	if change != nil {
		change(in)
	}
	out, err := f.ec2.RunInstances(f.t.Context(), in)
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Instances[0]
}

// is waits for an instance's state.
func (f *fleet) is(id string, want ec2types.InstanceStateName) ec2types.Instance {
	f.t.Helper()
	var got ec2types.Instance
	eventually(f.t, 45*time.Second, id+" is "+string(want), func() error {
		out, err := f.ec2.DescribeInstances(f.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err != nil {
			return err
		}
		if got = out.Reservations[0].Instances[0]; got.State.Name != want {
			return fmt.Errorf("it is %s", got.State.Name)
		}
		return nil
	})
	return got
}

func (f *fleet) folder(id string) string { return filepath.Join(f.dataDir, "instances", id) }

// read is a file of an instance's root folder, empty when it is not there.
func (f *fleet) read(id, path string) string {
	b, _ := os.ReadFile(filepath.Join(f.folder(id), "root", path))
	return strings.TrimSpace(string(b))
}

// wrote waits for a file in an instance.
func (f *fleet) wrote(id, path string) string {
	f.t.Helper()
	var got string
	eventually(f.t, 45*time.Second, path+" in "+id, func() error {
		if got = f.read(id, path); got == "" {
			console, _ := os.ReadFile(filepath.Join(f.folder(id), "console.log"))
			return fmt.Errorf("it is not there; the console: %s", console)
		}
		return nil
	})
	return got
}

// first is an instance's first process.
func (f *fleet) first(id string) int {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.folder(id), "pid.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	var p struct{ PID int }
	if err := json.Unmarshal(b, &p); err != nil {
		f.t.Fatal(err)
	}
	return p.PID
}

// left tells what is left of an instance on the machine.
func (f *fleet) left(id string) error {
	groups, err := cgroup.Detect()
	if err != nil {
		return err
	}
	prefix := f.prefix(f.t)
	if groups.Exists("/roadstead-" + prefix + ".instances/" + id) {
		return errors.New("its control group is left")
	}
	for _, path := range []string{"/run/roadstead/" + prefix + "/net/ns/instance-" + id, f.folder(id)} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is left: %w", path, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && strings.Contains(string(mounts), id) {
		err = errors.New("a mount is left")
	}
	return err
}

// profile makes an instance profile with a role that may describe instances.
func (f *fleet) profile(name string) string {
	f.t.Helper()
	ctx := f.t.Context()
	_, err := f.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new(name), AssumeRolePolicyDocument: new(instanceTrust)})
	if err == nil {
		_, err = f.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new(name)})
	}
	if err == nil {
		_, err = f.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: new(name), RoleName: new(name)})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// group makes a security group of the default VPC without inbound rules.
func (f *fleet) group(name string) string {
	f.t.Helper()
	out, err := f.ec2.CreateSecurityGroup(f.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: new(name), Description: new(name)})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.GroupId
}

// TestInstances runs instances as users do: user data that asks the metadata
// service and other instances, states, failures of the server and of instances.
func TestInstances(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/curl", "/usr/bin/python3", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	f := &fleet{ownServer(t, "containerd"), t}
	ctx := t.Context()
	web, friend, stranger := f.group("web"), f.group("friend"), f.group("stranger")
	_, err := f.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(web), IpPermissions: []ec2types.IpPermission{{
		IpProtocol: new("tcp"), FromPort: new(int32(8080)), ToPort: new(int32(8080)), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(friend)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	in := func(group string) func(*ec2.RunInstancesInput) {
		return func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{group} }
	}

	began := time.Now()
	a := f.launch("#!/bin/bash\nmkdir /srv/www && cd /srv/www && echo hello > index.html\nsetsid /usr/bin/python3 -m http.server 8080 >/dev/null 2>&1 &\n", in(web))
	server := *a.InstanceId
	f.is(server, ec2types.InstanceStateNameRunning)
	t.Logf("running after %v", time.Since(began).Round(time.Millisecond))

	profile := f.profile("node")
	ask := `#!/bin/bash
imds=http://169.254.169.254/latest
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token)
mkdir /var/proof && cd /var/proof
curl -s -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/instance-id > id
curl -s -o /dev/null -w '%{http_code}' $imds/meta-data/instance-id > v1
hostname > name
echo x >> boots
curl -s -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/iam/security-credentials/node > credentials
for i in $(seq 50); do curl -s --max-time 1 http://` + *a.PrivateIpAddress + `:8080/ > page && break; [ -n "$ONCE" ] && break; sleep .2; done
echo "$?" > done
`
	b := *f.launch(ask, func(r *ec2.RunInstancesInput) {
		in(friend)(r)
		r.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: new(profile)}
		r.MetadataOptions = &ec2types.InstanceMetadataOptionsRequest{HttpTokens: ec2types.HttpTokensStateRequired}
	}).InstanceId
	c := *f.launch(strings.Replace(ask, "imds=", "ONCE=1\nimds=", 1), in(stranger)).InstanceId

	f.wrote(b, "var/proof/done")
	for path, want := range map[string]string{"id": b, "v1": "401", "page": "hello", "name": *f.is(b, ec2types.InstanceStateNameRunning).PrivateDnsName} {
		if got := f.read(b, "var/proof/"+path); got != want {
			t.Errorf("%s in %s: %q, want %q", path, b, got, want)
		}
	}
	var creds struct{ AccessKeyID, SecretAccessKey, Token string }
	if err := json.Unmarshal([]byte(f.read(b, "var/proof/credentials")), &creds); err != nil {
		t.Fatal(err)
	}
	me, err := newClients("http://"+f.listen, creds.AccessKeyID, creds.SecretAccessKey, creds.Token).sts.GetCallerIdentity(ctx, nil)
	if err != nil || !strings.HasSuffix(*me.Arn, ":assumed-role/node/"+b) {
		t.Errorf("the instance's credentials are %+v's: %v", me, err)
	}
	f.wrote(c, "var/proof/done")
	if got := f.read(c, "var/proof/page"); got != "" || f.read(c, "var/proof/id") != c {
		t.Errorf("a stranger got %q past the security group; it is %q", got, f.read(c, "var/proof/id"))
	}

	console, err := f.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: new(b)})
	if err != nil || console.Output == nil {
		t.Fatalf("no console: %v", err)
	}
	if text, err := base64.StdEncoding.DecodeString(*console.Output); err != nil || !strings.Contains(string(text), "part-001 ended with code 0") {
		t.Errorf("console: %s, %v", text, err)
	}

	// The server dies and comes again: instances never notice.
	pids := map[string]int{server: f.first(server), b: f.first(b), c: f.first(c)}
	if err := f.kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.start(); err != nil {
		t.Fatal(err)
	}
	for id, pid := range pids {
		f.is(id, ec2types.InstanceStateNameRunning)
		if got := f.first(id); got != pid {
			t.Errorf("%s was booted anew: first process %d, was %d", id, got, pid)
		}
	}

	// A stop keeps the files, and a start does not run the user data again.
	if _, err := f.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{b}}); err != nil {
		t.Fatal(err)
	}
	f.is(b, ec2types.InstanceStateNameStopped)
	if _, err := f.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{b}}); err != nil {
		t.Fatal(err)
	}
	f.is(b, ec2types.InstanceStateNameRunning)
	if got := f.read(b, "var/proof/boots"); got != "x" {
		t.Errorf("after a start: %q", got)
	}
	before := f.first(b)
	if _, err := f.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{b}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 45*time.Second, "the reboot", func() error {
		if b, err := os.ReadFile(filepath.Join(f.folder(b), "pid.json")); err != nil || strings.Contains(string(b), `"pid":`+strconv.Itoa(before)+",") {
			return fmt.Errorf("it was not booted: %w", err)
		}
		return nil
	})
	f.is(b, ec2types.InstanceStateNameRunning)

	// What runs in an instance shuts it down; the first process of another is
	// killed.
	if out, err := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(f.first(c)), "-m", "-p", "shutdown", "-h", "now").CombinedOutput(); err != nil && !strings.HasPrefix(err.Error(), "signal: ") { // it may end with the instance
		t.Fatalf("%v: %s", err, out)
	}
	if got := f.is(c, ec2types.InstanceStateNameStopped).StateReason; got == nil || *got.Code != "Client.InstanceInitiatedShutdown" {
		t.Errorf("why it is stopped: %+v", got)
	}
	p, err := os.FindProcess(f.first(b))
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := f.is(b, ec2types.InstanceStateNameTerminated).StateReason; got == nil || *got.Code != "Server.InternalError" {
		t.Errorf("why it is terminated: %+v", got)
	}
	if err := f.left(b); err != nil {
		t.Error(err)
	}

	// down ends what runs; up boots it again, and leaves alone what is stopped.
	before = f.first(server)
	if err := f.down(); err != nil {
		t.Fatal(err)
	}
	if status, err := os.ReadFile("/proc/" + strconv.Itoa(before) + "/status"); err == nil && !strings.Contains(string(status), "State:\tZ") {
		t.Errorf("process %d of an instance survived down", before)
	}
	if err := f.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 45*time.Second, "the boot after down", func() error {
		if got := f.first(server); got == before {
			return errors.New("it was not booted")
		}
		return nil
	})
	f.is(server, ec2types.InstanceStateNameRunning)
	f.is(c, ec2types.InstanceStateNameStopped)
	if _, err := f.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{server, c}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{server, c} {
		f.is(id, ec2types.InstanceStateNameTerminated)
		if err := f.left(id); err != nil {
			t.Error(err)
		}
	}
	enis, err := f.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{})
	if err != nil || len(enis.NetworkInterfaces) > 0 {
		t.Errorf("interfaces are left: %+v, %v", enis, err)
	}
}
