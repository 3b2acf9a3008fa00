package cloudwatch

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/telemetry/metricmath"
	"roadstead.dev/internal/telemetry/metricstore"
)

const (
	// maxQueries and maxData are limits of GetMetricData.
	maxQueries    = 500
	maxDataPoints = 100_800
)

var queryID = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)

func validation(format string, args ...any) error {
	return api.NewFault("ValidationError", format, args...)
}

// GetMetricData reads statistics of metrics, and calculates with them.
func (s *Service) GetMetricData(ctx context.Context, in *cloudwatch.GetMetricDataInput) (*cloudwatch.GetMetricDataOutput, error) {
	c := api.CallFrom(ctx)
	switch {
	case !in.StartTime.Before(*in.EndTime):
		return nil, validation("The parameter StartTime must be less than the parameter EndTime.")
	case len(in.MetricDataQueries) > maxQueries:
		return nil, validation("The collection MetricDataQueries must not have a size greater than %d.", maxQueries)
	case in.LabelOptions != nil && value(in.LabelOptions.Timezone) != "":
		return nil, validation("The parameter LabelOptions.Timezone is not supported.")
	}
	limit := maxDataPoints
	if in.MaxDatapoints != nil {
		if limit = int(*in.MaxDatapoints); limit < 1 || limit > maxDataPoints {
			return nil, validation("The value %d for parameter MaxDatapoints is invalid.", *in.MaxDatapoints)
		}
	}
	list := []string{"GetMetricData", c.Account, c.Region, in.StartTime.String(), in.EndTime.String(), string(in.ScanBy)}
	q := &queries{
		s: s, from: begin(*in.StartTime, c.Time), to: *in.EndTime,
		byID: map[string]*cloudwatch.MetricDataQuery{}, done: map[string]metricmath.Value{}, under: map[string]bool{},
	}
	for i := range in.MetricDataQueries {
		m := &in.MetricDataQueries[i]
		if err := q.add(c, m); err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprint(*m.Id, value(m.Expression)))
	}
	skip := 0
	if in.NextToken != nil {
		position, ok := pagetoken.Open(*in.NextToken, list...)
		n, err := strconv.Atoi(position)
		if !ok || err != nil {
			return nil, cloudwatch.NewInvalidNextToken("The parameter NextToken is invalid.")
		}
		skip = n
	}
	all, err := q.results(ctx)
	if err != nil {
		return nil, err
	}
	out := &cloudwatch.GetMetricDataOutput{MetricDataResults: []cloudwatch.MetricDataResult{}, Messages: []cloudwatch.MessageData{}}
	more := false
	next := skip
	for i := range all {
		r := &all[i]
		if in.ScanBy != cloudwatch.ScanByTimestampAscending {
			slices.Reverse(r.Timestamps)
			slices.Reverse(r.Values)
		}
		n := len(r.Values)
		from := min(skip, n)
		skip -= from
		to := min(from+limit, n)
		limit -= to - from
		next += to - from
		if r.StatusCode = cloudwatch.StatusCodeComplete; to < n {
			r.StatusCode, more = cloudwatch.StatusCodePartialData, true
		}
		r.Timestamps, r.Values = r.Timestamps[from:to], r.Values[from:to]
		out.MetricDataResults = append(out.MetricDataResults, *r)
	}
	if more {
		out.NextToken = new(pagetoken.Make(strconv.Itoa(next), list...))
	}
	return out, nil
}

// queries are those of one call, with the results that there are so far.
type queries struct {
	s        *Service
	from, to time.Time
	order    []*cloudwatch.MetricDataQuery
	byID     map[string]*cloudwatch.MetricDataQuery
	done     map[string]metricmath.Value
	under    map[string]bool // being evaluated
}

// add checks a query.
func (q *queries) add(c *api.Call, m *cloudwatch.MetricDataQuery) error {
	id := value(m.Id)
	switch {
	case !queryID.MatchString(id):
		return validation("The value %s for parameter MetricDataQueries.member.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.", id)
	case q.byID[id] != nil:
		return validation("The values for parameter id in MetricDataQueries are not unique.")
	case m.AccountId != nil && *m.AccountId != c.Account:
		return validation("Metrics of other accounts are not supported.")
	case (m.MetricStat == nil) == (m.Expression == nil):
		return validation("Exactly one of the parameters MetricStat and Expression must be specified for the query with id %s.", id)
	}
	if st := m.MetricStat; st != nil {
		if _, err := period(*st.Period, "MetricStat.Period"); err != nil {
			return validation("%s", err.(api.Error).ErrorMessage()) //nolint:errorlint,forcetypeassert // what period makes
		}
		if _, _, ok := statisticOf(*st.Stat); !ok {
			return validation("The value %s for parameter MetricDataQueries.member.MetricStat.Stat is not supported.", *st.Stat)
		}
	}
	q.order = append(q.order, m)
	q.byID[id] = m
	return nil
}

