package balance

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
)

// EmitInterval is a classic load balancer's attribute that tells how many
// minutes each object of its log is of.
const EmitInterval = "access_logs.s3.emit_interval"

// LogOutput is somewhere that a load balancer's traffic is logged to.
type LogOutput struct {
	// ID tells the outputs of a load balancer apart.
	ID string
	// Type is the log's, as deliveries of CloudWatch Logs name it.
	Type string
	// Bucket and Prefix of objects, or the ARN of a log group.
	Bucket, Prefix string
	// Minutes that an object is of; 0 means five.
	Minutes  int
	LogGroup string
	// JSON entries, or plain text with a delimiter, of these fields; none for
	// the documented form.
	JSON      bool
	Delimiter string
	Fields    []string
}

// logs are where a load balancer's attributes and the deliveries of CloudWatch
// Logs say.
func logs(in Input) []LogOutput {
	var out []LogOutput
	a := in.LoadBalancer.Attributes
	switch {
	case in.LoadBalancer.Classic != nil:
		if a["access_logs.s3.enabled"] == "true" {
			minutes, _ := strconv.Atoi(a[EmitInterval])
			out = append(out, LogOutput{
				ID: "s3", Type: model.LogTypeClassicAccess, Bucket: a["access_logs.s3.bucket"], Prefix: a["access_logs.s3.prefix"], Minutes: minutes,
			})
		}
	case in.LoadBalancer.Type == model.LoadBalancerNetwork:
		if a["access_logs.s3.enabled"] == "true" {
			out = append(out, LogOutput{ID: "s3", Type: model.LogTypeNLBAccess, Bucket: a["access_logs.s3.bucket"], Prefix: a["access_logs.s3.prefix"]})
		}
	case in.LoadBalancer.Type == model.LoadBalancerApplication:
		for prefix, kind := range map[string]string{
			"access_logs.s3.": model.LogTypeALBAccess, "connection_logs.s3.": model.LogTypeALBConnection, "health_check_logs.s3.": model.LogTypeALBChecks,
		} {
			if a[prefix+"enabled"] == "true" {
				out = append(out, LogOutput{ID: "s3 " + kind, Type: kind, Bucket: a[prefix+"bucket"], Prefix: a[prefix+"prefix"]})
			}
		}
	}
	out = append(out, in.Deliveries...)
	slices.SortFunc(out, func(a, b LogOutput) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// ResourceID is the part of a load balancer's or a target group's ARN by which
// logs and metrics name it: app/name/id, targetgroup/name/id.
func ResourceID(arn string) string {
	_, resource, _ := strings.Cut(arn, ":elasticloadbalancing:")
	parts := strings.SplitN(resource, ":", 3)
	return strings.TrimPrefix(parts[len(parts)-1], "loadbalancer/")
}
