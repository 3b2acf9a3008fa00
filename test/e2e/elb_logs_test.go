package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestLoadBalancerLogsAndMetrics sends requests through a load balancer to a
// container, and reads what it tells of them: access, connection and
// health check logs in a bucket that lets them in, and metrics.
func TestLoadBalancerLogsAndMetrics(t *testing.T) {
	t.Parallel()
	st := newStack(t, ownServer(t, "containerd", "--elb-log-period", "1s"))
	b := st.balance(1, st.register("web", nil, st.container("serve", "-name", "logged")))
	b.stable(90 * time.Second)
	got := st.python(t, `
import boto3, datetime, gzip, json, os, time, urllib.request
name, dns, group = "`+st.name+`", "`+b.dns+`", "`+b.targetGroup+`"
elb, s3, cw = boto3.client("elbv2"), boto3.client("s3"), boto3.client("cloudwatch")
lb = elb.describe_load_balancers(Names=[name])["LoadBalancers"][0]["LoadBalancerArn"]
s3.create_bucket(Bucket=name)
on = [{"Key": "access_logs.s3.enabled", "Value": "true"}, {"Key": "access_logs.s3.bucket", "Value": name}, {"Key": "access_logs.s3.prefix", "Value": "web"},
      {"Key": "connection_logs.s3.enabled", "Value": "true"}, {"Key": "connection_logs.s3.bucket", "Value": name},
      {"Key": "health_check_logs.s3.enabled", "Value": "true"}, {"Key": "health_check_logs.s3.bucket", "Value": name}]
try: elb.modify_load_balancer_attributes(LoadBalancerArn=lb, Attributes=on)
except elb.exceptions.ClientError as e: print(e.response["Error"]["Code"], e.response["Error"]["Message"])
s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::127311923021:root"}, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/web/AWSLogs/000000000000/*"},
    {"Effect": "Allow", "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/AWSLogs/000000000000/*"}]}))
elb.modify_load_balancer_attributes(LoadBalancerArn=lb, Attributes=on)
def keys(part): return sorted(o["Key"] for o in s3.list_objects_v2(Bucket=name).get("Contents", []) if part in o["Key"])
print(keys("TestFile"))
time.sleep(1) # the listener is told
for i in range(5):
    urllib.request.urlopen(urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + f"/logged?i={i}", headers={"Host": dns, "User-Agent": "e2e/1"})).read()
def lines(part):
    out = []
    for k in [k for k in keys(part) if k.endswith(".gz")]: out += gzip.decompress(s3.get_object(Bucket=name, Key=k)["Body"].read()).decode().splitlines()
    return out
until = time.time() + 30
while (len(lines("/000000000000_")) < 5 or len(lines("conn_log.")) < 1 or len(lines("health_check_log_")) < 1) and time.time() < until: time.sleep(0.5)
found = [l for l in lines("/000000000000_") if "logged?i=4" in l]
print(len(found), found[0])
print(keys("/000000000000_")[0])
print(lines("conn_log.")[0])
print(lines("health_check_log_")[0])
dims = [{"Name": "LoadBalancer", "Value": lb.split("loadbalancer/")[1]}]
now = datetime.datetime.now(datetime.timezone.utc)
def total(metric, dims):
    p = cw.get_metric_statistics(Namespace="AWS/ApplicationELB", MetricName=metric, Dimensions=dims, StartTime=now - datetime.timedelta(minutes=10), EndTime=now + datetime.timedelta(minutes=5), Period=3600, Statistics=["Sum"])["Datapoints"]
    return sum(x["Sum"] for x in p)
while total("RequestCount", dims) < 5 and time.time() < until: time.sleep(0.5)
target = dims + [{"Name": "TargetGroup", "Value": group.split(":")[5]}]
print(total("RequestCount", dims) >= 5, total("HTTPCode_Target_2XX_Count", target) >= 5)
data = cw.get_metric_data(StartTime=now - datetime.timedelta(minutes=10), EndTime=now + datetime.timedelta(minutes=5), MetricDataQueries=[
    {"Id": "p", "MetricStat": {"Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": "TargetResponseTime", "Dimensions": target}, "Period": 3600, "Stat": "p99"}},
    {"Id": "ms", "Expression": "p * 1000"}])["MetricDataResults"]
print(all(0 < r["Values"][0] < 60000 for r in data))
zones = [m for m in cw.list_metrics(Namespace="AWS/ApplicationELB", MetricName="RequestCount")["Metrics"] if any(d["Name"] == "AvailabilityZone" for d in m["Dimensions"])]
print(len(zones) > 0, zones[0]["Dimensions"][0]["Value"].startswith("us-east-1"))

# A network load balancer with TLS, before the same task.
import socket, ssl
acm, ec2 = boto3.client("acm"), boto3.client("ec2")
tg = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]
net = elb.create_load_balancer(Name=name + "-net", Type="network", Subnets=["`+st.subnets[0]+`"])["LoadBalancers"][0]
flows = elb.create_target_group(Name=name + "-net", Protocol="TCP", Port=80, TargetType="ip", VpcId=tg["VpcId"], HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
elb.register_targets(TargetGroupArn=flows, Targets=[{"Id": elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"][0]["Target"]["Id"]}])
cert = acm.request_certificate(DomainName=net["DNSName"], ValidationMethod="DNS")["CertificateArn"]
acm.get_waiter("certificate_validated").wait(CertificateArn=cert, WaiterConfig={"Delay": 1})
elb.create_listener(LoadBalancerArn=net["LoadBalancerArn"], Protocol="TLS", Port=8457, Certificates=[{"CertificateArn": cert}], DefaultActions=[{"Type": "forward", "TargetGroupArn": flows}])
bucket = name + "-net"
s3.create_bucket(Bucket=bucket)
s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "delivery.logs.amazonaws.com"}, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/AWSLogs/000000000000/*", "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}},
    {"Effect": "Allow", "Principal": {"Service": "delivery.logs.amazonaws.com"}, "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{bucket}"}]}))
elb.modify_load_balancer_attributes(LoadBalancerArn=net["LoadBalancerArn"], Attributes=[{"Key": "access_logs.s3.enabled", "Value": "true"}, {"Key": "access_logs.s3.bucket", "Value": bucket}])
trust = ssl.create_default_context(cadata="""`+st.ca(t)+`""")
trust.maximum_version = ssl.TLSVersion.TLSv1_2
def flow():
    try:
        with trust.wrap_socket(socket.create_connection(("127.0.0.1", 8457), 5), server_hostname=net["DNSName"]) as c:
            c.settimeout(5)
            c.sendall(f"GET /health HTTP/1.0\r\nHost: {net['DNSName']}\r\n\r\n".encode())
            answer = b""
            while part := c.recv(4096): answer += part
            return answer.startswith(b"HTTP/1.0 200")
    except OSError as e: return e
until = time.time() + 60
while (answer := flow()) is not True and time.time() < until: time.sleep(0.5)
print(answer)
while time.time() < until:
    found = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", []) if o["Key"].endswith(".log.gz")]
    logged = [l for k in found for l in gzip.decompress(s3.get_object(Bucket=bucket, Key=k)["Body"].read()).decode().splitlines() if " TLS " not in l and "tlsv12" in l]
    if logged: break
    flow()
    time.sleep(0.5)
print(found[0])
print(logged[-1])
`)
	want := []string{
		`InvalidConfigurationRequest Access Denied for bucket: ` + st.name + `\. Please check S3bucket permission`,
		`\['AWSLogs/000000000000/ELBConnectionLogTestFile', 'AWSLogs/000000000000/ELBHealthCheckLogTestFile', 'web/AWSLogs/000000000000/ELBAccessLogTestFile'\]`,
		`1 http \S+Z app/` + st.name + `/[0-9a-f]{16} \S+:\d+ 172\.31\.\S+:80 \d\.\d{3} \d\.\d{3} \d\.\d{3} 200 200 \d+ \d+ "GET http://` + regexp.QuoteMeta(b.dns) +
			`:80/logged\?i=4 HTTP/1\.1" "e2e/1" - - ` + regexp.QuoteMeta(b.targetGroup) + ` "Root=1-\S+" "-" "-" 0 \S+Z "forward" "-" "-" "172\.31\.\S+:80" "200" "-" "-" TID_[0-9a-f]{32} "-" "-" "-"`,
		`web/AWSLogs/000000000000/elasticloadbalancing/us-east-1/\d{4}/\d\d/\d\d/000000000000_elasticloadbalancing_us-east-1_app\.` + st.name + `\.[0-9a-f]{16}_\d{8}T\d{4}Z_172\.31\.\d+\.\d+_[0-9a-f]{8}\.log\.gz`,
		`\S+Z \S+ \d+ 80 - - - "-" - - - TID_[0-9a-f]{32} -`,
		`http \S+Z \d\.\d{9} 172\.31\.\S+:80 ` + st.name + ` PASS 200 -`,
		`True True`, `True`, `True True`,
		`True`,
		`AWSLogs/000000000000/elasticloadbalancing/us-east-1/\d{4}/\d\d/\d\d/000000000000_elasticloadbalancing_us-east-1_net\.` + st.name + `-net\.[0-9a-f]{16}_\d{8}T\d{4}Z_[0-9a-f]{8}\.log\.gz`,
		`tls 2\.0 \S+ net/` + st.name + `-net/[0-9a-f]{16} [0-9a-f]{16} \S+:\d+ 172\.31\.\d+\.\d+:8457 \d+ \d+ \d+ \d+ - arn:aws:acm:us-east-1:000000000000:certificate/\S+ - ECDHE-\S+ tlsv12 \S+ ` + st.name + `-net-\S+\.elb\.localhost - - - \S+`,
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), got)
	}
	for i, w := range want {
		if !regexp.MustCompile("^" + w + "$").MatchString(lines[i]) {
			t.Errorf("got  %s\nwant %s", lines[i], w)
		}
	}
	out, _, code := st.cliAsRoot(t).run("cloudwatch", "list-metrics", "--namespace", "AWS/ApplicationELB", "--metric-name", "HealthyHostCount")
	if code != 0 || !strings.Contains(out, "targetgroup/"+st.name) {
		t.Errorf("%d %s", code, out)
	}
}
