package autoscaling

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a group and its instances, to which plans are applied as the
// controller would.
type world struct {
	now     time.Time
	group   *model.AutoScalingGroup
	places  []Place
	pools   []Pool
	mixed   *model.ASGInstanceAllocation
	refresh *model.InstanceRefresh
	list    []*machine
	made    int
	// slow keeps instances pending; drains keeps targets.
	slow, drains bool
	activities   []string
}

type machine struct {
	v          *model.ASGInstance
	ec2        EC2
	registered int
	failed     bool
}

func newWorld(lowest, most, desired int, zones ...string) *world {
	w := &world{
		now: t0,
		group: &model.AutoScalingGroup{
			Name: "g", Desired: desired, Spec: model.ASGSpec{Min: lowest, Max: most, TerminationPolicies: []string{"Default"}, HealthCheckType: "EC2"},
			Suspended: map[string]string{},
		},
		pools: []Pool{{Type: "t3.micro", Weight: 1, Template: model.ASGLaunchTemplate{ID: "lt-1", Version: "1"}}},
	}
	for _, z := range zones {
		w.places = append(w.places, Place{Zone: z, SubnetID: "subnet-" + z})
	}
	return w
}

func (w *world) snapshot() Snapshot {
	s := Snapshot{Group: w.group, Places: w.places, Pools: w.pools, Mixed: w.mixed}
	if w.refresh != nil && w.refresh.EndedAt.IsZero() {
		s.Refresh = w.refresh
	}
	for _, m := range w.list {
		s.Instances = append(s.Instances, Instance{ASGInstance: m.v, EC2: m.ec2, Registered: m.registered, TargetFailed: m.failed})
	}
	return s
}

// step makes a plan and applies it.
func (w *world) step() Plan {
	p := Next(w.snapshot(), w.now)
	at := map[string]*machine{}
	for _, m := range w.list {
		at[m.v.InstanceID] = m
	}
	for _, st := range p.Steps {
		m := at[st.V.InstanceID]
		m.v = st.V
		for i := range m.v.HookActions {
			if m.v.HookActions[i].Token == "" {
				m.v.HookActions[i].Token = "token"
			}
		}
		if st.End != nil {
			w.tell(st.V.InstanceID + " " + st.End.Code + " " + st.End.Message)
		}
		if st.Begin != nil {
			w.tell(st.Begin.Description + ": " + st.Begin.Cause)
			m.v.Activity = "a"
		}
		m.registered += len(st.Register)
		if len(st.Deregister) > 0 && !w.drains {
			m.registered = 0
		}
		if st.Claim {
			m.ec2.Member = true
		}
		if st.Remove {
			w.list = slices.DeleteFunc(w.list, func(x *machine) bool { return x == m })
		}
	}
	for _, id := range p.Terminate {
		at[id].ec2.Ending, at[id].ec2.State = true, model.InstanceShuttingDown
	}
	for _, l := range p.Launches {
		w.launch(l)
	}
	for _, a := range p.Told {
		w.tell(a.Description)
	}
	w.group.Status = p.Status
	if p.Refresh != nil {
		w.refresh = p.Refresh
	}
	return p
}

func (w *world) tell(text string) { w.activities = append(w.activities, text) }

func (w *world) launch(l Start) *machine {
	w.made++
	m := &machine{
		v: &model.ASGInstance{
			Group: "g", InstanceID: fmt.Sprintf("i-%04d", w.made), InstanceType: l.Pool.Type, Zone: l.Place.Zone, SubnetID: l.Place.SubnetID,
			LifecycleState: model.ASGPending, LaunchedAt: w.now, StateSince: w.now, Template: l.Pool.Template, Spot: l.Spot, Weight: l.Pool.Weight,
			Ahead: l.Ahead, HealthStatus: healthy, Activity: "a", Protected: w.group.Spec.NewInstancesProtected,
		},
		ec2: EC2{State: model.InstancePending, Member: true},
	}
	w.list = append(w.list, m)
	w.tell(l.Cause)
	return m
}

// pass lets EC2 go on and some time pass.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, m := range w.list {
		switch m.ec2.State {
		case model.InstancePending:
			if !w.slow {
				m.ec2.State = model.InstanceRunning
			}
		case model.InstanceShuttingDown:
			m.ec2.State, m.registered = model.InstanceTerminated, 0
		}
	}
}

// settle lets plans follow each other until nothing changes.
func (w *world) settle() bool {
	for range 400 {
		p := w.step()
		w.pass(5 * time.Second)
		if len(p.Steps)+len(p.Launches)+len(p.Terminate) == 0 && p.Refresh == nil && w.quiet() && (p.Wake.IsZero() || p.Wake.Sub(w.now) > 20*time.Minute) {
			return true
		}
	}
	return false
}

func (w *world) quiet() bool {
	for _, m := range w.list {
		switch m.v.LifecycleState {
		case model.ASGInService, model.ASGStandby:
		default:
			return false
		}
	}
	return w.refresh == nil || !w.refresh.EndedAt.IsZero()
}

// in counts the members in a state, or of a zone in service.
func (w *world) in(what string) int {
	n := 0
	for _, m := range w.list {
		if m.v.LifecycleState == what || m.v.LifecycleState == model.ASGInService && m.v.Zone == what {
			n++
		}
	}
	return n
}

func (w *world) at(id string) *machine {
	i := slices.IndexFunc(w.list, func(m *machine) bool { return m.v.InstanceID == id })
	if i < 0 {
		return nil
	}
	return w.list[i]
}

func (w *world) told(text string) bool {
	return slices.ContainsFunc(w.activities, func(a string) bool { return strings.Contains(a, text) })
}
