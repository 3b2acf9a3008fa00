// Package placement decides which container instance takes a task: the
// instances that have room, meet the constraints and carry the attributes are
// candidates; the strategies, one after another, narrow them down.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
//
// A Fleet is the book of what runs where. It answers the same question for the
// same kind of task, over and over, in time that grows with the logarithm of
// the fleet: see view.
package placement

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/clusterquery"
)

// Resources are what instances have and tasks take.
type Resources struct {
	CPU    int // CPU units, 1024 a vCPU
	Memory int // MiB
	ENIs   int // network interfaces of tasks
	GPUs   int
}

// Plus adds.
func (r Resources) Plus(o Resources) Resources {
	return Resources{r.CPU + o.CPU, r.Memory + o.Memory, r.ENIs + o.ENIs, r.GPUs + o.GPUs}
}

// Minus subtracts.
func (r Resources) Minus(o Resources) Resources {
	return Resources{r.CPU - o.CPU, r.Memory - o.Memory, r.ENIs - o.ENIs, r.GPUs - o.GPUs}
}

// Port is a port of the host.
type Port struct {
	Number uint16
	UDP    bool
}

// Instance is a container instance as it registered.
type Instance struct {
	ID string
	// Active instances take new tasks; those that drain, register or leave do
	// not.
	Active         bool
	AgentConnected bool
	AgentVersion   string
	EC2InstanceID  string
	// External is a machine of the user's, and takes no tasks but those for such.
	External bool
	// CapacityProvider is that of the instance's Auto Scaling group; "" for
	// instances that no capacity provider has.
	CapacityProvider string
	RegisteredAt     time.Time
	Attributes       map[string]string
	// Total is what the instance has for tasks.
	Total Resources
	// Reserved are the ports that no task gets.
	Reserved []Port
}

// Task is a task on an instance.
type Task struct {
	ID string
	// Group is "service:web" or "family:job".
	Group     string
	Resources Resources
	// Ports are the fixed ones at first, and those that were chosen for
	// dynamic mappings once they are known.
	Ports []Port
}

// Demand is what a kind of task needs of an instance, and how one is chosen.
type Demand struct {
	Group     string
	Resources Resources
	// External tasks run on the user's own machines, all others do not.
	External bool
	// CapacityProvider, when set, is the provider that the instance must have.
	CapacityProvider string
	// Ports are the host ports that the task definition fixes.
	Ports []Port
	// Attributes the instance must have, with their values where they have one.
	Attributes  []model.ECSAttribute
	Constraints []model.ECSPlacementConstraint
	Strategies  []model.ECSPlacementStrategy
}

// The types of constraints and strategies.
const (
	distinctInstance = "distinctInstance"
	memberOf         = "memberOf"
	random           = "random"
	spread           = "spread"
	binpack          = "binpack"
)

// ServiceDefault is how services that name no strategy are placed: evenly
// over the zones, and over the instances in each.
var ServiceDefault = []model.ECSPlacementStrategy{
	{Type: spread, Field: "attribute:ecs.availability-zone"},
	{Type: spread, Field: "instanceId"},
}

// Request is a Demand whose expressions are parsed.
type Request struct {
	demand   Demand
	key      string
	distinct bool
	// static expressions depend on the instance alone, dynamic ones on what
	// runs there, too.
	static, dynamic []*clusterquery.Query
	stages          []stage
}

// stage is a strategy up to the first random one, behind which nothing is left
// to choose.
type stage struct {
	spread bool
	// attribute of a spread; "" is the instance itself.
	attribute string
	// memory or else CPU is what a binpack packs.
	memory bool
}

// Compile parses a demand's expressions. It fails with the sentence that says
// what is wrong with a constraint or a strategy.
func Compile(d Demand) (*Request, error) {
	r := &Request{demand: d}
	for _, c := range d.Constraints {
		switch c.Type {
		case distinctInstance:
			r.distinct = true
		case memberOf:
			q, err := clusterquery.Parse(c.Expression)
			if err != nil {
				return nil, fmt.Errorf("invalid expression %q: %w", c.Expression, err)
			}
			if q.Static() {
				r.static = append(r.static, q)
			} else {
				r.dynamic = append(r.dynamic, q)
			}
		default:
			return nil, fmt.Errorf("unknown placement constraint type %q", c.Type)
		}
	}
	for _, s := range d.Strategies {
		if s.Type == random {
			break
		}
		st, err := stageOf(s)
		if err != nil {
			return nil, err
		}
		r.stages = append(r.stages, st)
	}
	r.key = keyOf(d)
	return r, nil
}

func stageOf(s model.ECSPlacementStrategy) (stage, error) {
	field := strings.ToLower(s.Field)
	switch s.Type {
	case spread:
		if field == "instanceid" || field == "host" {
			return stage{spread: true}, nil
		}
		if name, ok := strings.CutPrefix(s.Field, "attribute:"); ok && name != "" {
			return stage{spread: true, attribute: name}, nil
		}
	case binpack:
		if field == "cpu" || field == "memory" {
			return stage{memory: field == "memory"}, nil
		}
	default:
		return stage{}, fmt.Errorf("unknown placement strategy type %q", s.Type)
	}
	return stage{}, fmt.Errorf("invalid field %q for placement strategy %s", s.Field, s.Type)
}

// keyOf names a demand: equal demands have equal keys.
func keyOf(d Demand) string {
	ports := slices.Clone(d.Ports)
	slices.SortFunc(ports, func(a, b Port) int { return int(a.Number) - int(b.Number) })
	return fmt.Sprintf("%t %q %q %v %v %q %q %q", d.External, d.CapacityProvider, d.Group, d.Resources, ports, d.Attributes, d.Constraints, d.Strategies)
}
