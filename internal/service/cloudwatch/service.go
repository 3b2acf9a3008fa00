// Package cloudwatch serves CloudWatch's metrics, which the telemetry metric
// store keeps.
package cloudwatch

import (
	"context"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/telemetry/metricstore"
)

// Service implements cloudwatch.Handler.
type Service struct{ metrics *metricstore.Store }

var _ cloudwatch.Handler = (*Service)(nil)

// New makes a Service.
func New(metrics *metricstore.Store) *Service { return &Service{metrics} }

// ScopeOf tells the namespace that data is put into: no operation names a
// resource.
func (s *Service) ScopeOf(_ context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	if put, ok := in.(*cloudwatch.PutMetricDataInput); ok {
		return nil, map[string]string{"cloudwatch:namespace": value(put.Namespace)}
	}
	return nil, nil
}

func invalid(format string, args ...any) error {
	return cloudwatch.NewInvalidParameterValueException(format, args...)
}

func conflicting(format string, args ...any) error {
	return cloudwatch.NewInvalidParameterCombinationException(format, args...)
}

func missing(parameter string) error {
	return cloudwatch.NewMissingRequiredParameterException("The parameter %s is required.", parameter)
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// metricOf names a metric of the caller's account and region.
func metricOf(ctx context.Context, namespace, name string, dimensions []cloudwatch.Dimension) metricstore.Metric {
	c := api.CallFrom(ctx)
	ds := make([]metricstore.Dimension, len(dimensions))
	for i, d := range dimensions {
		ds[i] = metricstore.Dimension{Name: value(d.Name), Value: value(d.Value)}
	}
	return metricstore.NewMetric(c.Account, c.Region, namespace, name, ds...)
}

// period checks one of a query.
func period(seconds int32, parameter string) (time.Duration, error) {
	switch {
	case seconds == 1, seconds == 5, seconds == 10, seconds == 20, seconds == 30, seconds > 0 && seconds%60 == 0:
		return time.Duration(seconds) * time.Second, nil
	default:
		return 0, invalid("The parameter %s must be one of 1, 5, 10, 20, 30, or a multiple of 60.", parameter)
	}
}

const day = 24 * time.Hour

// begin rounds the start of a query down to where data of its age begins.
func begin(start, now time.Time) time.Time {
	switch age := now.Sub(start); {
	case age > 63*day:
		return start.Truncate(time.Hour)
	case age > 15*day:
		return start.Truncate(5 * time.Minute)
	default:
		return start.Truncate(time.Minute)
	}
}
