package elb

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/objects/objectstest"
)

func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	modify := func(l elb.AccessLog) error {
		_, err := w.s.ModifyLoadBalancerAttributes(w.ctx, &elb.ModifyLoadBalancerAttributesInput{
			LoadBalancerName: name, LoadBalancerAttributes: &elb.LoadBalancerAttributes{AccessLog: &l},
		})
		return err
	}
	on := elb.AccessLog{Enabled: new(true), S3BucketName: new("near")}
	refused(t, modify(on), "InvalidConfigurationRequest", "no buckets")
	buckets := &objectstest.Memory{}
	buckets.MakeBucket("near", account, region)
	buckets.MakeBucket("far", account, "eu-west-1")
	refuses := true
	var asked []string
	buckets.Deny = func(who objects.Principal, action string, at objects.Location) bool {
		asked = append(asked, who.Service+" "+who.SourceARN+" "+action+" "+at.Bucket+"/"+at.Key)
		return refuses
	}
	w.s.Logs = buckets
	refused(t, modify(elb.AccessLog{Enabled: new(true)}), "ValidationError", "S3BucketName")
	refused(t, modify(elb.AccessLog{Enabled: new(true), S3BucketName: new("near"), EmitInterval: new(int32(10))}), "ValidationError", "5 or 60")
	refused(t, modify(elb.AccessLog{Enabled: new(true), S3BucketName: new("near"), S3BucketPrefix: new("a/")}), "ValidationError", "a/")
	refused(t, modify(elb.AccessLog{Enabled: new(true), S3BucketName: new("none")}), "InvalidConfigurationRequest", "Access Denied for bucket: none. Please check S3bucket permission")
	refused(t, modify(elb.AccessLog{Enabled: new(true), S3BucketName: new("far")}), "InvalidConfigurationRequest", "region")
	refused(t, modify(on), "InvalidConfigurationRequest", "Access Denied for bucket: near. Please check S3bucket permission")

	refuses, asked = false, nil
	is := func(want elb.AccessLog) {
		t.Helper()
		got := must(w.s.DescribeLoadBalancerAttributes(w.ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerName: name}))(w).LoadBalancerAttributes.AccessLog
		if d := cmp.Diff(&want, got); d != "" {
			t.Error(d)
		}
	}
	is(elb.AccessLog{Enabled: new(false)}) // what was refused left nothing
	if err := modify(on); err != nil {
		t.Fatal(err)
	}
	is(elb.AccessLog{Enabled: new(true), S3BucketName: new("near"), S3BucketPrefix: new(""), EmitInterval: new(int32(60))})
	set := elb.AccessLog{Enabled: new(true), S3BucketName: new("near"), S3BucketPrefix: new("web"), EmitInterval: new(int32(5))}
	if err := modify(set); err != nil {
		t.Fatal(err)
	}
	is(set)
	who := "logdelivery.elasticloadbalancing.amazonaws.com arn:aws:elasticloadbalancing:us-east-1:" + account + ":loadbalancer/n s3:PutObject near/"
	if !slices.Equal(asked, []string{who + "AWSLogs/" + account + "/ELBAccessLogTestFile", who + "web/AWSLogs/" + account + "/ELBAccessLogTestFile"}) {
		t.Errorf("%q", asked)
	}
	// What leaves the place as it is writes nothing, and disabling forgets none of it.
	asked = nil
	set.EmitInterval = new(int32(60))
	if err := modify(set); err != nil || len(asked) != 0 {
		t.Error(err, asked)
	}
	if err := modify(elb.AccessLog{Enabled: new(false)}); err != nil || len(asked) != 0 {
		t.Error(err, asked)
	}
	set.Enabled = new(false)
	is(set)
}
