package e2e

import (
	"strings"
	"testing"
)

// TestLogsBoto3 writes, reads, filters and queries log events as a script
// would, and asks for what is refused.
func TestLogsBoto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	got := s.python(t, `
import boto3, json, time
logs = boto3.client("logs")
logs.create_log_group(logGroupName="app")
now = int(time.time() * 1000)
for stream in ("a", "b"):
    logs.create_log_stream(logGroupName="app", logStreamName=stream)
    logs.put_log_events(logGroupName="app", logStreamName=stream, logEvents=[
        {"timestamp": now - 10000 + i, "message": json.dumps({"level": "ERROR" if i % 3 == 0 else "INFO", "ms": i, "stream": stream})} for i in range(10)])
print([x["logStreamName"] for p in logs.get_paginator("describe_log_streams").paginate(logGroupName="app", PaginationConfig={"PageSize": 1}) for x in p["logStreams"]])
found = [e["message"] for p in logs.get_paginator("filter_log_events").paginate(logGroupName="app", filterPattern='{ $.level = "ERROR" && $.ms > 2 }', PaginationConfig={"PageSize": 2}) for e in p["events"]]
print(len(found), all(json.loads(m)["level"] == "ERROR" for m in found))
page = logs.get_log_events(logGroupName="app", logStreamName="a", startFromHead=True, limit=6)
rest = logs.get_log_events(logGroupName="app", logStreamName="a", startFromHead=True, nextToken=page["nextForwardToken"])
end = logs.get_log_events(logGroupName="app", logStreamName="a", startFromHead=True, nextToken=rest["nextForwardToken"])
print(len(page["events"]), len(rest["events"]), len(end["events"]), end["nextForwardToken"] == rest["nextForwardToken"])
query = logs.start_query(logGroupName="app", startTime=now // 1000 - 60, endTime=now // 1000 + 60,
    queryString="filter level = 'ERROR' | stats count(*) as n, max(ms) as worst by @logStream | sort @logStream")["queryId"]
while True:
    result = logs.get_query_results(queryId=query)
    if result["status"] not in ("Scheduled", "Running"): break
    time.sleep(0.05)
print(result["status"], [[f["value"] for f in row] for row in result["results"]], result["statistics"]["recordsScanned"])
def refused(call, **args):
    try: call(**args)
    except logs.exceptions.ClientError as e: print(e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Message"])
refused(logs.get_log_events, logGroupName="app", logStreamName="b", nextToken=page["nextForwardToken"])
refused(logs.start_query, logGroupName="app", startTime=0, endTime=1, queryString="fields @message | nope")
refused(logs.put_log_events, logGroupName="app", logStreamName="c", logEvents=[{"timestamp": now, "message": "x"}])
refused(logs.put_retention_policy, logGroupName="app", retentionInDays=2)
refused(logs.create_log_group, logGroupName="app")
refused(logs.put_metric_filter, logGroupName="app", filterName="f", filterPattern="", metricTransformations=[{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}])
`)
	want := []string{
		"['a', 'b']", "6 True", "6 4 0 True", "Complete [['a', '4', '9'], ['b', '4', '9']] 20.0",
		"InvalidParameterException 400 The specified nextToken is invalid.",
		"MalformedQueryException 400 unexpected symbol found nope at offset 18",
		"ResourceNotFoundException 400 The specified log stream does not exist.",
		"InvalidParameterException 400 1 validation error detected: Value '2' at 'retentionInDays'",
		"ResourceAlreadyExistsException 400 The specified log group already exists",
		"UnknownOperationException 400",
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), got)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("got  %s\nwant %s", lines[i], w)
		}
	}
}
