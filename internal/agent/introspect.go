package agent

import (
	"encoding/json"
	"net/http"

	"roadstead.dev/internal/node"
)

// IntrospectionAddress is where the agent tells what it is and runs, as
// operators of instances ask it.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-introspection.html
const IntrospectionAddress = ":51678"

// Tasks tells what the agent runs. *node.Node does.
type Tasks interface{ Tasks() []node.TaskView }

type (
	introspectedTask struct {
		Arn           string
		DesiredStatus string `json:",omitempty"`
		KnownStatus   string
		Family        string
		Version       string
		Containers    []introspectedContainer
	}
	introspectedContainer struct {
		DockerID   string `json:"DockerId"`
		DockerName string
		Name       string
	}
)

// Introspection answers at IntrospectionAddress.
func (a *Agent) Introspection(tasks Tasks) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/metadata", func(w http.ResponseWriter, _ *http.Request) {
		id := a.identity()
		tell(w, map[string]string{"Cluster": id.Cluster, "ContainerInstanceArn": id.ContainerInstanceArn, "Version": "Roadstead ECS Agent - v" + a.cfg.Version})
	})
	mux.HandleFunc("GET /v1/tasks", func(w http.ResponseWriter, r *http.Request) {
		arn, container := r.URL.Query().Get("taskarn"), r.URL.Query().Get("dockerid")
		all := []introspectedTask{}
		for _, t := range tasks.Tasks() {
			shown := introspectedTask{Arn: t.Arn, DesiredStatus: t.Desired, KnownStatus: t.Known, Family: t.Family, Version: t.Version, Containers: []introspectedContainer{}}
			holds := false
			for _, c := range t.Containers {
				shown.Containers = append(shown.Containers, introspectedContainer{c.ID, c.ID, c.Name})
				holds = holds || container != "" && c.ID == container
			}
			if arn != "" && t.Arn == arn || holds {
				tell(w, shown)
				return
			}
			all = append(all, shown)
		}
		if arn != "" || container != "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		tell(w, map[string]any{"Tasks": all})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		tell(w, map[string][]string{"AvailableCommands": {"/v1/metadata", "/v1/tasks"}})
	})
	return mux
}

func tell(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that is gone needs none
}
