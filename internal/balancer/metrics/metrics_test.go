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
	"roadstead.dev/internal/balancer/l4"
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
				Hosts: map[string]balancer.Hosts{"us-east-1a": {Healthy: 2}, "us-east-1b": {Healthy: 1, Unhealthy: 1}}, Open: 3,
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
			"RequestCountPerTarget " + tg: "2 None", "RequestCountPerTarget " + lb + " " + tg: "2 None",
		}
		got := f.sums()
		want(t, got, all)
		if got["ConsumedLCUs "+lb] == "" {
			t.Error("no LCUs")
		}

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

func TestNetworkAndClassic(t *testing.T) {
	s := new(l7.Stats)
	s.Connections.Add(2)
	s.Requests.Add(2)
	f := &fake{m: balancer.Measure{
		Spec:  balance.LoadBalancer{ARN: strings.Replace(lbARN, "app/", "net/", 1), Type: model.LoadBalancerNetwork},
		Nodes: []balancer.ZoneStats{{Stats: s}}, Flows: map[uint8]int64{l4.TCP: 3, l4.UDP: 0},
		Groups: []balancer.GroupMeasure{{Spec: balance.TargetGroup{ARN: groupARN}, Hosts: map[string]balancer.Hosts{"": {Healthy: 1}}}},
	}}
	c := New(Config{Source: f, Store: f, Clock: clock.System{}})
	if err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	const lb, tg = "net/web/50dc6c495c0c9188", "targetgroup/tg/73e2d6bc24d8a067"
	if f.data[0].Metric.Namespace != "AWS/NetworkELB" {
		t.Error(f.data[0].Metric.Namespace)
	}
	want(t, f.sums(), map[string]string{
		"ActiveFlowCount " + lb: "3 Count", "ActiveFlowCount_TCP " + lb: "3 Count", "ActiveFlowCount_UDP " + lb: "", "NewFlowCount_TLS " + lb: "2 Count",
		"HealthyHostCount " + lb + " " + tg: "1 Count", "UnHealthyHostCount " + lb + " " + tg: "0 Count", "RequestCount " + lb: "",
	})

	f.m.Spec = balance.LoadBalancer{ARN: lbARN, Name: "old", Type: model.LoadBalancerClassic}
	f.m.Groups[0].Spec.Classic, f.m.Flows = true, nil
	c = New(Config{Source: f, Store: f, Clock: clock.System{}})
	if err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.data[0].Metric.Namespace != "AWS/ELB" {
		t.Error(f.data[0].Metric.Namespace)
	}
	want(t, f.sums(), map[string]string{"RequestCount old": "2 Count", "HealthyHostCount old": "1 Count", "UnHealthyHostCount old": "0 Count"})
}
