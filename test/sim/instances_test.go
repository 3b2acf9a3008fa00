package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// boxes makes definitions for instances: "box" takes 200 CPU units and 300 MiB,
// "port" the host's port 8080 besides and "gate" 8081, "dyn" any port, "eni" an
// interface.
func (w *world) boxes() {
	tx := store.NewTxn()
	for _, family := range []string{"box", "port", "gate", "dyn", "eni"} {
		for rev := range 9 {
			c := model.ContainerDefinition{Name: "main", Image: fmt.Sprintf("%s:%d", family, rev+1), CPU: 200, Memory: new(300)}
			mode := "bridge"
			switch family {
			case "port":
				c.PortMappings = []model.PortMapping{{ContainerPort: new(80), HostPort: new(8080), Protocol: "tcp"}}
			case "gate":
				c.PortMappings = []model.PortMapping{{ContainerPort: new(81), HostPort: new(8081), Protocol: "tcp"}}
			case "dyn":
				c.PortMappings = []model.PortMapping{{ContainerPort: new(80), HostPort: new(0), Protocol: "tcp"}}
			case "eni":
				mode = "awsvpc"
			}
			tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID(family, rev+1), &model.TaskDefinition{
				TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, family, rev+1), Family: family, Revision: rev + 1,
				Status: model.ECSActive, NetworkMode: mode, Compatibilities: []string{"EC2"}, ContainerDefinitions: []model.ContainerDefinition{c},
			})
		}
	}
	w.commit(tx)
}

// on makes a service of tasks on instances.
func (w *world) on(name, family string, desired int, change func(*model.ServiceSpec)) {
	w.create(name, desired, func(s *model.ServiceSpec) {
		s.LaunchType, s.NetworkConfiguration, s.TaskDefinition = model.LaunchTypeEC2, nil, taskDef(family, 1)
		if change != nil {
			change(s)
		}
	})
}

func daemon(s *model.ServiceSpec) {
	s.SchedulingStrategy = "DAEMON"
	s.DeploymentConfiguration = model.ServiceDeploymentConfiguration{MaximumPercent: new(100), MinimumHealthyPercent: new(0)}
}

// register makes a container instance with room for so many boxes.
func (w *world) register(id string, room int) {
	w.t.Helper()
	tx := store.NewTxn()
	tables.ECSContainerInstances.Create(tx, account, region, cluster+"/"+id, &model.ContainerInstance{
		ID: id, ARN: model.ECSContainerInstanceARN(region, account, cluster, id), ClusterName: cluster, Status: model.ContainerInstanceActive,
		CPU: 200*room + 100, Memory: 300*room + 200, Connection: model.AgentConnection{Connected: true},
		Attributes: map[string]string{model.AttributeZone: region + string(rune('a'+len(id)%3))},
	})
	w.commit(tx)
}

