package cloudwatch

import (
	"context"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/telemetry/metricstore"
)

// maxDatapoints is how many GetMetricStatistics returns.
const maxDatapoints = 1440

// GetMetricStatistics reads statistics of one metric.
func (s *Service) GetMetricStatistics(ctx context.Context, in *cloudwatch.GetMetricStatisticsInput) (*cloudwatch.GetMetricStatisticsOutput, error) {
	every, err := period(*in.Period, "Period")
	if err != nil {
		return nil, err
	}
	switch {
	case !in.StartTime.Before(*in.EndTime):
		return nil, invalid("The parameter StartTime must be less than the parameter EndTime.")
	case len(in.Statistics) == 0 && len(in.ExtendedStatistics) == 0:
		return nil, cloudwatch.NewMissingRequiredParameterException("Either the parameter Statistics or the parameter ExtendedStatistics is required.")
	case len(in.Statistics) > 0 && len(in.ExtendedStatistics) > 0:
		return nil, conflicting("The parameters Statistics and ExtendedStatistics are mutually exclusive and you have specified both.")
	}
	if n := int64(in.EndTime.Sub(*in.StartTime) / every); n > maxDatapoints {
		return nil, conflicting("You have requested up to %s datapoints, which exceeds the limit of %s. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
			grouped(n), grouped(maxDatapoints))
	}
	extended := map[string]statistic{}
	for _, name := range in.ExtendedStatistics {
		f, ext, ok := statisticOf(name)
		if !ok || !ext {
			return nil, invalid("The value %s for parameter ExtendedStatistics is not supported.", name)
		}
		extended[name] = f
	}
	start := begin(*in.StartTime, api.CallFrom(ctx).Time)
	points, err := s.metrics.Read(metricOf(ctx, *in.Namespace, *in.MetricName, in.Dimensions), string(in.Unit), start, *in.EndTime, every)
	if err != nil {
		return nil, err
	}
	out := &cloudwatch.GetMetricStatisticsOutput{Label: in.MetricName, Datapoints: []cloudwatch.Datapoint{}}
	for i := range points {
		if d, ok := datapoint(&points[i], in.Statistics, extended); ok {
			out.Datapoints = append(out.Datapoints, d)
		}
	}
	return out, nil
}

// datapoint renders what was asked for of a period. ok is false when nothing
// of that is known.
func datapoint(p *metricstore.Point, statistics []cloudwatch.Statistic, extended map[string]statistic) (d cloudwatch.Datapoint, ok bool) {
	d = cloudwatch.Datapoint{Timestamp: &p.Start, Unit: cloudwatch.StandardUnit(p.Unit)}
	for name, to := range map[cloudwatch.Statistic]**float64{
		cloudwatch.StatisticAverage: &d.Average, cloudwatch.StatisticMaximum: &d.Maximum, cloudwatch.StatisticMinimum: &d.Minimum,
		cloudwatch.StatisticSampleCount: &d.SampleCount, cloudwatch.StatisticSum: &d.Sum,
	} {
		if slices.Contains(statistics, name) {
			v, _ := simple[string(name)](&p.Set)
			*to, ok = &v, true
		}
	}
	for name, f := range extended {
		if v, known := f(&p.Set); known {
			if d.ExtendedStatistics == nil {
				d.ExtendedStatistics = map[string]float64{}
			}
			d.ExtendedStatistics[name], ok = v, true
		}
	}
	return d, ok
}

// grouped writes a number with commas between its thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
