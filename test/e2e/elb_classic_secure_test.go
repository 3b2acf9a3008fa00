package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
)

// secure adds an HTTPS and an SSL listener with a certificate of Certificate
// Manager's, reaches instances through both, and reads in a bucket what the
// load balancer logged of it.
func (b *classicBalancer) secure(front string, names []string, dial func(port string) net.Conn) {
	t := b.t
	t.Helper()
	b.allow(front, 443, "0.0.0.0/0")
	b.allow(front, 444, "0.0.0.0/0")
	b.python(t, `
import boto3, json, time
name, dns = "`+b.name+`", "`+b.dns+`"
acm, elb, s3 = boto3.client("acm"), boto3.client("elb"), boto3.client("s3")
arn = acm.request_certificate(DomainName=dns, ValidationMethod="DNS")["CertificateArn"]
acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1})
elb.create_load_balancer_listeners(LoadBalancerName=name, Listeners=[
    {"Protocol": "HTTPS", "LoadBalancerPort": 443, "InstanceProtocol": "HTTP", "InstancePort": 8080, "SSLCertificateId": arn},
    {"Protocol": "SSL", "LoadBalancerPort": 444, "InstanceProtocol": "TCP", "InstancePort": 8080, "SSLCertificateId": arn}])
s3.create_bucket(Bucket=name)
s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::127311923021:root"}, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/old/AWSLogs/000000000000/*"}]}))
elb.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes={"AccessLog": {"Enabled": True, "S3BucketName": name, "S3BucketPrefix": "old", "EmitInterval": 5}})
`)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.ca(t)))
	ask := func(port, when string) (string, error) {
		c := tls.Client(dial(port), &tls.Config{ServerName: b.dns, RootCAs: roots, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, "GET /name?"+when+" HTTP/1.1\r\nHost: "+b.dns+"\r\nUser-Agent: e2e\r\nConnection: close\r\n\r\n"); err != nil {
			return "", err
		}
		all, err := io.ReadAll(c)
		if words := strings.Fields(string(all)); err == nil && len(words) > 0 {
			return words[len(words)-1], nil
		}
		return string(all), err
	}
	for _, port := range []string{"443", "444"} {
		var seen []string
		eventually(t, 20*time.Second, "both instances answer at port "+port, func() error {
			got, err := ask(port, "first")
			if err != nil || !slices.Contains(names, got) {
				return errorf("%q %v", got, err)
			}
			if !slices.Contains(seen, got) {
				seen = append(seen, got)
			}
			if len(seen) != 2 {
				return errorf("only %v", seen)
			}
			return nil
		})
		if got, err := ask(port, "logged"); err != nil || !slices.Contains(names, got) {
			t.Errorf("port %s: %q %v", port, got, err)
		}
	}
	got := b.python(t, `
import boto3, time
name = "`+b.name+`"
s3 = boto3.client("s3")
until = time.time() + 30
while True:
    keys = sorted(o["Key"] for o in s3.list_objects_v2(Bucket=name).get("Contents", []) if o["Key"].endswith(".log"))
    lines = [l for k in keys for l in s3.get_object(Bucket=name, Key=k)["Body"].read().decode().splitlines()]
    web, raw = [l for l in lines if "/name?logged" in l], [l for l in lines if '"- - - "' in l and not l.endswith("- -")]
    if web and raw or time.time() > until: break
    time.sleep(0.5)
print(keys[0])
print(web[0])
print(raw[0])
`)
	lines := strings.Split(got, "\n")
	address, times := `172\.31\.\d+\.\d+`, ` \d+\.\d{6} \d+\.\d{6} \d+\.\d{6} `
	for i, want := range []string{
		`old/AWSLogs/000000000000/elasticloadbalancing/us-east-1/\d{4}/\d\d/\d\d/000000000000_elasticloadbalancing_us-east-1_` + b.name + `_\d{8}T\d{4}Z_` + address + `_[0-9a-z]+\.log`,
		`\S+Z ` + b.name + ` \S+:\d+ ` + address + `:8080` + times + `200 200 0 \d+ "GET https://` + regexp.QuoteMeta(b.dns) + `:443/name\?logged HTTP/1\.1" "e2e" ECDHE-\S+ TLSv1\.2`,
		`\S+Z ` + b.name + ` \S+:\d+ ` + address + `:8080` + times + `- - \d+ \d+ "- - - " "-" ECDHE-\S+ TLSv1\.2`,
	} {
		if i >= len(lines) || !regexp.MustCompile("^"+want+"$").MatchString(lines[i]) {
			t.Errorf("line %d of\n%s\nis not %s", i, got, want)
		}
	}
}
