package elbv2

import (
	"strings"
	"testing"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/objects/objectstest"
)

func TestLogsNeedABucketThatTakesThem(t *testing.T) {
	w := newWorld(t)
	buckets := &objectstest.Memory{}
	w.s.Logs = buckets
	buckets.MakeBucket("near", account, region)
	buckets.MakeBucket("far", account, "eu-west-1")
	refuses := true
	var asked []string
	buckets.Deny = func(who objects.Principal, action string, at objects.Location) bool {
		asked = append(asked, who.Service+" "+action+" "+at.Bucket+"/"+at.Key)
		return refuses
	}
	lb := w.loadBalancer("web")
	set := func(pairs ...string) error {
		in := &elbv2.ModifyLoadBalancerAttributesInput{LoadBalancerArn: new(lb)}
		for i := 0; i < len(pairs); i += 2 {
			in.Attributes = append(in.Attributes, elbv2.LoadBalancerAttribute{Key: &pairs[i], Value: &pairs[i+1]})
		}
		_, err := w.s.ModifyLoadBalancerAttributes(w.ctx, in)
		return err
	}
	on := func(bucket string, more ...string) []string {
		return append([]string{"access_logs.s3.enabled", "true", "access_logs.s3.bucket", bucket}, more...)
	}
	for _, c := range []struct {
		pairs []string
		want  string
	}{
		{[]string{"access_logs.s3.enabled", "true"}, "ValidationError: Load balancer attribute 'access_logs.s3.bucket' must be specified"},
		{on("none"), "InvalidConfigurationRequest: Access Denied for bucket: none. Please check S3bucket permission"},
		{on("near"), "InvalidConfigurationRequest: Access Denied for bucket: near. Please check S3bucket permission"},
		{on("far"), "InvalidConfigurationRequest: The S3 bucket 'far' must be in the region"},
		{on("near", "access_logs.s3.prefix", "a/AWSLogs"), "ValidationError: Load balancer attribute value 'a/AWSLogs'"},
		{on("near", "access_logs.s3.enabled", "true"), "ValidationError: Load balancer attribute key 'access_logs.s3.enabled' cannot be specified more than once"},
	} {
		if err := set(c.pairs...); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: %v", c.pairs, err)
		}
	}
	asked = nil
	refuses = false
	if err := set(on("near", "access_logs.s3.prefix", "web")...); err != nil {
		t.Fatal(err)
	}
	const test = "logdelivery.elasticloadbalancing.amazonaws.com s3:PutObject near/web/AWSLogs/" + account + "/ELBAccessLogTestFile"
	if len(asked) == 0 || asked[len(asked)-1] != test {
		t.Errorf("%q", asked)
	}
	// What changes nothing about the log writes nothing.
	asked = nil
	if err := set("idle_timeout.timeout_seconds", "30"); err != nil || len(asked) != 0 {
		t.Errorf("%v %q", err, asked)
	}
	if err := set("connection_logs.s3.enabled", "true", "connection_logs.s3.bucket", "near"); err != nil || !strings.HasSuffix(strings.Join(asked, " "), "near/AWSLogs/"+account+"/ELBConnectionLogTestFile") {
		t.Errorf("%v %q", err, asked)
	}
	if err := set("health_check_logs.s3.enabled", "true", "health_check_logs.s3.bucket", "near", "health_check_logs.s3.prefix", "checks"); err != nil || !strings.HasSuffix(strings.Join(asked, " "), "near/checks/AWSLogs/"+account+"/ELBHealthCheckLogTestFile") {
		t.Errorf("%v %q", err, asked)
	}
}

// Network load balancers' logs are written by another principal.
func TestNetworkLogs(t *testing.T) {
	w := newWorld(t)
	buckets := &objectstest.Memory{}
	w.s.Logs = buckets
	buckets.MakeBucket("near", account, region)
	var asked []string
	buckets.Deny = func(who objects.Principal, action string, at objects.Location) bool {
		asked = append(asked, who.Service+" "+action+" "+at.Bucket+"/"+at.Key)
		return false
	}
	lb, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("tls"), Type: elbv2.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-a"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.s.ModifyLoadBalancerAttributes(w.ctx, &elbv2.ModifyLoadBalancerAttributesInput{LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Attributes: []elbv2.LoadBalancerAttribute{
		{Key: new("access_logs.s3.enabled"), Value: new("true")}, {Key: new("access_logs.s3.bucket"), Value: new("near")},
	}})
	if err != nil || strings.Join(asked, ",") != "delivery.logs.amazonaws.com s3:PutObject near/AWSLogs/"+account+"/ELBAccessLogTestFile" {
		t.Errorf("%v %q", err, asked)
	}
}
