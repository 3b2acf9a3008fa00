package balance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

func TestCompose(t *testing.T) {
	forward := func(arn string) []model.RuleAction {
		return []model.RuleAction{{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: arn}}}}}
	}
	now := time.Unix(1, 0)
	lb := Compose(Input{
		LoadBalancer: &model.LoadBalancer{ID: "lb"},
		Listeners:    []*model.Listener{{ID: "b", ARN: "l-b", Port: 81}, {ID: "a", ARN: "l-a", Port: 80}},
		Rules: map[string][]*model.Rule{
			"l-a": {{ID: "1", Actions: forward("g1")}, {ID: "2", Actions: forward("gone")}}, "l-b": {{ID: "3", Actions: forward("g1")}}, "other": {{Actions: forward("g2")}},
		},
		Groups: map[string]*model.TargetGroup{"g1": {ID: "1", ARN: "g1"}, "g2": {ID: "2", ARN: "g2"}},
		Targets: map[string][]*model.Target{"g1": {
			{ID: "10.0.0.1", Port: 80}, {ID: "10.0.0.2", Port: 80, DeregisteringAt: &now},
		}},
		Health: map[string]*model.TargetHealth{"1/10.0.0.1:80": {State: "healthy"}},
	})
	if len(lb.Listeners) != 2 || lb.Listeners[0].Port != 80 || len(lb.Listeners[0].Rules) != 2 {
		t.Errorf("listeners %+v", lb.Listeners)
	}
	want := []TargetGroup{{ID: "1", ARN: "g1", Targets: []Target{
		{IP: "10.0.0.1", Port: 80, Health: &model.TargetHealth{State: "healthy"}}, {IP: "10.0.0.2", Port: 80, Draining: true},
	}}}
	if d := cmp.Diff(want, lb.Groups); d != "" {
		t.Error(d)
	}
}

func TestJudge(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	draining := func(started time.Time) *model.TargetHealth {
		return &model.TargetHealth{State: model.TargetHealthDraining, Since: t0, DrainStarted: started}
	}
	const delay = 10 * time.Second
	for _, c := range []struct {
		name          string
		deregistering bool
		before        *model.TargetHealth
		inUse         bool
		seen          *Seen
		applied       bool
		now           time.Time
		state, reason string
		remove        bool
	}{
		{"new, not seen", false, nil, true, nil, true, t0, "initial", "Elb.RegistrationInProgress", false},
		{"healthy", false, nil, true, &Seen{Health: model.TargetHealth{State: "healthy"}}, true, t0, "healthy", "", false},
		{"unused", false, nil, false, nil, false, t0, "unused", "Target.NotInUse", false},
		{"drain begins", true, nil, true, &Seen{}, true, t0, "draining", "Target.DeregistrationInProgress", false},
		{"drain is not applied yet", true, nil, true, &Seen{}, false, at(5), "draining", "Target.DeregistrationInProgress", false},
		{"idle, too early to tell", true, draining(t0), true, &Seen{}, true, t0.Add(time.Millisecond), "draining", "Target.DeregistrationInProgress", false},
		{"idle", true, draining(t0), true, &Seen{}, true, at(1), "", "", true},
		{"busy", true, draining(t0), true, &Seen{InFlight: 1}, true, at(9), "draining", "Target.DeregistrationInProgress", false},
		{"busy beyond the delay", true, draining(t0), true, &Seen{InFlight: 1}, true, at(10), "", "", true},
		{"deregistered, unused", true, nil, false, nil, false, t0, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := &model.Target{}
			if c.deregistering {
				target.DeregisteringAt = &t0
			}
			v := Judge(target, c.before, delay, c.inUse, c.seen, c.applied, c.now)
			if v.Remove != c.remove || v.Health.State != c.state || v.Health.Reason != c.reason {
				t.Errorf("got %+v", v)
			}
			if c.state == "draining" && v.Again == 0 {
				t.Error("nobody looks again")
			}
		})
	}
}

// Judging again without any change changes nothing, and a target that is not
// deregistered is never removed.
func TestJudgeSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := &model.Target{}
		if rapid.Bool().Draw(t, "deregistering") {
			target.DeregisteringAt = new(time.Unix(1000, 0))
		}
		var seen *Seen
		if rapid.Bool().Draw(t, "known") {
			seen = &Seen{
				Health:   model.TargetHealth{State: rapid.SampledFrom([]string{"initial", "healthy", "unhealthy"}).Draw(t, "state")},
				InFlight: rapid.Int64Range(0, 2).Draw(t, "in flight"),
			}
		}
		inUse := rapid.Bool().Draw(t, "in use")
		now := time.Unix(1000+rapid.Int64Range(0, 20).Draw(t, "now"), 0)
		first := Judge(target, nil, 10*time.Second, inUse, seen, inUse, now)
		if first.Remove {
			if target.DeregisteringAt == nil {
				t.Fatal("a registered target is removed")
			}
			return
		}
		if again := Judge(target, &first.Health, 10*time.Second, inUse, seen, inUse, now); !cmp.Equal(first, again) {
			t.Fatalf("%+v became %+v", first, again)
		}
	})
}
