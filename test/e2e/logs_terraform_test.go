package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// logsImports is how the case logs is imported.
var logsImports = &reimports{
	ids: map[string]func(*stateResource) string{
		"aws_cloudwatch_log_stream":       joined(":", "log_group_name", "name"),
		"aws_cloudwatch_query_definition": attribute("arn"),
	},
	// What becomes of a group that is destroyed, the provider alone knows.
	changed: []string{"aws_cloudwatch_log_group"},
}

func logsApplied(t *testing.T, s *server, tf *configuration) {
	if got := tf.output("groups"); got != "3" {
		t.Errorf("%s groups, want 3", got)
	}
	// What the lookups found: the group's retention, what is tagged, and a tag.
	if got := tf.output("found"); !strings.HasPrefix(got, "7 /tf/app,/tf/forever-") || !strings.HasSuffix(got, ",parameter/tf/case 1 true") {
		t.Errorf("the data sources found %s", got)
	}
	s.wantRetention(t, map[string]int32{"/tf/app": 7, "/tf/forever-": 1, "/tf/infrequent": 0})
}

func logsChanged(t *testing.T, s *server) {
	s.wantRetention(t, map[string]int32{"/tf/app": 14, "/tf/forever-": 0, "/tf/infrequent": 0})
}

// wantRetention checks the retention of log groups, by prefix, in days.
func (s *server) wantRetention(t *testing.T, want map[string]int32) {
	t.Helper()
	for prefix, days := range want {
		out, err := s.logs.DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new(prefix)})
		if err != nil || len(out.LogGroups) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		var got int32
		if d := out.LogGroups[0].RetentionInDays; d != nil {
			got = *d
		}
		if got != days {
			t.Errorf("the events of %s stay %d days, want %d", prefix, got, days)
		}
	}
}

func logsDestroyed(t *testing.T, s *server) {
	out, err := s.logs.DescribeLogGroups(t.Context(), &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new("/tf/")})
	if err != nil || len(out.LogGroups) != 0 {
		t.Errorf("%+v %v", out, err)
	}
}
