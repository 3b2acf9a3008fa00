package agent

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"roadstead.dev/internal/node"
)

type views []node.TaskView

func (v views) Tasks() []node.TaskView { return v }

func TestIntrospection(t *testing.T) {
	a := &Agent{cfg: Config{Version: "1.2.3"}, id: identity{Cluster: "c", ContainerInstanceArn: "arn:i"}}
	h := a.Introspection(views{
		{Arn: "arn:1", Family: "f", Version: "7", Desired: "RUNNING", Known: "PENDING", Containers: []node.ContainerView{{ID: "1-2", Name: "web"}}},
		{Arn: "arn:2", Known: "STOPPED"},
	})
	first := `{"Arn":"arn:1","DesiredStatus":"RUNNING","KnownStatus":"PENDING","Family":"f","Version":"7","Containers":[{"DockerId":"1-2","DockerName":"1-2","Name":"web"}]}`
	for path, want := range map[string]string{
		"/v1/metadata":            `200 {"Cluster":"c","ContainerInstanceArn":"arn:i","Version":"Roadstead ECS Agent - v1.2.3"}`,
		"/v1/tasks":               `200 {"Tasks":[` + first + `,{"Arn":"arn:2","KnownStatus":"STOPPED","Family":"","Version":"","Containers":[]}]}`,
		"/v1/tasks?taskarn=arn:1": "200 " + first,
		"/v1/tasks?dockerid=1-2":  "200 " + first,
		"/v1/tasks?taskarn=arn:3": "404 ",
		"/v1/tasks?dockerid=x":    "404 ",
		"/":                       `200 {"AvailableCommands":["/v1/metadata","/v1/tasks"]}`,
		"/v2":                     "404 404 page not found",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := strings.TrimRight(strings.Join([]string{strconv.Itoa(w.Code), w.Body.String()}, " "), "\n"); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