func (w *world) instance(id string, change func(*model.ContainerInstance)) {
	w.t.Helper()
	_, err := tables.ECSContainerInstances.Update(w.t.Context(), w.store, account, region, cluster+"/"+id, func(i *model.ContainerInstance) error {
		change(i)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status(id, status string) {
	w.instance(id, func(i *model.ContainerInstance) { i.Status = status })
}

// nodes counts a service's running tasks by instance.
func (w *world) nodes(name string) map[string]int {
	out := map[string]int{}
	for _, t := range w.running(name) {
		out[t.Status.Node]++
	}
	return out
}

// A service says why it finds no room, once, and goes on by itself as soon as
// an instance comes or another's task leaves.
func TestServiceWaitsForRoom(t *testing.T) {
	in(t, 1, func(t *testing.T, w *world) {
		w.boxes()
		w.on("web", "box", 3, nil)
		w.pass(10 * time.Minute)
		if e := w.events("web"); len(e) != 1 || e[0] != "(service web) was unable to place a task because no container instance met all of its requirements. Reason: No Container Instances were found in your cluster. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide." {
			t.Fatalf("events %q", e)
		}
		w.register("i1", 2)
		if took := w.until(20*time.Second, "two tasks", func() bool { return w.nodes("web")["i1"] == 2 }); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		w.pass(5 * time.Minute)
		want := "(service web) was unable to place a task because no container instance met all of its requirements. The closest matching (container-instance i1) has insufficient CPU units available. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
		if e := w.events("web"); len(e) != 3 || e[2] != want || !strings.HasPrefix(e[1], "(service web) has started 2 tasks") {
			t.Fatalf("events %q", e)
		}
		w.pass(6 * time.Hour)
		if e := w.events("web"); len(e) != 4 || e[3] != want {
			t.Fatalf("after six hours: %q", e)
		}
		// One instance more, taken by another service until that goes.
		w.on("other", "box", 0, func(s *model.ServiceSpec) {
			s.PlacementConstraints = []model.ECSPlacementConstraint{{Type: "memberOf", Expression: "runningTasksCount == 0"}}
		})
		w.update("other", func(s *model.ServiceSpec) { s.DesiredCount = 1 })
		w.pass(time.Second)
		w.instance("i1", func(i *model.ContainerInstance) { i.Connection.Connected = false })
		w.register("i22", 1)
		w.until(time.Minute, "all tasks", func() bool { return len(w.running("web"))+len(w.running("other")) == 3 })
		w.instance("i1", func(i *model.ContainerInstance) { i.Connection.Connected = true })
		if len(w.running("other")) == 1 {
			w.update("other", func(s *model.ServiceSpec) { s.DesiredCount = 0 })
		}
		w.until(30*time.Second, "room from a task that left", func() bool { return w.nodes("web")["i1"] == 2 && w.nodes("web")["i22"] == 1 })
	})
}

// Draining moves a service's tasks, never below its minimum, and leaves a
// standalone one; an agent that is away moves nothing.
func TestDraining(t *testing.T) {
	for _, limits := range [][2]int{{100, 200}, {50, 100}, {100, 150}} {
		in(t, 2, func(t *testing.T, w *world) {
			w.boxes()
			w.register("i1", 8)
			w.on("web", "box", 4, func(s *model.ServiceSpec) {
				s.DeploymentConfiguration = model.ServiceDeploymentConfiguration{MinimumHealthyPercent: &limits[0], MaximumPercent: &limits[1]}
			})
			w.until(2*time.Minute, "steady", w.stable("web"))
			w.register("i22", 8)
			before := len(w.tasks("web"))
			w.instance("i1", func(i *model.ContainerInstance) { i.Connection.Connected = false })
			w.pass(10 * time.Minute)
			if len(w.tasks("web")) != before {
				t.Fatal("an agent that is away moves tasks")
			}
			w.instance("i1", func(i *model.ContainerInstance) { i.Connection.Connected = true })
			w.status("i1", model.ContainerInstanceDraining)
			least := 4
			w.until(10*time.Minute, "moved", func() bool {
				least = min(least, len(w.running("web")))
				return w.nodes("web")["i22"] == 4 && w.nodes("web")["i1"] == 0
			})
			if least < 4*limits[0]/100 {
				t.Errorf("%v: %d tasks ran", limits, least)
			}
			w.until(2*time.Minute, "steady", w.stable("web"))
			if n := len(w.tasks("web")); n != 8 {
				t.Errorf("%v: %d tasks for a move of four", limits, n)
			}
		})
	}
}

// A DAEMON service follows its instances, one task on each.
func TestDaemon(t *testing.T) {
	in(t, 3, func(t *testing.T, w *world) {
		w.boxes()
		w.register("i1", 4)
		w.register("i22", 4)
		w.on("log", "port", 0, daemon)
		on := func(ids ...string) func() bool {
			return func() bool {
				n := w.nodes("log")
				for _, id := range ids {
					if n[id] != 1 {
						return false
					}
				}
				return len(n) == len(ids)
			}
		}
		w.until(time.Minute, "both", on("i1", "i22"))
		w.register("i333", 4)
		w.until(time.Minute, "all three", on("i1", "i22", "i333"))
		if d := w.service("log").Primary(); d.DesiredCount != 3 {
			t.Errorf("%d tasks are desired", d.DesiredCount)
		}
		w.update("log", func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("port", 2) })
		w.until(2*time.Minute, "the new revision, on the same port", func() bool {
			for _, x := range w.running("log") {
				if x.Spec.Revision != 2 {
					return false
				}
			}
			return on("i1", "i22", "i333")()
		})
		w.status("i1", model.ContainerInstanceDraining)
		w.until(time.Minute, "off the one that drains", on("i22", "i333"))
		w.status("i22", model.ContainerInstanceInactive)
		w.until(time.Minute, "off the one that is gone", on("i333"))
		w.status("i1", model.ContainerInstanceActive)
		w.until(time.Minute, "back", on("i1", "i333"))
		w.remove("log")
		w.until(time.Minute, "gone", func() bool { return w.service("log").Status == model.ECSInactive })
	})
}

// A daemon leaves a draining instance behind the services that it may serve,
// and does not wait for tasks that stay.
func TestDaemonLeavesLast(t *testing.T) {
	in(t, 4, func(t *testing.T, w *world) {
		w.boxes()
		w.register("i1", 4)
		w.on("log", "box", 0, daemon)
		w.on("trace", "box", 0, daemon)
		w.on("web", "box", 1, nil)
		w.until(2*time.Minute, "steady", w.stable("web"))
		w.status("i1", model.ContainerInstanceDraining)
		w.pass(10 * time.Minute)
		if w.nodes("web")["i1"] != 1 || w.nodes("log")["i1"] != 1 || w.nodes("trace")["i1"] != 1 {
			t.Fatal("moved, and there is nowhere to go")
		}
		w.register("i22", 4)
		w.until(5*time.Minute, "moved", func() bool {
			old := w.nodes("web")["i1"]
			if old == 1 && (w.nodes("log")["i1"] != 1 || w.nodes("trace")["i1"] != 1) {
				t.Fatal("a daemon left first")
			}
			return old == 0 && w.nodes("log")["i1"] == 0 && w.nodes("trace")["i1"] == 0 && w.nodes("log")["i22"] == 1 && w.nodes("web")["i22"] == 1
		})
	})
}
