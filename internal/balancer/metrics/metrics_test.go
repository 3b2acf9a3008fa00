package metrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/telemetry/metricstore"
)

// fake is a data plane with one load balancer, and a store.
type fake struct {
	m    balancer.Measure
	data []metricstore.Datum
}

func (f *fake) Measure(visit func(balancer.Measure)) { visit(f.m) }

func (f *fake) Put(_ context.Context, data []metricstore.Datum) error {
	f.data = append(f.data, data...)
	return nil
}

// sums are the sums of the data since the last call, by metric, dimensions and
// minute.
func (f *fake) sums() map[string]string {
	out := map[string]string{}
	for _, d := range f.data {
		var ds []string
		for _, x := range d.Metric.Dimensions {
			ds = append(ds, x.Value)
		}
		out[d.Metric.Name+" "+strings.Join(ds, " ")] = fmt.Sprintf("%g %s", d.Set.Sum, d.Unit)
	}
	f.data = nil
	return out
}

const (
	lbARN    = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/50dc6c495c0c9188"
	groupARN = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/tg/73e2d6bc24d8a067"
)

func want(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s: %q, not %q", k, got[k], w)
		}
	}
	if t.Failed() {
		for _, k := range slices.Sorted(maps.Keys(got)) {
			t.Log(k, got[k])
		}
	}
}

func TestApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none, zone, groupNone, groupZone := new(l7.Stats), new(l7.Stats), new(l7.Stats), new(l7.Stats)
		f := &fake{m: balancer.Measure{
			Spec:  balance.LoadBalancer{ARN: lbARN, Type: model.LoadBalancerApplication},
			Nodes: []balancer.ZoneStats{{Zone: "", Stats: none}, {Zone: "us-east-1a", Stats: zone}},
			Groups: []balancer.GroupMeasure{{
				Spec: balance.TargetGroup{ARN: groupARN}, Nodes: []balancer.ZoneStats{{Zone: "", Stats: groupNone}, {Zone: "us-east-1a", Stats: groupZone}},
				Hosts: map[string]balancer.Hosts{
					"us-east-1a": {Healthy: 2, Registered: 2, Open: 2}, "us-east-1b": {Healthy: 1, Unhealthy: 1, Registered: 2, Anomalous: 1, Mitigated: 1, Open: 1},
				},
				Open: 3, Zones: map[string]balancer.ZoneHealth{"us-east-1a": {DNS: true, Routing: true}, "us-east-1b": {Routing: true}},
			}},
		}}
		c := New(Config{Source: f, Store: f, Clock: clock.System{}})
		count := func() {
			for _, s := range []*l7.Stats{zone, groupZone} {
				s.Requests.Add(8)
				s.TargetResponses[2].Add(7)
				s.TargetResponses[5].Add(1)
				s.ResponseNanos.Add(8 * int64(20*time.Millisecond))
			}
			for range 8 {
				groupZone.Times.Observe(int64(20 * time.Millisecond))
			}
			zone.OwnResponses[5].Add(2)
			zone.Own500[3].Add(2)
			zone.Fixed.Add(1)
			zone.Auth[l7.AuthSuccess].Add(1)
			zone.BytesIn.Add(1000)
			zone.BytesOut.Add(500)
			zone.Connections.Add(4)
			groupZone.Connections.Add(2)
			groupZone.ConnectionErrors.Add(1)
			groupZone.TLSErrors.Add(3)
			groupZone.NonSticky.Add(2)
			groupZone.AppNonSticky.Add(5)
			groupZone.FailOpen.Add(6)
			zone.Rules.Add(70)
			zone.BilledRules.Add(60_000)
			zone.IrregularDropped.Add(1)
			zone.IrregularForwarded.Add(2)
			zone.RedirectsTooLong.Add(1)
			zone.AuthNanos.Add(int64(30 * time.Millisecond))
			zone.Times.Observe(int64(30 * time.Millisecond))
			none.Redirects.Add(1)
		}
		count()
		zone.Active.Store(5)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		minute := time.Now().Truncate(time.Minute)
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		for _, d := range f.data {
			if !d.At.Truncate(time.Minute).Equal(minute) {
				t.Errorf("%s is of %s", d.Metric.Name, d.At)
			}
			if d.Metric.Name == "TargetResponseTime" {
				p, ok := d.Set.Percentile(99)
				if !ok || p < 0.0185 || p > 0.0215 || d.Set.Count != 8 || cmp.Diff(fmt.Sprintf("%.3f", d.Set.Sum), "0.160") != "" {
					t.Errorf("response times %+v, p99 %g", d.Set, p)
				}
			}
		}
		const lb, tg, a = "app/web/50dc6c495c0c9188", "targetgroup/tg/73e2d6bc24d8a067", "us-east-1a"
		all := map[string]string{
			"RequestCount " + lb: "8 Count", "RequestCount " + a + " " + lb: "8 Count", "RequestCount " + lb + " " + tg: "8 Count", "RequestCount " + a + " " + lb + " " + tg: "8 Count",
			"HTTPCode_Target_2XX_Count " + lb: "7 Count", "HTTPCode_Target_5XX_Count " + a + " " + lb + " " + tg: "1 Count", "HTTPCode_Target_4XX_Count " + lb: "",
			"HTTPCode_ELB_5XX_Count " + lb: "2 Count", "HTTPCode_ELB_503_Count " + a + " " + lb: "2 Count", "HTTPCode_ELB_502_Count " + lb: "",
			"HTTP_Fixed_Response_Count " + lb: "1 Count", "HTTP_Redirect_Count " + lb: "1 Count", "HTTP_Redirect_Count " + a + " " + lb: "", "ELBAuthSuccess " + lb: "1 Count",
			"TargetConnectionErrorCount " + lb: "1 Count", "TargetConnectionErrorCount " + a + " " + lb + " " + tg: "1 Count",
			"ActiveConnectionCount " + lb: "8 Count", "NewConnectionCount " + lb: "6 Count", "ProcessedBytes " + lb: "1500 Bytes",
			"HealthyHostCount " + lb + " " + tg: "3 Count", "UnHealthyHostCount us-east-1b " + lb + " " + tg: "1 Count", "HealthyHostCount " + a + " " + lb + " " + tg: "2 Count",
			"RequestCountPerTarget " + tg: "2.6666666666666665 None", "RequestCountPerTarget " + lb + " " + tg: "2.6666666666666665 None",
			"ActiveConnectionCount " + a + " " + lb: "7 Count", "ActiveConnectionCount us-east-1b " + lb: "1 Count", "NewConnectionCount " + a + " " + lb: "6 Count",
			"ProcessedBytes " + a + " " + lb: "1500 Bytes", "RuleEvaluations " + lb: "70 Count", "RuleEvaluations " + a + " " + lb: "",
			"TargetTLSNegotiationErrorCount " + lb: "3 Count", "TargetTLSNegotiationErrorCount " + a + " " + lb + " " + tg: "3 Count", "ClientTLSNegotiationErrorCount " + lb: "",
			"NonStickyRequestCount " + lb: "2 Count", "AppCookieNonStickinessCount " + a + " " + lb: "5 Count", "NonStickyRequestCount " + lb + " " + tg: "",
			"UnhealthyRoutingRequestCount " + lb + " " + tg: "6 Count", "DroppedInvalidHeaderRequestCount " + a + " " + lb: "1 Count",
			"ForwardedInvalidHeaderRequestCount " + lb: "2 Count", "HTTP_Redirect_Url_Limit_Exceeded_Count " + lb: "1 Count", "ELBAuthLatency " + lb: "30 Milliseconds",
			"AnomalousHostCount " + lb + " " + tg: "1 Count", "MitigatedHostCount us-east-1b " + lb + " " + tg: "1 Count", "MitigatedHostCount " + a + " " + lb + " " + tg: "0 Count",
			"HealthyStateDNS " + lb + " " + tg: "1 Count", "UnhealthyStateDNS us-east-1b " + lb + " " + tg: "1 Count", "HealthyStateDNS us-east-1b " + lb + " " + tg: "0 Count",
			"HealthyStateRouting " + lb + " " + tg: "2 Count", "UnhealthyStateRouting " + lb + " " + tg: "0 Count", "GrpcRequestCount " + lb + " " + tg: "",
			// 60,000 rules in a minute are 1,000 a second, and a minute is a 60th of an hour.
			"ConsumedLCUs " + lb: "0.016666666666666666 None",
		}
		want(t, f.sums(), all)

		// A minute in which nothing happens tells of hosts alone.
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, f.sums(), map[string]string{"RequestCount " + lb: "", "TargetResponseTime " + lb: "", "HealthyHostCount " + lb + " " + tg: "3 Count", "ActiveConnectionCount " + lb: "8 Count"})

		// What came last is not lost when the server stops.
		count()
		cancel()
		<-done
		want(t, f.sums(), map[string]string{"RequestCount " + lb: "8 Count", "RequestCount " + lb + " " + tg: "8 Count"})
	})
}

