package elbv2

import (
	"testing"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// What a group's attributes may be, and may be beside others.
func TestGroupAttributes(t *testing.T) {
	type set = map[string]string
	const other, refusal, ok = "ValidationError", "InvalidConfigurationRequest", ""
	for _, c := range []struct {
		name       string
		set        set
		code, text string
	}{
		{"random with mitigation", set{algorithmType: weightedRandom, anomalyMitigation: "on"}, ok, ""},
		{"mitigation alone", set{anomalyMitigation: "on"}, refusal, "Anomaly mitigation is only supported with the load balancing algorithm 'weighted_random'"},
		{"mitigation of another kind", set{anomalyMitigation: "yes"}, other, "anomaly_mitigation"},
		{"slow start", set{slowStartSeconds: "30"}, ok, ""},
		{"too slow a start", set{slowStartSeconds: "901"}, other, slowStartSeconds},
		{"slow start at random", set{slowStartSeconds: "30", algorithmType: weightedRandom}, refusal, "Slow start mode is not supported with the load balancing algorithm 'weighted_random'"},
		{"slow start of the least busy", set{slowStartSeconds: "30", algorithmType: "least_outstanding_requests"}, refusal, "'least_outstanding_requests'"},
		{"by the application", set{stickinessEnabled: "true", stickinessType: appCookie, appCookieName: "session", "stickiness.app_cookie.duration_seconds": "60"}, ok, ""},
		{"by the application, off", set{stickinessType: appCookie}, ok, ""},
		{"by a cookie without name", set{stickinessEnabled: "true", stickinessType: appCookie}, refusal, appCookieName},
		{"by a cookie of ours", set{appCookieName: "AWSALBAPP-0"}, refusal, "reserved"},
		{"by another cookie of ours", set{appCookieName: "AWSALBTG"}, refusal, "reserved"},
		{"by no cookie", set{appCookieName: "a=b"}, other, appCookieName},
		{"by a header", set{appCookieName: "a\r\nX: y"}, other, appCookieName},
		{"by addresses", set{stickinessType: "source_ip"}, other, stickinessType},
		{"for too long", set{"stickiness.app_cookie.duration_seconds": "604801"}, other, "duration_seconds"},
		{"thresholds", set{dnsFailover + "count": "3", stateRouting + "count": "2", dnsFailover + "percentage": "50", stateRouting + "percentage": "50"}, ok, ""},
		{"thresholds off", set{dnsFailover + "count": "off", dnsFailover + "percentage": "10", stateRouting + "percentage": "off"}, ok, ""},
		{"routing before DNS", set{dnsFailover + "count": "2", stateRouting + "count": "3"}, refusal, "must be greater than or equal"},
		{"no threshold", set{stateRouting + "count": "0"}, other, stateRouting},
		{"more than all", set{dnsFailover + "percentage": "101"}, other, dnsFailover},
		{"one zone", set{crossZoneEnabled: "false"}, ok, ""},
		{"one zone and sticky", set{crossZoneEnabled: "false", stickinessEnabled: "true"}, refusal, "Stickiness is not supported"},
		{"as a function", set{"lambda.multi_value_headers.enabled": "true"}, other, "'lambda.multi_value_headers.enabled' is not recognized"},
		{"as a network load balancer's", set{"proxy_protocol_v2.enabled": "true"}, other, "is not recognized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.group("g")
			in := &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &g}
			for k, v := range c.set {
				in.Attributes = append(in.Attributes, elbv2.TargetGroupAttribute{Key: new(k), Value: new(v)})
			}
			_, err := w.s.ModifyTargetGroupAttributes(w.ctx, in)
			if c.code != ok {
				refused(t, err, c.code, c.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range must(w.s.DescribeTargetGroupAttributes(w.ctx, &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &g}))(w).Attributes {
				if v, given := c.set[*a.Key]; given && v != *a.Value {
					t.Errorf("%s is %s", *a.Key, *a.Value)
				}
			}
		})
	}
}

func TestTargetsOfAllZonesStayInNone(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	must(w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &g, Targets: []elbv2.TargetDescription{
		{Id: new("10.1.2.3"), AvailabilityZone: new("all")},
	}}))(w)
	_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &g, Attributes: []elbv2.TargetGroupAttribute{
		{Key: new(crossZoneEnabled), Value: new("false")},
	}})
	refused(t, err, "InvalidConfigurationRequest", "'all'")
}

func TestAnomaliesAreDescribed(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	must(w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &g, Targets: []elbv2.TargetDescription{{Id: new("172.31.0.5")}, {Id: new("172.31.0.6")}}}))(w)
	w.put(func(tx *store.Txn) {
		tables.TargetsHealth.Put(tx, account, region, model.TargetKey(model.TargetGroupID(g), "172.31.0.6", 80), &model.TargetHealth{State: "healthy", Anomalous: true, Mitigated: true})
	})
	for _, include := range []elbv2.DescribeTargetHealthInputIncludeEnum{"", elbv2.DescribeTargetHealthInputIncludeEnumAnomalyDetection, elbv2.DescribeTargetHealthInputIncludeEnumAll} {
		in := &elbv2.DescribeTargetHealthInput{TargetGroupArn: &g}
		if include != "" {
			in.Include = append(in.Include, include)
		}
		got := map[string]string{}
		for _, d := range must(w.s.DescribeTargetHealth(w.ctx, in))(w).TargetHealthDescriptions {
			if a := d.AnomalyDetection; a != nil {
				got[*d.Target.Id] = string(a.Result) + " " + string(a.MitigationInEffect)
			}
		}
		if include == "" && len(got) != 0 || include != "" && (got["172.31.0.5"] != "normal no" || got["172.31.0.6"] != "anomalous yes") {
			t.Errorf("%q: %v", include, got)
		}
	}
}
