// Package health decides from the results of health checks what a target's
// health is.
package health

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

// State is what is known of a target. The zero value is a target that was
// never checked.
type State struct {
	// Status is initial, healthy or unhealthy; empty means initial.
	Status string
	// Reason and Description are those of the latest failed check, while the
	// target is not healthy.
	Reason, Description string
	// Passed and Failed count the latest checks in a row with that result; one
	// of them is 0.
	Passed, Failed int
	// Since is when Status was entered.
	Since time.Time
}

// Result is the outcome of one check.
type Result struct {
	OK bool
	// Reason and Description of a failure.
	Reason, Description string
}

// Thresholds are how many checks in a row change a target's health.
type Thresholds struct {
	Healthy, Unhealthy int
}

// Observe is the state after a check. A new target is healthy after its first
// check that succeeds; any other change takes a threshold of equal results.
func Observe(s State, r Result, th Thresholds, now time.Time) State {
	if s.Status == "" {
		s.Status, s.Since = model.TargetHealthInitial, now
	}
	if r.OK {
		s.Passed, s.Failed = s.Passed+1, 0
		if s.Status == model.TargetHealthInitial || s.Status == model.TargetHealthUnhealthy && s.Passed >= th.Healthy {
			s.Status, s.Since = model.TargetHealthHealthy, now
		}
	} else {
		s.Passed, s.Failed = 0, s.Failed+1
		if s.Status != model.TargetHealthUnhealthy && s.Failed >= th.Unhealthy {
			s.Status, s.Since = model.TargetHealthUnhealthy, now
		}
	}
	switch s.Status {
	case model.TargetHealthHealthy:
		s.Reason, s.Description = "", ""
	case model.TargetHealthUnhealthy:
		if !r.OK {
			s.Reason, s.Description = r.Reason, r.Description
		}
	default:
		s.Reason, s.Description = model.ReasonInitialHealthChecking, model.DescriptionInitialHealthChecking
	}
	return s
}

// Passed is the result of a check that succeeded.
func Passed() Result { return Result{OK: true} }

// Mismatch is the result of an answer with a status that does not match.
func Mismatch(status int) Result {
	return Result{
		Reason:      model.ReasonResponseCodeMismatch,
		Description: fmt.Sprintf("Health checks failed with these codes: [%d]", status),
	}
}

// TimedOut is the result of a check without an answer in time.
func TimedOut() Result {
	return Result{Reason: model.ReasonTimeout, Description: model.DescriptionTimeout}
}

// Failed is the result of a target that refuses the connection or does not
// speak HTTP.
func Failed() Result {
	return Result{Reason: model.ReasonFailedHealthChecks, Description: model.DescriptionFailedHealthChecks}
}

// Matcher tells which statuses are healthy.
type Matcher []span

type span struct{ from, to int }

// ParseMatcher reads a list of codes and ranges, "200,204-299". Codes are
// lowest to highest.
func ParseMatcher(s string, lowest, highest int) (Matcher, error) {
	var m Matcher
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		a, ok1 := code(from)
		b, ok2 := code(to)
		if !ok1 || !ok2 || a < lowest || b > highest || a > b {
			return nil, fmt.Errorf("health check matcher %q is not a list of codes from %d to %d", s, lowest, highest)
		}
		m = append(m, span{a, b})
	}
	return m, nil
}

// code reads a number without a sign.
func code(s string) (int, bool) {
	if s == "" || len(s) > 3 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// Match tells whether status is healthy.
func (m Matcher) Match(status int) bool {
	for _, s := range m {
		if status >= s.from && status <= s.to {
			return true
		}
	}
	return false
}