// Requests of gRPC are counted by target group, and those for targets of which
// none is healthy are shared by all.
func TestGroups(t *testing.T) {
	s := new(l7.Stats)
	s.Requests.Add(6)
	f := &fake{m: balancer.Measure{
		Spec: balance.LoadBalancer{ARN: lbARN, Type: model.LoadBalancerApplication},
		Groups: []balancer.GroupMeasure{{
			Spec: balance.TargetGroup{ARN: groupARN, Version: model.VersionGRPC}, Nodes: []balancer.ZoneStats{{Zone: "us-east-1a", Stats: s}},
			Hosts: map[string]balancer.Hosts{"": {Unhealthy: 2, Registered: 3}},
		}},
	}}
	if err := New(Config{Source: f, Store: f, Clock: clock.System{}}).Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	const lb, tg, a = "app/web/50dc6c495c0c9188", "targetgroup/tg/73e2d6bc24d8a067", "us-east-1a"
	want(t, f.sums(), map[string]string{
		"RequestCountPerTarget " + tg: "2 None", "GrpcRequestCount " + lb: "", "GrpcRequestCount " + tg: "6 Count", "GrpcRequestCount " + a + " " + tg: "6 Count",
		"GrpcRequestCount " + lb + " " + tg: "6 Count", "GrpcRequestCount " + a + " " + lb + " " + tg: "6 Count",
	})
}
