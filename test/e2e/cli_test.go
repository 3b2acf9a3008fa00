package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cli is the AWS CLI as one caller.
type cli struct {
	t    *testing.T
	path string
	env  []string
}

// cliAs is the CLI with credentials against the server; the test is skipped
// where it is not installed.
func (s *server) cliAs(t *testing.T, key, secret, token string) *cli {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	env = append(env, "AWS_ENDPOINT_URL=http://"+s.listen, "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_DEFAULT_REGION="+region,
		"AWS_PAGER=", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
	if token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+token)
	}
	return &cli{t: t, path: path, env: env}
}

func (s *server) cliAsRoot(t *testing.T) *cli {
	t.Helper()
	return s.cliAs(t, "test", "test", "")
}

// run runs a command and returns what it wrote and its exit code.
func (c *cli) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.path, args...)
	cmd.Env = c.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState.ExitCode()
}

// ok wants a command to succeed and returns what it wrote.
func (c *cli) ok(args ...string) string {
	c.t.Helper()
	out, errs, code := c.run(args...)
	if code != 0 {
		c.t.Fatalf("aws %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// text is ok's output as words: what a script reads.
func (c *cli) text(args ...string) []string {
	c.t.Helper()
	return strings.Fields(c.ok(append(args, "--output", "text")...))
}

// refused wants the service to refuse a command with an error; message may be
// the end of what it says.
func (c *cli) refused(code, message string, args ...string) {
	c.t.Helper()
	_, errs, exit := c.run(args...)
	// Version 1 of the CLI ends with 255, version 2 with 254.
	if exit != 255 && exit != 254 {
		c.t.Errorf("aws %s: exit code %d: %s", strings.Join(args, " "), exit, errs)
	}
	if !strings.Contains(errs, "An error occurred ("+code+") when calling the ") || !strings.HasSuffix(errs, message) {
		c.t.Errorf("aws %s: %s\nwant %s: %s", strings.Join(args, " "), errs, code, message)
	}
}

// TestCLIPages lists with the CLI's pagination flags.
func TestCLIPages(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	c := s.cliAsRoot(t)
	for i := range 4 {
		n := strconv.Itoa(i)
		c.ok("iam", "create-user", "--user-name", "u"+n)
		c.ok("ecs", "create-cluster", "--cluster-name", "c"+n)
		c.ok("ecr", "create-repository", "--repository-name", "r"+n)
		c.ok("logs", "create-log-group", "--log-group-name", "g"+n)
	}
	for _, test := range []struct {
		name string
		want []string
		args []string
	}{
		{"query protocol", []string{"u0", "u1", "u2", "u3"}, []string{"iam", "list-users", "--query", "Users[].UserName"}},
		{"JSON", []string{"r0", "r1", "r2", "r3"}, []string{"ecr", "describe-repositories", "--query", "repositories[].repositoryName"}},
		{"logs", []string{"g0", "g1", "g2", "g3"}, []string{"logs", "describe-log-groups", "--query", "logGroups[].logGroupName"}},
		{"ARNs", []string{"c0", "c1", "c2", "c3"}, []string{"ecs", "list-clusters", "--query", "clusterArns[]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := s.cliAsRoot(t)
			last := func(words []string) []string {
				for i, w := range words {
					words[i] = w[strings.LastIndexByte(w, '/')+1:]
				}
				return words
			}
			if got := last(c.text(append(test.args, "--page-size", "3")...)); !slices.Equal(got, test.want) {
				t.Errorf("in pages of three: %q, want %q", got, test.want)
			}
			if got := last(c.text(append(test.args, "--max-items", "3")...)); !slices.Equal(got, append(test.want[:3:3], "None")) {
				t.Errorf("three of them: %q", got)
			}
			var page struct{ NextToken string }
			if err := json.Unmarshal([]byte(c.ok(slices.Concat(test.args[:2], []string{"--max-items", "3", "--page-size", "2"})...)), &page); err != nil || page.NextToken == "" {
				t.Fatalf("no token to go on with: %v", err)
			}
			if got := last(c.text(append(test.args, "--starting-token", page.NextToken)...)); !slices.Equal(got, test.want[3:]) {
				t.Errorf("the rest: %q, want %q", got, test.want[3:])
			}
		})
	}
}

// TestCLIInputsAndErrors gives input as files and skeletons, and reads the
// errors and exit codes that scripts depend on.
func TestCLIInputsAndErrors(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	c := s.cliAsRoot(t)
	definition := filepath.Join(t.TempDir(), "definition.json")
	if err := os.WriteFile(definition, []byte(`{
		"family": "web", "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"],
		"containerDefinitions": [{"name": "app", "image": "nginx", "portMappings": [{"containerPort": 80}], "environment": [{"name": "A", "value": "1"}]}],
		"tags": [{"key": "team", "value": "web"}]
	}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.text("ecs", "register-task-definition", "--cli-input-json", "file://"+definition, "--query", "taskDefinition.[family,revision,status]"); !slices.Equal(got, []string{"web", "1", "ACTIVE"}) {
		t.Errorf("registered %q", got)
	}
	// Flags win over the file.
	if got := c.text("ecs", "register-task-definition", "--cli-input-json", "file://"+definition, "--family", "other", "--query", "taskDefinition.family"); !slices.Equal(got, []string{"other"}) {
		t.Errorf("registered %q", got)
	}
	// What describe writes, register reads.
	described := c.ok("ecs", "describe-task-definition", "--task-definition", "web", "--query",
		"taskDefinition.{family:family,networkMode:networkMode,cpu:cpu,memory:memory,requiresCompatibilities:requiresCompatibilities,containerDefinitions:containerDefinitions,volumes:volumes,placementConstraints:placementConstraints}")
	if got := c.text("ecs", "register-task-definition", "--cli-input-json", described, "--query", "taskDefinition.revision"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("registered revision %q, want 2", got)
	}
	if got := c.text("ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true", "--query", "Vpcs[].CidrBlock"); !slices.Equal(got, []string{"172.31.0.0/16"}) {
		t.Errorf("the default VPC is %q", got)
	}

	c.refused("ClusterNotFoundException", ": Cluster not found.", "ecs", "list-tasks", "--cluster", "nope")
	c.refused("NoSuchEntity", ": The user with name nope cannot be found.", "iam", "get-user", "--user-name", "nope")
	c.refused("InvalidVpcID.NotFound", ": The vpc ID 'vpc-0123' does not exist", "ec2", "describe-vpcs", "--vpc-ids", "vpc-0123")
	c.refused("RepositoryNotFoundException", ": The repository with name 'nope' does not exist in the registry with id '000000000000'",
		"ecr", "describe-repositories", "--repository-names", "nope")
	c.refused("ResourceNotFoundException", ": The specified log group does not exist.", "logs", "describe-log-streams", "--log-group-name", "nope")
	c.refused("LoadBalancerNotFound", "not found", "elbv2", "describe-load-balancers", "--names", "nope")
	c.refused("DryRunOperation", ": Request would have succeeded, but DryRun flag is set.", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--dry-run")
	s.cliAs(t, "test", "wrong", "").refused("SignatureDoesNotMatch", "Consult the service documentation for details.", "sts", "get-caller-identity")
	s.cliAs(t, "AKIANOBODY", "x", "").refused("InvalidClientTokenId", ": The security token included in the request is invalid.", "sts", "get-caller-identity")
	s.cliAs(t, "AKIANOBODY", "x", "").refused("AuthFailure", ": AWS was not able to validate the provided access credentials", "ec2", "describe-vpcs")
}

// TestCLINarrowUser makes a user who may do little, and a role that the user
// may assume: each may what its policy says, and is told what it may not.
func TestCLINarrowUser(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	root := s.cliAsRoot(t)
	const user = "arn:aws:iam::000000000000:user/narrow"
	root.ok("iam", "create-user", "--user-name", "narrow")
	root.ok("iam", "put-user-policy", "--user-name", "narrow", "--policy-name", "p", "--policy-document", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["ecs:List*","logs:*"],"Resource":"*"},
		{"Effect":"Allow","Action":"ecs:*","Resource":"arn:aws:ecs:*:*:cluster/mine-*"},
		{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::000000000000:role/narrow-*"},
		{"Effect":"Deny","Action":"logs:DeleteLogGroup","Resource":"*"}]}`)
	key := root.text("iam", "create-access-key", "--user-name", "narrow", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]")
	c := s.cliAs(t, key[0], key[1], "")

	if got := c.text("sts", "get-caller-identity", "--query", "[Account,Arn]"); !slices.Equal(got, []string{"000000000000", user}) {
		t.Errorf("the caller is %q", got)
	}
	root.ok("ecs", "create-cluster", "--cluster-name", "mine-1")
	root.ok("ecs", "create-cluster", "--cluster-name", "yours")
	c.ok("ecs", "list-clusters")
	c.ok("ecs", "describe-clusters", "--clusters", "mine-1")
	c.ok("ecs", "delete-cluster", "--cluster", "mine-1")
	c.ok("logs", "create-log-group", "--log-group-name", "g")

	says := "User: " + user + " is not authorized to perform: "
	c.refused("AccessDeniedException", says+"ecs:DeleteCluster on resource: arn:aws:ecs:us-east-1:000000000000:cluster/yours because no identity-based policy allows the ecs:DeleteCluster action",
		"ecs", "delete-cluster", "--cluster", "yours")
	c.refused("AccessDeniedException", says+"logs:DeleteLogGroup on resource: arn:aws:logs:us-east-1:000000000000:log-group:g:* with an explicit deny in an identity-based policy",
		"logs", "delete-log-group", "--log-group-name", "g")
	c.refused("AccessDeniedException", says+"ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action",
		"ecr", "get-authorization-token")
	// EC2 says it again in a message that STS decodes.
	_, errs, _ := c.run("ec2", "describe-vpcs")
	if want := "(UnauthorizedOperation) when calling the DescribeVpcs operation: You are not authorized to perform this operation. " + says +
		"ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action. Encoded authorization failure message: "; !strings.Contains(errs, want) {
		t.Errorf("aws ec2 describe-vpcs: %s", errs)
	}
	c.refused("AccessDenied", says+"elasticloadbalancing:DescribeLoadBalancers because no identity-based policy allows the elasticloadbalancing:DescribeLoadBalancers action",
		"elbv2", "describe-load-balancers")
	c.refused("AccessDenied", says+"iam:CreateUser on resource: arn:aws:iam::000000000000:user/other because no identity-based policy allows the iam:CreateUser action",
		"iam", "create-user", "--user-name", "other")

	// A role that trusts the account, which the user may assume.
	for _, name := range []string{"narrow-role", "wide-role"} {
		root.ok("iam", "create-role", "--role-name", name, "--assume-role-policy-document",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"sts:AssumeRole"}]}`)
		root.ok("iam", "put-role-policy", "--role-name", name, "--policy-name", "p", "--policy-document",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}]}`)
	}
	c.refused("AccessDenied", says+"sts:AssumeRole on resource: arn:aws:iam::000000000000:role/wide-role because no identity-based policy allows the sts:AssumeRole action",
		"sts", "assume-role", "--role-arn", "arn:aws:iam::000000000000:role/wide-role", "--role-session-name", "me")
	session := c.text("sts", "assume-role", "--role-arn", "arn:aws:iam::000000000000:role/narrow-role", "--role-session-name", "me",
		"--query", "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]")
	r := s.cliAs(t, session[0], session[1], session[2])
	const assumed = "arn:aws:sts::000000000000:assumed-role/narrow-role/me"
	if got := r.text("sts", "get-caller-identity", "--query", "Arn"); !slices.Equal(got, []string{assumed}) {
		t.Errorf("the caller is %q", got)
	}
	r.ok("ec2", "describe-vpcs")
	r.refused("AccessDeniedException", "User: "+assumed+" is not authorized to perform: ecs:ListClusters on resource: * because no identity-based policy allows the ecs:ListClusters action",
		"ecs", "list-clusters")

	s.cliAs(t, session[0], session[1], "").refused("UnrecognizedClientException", ": The security token included in the request is invalid.", "ecs", "list-clusters")
	s.cliAs(t, key[0], key[1], "forged").refused("UnrecognizedClientException", ": The security token included in the request is invalid.", "ecs", "list-clusters")

	// A key that is switched off is as unknown as any other.
	root.ok("iam", "update-access-key", "--user-name", "narrow", "--access-key-id", key[0], "--status", "Inactive")
	c.refused("UnrecognizedClientException", ": The security token included in the request is invalid.", "ecs", "list-clusters")
}

// TestCLIWaiters waits as scripts do, for a service behind a load balancer and
// for a task, on real containers.
func TestCLIWaiters(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	c := st.cliAsRoot(t)
	b := st.balance(1, st.register("web", nil, st.container("serve")))
	c.ok("elbv2", "wait", "load-balancer-exists", "--names", st.name)
	c.ok("elbv2", "wait", "load-balancer-available", "--names", st.name)
	c.ok("ecs", "wait", "services-stable", "--cluster", st.name, "--services", "web")
	c.ok("elbv2", "wait", "target-in-service", "--target-group-arn", b.targetGroup)
	if code, body, err := b.get("/"); err != nil || code != 200 {
		t.Errorf("in service: %d %q %v", code, body, err)
	}

	// The commands of the README, and others that users look around with.
	tasks := c.text("ecs", "list-tasks", "--cluster", st.name, "--service-name", "web", "--query", "taskArns[]")
	if len(tasks) != 1 {
		t.Fatalf("tasks %q", tasks)
	}
	if got := c.text("ecs", "describe-tasks", "--cluster", st.name, "--tasks", tasks[0], "--query",
		"tasks[].[lastStatus,launchType,containers[0].lastStatus]"); !slices.Equal(got, []string{"RUNNING", "FARGATE", "RUNNING"}) {
		t.Errorf("the task: %q", got)
	}
	if got := c.text("elbv2", "describe-target-health", "--target-group-arn", b.targetGroup, "--query", "TargetHealthDescriptions[].TargetHealth.State"); !slices.Equal(got, []string{"healthy"}) {
		t.Errorf("target health: %q", got)
	}
	c.ok("ecs", "update-service", "--cluster", st.name, "--service", "web", "--desired-count", "2")
	c.ok("ecs", "wait", "services-stable", "--cluster", st.name, "--services", "web")
	if got := c.text("ecs", "describe-services", "--cluster", st.name, "--services", "web", "--query", "services[].[runningCount,pendingCount,deployments[0].rolloutState]"); !slices.Equal(got, []string{"2", "0", "COMPLETED"}) {
		t.Errorf("the service: %q", got)
	}

	input, err := json.Marshal(map[string]any{
		"cluster": st.name, "taskDefinition": st.name + "-web", "launchType": "FARGATE",
		"networkConfiguration": map[string]any{"awsvpcConfiguration": map[string]any{"subnets": st.subnets, "assignPublicIp": "ENABLED"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	task := c.text("ecs", "run-task", "--cli-input-json", string(input), "--query", "tasks[].taskArn")[0]
	c.ok("ecs", "wait", "tasks-running", "--cluster", st.name, "--tasks", task)
	c.ok("ecs", "stop-task", "--cluster", st.name, "--task", task, "--reason", "enough")
	c.ok("ecs", "wait", "tasks-stopped", "--cluster", st.name, "--tasks", task)
	if got := c.text("ecs", "describe-tasks", "--cluster", st.name, "--tasks", task, "--query", "tasks[].[lastStatus,stopCode,stoppedReason]"); !slices.Equal(got, []string{"STOPPED", "UserInitiated", "enough"}) {
		t.Errorf("the stopped task: %q", got)
	}

	c.ok("ecs", "delete-service", "--cluster", st.name, "--service", "web", "--force")
	c.ok("ecs", "wait", "services-inactive", "--cluster", st.name, "--services", "web")
	lb := c.text("elbv2", "describe-load-balancers", "--names", st.name, "--query", "LoadBalancers[].LoadBalancerArn")[0]
	c.ok("elbv2", "delete-load-balancer", "--load-balancer-arn", lb)
	c.ok("elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", lb)
}
