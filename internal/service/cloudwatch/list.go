package cloudwatch

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/telemetry/metricstore"
)

const (
	// listed is how many metrics a page has.
	listed = 500
	// A metric is listed for two weeks after its latest data; with
	// RecentlyActive for three hours.
	listedFor = 14 * day
	recently  = 3 * time.Hour
)

// ListMetrics lists the metrics of the account.
func (s *Service) ListMetrics(ctx context.Context, in *cloudwatch.ListMetricsInput) (*cloudwatch.ListMetricsOutput, error) {
	c := api.CallFrom(ctx)
	if value(in.IncludeLinkedAccounts) || in.OwningAccount != nil && *in.OwningAccount != c.Account {
		return nil, invalid("Metrics of linked accounts are not supported.")
	}
	list := []string{"ListMetrics", c.Account, c.Region, value(in.Namespace), value(in.MetricName), string(in.RecentlyActive)}
	for _, d := range in.Dimensions {
		list = append(list, value(d.Name), fmt.Sprintf("%t %s", d.Value != nil, value(d.Value)))
	}
	skip := 0
	if in.NextToken != nil {
		position, ok := pagetoken.Open(*in.NextToken, list...)
		n, err := strconv.Atoi(position)
		if !ok || err != nil {
			return nil, invalid("The parameter NextToken is invalid.")
		}
		skip = n
	}
	since := c.Time.Add(-listedFor)
	if in.RecentlyActive != "" {
		since = c.Time.Add(-recently)
	}
	out := &cloudwatch.ListMetricsOutput{Metrics: []cloudwatch.Metric{}}
	at := 0
	err := s.metrics.List(c.Account, c.Region, value(in.Namespace), value(in.MetricName), since, func(l metricstore.Listed) bool {
		if !matches(l.Dimensions, in.Dimensions) {
			return true
		}
		if at++; at <= skip {
			return true
		}
		if len(out.Metrics) == listed {
			out.NextToken = new(pagetoken.Make(strconv.Itoa(skip+listed), list...))
			return false
		}
		out.Metrics = append(out.Metrics, render(&l.Metric))
		return true
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// matches holds when a metric has each of the dimensions, with that value where
// one is told.
func matches(have []metricstore.Dimension, want []cloudwatch.DimensionFilter) bool {
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || h.Name == value(w.Name) && (w.Value == nil || h.Value == *w.Value)
		}
		if !found {
			return false
		}
	}
	return true
}

func render(m *metricstore.Metric) cloudwatch.Metric {
	out := cloudwatch.Metric{Namespace: &m.Namespace, MetricName: &m.Name, Dimensions: []cloudwatch.Dimension{}}
	for i := range m.Dimensions {
		out.Dimensions = append(out.Dimensions, cloudwatch.Dimension{Name: &m.Dimensions[i].Name, Value: &m.Dimensions[i].Value})
	}
	return out
}
