package health

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

func TestObserve(t *testing.T) {
	const (
		ini = model.TargetHealthInitial
		ok  = model.TargetHealthHealthy
		bad = model.TargetHealthUnhealthy
	)
	for _, c := range []struct {
		name    string
		from    string
		results string // + passed, - failed
		want    []string
	}{
		{"first success is enough", "", "+", []string{ok}},
		{"a new target fails", "", "--", []string{ini, bad}},
		{"a new target wavers", "", "-+", []string{ini, ok}},
		{"one failure is forgiven", ok, "-+-+", []string{ok, ok, ok, ok}},
		{"failures in a row", ok, "--", []string{ok, bad}},
		{"successes in a row", bad, "++-+++", []string{bad, bad, bad, bad, bad, ok}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := State{Status: c.from, Reason: model.ReasonResponseCodeMismatch}
			for i, r := range c.results {
				res := Passed()
				if r == '-' {
					res = Mismatch(500)
				}
				s = Observe(s, res, Thresholds{Healthy: 3, Unhealthy: 2}, time.Unix(int64(i), 0))
				if s.Status != c.want[i] {
					t.Fatalf("after %q: %s, want %s", c.results[:i+1], s.Status, c.want[i])
				}
				if s.Status == bad && s.Reason != model.ReasonResponseCodeMismatch {
					t.Errorf("reason %q", s.Reason)
				}
				if s.Status == ok && (s.Reason != "" || s.Description != "") {
					t.Errorf("a healthy target has reason %q %q", s.Reason, s.Description)
				}
			}
		})
	}
}

// A new target is healthy after one check, whatever the threshold.
func TestObserveInitial(t *testing.T) {
	if s := Observe(State{}, Passed(), Thresholds{Healthy: 10, Unhealthy: 2}, time.Unix(1, 0)); s.Status != model.TargetHealthHealthy {
		t.Errorf("it is %s", s.Status)
	}
}

// A settled state changes only after as many equal results in a row as its
// threshold says, and always then.
func TestObserveThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		th := Thresholds{Healthy: rapid.IntRange(2, 10).Draw(t, "healthy"), Unhealthy: rapid.IntRange(2, 10).Draw(t, "unhealthy")}
		s := Observe(State{}, Passed(), th, time.Unix(0, 0))
		run, last := 1, true
		for i, ok := range rapid.SliceOf(rapid.Bool()).Draw(t, "results") {
			if ok == last {
				run++
			} else {
				run, last = 1, ok
			}
			before := s.Status
			r := Passed()
			if !ok {
				r = TimedOut()
			}
			s = Observe(s, r, th, time.Unix(int64(i), 0))
			need, to := th.Healthy, model.TargetHealthHealthy
			if !ok {
				need, to = th.Unhealthy, model.TargetHealthUnhealthy
			}
			want := before
			if run >= need {
				want = to
			}
			if s.Status != want {
				t.Fatalf("%s became %s after %d results %v with %+v", before, s.Status, run, ok, th)
			}
		}
	})
}

func TestMatcher(t *testing.T) {
	m, err := ParseMatcher("200,204-206,301", 200, 499)
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]bool{200: true, 201: false, 203: false, 204: true, 205: true, 206: true, 207: false, 301: true} {
		if m.Match(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
	for _, s := range []string{"", "200,", "199", "500", "300-200", "2xx", "200-", "-200", "+200", "200 ,201"} {
		if _, err := ParseMatcher(s, 200, 499); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzParseMatcher(f *testing.F) {
	for _, s := range []string{"200", "200-299", "200,202,300-399", "0-99", ",", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMatcher(s, 200, 499)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(strings.SplitN(part, "-", 2)[0])
			if err != nil || !m.Match(n) {
				t.Errorf("%q does not match its own %q", s, part)
			}
		}
		if m.Match(199) || m.Match(500) {
			t.Errorf("%q matches what is out of range", s)
		}
	})
}
