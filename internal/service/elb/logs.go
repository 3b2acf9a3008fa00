package elb

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/balance"
)

// LogObjects are the buckets that logs go to.
type LogObjects interface {
	objects.Buckets
	objects.Writer
}

const (
	logEnabled  = "access_logs.s3.enabled"
	logBucket   = "access_logs.s3.bucket"
	logPrefix   = "access_logs.s3.prefix"
	logInterval = balance.EmitInterval
)

// The minutes that an object of a log may be of.
const (
	shortInterval = 5
	longInterval  = 60
)

// accessLogOf tells of the log, and of where it went before it was disabled.
func accessLogOf(a map[string]string) *elb.AccessLog {
	out := &elb.AccessLog{Enabled: new(a[logEnabled] == "true")}
	if a[logBucket] != "" {
		out.S3BucketName, out.S3BucketPrefix, out.EmitInterval = new(a[logBucket]), new(a[logPrefix]), number(a[logInterval], longInterval)
	}
	return out
}

// wantedLog adds what is wanted of the log. What is not said of a log that is
// enabled has its default, of one that is disabled it stays.
func wantedLog(set map[string]string, in *elb.AccessLog) error {
	on := *in.Enabled
	set[logEnabled] = "false"
	if on {
		set[logEnabled] = "true"
		if value(in.S3BucketName) == "" {
			return invalid("S3BucketName must be specified when access logs are enabled")
		}
	}
	if on || in.S3BucketName != nil {
		set[logBucket] = value(in.S3BucketName)
	}
	if on || in.S3BucketPrefix != nil {
		if !objects.ValidLogPrefix(value(in.S3BucketPrefix)) {
			return invalid("S3BucketPrefix '%s' is not valid", value(in.S3BucketPrefix))
		}
		set[logPrefix] = value(in.S3BucketPrefix)
	}
	switch {
	case in.EmitInterval == nil && on:
		set[logInterval] = portText(longInterval)
	case in.EmitInterval == nil:
	case *in.EmitInterval != shortInterval && *in.EmitInterval != longInterval:
		return invalid("EmitInterval must be %d or %d minutes", shortInterval, longInterval)
	default:
		set[logInterval] = portText(*in.EmitInterval)
	}
	return nil
}

// checkLog writes a test file into the bucket that the log is to go to from now
// on: a bucket that does not take it refuses the change.
func (s *Service) checkLog(ctx context.Context, lb *model.LoadBalancer, before map[string]string) error {
	a := lb.Attributes
	if a[logEnabled] != "true" || before[logEnabled] == "true" && before[logBucket] == a[logBucket] && before[logPrefix] == a[logPrefix] {
		return nil
	}
	if s.Logs == nil {
		return misconfigured("Logs cannot be stored: there are no buckets")
	}
	c := api.CallFrom(ctx)
	text := "Enable AccessLog for ELB: " + lb.Name + " at " + c.Time.UTC().Format(time.RFC3339)
	err := objects.TestLog(ctx, s.Logs, objects.BalancerLogs(c.Account, c.Region, lb.ARN), c.Region, a[logBucket], a[logPrefix], "ELBAccessLogTestFile", text)
	switch {
	case errors.Is(err, objects.ErrDenied):
		return misconfigured("Access Denied for bucket: %s. Please check S3bucket permission", a[logBucket])
	case errors.Is(err, objects.ErrElsewhere):
		return misconfigured("The S3 bucket '%s' must be in the region '%s' of the load balancer", a[logBucket], c.Region)
	}
	return err
}
