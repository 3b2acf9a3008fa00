package balancer

import (
	"fmt"
	"net/netip"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// The health check log tells of each check, as AWS documents it.
func TestHealthCheckLog(t *testing.T) {
	logs := &shipped{}
	w := newWorldWith(t, Config{Clock: hurried{}, Logs: logs})
	a := newApp(t, "a")
	lb := spec(a.Target)
	lb.ARN = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/50dc6c495c0c9188"
	lb.Groups[0].ARN = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/blue/73e2d6bc24d8a067"
	lb.Listeners[0].Rules[0].Actions[0].Forward.TargetGroups[0].TargetGroupARN = lb.Groups[0].ARN
	// The checks come from neither: the node of the target's zone takes them.
	lb.Groups[0].Targets[0].Zone = "us-east-1b"
	lb.Interfaces = []balance.Interface{{Address: "10.0.0.1/24", Zone: "us-east-1a"}, {Address: "10.0.1.1/24", Zone: "us-east-1b"}}
	lb.Logs = []balance.LogOutput{{ID: "s3", Type: model.LogTypeALBChecks, Bucket: "b"}}
	w.apply(lb)
	w.wait(a, "healthy", "")
	entry := func(rest string) string {
		return fmt.Sprintf(`^http \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z 0\.\d{9} 127\.0\.0\.1:%d blue %s$`, a.Port, rest)
	}
	w.until("a check that succeeds is logged", "yes", func() string { return logs.has(entry("PASS 200 -")) })
	a.status.Store(404)
	w.until("another answer is logged", "yes", func() string { return logs.has(entry("FAIL 404 ResponseCodeMismatch")) })
	a.status.Store(503)
	w.until("an error of the target's is logged", "yes", func() string { return logs.has(entry("FAIL 503 TargetError")) })
	logs.mu.Lock()
	if len(logs.nodes) != 1 || !logs.nodes[netip.MustParseAddr("10.0.1.1")] {
		t.Errorf("logged by %v", logs.nodes)
	}
	logs.mu.Unlock()

	// One of the load balancer's addresses is where the checks come from now.
	lb.Interfaces[0].Address = "127.0.0.1/8"
	w.apply(lb)
	w.until("the node logs that made the check", "true", func() string {
		logs.mu.Lock()
		defer logs.mu.Unlock()
		return fmt.Sprint(logs.nodes[netip.MustParseAddr("127.0.0.1")])
	})
}
