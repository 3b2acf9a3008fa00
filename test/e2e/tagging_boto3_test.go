package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// python runs a script with boto3 against the server and returns what it
// printed; the test is skipped where there is no boto3.
func (s *server) python(t *testing.T, script string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if err := exec.CommandContext(t.Context(), path, "-c", "import boto3").Run(); err != nil {
		t.Skip("boto3 is not installed")
	}
	cmd := exec.CommandContext(t.Context(), path, "-")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL=http://"+s.listen, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+region,
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
	cmd.Stdin = strings.NewReader(script)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}

// TestTaggingBoto3 tags the resources of several services through the Resource
// Groups Tagging API, as root and as a user whose policy allows only some of
// it, and finds them with boto3's paginators.
func TestTaggingBoto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	got := s.python(t, `
import boto3, json
tagging, ec2, ecs, logs, ssm, iam = (boto3.client(n) for n in ("resourcegroupstaggingapi", "ec2", "ecs", "logs", "ssm", "iam"))
vpc = ec2.describe_vpcs()["Vpcs"][0]
vpc_arn = "arn:aws:ec2:us-east-1:%s:vpc/%s" % (vpc["OwnerId"], vpc["VpcId"])
cluster = ecs.create_cluster(clusterName="tagged", tags=[{"key": "team", "value": "blue"}])["cluster"]["clusterArn"]
arns = [vpc_arn]
for i in range(5):
    name = "tagged-%d" % i
    logs.create_log_group(logGroupName=name, tags={"team": "red" if i else "blue", "n": str(i)})
    arns.append("arn:aws:logs:us-east-1:%s:log-group:%s" % (vpc["OwnerId"], name))
ssm.put_parameter(Name="/tagged/p", Type="String", Value="x")
parameter = "arn:aws:ssm:us-east-1:%s:parameter/tagged/p" % vpc["OwnerId"]
def found(**filters):
    pages = tagging.get_paginator("get_resources").paginate(PaginationConfig={"PageSize": 2}, **filters)
    return sorted(m["ResourceARN"].split(":", 5)[5] for p in pages for m in p["ResourceTagMappingList"])
def show(*values): print(json.dumps(values))
show(tagging.tag_resources(ResourceARNList=[vpc_arn, parameter], Tags={"team": "blue"})["FailedResourcesMap"])
show([vpc["VpcId"]] == [r.split("/")[1] for r in found(ResourceTypeFilters=["ec2:vpc"])])
show([r for r in found(TagFilters=[{"Key": "team", "Values": ["blue"]}]) if not r.startswith("vpc/")])
show(found(TagFilters=[{"Key": "team"}, {"Key": "n", "Values": ["3", "4"]}], ResourceTypeFilters=["logs"]))
show([k for p in tagging.get_paginator("get_tag_keys").paginate() for k in p["TagKeys"]])
show([v for p in tagging.get_paginator("get_tag_values").paginate(Key="team") for v in p["TagValues"]])
show(tagging.untag_resources(ResourceARNList=arns[1:], TagKeys=["team", "n"])["FailedResourcesMap"])
show([m["Tags"] for m in tagging.get_resources(ResourceARNList=arns[1:3])["ResourceTagMappingList"]])
user = iam.create_user(UserName="tagger")
iam.put_user_policy(UserName="tagger", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["tag:TagResources", "ec2:CreateTags"], "Resource": "*"}]}))
key = iam.create_access_key(UserName="tagger")["AccessKey"]
own = boto3.client("resourcegroupstaggingapi", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
failed = own.tag_resources(ResourceARNList=[vpc_arn, cluster], Tags={"team": "green"})["FailedResourcesMap"]
show([(a.split("/")[1], f["ErrorCode"], f["StatusCode"]) for a, f in failed.items()])
show(ec2.describe_vpcs()["Vpcs"][0]["Tags"])
for call, args in ((own.get_resources, {}), (tagging.get_resources, {"ResourcesPerPage": 101}), (tagging.get_compliance_summary, {})):
    try: call(**args)
    except tagging.exceptions.ClientError as e: show(e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"])
`)
	want := strings.Join([]string{
		`[{}]`, `[true]`,
		`[["cluster/tagged", "log-group:tagged-0", "parameter/tagged/p"]]`,
		`[["log-group:tagged-3", "log-group:tagged-4"]]`,
		`[["n", "team"]]`, `[["blue", "red"]]`, `[{}]`, `[[[], []]]`,
		`[[["tagged", "AccessDeniedException", 400]]]`,
		`[[{"Key": "team", "Value": "green"}]]`,
		`["AccessDeniedException", 400]`, `["InvalidParameterException", 400]`, `["ConstraintViolationException", 400]`,
	}, "\n")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
