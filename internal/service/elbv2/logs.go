package elbv2

import (
	"context"
	"errors"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
)

// LogObjects are the buckets that logs go to.
type LogObjects interface {
	objects.Buckets
	objects.Writer
}

// loggings are the logs that go to buckets, by the prefix of their attributes,
// with the name of the object that is written when they are enabled.
var loggings = map[string]string{
	"access_logs.s3.": "ELBAccessLogTestFile", "connection_logs.s3.": "ELBConnectionLogTestFile", "health_check_logs.s3.": "ELBHealthCheckLogTestFile",
}

// checkLogs writes a test file into each bucket that logs are to go to from now
// on, as AWS does: a bucket that does not take it refuses the change.
func (s *Service) checkLogs(ctx context.Context, lb *model.LoadBalancer, before map[string]string) error {
	for prefix, file := range loggings {
		changed := false
		for _, key := range []string{"enabled", "bucket", "prefix"} {
			changed = changed || before[prefix+key] != lb.Attributes[prefix+key]
		}
		if !changed || lb.Attributes[prefix+"enabled"] != "true" {
			continue
		}
		if err := s.checkLog(ctx, lb, lb.Attributes[prefix+"bucket"], lb.Attributes[prefix+"prefix"], prefix, file); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkLog(ctx context.Context, lb *model.LoadBalancer, bucket, folder, attribute, file string) error {
	c := api.CallFrom(ctx)
	switch {
	case s.Logs == nil:
		return unsupported("Logs cannot be stored: there are no buckets")
	case bucket == "":
		return invalid("Load balancer attribute '%sbucket' must be specified when '%senabled' is true", attribute, attribute)
	case !objects.ValidLogPrefix(folder):
		return invalid("Load balancer attribute value '%s' is not valid for '%sprefix'", folder, attribute)
	}
	text := "Enable " + strings.TrimSuffix(strings.TrimPrefix(file, "ELB"), "TestFile") + " for ELB: " + lb.Name + " at " + c.Time.UTC().Format(time.RFC3339)
	err := objects.TestLog(ctx, s.Logs, objects.BalancerLogs(c.Account, c.Region, lb.ARN), c.Region, bucket, folder, file, text)
	switch {
	case errors.Is(err, objects.ErrDenied):
		return unsupported("Access Denied for bucket: %s. Please check S3bucket permission", bucket)
	case errors.Is(err, objects.ErrElsewhere):
		return unsupported("The S3 bucket '%s' must be in the region '%s' of the load balancer", bucket, c.Region)
	}
	return err
}
