package model

import "time"

// LogGroup is a CloudWatch Logs log group. Its record's id is the group's
// name, which AWS compares with case. All fields are the user's.
type LogGroup struct {
	Name string `json:"name"`
	// UID is unique to this group: a group made again under the same name
	// has another one, so that it never shows the old one's events.
	UID     string    `json:"uid"`
	Created time.Time `json:"created"`
	// RetentionDays is how long events are kept; 0 keeps them for ever.
	RetentionDays int32 `json:"retentionDays,omitempty"`
	// Class is STANDARD, INFREQUENT_ACCESS or DELIVERY.
	Class string `json:"class"`
	// DeletionProtected groups refuse DeleteLogGroup.
	DeletionProtected bool `json:"deletionProtected,omitempty"`
	Tags              Tags `json:"tags,omitzero"`
}

// LogStream is a stream of a log group. Its record's id is LogStreamID. The
// events themselves, and what is counted of them, are in the telemetry log
// store and not in records.
type LogStream struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	GroupUID string `json:"groupUid"`
	// UID is unique to this stream, as LogGroup.UID is.
	UID     string    `json:"uid"`
	Created time.Time `json:"created"`
}

// LogQueryDefinition is a query of Logs Insights' that was saved. Its record's
// id is its own.
type LogQueryDefinition struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Query         string    `json:"query"`
	LogGroupNames []string  `json:"logGroupNames,omitempty"`
	Modified      time.Time `json:"modified"`
	// ClientToken is that of the call which made it, if it had one.
	ClientToken string `json:"clientToken,omitempty"`
}

// Log types of deliveries.
const (
	LogTypeALBAccess     = "ALB_ACCESS_LOGS"
	LogTypeALBConnection = "ALB_CONNECTION_LOGS"
	LogTypeALBChecks     = "ALB_HEALTH_CHECK_LOGS"
)

// Log types that go to buckets alone.
const (
	LogTypeClassicAccess = "CLASSIC_ACCESS_LOGS"
	LogTypeNLBAccess     = "NLB_ACCESS_LOGS"
)

// LogStreamID is the record id of a stream: a child of its group's UID, so
// that the streams of a deleted group are never those of its namesake.
func LogStreamID(groupUID, stream string) string { return groupUID + "/" + stream }

// LogGroupARN is the ARN of a log group without the ":*" that DescribeLogGroups
// appends and that policies name.
func LogGroupARN(region, account, group string) string {
	return MakeARN("logs", region, account, "log-group:"+group)
}

// LogStreamARN is the ARN of a log stream.
func LogStreamARN(region, account, group, stream string) string {
	return MakeARN("logs", region, account, "log-group:"+group+":log-stream:"+stream)
}
