package cloudwatch

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/telemetry/metricstore"
)

var now = time.Date(2026, 3, 1, 12, 30, 34, 0, time.UTC)

func setUp(t *testing.T) (*Service, context.Context) {
	t.Helper()
	store, err := metricstore.Open(filepath.Join(t.TempDir(), "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return New(store), api.WithCall(t.Context(), &api.Call{Account: "1", Region: "r", Time: now})
}

func datum(name string, at time.Time, v float64, dims ...string) cloudwatch.MetricDatum {
	d := cloudwatch.MetricDatum{MetricName: &name, Value: &v, Timestamp: &at}
	for i := 0; i < len(dims); i += 2 {
		d.Dimensions = append(d.Dimensions, cloudwatch.Dimension{Name: &dims[i], Value: &dims[i+1]})
	}
	return d
}

func put(t *testing.T, s *Service, ctx context.Context, ds ...cloudwatch.MetricDatum) { //nolint:revive // t comes first
	t.Helper()
	if _, err := s.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: new("App"), MetricData: ds}); err != nil {
		t.Fatal(err)
	}
}

func TestPutRefuses(t *testing.T) {
	s, ctx := setUp(t)
	ok := func() cloudwatch.MetricDatum { return datum("m", now, 1, "A", "b") }
	for want, change := range map[string]func(*cloudwatch.PutMetricDataInput, *cloudwatch.MetricDatum){
		"InvalidParameterValue: The value AWS/ for": func(in *cloudwatch.PutMetricDataInput, _ *cloudwatch.MetricDatum) { in.Namespace = new("AWS/EC2") },
		"InvalidParameterValue: The parameter EntityMetricData": func(in *cloudwatch.PutMetricDataInput, _ *cloudwatch.MetricDatum) {
			in.EntityMetricData = []cloudwatch.EntityMetricData{{}}
		},
		"InvalidParameterValue: The value for parameter Namespace contains non-ASCII":                          func(in *cloudwatch.PutMetricDataInput, _ *cloudwatch.MetricDatum) { in.Namespace = new("a\x00b") },
		"MissingParameter: The parameter MetricData.member.1.Value is":                                         func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) { d.Value = nil },
		"InvalidParameterCombination: The parameters MetricData.member.1.Value and MetricData.member.1.Values": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) { d.Values = []float64{1} },
		"InvalidParameterCombination: The parameters MetricData.member.1.Values and MetricData.member.1.Counts": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) {
			d.Value, d.Values, d.Counts = nil, []float64{1, 2}, []float64{1}
		},
		"InvalidParameterValue: The value NaN":                                                   func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) { d.Value = new(nan()) },
		"InvalidParameterValue: The value 1 for parameter MetricData.member.1.StorageResolution": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) { d.StorageResolution = new(int32(1)) },
		"InvalidParameterValue: The parameter MetricData.member.1.Timestamp must specify a time no more than two weeks": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) {
			d.Timestamp = new(now.Add(-15 * day))
		},
		"InvalidParameterValue: The parameter MetricData.member.1.Timestamp must specify a time no more than two hours": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) {
			d.Timestamp = new(now.Add(3 * time.Hour))
		},
		"InvalidParameterValue: Duplicate dimension": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) {
			d.Dimensions = append(d.Dimensions, d.Dimensions[0])
		},
		"InvalidParameterValue: The parameter MetricData.member.1.StatisticValues.Maximum": func(_ *cloudwatch.PutMetricDataInput, d *cloudwatch.MetricDatum) {
			d.Value, d.StatisticValues = nil, &cloudwatch.StatisticSet{SampleCount: new(1.0), Sum: new(1.0), Minimum: new(2.0), Maximum: new(1.0)}
		},
	} {
		in := &cloudwatch.PutMetricDataInput{Namespace: new("App"), MetricData: []cloudwatch.MetricDatum{ok()}}
		change(in, &in.MetricData[0])
		_, err := s.PutMetricData(ctx, in)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	out, err := s.ListMetrics(ctx, &cloudwatch.ListMetricsInput{})
	if err != nil || len(out.Metrics) != 0 {
		t.Errorf("something was kept: %+v %v", out, err)
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestGetMetricStatistics(t *testing.T) {
	s, ctx := setUp(t)
	base := now.Truncate(time.Minute)
	put(t, s, ctx, datum("m", base, 1), datum("m", base.Add(20*time.Second), 3), datum("m", base.Add(-2*time.Minute), 10))
	ask := func(change func(*cloudwatch.GetMetricStatisticsInput)) (*cloudwatch.GetMetricStatisticsOutput, error) {
		in := &cloudwatch.GetMetricStatisticsInput{
			Namespace: new("App"), MetricName: new("m"), Period: new(int32(60)),
			StartTime: new(now.Add(-3 * time.Minute)), EndTime: new(now.Add(time.Minute)), Statistics: []cloudwatch.Statistic{"Sum", "Average", "SampleCount", "Minimum", "Maximum"},
		}
		if change != nil {
			change(in)
		}
		return s.GetMetricStatistics(ctx, in)
	}
	out, err := ask(nil)
	if err != nil || len(out.Datapoints) != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	if d := out.Datapoints[1]; !d.Timestamp.Equal(base) || *d.Sum != 4 || *d.Average != 2 || *d.SampleCount != 2 || *d.Minimum != 1 || *d.Maximum != 3 || d.Unit != "None" || d.ExtendedStatistics != nil {
		t.Errorf("%+v", d)
	}
	// The start is rounded down to its minute, where periods begin.
	out, err = ask(func(in *cloudwatch.GetMetricStatisticsInput) {
		in.Period, in.Statistics, in.ExtendedStatistics = new(int32(300)), nil, []string{"p100", "TC(:50%)", "PR(2:)", "IQM"}
	})
	if err != nil || len(out.Datapoints) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	d := out.Datapoints[0]
	if x := d.ExtendedStatistics; !d.Timestamp.Equal(base.Add(-3*time.Minute)) || x["p100"] != 10 || x["TC(:50%)"] != 1.5 || x["PR(2:)"] < 66 || x["PR(2:)"] > 67 || d.Sum != nil {
		t.Errorf("%+v", d)
	}
	for want, change := range map[string]func(*cloudwatch.GetMetricStatisticsInput){
		"InvalidParameterValue: The parameter Period":                            func(in *cloudwatch.GetMetricStatisticsInput) { in.Period = new(int32(61)) },
		"InvalidParameterValue: The parameter StartTime must":                    func(in *cloudwatch.GetMetricStatisticsInput) { in.EndTime = in.StartTime },
		"MissingParameter: Either":                                               func(in *cloudwatch.GetMetricStatisticsInput) { in.Statistics = nil },
		"InvalidParameterCombination: The parameters Statistics":                 func(in *cloudwatch.GetMetricStatisticsInput) { in.ExtendedStatistics = []string{"p1"} },
		"InvalidParameterCombination: You have requested up to 2,880 datapoints": func(in *cloudwatch.GetMetricStatisticsInput) { in.StartTime = new(in.EndTime.Add(-2 * day)) },
		"InvalidParameterValue: The value p101": func(in *cloudwatch.GetMetricStatisticsInput) {
			in.Statistics, in.ExtendedStatistics = nil, []string{"p101"}
		},
	} {
		if _, err := ask(change); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}

func query(id, name, stat string, dims ...string) cloudwatch.MetricDataQuery {
	d := datum(name, now, 0, dims...)
	return cloudwatch.MetricDataQuery{Id: &id, MetricStat: &cloudwatch.MetricStat{
		Metric: &cloudwatch.Metric{Namespace: new("App"), MetricName: &name, Dimensions: d.Dimensions}, Period: new(int32(60)), Stat: &stat,
	}}
}

func TestGetMetricData(t *testing.T) {
	s, ctx := setUp(t)
	base := now.Truncate(time.Minute)
	for i := range 3 {
		at := base.Add(time.Duration(i-3) * time.Minute)
		put(t, s, ctx, datum("requests", at, float64(10*(i+1)), "A", "b"))
		if i != 1 {
			put(t, s, ctx, datum("errors", at, 5, "A", "b"))
		}
	}
	hidden := query("err", "errors", "Sum", "A", "b")
	hidden.ReturnData = new(false)
	in := &cloudwatch.GetMetricDataInput{
		StartTime: new(now.Add(-10 * time.Minute)), EndTime: &now, ScanBy: cloudwatch.ScanByTimestampAscending,
		MetricDataQueries: []cloudwatch.MetricDataQuery{
			{Id: new("rate"), Expression: new("100 * FILL(err, 0) / requests"), Label: new("error rate")},
			query("requests", "requests", "Sum", "A", "b"), hidden,
			{Id: new("all"), Expression: new("SUM(METRICS())")},
			{Id: new("twice"), Expression: new("rate * 2")},
		},
	}
	out, err := s.GetMetricData(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range out.MetricDataResults {
		got[*r.Id] = fmt.Sprint(*r.Label, r.Values, r.StatusCode)
	}
	for id, want := range map[string]string{
		"rate": "error rate[50 0 16.666666666666668]Complete", "requests": "requests[10 20 30]Complete", "all": "all[15 20 35]Complete", "twice": "twice[100 0 33.333333333333336]Complete",
	} {
		if got[id] != want {
			t.Errorf("%s: %s, not %s", id, got[id], want)
		}
	}
	if len(got) != 4 {
		t.Errorf("%v", got)
	}

	// Pages of five points, the latest first.
	in.ScanBy, in.MaxDatapoints = "", new(int32(5))
	var requests []float64
	pages := 0
	for {
		out, err := s.GetMetricData(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.MetricDataResults {
			if *r.Id == "requests" {
				requests = append(requests, r.Values...)
			}
		}
		if pages++; out.NextToken == nil {
			break
		}
		in.NextToken = out.NextToken
	}
	if pages != 3 || !slices.Equal(requests, []float64{30, 20, 10}) {
		t.Errorf("%d pages: %v", pages, requests)
	}
	in.NextToken = new("x")
	if _, err := s.GetMetricData(ctx, in); api.Code(err) != "InvalidNextToken" {
		t.Error(err)
	}
}

func TestGetMetricDataRefuses(t *testing.T) {
	s, ctx := setUp(t)
	expression := func(id, e string) cloudwatch.MetricDataQuery {
		return cloudwatch.MetricDataQuery{Id: &id, Expression: &e}
	}
	for want, queries := range map[string][]cloudwatch.MetricDataQuery{
		"not matching the expected pattern":                  {query("Big", "m", "Sum")},
		"are not unique":                                     {query("a", "m", "Sum"), query("a", "m", "Sum")},
		"Exactly one of":                                     {{Id: new("a")}},
		"Stat is not supported":                              {query("a", "m", "Median")},
		"Error in expression 'e': Undefined variable: other": {expression("e", "other + 1")},
		"Error in expression 'e': The expression refers to":  {expression("e", "f"), expression("f", "e")},
		"Error in expression 'e': Unsupported function":      {expression("e", "SEARCH('x')")},
		"returns a Scalar":                                   {expression("e", "1+1")},
	} {
		_, err := s.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{StartTime: new(now.Add(-time.Hour)), EndTime: &now, MetricDataQueries: queries})
		if api.Code(err) != "ValidationError" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}

func TestListMetrics(t *testing.T) {
	s, ctx := setUp(t)
	var ds []cloudwatch.MetricDatum
	for i := range 600 {
		ds = append(ds, datum("m", now, 1, "N", fmt.Sprint(i)))
	}
	put(t, s, ctx, ds...)
	put(t, s, ctx, datum("old", now.Add(-4*time.Hour), 1), datum("two", now, 1, "A", "b", "C", "d"))
	count := func(in *cloudwatch.ListMetricsInput) (n int) {
		for {
			out, err := s.ListMetrics(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			if n += len(out.Metrics); out.NextToken == nil {
				return n
			}
			if len(out.Metrics) != listed {
				t.Errorf("a page of %d", len(out.Metrics))
			}
			in.NextToken = out.NextToken
		}
	}
	for _, c := range []struct {
		in   cloudwatch.ListMetricsInput
		want int
	}{
		{cloudwatch.ListMetricsInput{}, 602},
		{cloudwatch.ListMetricsInput{Namespace: new("App"), MetricName: new("m")}, 600},
		{cloudwatch.ListMetricsInput{Namespace: new("Ap")}, 0},
		{cloudwatch.ListMetricsInput{RecentlyActive: cloudwatch.RecentlyActivePt3h}, 601},
		{cloudwatch.ListMetricsInput{Dimensions: []cloudwatch.DimensionFilter{{Name: new("A")}}}, 1},
		{cloudwatch.ListMetricsInput{Dimensions: []cloudwatch.DimensionFilter{{Name: new("A"), Value: new("c")}}}, 0},
	} {
		if n := count(&c.in); n != c.want {
			t.Errorf("%+v: %d, not %d", c.in, n, c.want)
		}
	}
	if _, err := s.ListMetrics(ctx, &cloudwatch.ListMetricsInput{NextToken: new("x")}); api.Code(err) != "InvalidParameterValue" {
		t.Error(err)
	}
}

func FuzzStatistic(f *testing.F) {
	for _, s := range []string{"p99.9", "TM(10%:90%)", "PR(:300)", "IQM", "tm99", "WM(1:2)", "TC(0.005:0.030)", "TS(%:)"} {
		f.Add(s)
	}
	var set metricstore.Set
	set.Add(1, 3)
	set.Add(5, 1)
	f.Fuzz(func(_ *testing.T, s string) {
		if st, _, ok := statisticOf(s); ok {
			st(&set)
		}
	})
}