// results are those of the queries that are to return data.
func (q *queries) results(ctx context.Context) ([]cloudwatch.MetricDataResult, error) {
	var out []cloudwatch.MetricDataResult
	for _, m := range q.order {
		v, err := q.value(ctx, m)
		if err != nil {
			return nil, err
		}
		if m.ReturnData != nil && !*m.ReturnData {
			continue
		}
		list := v.List
		switch v.Kind {
		case metricmath.TimeSeries:
			list = []metricmath.Series{v.Series}
		case metricmath.Scalar:
			return nil, validation("Error in expression '%s': The expression must return a time series, it returns a Scalar", *m.Id)
		case metricmath.Array:
		}
		for _, s := range list {
			label := value(m.Label)
			if label == "" {
				label = *m.Id
				if m.MetricStat != nil {
					label = value(m.MetricStat.Metric.MetricName)
				}
			}
			out = append(out, cloudwatch.MetricDataResult{
				Id: m.Id, Label: &label, Timestamps: append([]time.Time{}, s.Times...), Values: append([]float64{}, s.Values...),
			})
		}
	}
	return out, nil
}

// value is what a query comes to.
func (q *queries) value(ctx context.Context, m *cloudwatch.MetricDataQuery) (metricmath.Value, error) {
	id := *m.Id
	if v, ok := q.done[id]; ok {
		return v, nil
	}
	if q.under[id] {
		return metricmath.Value{}, validation("Error in expression '%s': The expression refers to itself", id)
	}
	if err := ctx.Err(); err != nil {
		return metricmath.Value{}, err
	}
	q.under[id] = true
	defer delete(q.under, id)
	var v metricmath.Value
	var err error
	if m.MetricStat != nil {
		v, err = q.metric(ctx, m.MetricStat)
	} else {
		v, err = q.expression(ctx, m)
	}
	if err == nil {
		q.done[id] = v
	}
	return v, err
}

// metric reads a statistic. Periods begin at multiples of theirs.
func (q *queries) metric(ctx context.Context, st *cloudwatch.MetricStat) (metricmath.Value, error) {
	every := time.Duration(*st.Period) * time.Second
	f, _, _ := statisticOf(*st.Stat)
	points, err := q.s.metrics.Read(metricOf(ctx, value(st.Metric.Namespace), value(st.Metric.MetricName), st.Metric.Dimensions), string(st.Unit),
		q.from.Truncate(every), q.to, every)
	if err != nil {
		return metricmath.Value{}, err
	}
	series := metricmath.Series{Period: every}
	slices.SortStableFunc(points, func(a, b metricstore.Point) int { return a.Start.Compare(b.Start) })
	for i := range points {
		// Of data in several units the first is taken.
		if n := len(series.Times); n > 0 && series.Times[n-1].Equal(points[i].Start) {
			continue
		}
		if v, ok := f(&points[i].Set); ok {
			series.Times, series.Values = append(series.Times, points[i].Start), append(series.Values, v)
		}
	}
	return metricmath.Value{Kind: metricmath.TimeSeries, Series: series}, nil
}

// expression evaluates one, and before it what it refers to.
func (q *queries) expression(ctx context.Context, m *cloudwatch.MetricDataQuery) (metricmath.Value, error) {
	wrong := func(err error) error {
		return validation("Error in expression '%s': %s", *m.Id, err)
	}
	e, err := metricmath.Parse(*m.Expression)
	if err != nil {
		return metricmath.Value{}, wrong(err)
	}
	env := metricmath.Env{Of: func(id string) (metricmath.Value, bool) { v, ok := q.done[id]; return v, ok }}
	var failed error
	need := func(other *cloudwatch.MetricDataQuery) {
		if failed == nil && other != nil {
			_, failed = q.value(ctx, other)
		}
	}
	e.IDs(func(id string) { need(q.byID[id]) })
	for _, other := range q.order {
		if other.MetricStat != nil {
			need(other)
		}
	}
	if failed != nil {
		return metricmath.Value{}, failed
	}
	for _, other := range q.order {
		if other.MetricStat != nil {
			env.Metrics = append(env.Metrics, metricmath.Named{ID: *other.Id, Series: q.done[*other.Id].Series})
		}
	}
	v, err := e.Eval(env)
	if err != nil {
		return v, wrong(err)
	}
	return v, nil
}
