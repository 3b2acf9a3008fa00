package anomaly

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// run makes steps with the same samples.
func run(states []State, samples []Sample, mitigate bool, steps int) []State {
	for range steps {
		states = Step(states, samples, mitigate)
	}
	return states
}

func TestAnomalies(t *testing.T) {
	good, bad := Sample{Requests: 100, Healthy: true}, Sample{Requests: 100, Failed: 50, Healthy: true}
	for _, c := range []struct {
		name    string
		samples []Sample
		want    []bool
	}{
		{"all well", []Sample{good, good, good}, []bool{false, false, false}},
		{"one fails half", []Sample{good, bad, good}, []bool{false, true, false}},
		{"two targets", []Sample{good, bad}, []bool{false, false}},
		{"two of three are healthy", []Sample{good, bad, {Requests: 100}}, []bool{false, false, false}},
		{"an unhealthy target", []Sample{good, good, good, {Requests: 100, Failed: 100}}, []bool{false, false, false, false}},
		{"all fail alike", []Sample{bad, bad, bad}, []bool{false, false, false}},
		{"too few requests", []Sample{good, {Requests: 1, Failed: 1, Healthy: true}, good}, []bool{false, false, false}},
		{"slightly worse", []Sample{good, {Requests: 100, Failed: 5, Healthy: true}, good}, []bool{false, false, false}},
		{"no requests", []Sample{{Healthy: true}, {Healthy: true}, {Healthy: true}}, []bool{false, false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(make([]State, len(c.samples)), c.samples, false, 3)
			for i := range got {
				if got[i].Anomalous != c.want[i] || got[i].Mitigated() {
					t.Errorf("target %d: %+v", i, got[i])
				}
			}
		})
	}
}

// A target that fails loses its share step by step, and gets it back step by
// step once it no longer does.
func TestMitigation(t *testing.T) {
	states := make([]State, 3)
	share := func(fails bool) []Sample {
		out := make([]Sample, 3)
		for i := range out {
			out[i] = Sample{Requests: int64(200 * states[i].Weight()), Healthy: true}
		}
		if fails {
			out[0].Failed = out[0].Requests
		}
		return out
	}
	last := 1.0
	for step := range 12 {
		states = Step(states, share(true), true)
		w := states[0].Weight()
		if !states[0].Anomalous || w > last || step == 0 && w >= 1 {
			t.Fatalf("step %d: %+v", step, states[0])
		}
		last = w
	}
	if last > least+1e-9 {
		t.Errorf("the share fell to %v", last)
	}
	for step := 0; states[0].Mitigated(); step++ {
		if step > 40 {
			t.Fatalf("no parity: %+v", states[0])
		}
		states = Step(states, share(false), true)
		if w := states[0].Weight(); !states[0].Anomalous && w > last*rise+1e-9 {
			t.Fatalf("the share rose from %v to %v at once", last, w)
		} else if w < last && !states[0].Anomalous {
			t.Fatalf("the share of a target that recovered fell from %v to %v", last, w)
		}
		last = states[0].Weight()
	}
	// Without mitigation, the share is full at once.
	if s := Step([]State{{Anomalous: true, Lacking: 0.9}, {}, {}}, share(false), false); s[0].Mitigated() {
		t.Errorf("mitigation is off: %+v", s[0])
	}
}

// Chance alone makes few anomalies: targets that are all as good as the others.
func TestChanceIsNoAnomaly(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, rate := range []float64{0.001, 0.01, 0.1, 0.5} {
		states, anomalies := make([]State, 5), 0
		const steps = 2000
		for range steps {
			samples := make([]Sample, len(states))
			for i := range samples {
				samples[i] = Sample{Requests: 40, Healthy: true}
				for range samples[i].Requests {
					if r.Float64() < rate {
						samples[i].Failed++
					}
				}
			}
			states = Step(states, samples, true)
			for _, s := range states {
				if s.Anomalous {
					anomalies++
				}
			}
		}
		if part := float64(anomalies) / (steps * 5); part > 0.005 {
			t.Errorf("at a rate of %v, %.2f%% are anomalies", rate, 100*part)
		}
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "targets")
		states := make([]State, n)
		mitigate := rapid.Bool().Draw(t, "mitigate")
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			samples := make([]Sample, n)
			healthy := 0
			for i := range samples {
				samples[i] = Sample{Requests: rapid.Int64Range(0, 1000).Draw(t, "requests"), Healthy: rapid.Bool().Draw(t, "healthy")}
				samples[i].Failed = rapid.Int64Range(0, samples[i].Requests).Draw(t, "failed")
				if samples[i].Healthy {
					healthy++
				}
			}
			states = Step(states, samples, mitigate)
			anomalous := 0
			for i, s := range states {
				if s.Weight() < least || s.Weight() > 1 {
					t.Fatalf("weight %v", s.Weight())
				}
				if !mitigate && s.Mitigated() {
					t.Fatal("mitigated without mitigation")
				}
				if s.Anomalous {
					anomalous++
					if !samples[i].Healthy || healthy < fewestTargets {
						t.Fatalf("anomalous: %+v of %+v", s, samples)
					}
				}
			}
			if anomalous > 0 && anomalous == healthy {
				t.Fatal("all are worse than all others")
			}
		}
	})
}
