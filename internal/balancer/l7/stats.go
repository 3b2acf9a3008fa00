package l7

import "sync/atomic"

// Stats counts what CloudWatch's metrics of load balancers are made from.
// Counts only grow, but for Active.
type Stats struct {
	// Requests that were forwarded to a target (RequestCount).
	Requests atomic.Int64
	// TargetResponses by class, 2xx to 5xx, at index 2 to 5
	// (HTTPCode_Target_2XX_Count, …).
	TargetResponses [6]atomic.Int64
	// OwnResponses are those that the load balancer made itself, by class
	// (HTTPCode_ELB_5XX_Count, …).
	OwnResponses [6]atomic.Int64
	// ConnectionErrors are failures to connect to a target
	// (TargetConnectionErrorCount).
	ConnectionErrors atomic.Int64
	// ResponseNanos is the time until targets' responses began, summed over
	// TargetResponses (TargetResponseTime).
	ResponseNanos atomic.Int64
	// Fixed and Redirects count those actions
	// (HTTP_Fixed_Response_Count, HTTP_Redirect_Count).
	Fixed, Redirects atomic.Int64
	// Rejected requests were malformed or too large.
	Rejected atomic.Int64
	// TLSErrors are handshakes that failed (ClientTLSNegotiationErrorCount).
	TLSErrors atomic.Int64
	// Connections and Active are all that clients opened, and the open ones
	// (NewConnectionCount, ActiveConnectionCount).
	Connections, Active atomic.Int64
	// BytesIn and BytesOut are what clients sent and were sent (ProcessedBytes).
	BytesIn, BytesOut atomic.Int64
}

func class(status int) int {
	if c := status / 100; c > 0 && c < 6 {
		return c
	}
	return 0
}
