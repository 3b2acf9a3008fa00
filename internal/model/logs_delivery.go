package model

// LogDeliverySource is a resource whose logs can be delivered. Its record's id
// is its name. All fields are the user's.
type LogDeliverySource struct {
	Name        string `json:"name"`
	ResourceARN string `json:"resourceArn"`
	// Type of the log, a LogType… constant.
	Type string `json:"type"`
	Tags Tags   `json:"tags,omitempty"`
}

// LogDeliveryDestination is a log group that logs can be delivered to. Its
// record's id is its name. All fields are the user's.
type LogDeliveryDestination struct {
	Name string `json:"name"`
	// ResourceARN is the log group's.
	ResourceARN string `json:"resourceArn"`
	// Format is json or plain.
	Format string `json:"format"`
	// Policy as it was put, or empty. It is weighed when somebody makes a
	// delivery to the destination.
	Policy string `json:"policy,omitempty"`
	Tags   Tags   `json:"tags,omitempty"`
}

// LogDelivery delivers the logs of a source to a destination. Its record's id
// is its own.
type LogDelivery struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	// DestinationARN is the delivery destination's.
	DestinationARN string   `json:"destinationArn"`
	Fields         []string `json:"fields,omitempty"`
	Delimiter      string   `json:"delimiter,omitempty"`
	Tags           Tags     `json:"tags,omitempty"`
}

// LogDeliveryARN is the ARN of a delivery-source, a delivery-destination or a
// delivery.
func LogDeliveryARN(kind, region, account, name string) string {
	return MakeARN("logs", region, account, kind+":"+name)
}

// Kinds of LogDeliveryARN.
const (
	DeliverySourceKind      = "delivery-source"
	DeliveryDestinationKind = "delivery-destination"
	DeliveryKind            = "delivery"
)

// LogFields are the fields that entries of a log type can have, the documented
// ones in their order first.
var LogFields = map[string][]string{
	LogTypeALBAccess: {
		"type", "time", "elb", "client:port", "target:port", "request_processing_time", "target_processing_time", "response_processing_time",
		"elb_status_code", "target_status_code", "received_bytes", "sent_bytes", "request_line", "user_agent", "ssl_cipher", "ssl_protocol",
		"target_group_arn", "trace_id", "domain_name", "chosen_cert_arn", "matched_rule_priority", "request_creation_time", "actions_executed",
		"redirect_url", "error_reason", "target:port_list", "target_status_code_list", "classification", "classification_reason", "conn_trace_id",
		"transformed_host", "transformed_uri", "request_transform_status", "ip_address",
	},
	LogTypeALBConnection: {
		"time", "client_ip", "client_port", "listener_port", "tls_protocol", "tls_cipher", "tls_handshake_latency", "leaf_client_cert_subject",
		"leaf_client_cert_validity", "leaf_client_cert_serial_number", "tls_verify_status", "conn_trace_id", "tls_keyexchange", "elb", "ip_address",
	},
	LogTypeALBChecks: {
		"type", "time", "latency", "target_addr", "target_group_id", "status", "status_code", "reason_code", "elb", "ip_address",
	},
	LogTypeNLBAccess: {
		"type", "version", "time", "elb", "listener", "client:port", "destination:port", "connection_time", "tls_handshake_time", "received_bytes",
		"sent_bytes", "incoming_tls_alert", "chosen_cert_arn", "chosen_cert_serial", "tls_cipher", "tls_protocol_version", "tls_named_group",
		"domain_name", "alpn_fe_protocol", "alpn_be_protocol", "alpn_client_preference_list", "tls_connection_creation_time",
	},
}
