package metrics

import (
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// collect is what one collection tells of a load balancer.
func collect(t *testing.T, m balancer.Measure, namespace string) (*fake, map[string]string) {
	t.Helper()
	f := &fake{m: m}
	if err := New(Config{Source: f, Store: f, Clock: clock.System{}}).Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.data[0].Metric.Namespace; got != namespace {
		t.Errorf("the namespace is %s", got)
	}
	all := *f
	return &all, f.sums()
}

func TestNetwork(t *testing.T) {
	none, a, plain := new(l7.Stats), new(l7.Stats), new(l7.Stats)
	none.Connections.Add(1)
	a.Connections.Add(2)
	a.Active.Add(180000)
	a.BytesIn.Add(40)
	a.TLSErrors.Add(4)
	a.TargetTLSErrors.Add(5)
	plain.Active.Add(7)
	plain.Connections.Add(9) // unlike the kernel's, which are not known
	const alb = "targetgroup/alb/1"
	_, got := collect(t, balancer.Measure{
		Spec:  balance.LoadBalancer{ARN: strings.Replace(lbARN, "app/", "net/", 1), Type: model.LoadBalancerNetwork},
		Nodes: []balancer.ZoneStats{{Zone: "", Stats: none}, {Zone: "us-east-1a", Stats: a}}, Plain: []balancer.ZoneStats{{Zone: "us-east-1a", Stats: plain}},
		Flows: map[uint8]int64{l4.TCP: 3, l4.UDP: 0}, Healthy: map[string]bool{"us-east-1a": true, "us-east-1b": false},
		Groups: []balancer.GroupMeasure{
			{Spec: balance.TargetGroup{ARN: groupARN}, Hosts: map[string]balancer.Hosts{"": {Healthy: 1, Registered: 1}}},
			{Spec: balance.TargetGroup{ARN: strings.Replace(groupARN, "tg/73e2d6bc24d8a067", "none/2", 1)}},
			{Spec: balance.TargetGroup{ARN: strings.Replace(groupARN, "tg/73e2d6bc24d8a067", "alb/1", 1), TargetType: model.TargetTypeALB}, Hosts: map[string]balancer.Hosts{"": {Healthy: 1, Registered: 1}}},
		},
	}, "AWS/NetworkELB")
	const lb, tg = "net/web/50dc6c495c0c9188", "targetgroup/tg/73e2d6bc24d8a067"
	want(t, got, map[string]string{
		"ActiveFlowCount " + lb: "180010 Count", "ActiveFlowCount_TCP " + lb: "10 Count", "ActiveFlowCount_UDP " + lb: "",
		"ActiveFlowCount_TLS " + lb: "180000 Count", "ActiveFlowCount_TLS us-east-1a " + lb: "180000 Count",
		"NewFlowCount_TLS " + lb: "3 Count", "NewFlowCount_TLS us-east-1a " + lb: "2 Count", "ProcessedBytes_TLS us-east-1a " + lb: "40 Bytes",
		"ClientTLSNegotiationErrorCount " + lb: "4 Count", "TargetTLSNegotiationErrorCount " + lb: "5 Count", "ConsumedLCUs_TLS " + lb: "1 None",
		"ZonalHealthStatus " + lb: "1 Count", "ZonalHealthStatus us-east-1a " + lb: "1 Count", "ZonalHealthStatus us-east-1b " + lb: "0 Count",
		"HealthyHostCount " + lb + " " + tg: "1 Count", "UnHealthyHostCount " + lb + " " + tg: "0 Count",
		"HealthyHostCount " + lb + " targetgroup/none/2": "", "HealthyHostCount " + lb + " " + alb: "", "RequestCount " + lb: "",
	})
}

func TestClassic(t *testing.T) {
	a, b, checks := new(l7.Stats), new(l7.Stats), new(l7.Stats)
	a.Connections.Add(2)
	a.Requests.Add(2)
	a.NonCompliant.Add(1)
	a.Active.Add(4)
	a.BytesOut.Add(100)
	b.Requests.Add(3)
	checks.ConnectionErrors.Add(6)
	leader := balance.TargetGroup{ARN: groupARN, Classic: true}
	listener := balance.TargetGroup{ARN: groupARN + "/80", Classic: true, Following: &balance.Following{Group: groupARN}}
	served := new(l7.Stats)
	served.Connections.Add(5)
	for range 4 {
		served.Times.Observe(int64(20 * time.Millisecond))
		served.ResponseNanos.Add(int64(20 * time.Millisecond))
	}
	m := balancer.Measure{
		Spec:  balance.LoadBalancer{ARN: lbARN, Name: "old", Type: model.LoadBalancerClassic},
		Nodes: []balancer.ZoneStats{{Zone: "us-east-1a", Stats: a}, {Zone: "us-east-1b", Stats: b}},
		Groups: []balancer.GroupMeasure{
			{Spec: leader, Hosts: map[string]balancer.Hosts{"us-east-1a": {Healthy: 2, Registered: 2}, "us-east-1b": {Unhealthy: 1, Registered: 1}}, Nodes: []balancer.ZoneStats{{Zone: "us-east-1b", Stats: checks}}},
			{Spec: listener, Open: 3, Hosts: map[string]balancer.Hosts{"us-east-1a": {Registered: 3}}, Nodes: []balancer.ZoneStats{{Zone: "us-east-1a", Stats: served}}},
		},
	}
	f, got := collect(t, m, "AWS/ELB")
	want(t, got, map[string]string{
		"RequestCount old": "5 Count", "RequestCount us-east-1a old": "2 Count", "DesyncMitigationMode_NonCompliant_Request_Count us-east-1a old": "1 Count",
		"BackendConnectionErrors old": "6 Count", "BackendConnectionErrors us-east-1b old": "6 Count", "BackendConnectionErrors us-east-1a old": "",
		"Latency us-east-1a old": "0.08 Seconds", "EstimatedALBActiveConnectionCount old": "7 Count", "EstimatedALBNewConnectionCount old": "7 Count",
		"EstimatedProcessedBytes old": "100 Bytes", "SurgeQueueLength old": "", "SpilloverCount old": "",
		"UnHealthyHostCount us-east-1b old": "1 Count", "HealthyHostCount us-east-1a old": "2 Count",
	})
	if got["EstimatedALBConsumedLCUs old"] == "" {
		t.Error("no LCUs")
	}
	// Each node tells of the instances of its own zone.
	nodes := 0.0
	for _, d := range f.data {
		if d.Metric.Name == "HealthyHostCount" && len(d.Metric.Dimensions) == 1 {
			nodes += d.Set.Count
			if v := d.Set.Sum; v != 2 && v != 0 {
				t.Errorf("a node knows of %g", v)
			}
		}
	}
	if nodes != 2 {
		t.Errorf("%g nodes tell of hosts", nodes)
	}

	m.Spec.Attributes = map[string]string{"load_balancing.cross_zone.enabled": "true"}
	if _, got := collect(t, m, "AWS/ELB"); got["HealthyHostCount old"] != "2 Count" || got["UnHealthyHostCount old"] != "1 Count" {
		t.Errorf("across zones %v", got)
	}
	m.Groups[0].Hosts = nil
	if _, got := collect(t, m, "AWS/ELB"); got["HealthyHostCount old"] != "" {
		t.Errorf("without instances there are %s", got["HealthyHostCount old"])
	}
}
