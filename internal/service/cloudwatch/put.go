package cloudwatch

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/telemetry/metricstore"
)

const (
	// maxData and maxValues are how many data one request may hold, and how
	// many values one datum.
	maxData   = 1000
	maxValues = 150
	// Timestamps may be two weeks old, and two hours ahead.
	maxAge   = 14 * day
	maxAhead = 2 * time.Hour
	// maxValue is the largest value, as is its negative.
	maxValue = 0x1p360
	unitNone = "None"
)

// PutMetricData adds data of the caller's own metrics.
func (s *Service) PutMetricData(ctx context.Context, in *cloudwatch.PutMetricDataInput) (*cloudwatch.PutMetricDataOutput, error) {
	namespace := value(in.Namespace)
	switch {
	case strings.HasPrefix(namespace, "AWS/"):
		return nil, invalid("The value AWS/ for parameter Namespace is invalid.")
	case len(in.EntityMetricData) > 0:
		return nil, invalid("The parameter EntityMetricData is not supported.")
	case len(in.MetricData) == 0:
		return nil, missing("MetricData")
	case len(in.MetricData) > maxData:
		return nil, invalid("The collection MetricData must not have a size greater than %d.", maxData)
	}
	if err := printable("Namespace", namespace); err != nil {
		return nil, err
	}
	now := api.CallFrom(ctx).Time
	data := make([]metricstore.Datum, len(in.MetricData))
	for i := range in.MetricData {
		where := "MetricData.member." + strconv.Itoa(i+1)
		d := &in.MetricData[i]
		if err := checkDatum(where, d, now); err != nil {
			return nil, err
		}
		set, err := setOf(where, d)
		if err != nil {
			return nil, err
		}
		at := now
		if d.Timestamp != nil {
			at = *d.Timestamp
		}
		unit := string(d.Unit)
		if unit == "" {
			unit = unitNone
		}
		data[i] = metricstore.Datum{Metric: metricOf(ctx, namespace, value(d.MetricName), d.Dimensions), Unit: unit, At: at, Set: set}
	}
	if err := s.metrics.Put(ctx, data); err != nil {
		return nil, err
	}
	return &cloudwatch.PutMetricDataOutput{}, nil
}

// checkDatum checks what names the datum and tells its time.
func checkDatum(where string, d *cloudwatch.MetricDatum, now time.Time) error {
	if err := printable(where+".MetricName", value(d.MetricName)); err != nil {
		return err
	}
	seen := map[string]bool{}
	for j, dim := range d.Dimensions {
		at := fmt.Sprintf("%s.Dimensions.member.%d", where, j+1)
		if err := printable(at+".Name", value(dim.Name)); err != nil {
			return err
		}
		if err := printable(at+".Value", value(dim.Value)); err != nil {
			return err
		}
		if strings.HasPrefix(*dim.Name, ":") {
			return invalid("The value %s for parameter %s.Name is invalid.", *dim.Name, at)
		}
		if seen[*dim.Name] {
			return invalid("Duplicate dimension name %s in %s.Dimensions.", *dim.Name, where)
		}
		seen[*dim.Name] = true
	}
	if d.Timestamp != nil {
		switch {
		case d.Timestamp.Before(now.Add(-maxAge)):
			return invalid("The parameter %s.Timestamp must specify a time no more than two weeks in the past.", where)
		case d.Timestamp.After(now.Add(maxAhead)):
			return invalid("The parameter %s.Timestamp must specify a time no more than two hours in the future.", where)
		}
	}
	if r := d.StorageResolution; r != nil && *r != 60 {
		return invalid("The value %d for parameter %s.StorageResolution is invalid.", *r, where)
	}
	return nil
}

// printable holds for text that metrics may be named with.
func printable(parameter, s string) error {
	if strings.TrimSpace(s) == "" {
		return invalid("The value for parameter %s must not be blank.", parameter)
	}
	for _, r := range s {
		if r < ' ' || r > '~' {
			return invalid("The value for parameter %s contains non-ASCII characters.", parameter)
		}
	}
	return nil
}

// setOf is what a datum tells.
func setOf(where string, d *cloudwatch.MetricDatum) (metricstore.Set, error) {
	var set metricstore.Set
	given := 0
	for _, there := range []bool{d.Value != nil, d.Values != nil, d.StatisticValues != nil} {
		if there {
			given++
		}
	}
	switch {
	case given == 0:
		return set, missing(where + ".Value")
	case given > 1:
		first, second := ".Value", ".StatisticValues"
		if d.Value == nil {
			first = ".Values"
		} else if d.StatisticValues == nil {
			second = ".Values"
		}
		return set, conflicting("The parameters %s%s and %s%s are mutually exclusive and you have specified both.", where, first, where, second)
	case d.Value != nil:
		if err := number(where+".Value", *d.Value); err != nil {
			return set, err
		}
		set.Add(*d.Value, 1)
		return set, nil
	case d.StatisticValues != nil:
		return statistics(where+".StatisticValues", d.StatisticValues)
	case len(d.Counts) > 0 && len(d.Counts) != len(d.Values):
		return set, conflicting("The parameters %s.Values and %s.Counts must be of the same size.", where, where)
	case len(d.Values) > maxValues:
		return set, invalid("The collection %s.Values must not have a size greater than %d.", where, maxValues)
	}
	for i, v := range d.Values {
		count := 1.0
		if len(d.Counts) > 0 {
			count = d.Counts[i]
		}
		if err := number(fmt.Sprintf("%s.Values.member.%d", where, i+1), v); err != nil {
			return set, err
		}
		if !(count > 0) || count > maxValue {
			return set, invalid("The value %g for parameter %s.Counts.member.%d is invalid.", count, where, i+1)
		}
		set.Add(v, count)
	}
	if set.Count == 0 {
		return set, missing(where + ".Values")
	}
	return set, nil
}

func statistics(where string, v *cloudwatch.StatisticSet) (metricstore.Set, error) {
	for name, f := range map[string]float64{".SampleCount": *v.SampleCount, ".Sum": *v.Sum, ".Minimum": *v.Minimum, ".Maximum": *v.Maximum} {
		if err := number(where+name, f); err != nil {
			return metricstore.Set{}, err
		}
	}
	if *v.SampleCount <= 0 {
		return metricstore.Set{}, invalid("The value %g for parameter %s.SampleCount is invalid.", *v.SampleCount, where)
	}
	if *v.Maximum < *v.Minimum {
		return metricstore.Set{}, invalid("The parameter %s.Maximum must be greater than %s.Minimum.", where, where)
	}
	return metricstore.Statistics(*v.SampleCount, *v.Sum, *v.Minimum, *v.Maximum), nil
}

// number refuses what CloudWatch does not keep.
func number(parameter string, f float64) error {
	if math.IsNaN(f) || math.Abs(f) > maxValue {
		return invalid("The value %g for parameter %s is invalid.", f, parameter)
	}
	return nil
}
