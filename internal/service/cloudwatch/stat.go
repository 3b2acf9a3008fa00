package cloudwatch

import (
	"regexp"
	"strconv"
	"strings"

	"roadstead.dev/internal/telemetry/metricstore"
)

// statistic reads a number from a period's values. ok is false when their
// distribution is not known, but would have to be.
type statistic func(*metricstore.Set) (v float64, ok bool)

var simple = map[string]statistic{
	"SampleCount": func(s *metricstore.Set) (float64, bool) { return s.Count, true },
	"Sum":         func(s *metricstore.Set) (float64, bool) { return s.Sum, true },
	"Average":     func(s *metricstore.Set) (float64, bool) { return s.Average(), true },
	"Minimum":     func(s *metricstore.Set) (float64, bool) { return s.Min, true },
	"Maximum":     func(s *metricstore.Set) (float64, bool) { return s.Max, true },
}

// percentage matches p99.9, and tm99, which is TM(:99%).
var (
	percentage = regexp.MustCompile(`^(p|tm|wm|tc|ts|P|TM|WM|TC|TS)(\d{1,3}(?:\.\d{1,10})?)$`)
	bounded    = regexp.MustCompile(`^(TM|WM|PR|TC|TS)\((-?\d*(?:\.\d+)?)(%?):(-?\d*(?:\.\d+)?)(%?)\)$`)
)

// statisticOf understands the name of a statistic; extended tells that it is
// none of the five simple ones.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
func statisticOf(name string) (f statistic, extended, ok bool) {
	if f, ok := simple[name]; ok {
		return f, false, true
	}
	if strings.EqualFold(name, "IQM") {
		return reduced("TM", 25, 75), true, true
	}
	if m := percentage.FindStringSubmatch(name); m != nil {
		p, err := strconv.ParseFloat(m[2], 64)
		if err != nil || p > 100 {
			return nil, false, false
		}
		if strings.EqualFold(m[1], "p") {
			return func(s *metricstore.Set) (float64, bool) { return s.Percentile(p) }, true, true
		}
		return reduced(strings.ToUpper(m[1]), 0, p), true, true
	}
	m := bounded.FindStringSubmatch(name)
	if m == nil || m[2] == "" && m[4] == "" {
		return nil, false, false
	}
	percent := m[3] == "%" || m[5] == "%"
	if percent && (m[2] != "" && m[3] == "" || m[4] != "" && m[5] == "" || m[1] == "PR") {
		return nil, false, false
	}
	low, high := -maxValue, float64(maxValue)
	if percent {
		low, high = 0, 100
	}
	for i, to := range map[int]*float64{2: &low, 4: &high} {
		if m[i] == "" {
			continue
		}
		f, err := strconv.ParseFloat(m[i], 64)
		if err != nil || percent && (f < 0 || f > 100) {
			return nil, false, false
		}
		*to = f
	}
	if low >= high {
		return nil, false, false
	}
	if percent {
		return reduced(m[1], low, high), true, true
	}
	return absolute(m[1], low, high), true, m[1] != "WM"
}

// reduced is a statistic of the values between two percentiles.
func reduced(kind string, low, high float64) statistic {
	return func(s *metricstore.Set) (float64, bool) {
		if kind == "WM" {
			all, ok := s.Winsorized(low, high)
			return all.Average(), ok
		}
		part, ok := s.Trim(low, high)
		return ofPart(kind, &part, s, ok)
	}
}

// absolute is a statistic of the values between two bounds.
func absolute(kind string, low, high float64) statistic {
	return func(s *metricstore.Set) (float64, bool) {
		part, ok := s.Between(low, high)
		return ofPart(kind, &part, s, ok)
	}
}

func ofPart(kind string, part, all *metricstore.Set, ok bool) (float64, bool) {
	if !ok {
		return 0, false
	}
	switch kind {
	case "TC":
		return part.Count, true
	case "TS":
		return part.Sum, true
	case "PR":
		return 100 * part.Count / all.Count, true
	default:
		return part.Average(), part.Count > 0
	}
}
