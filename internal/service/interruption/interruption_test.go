package interruption

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func arn(task string) string { return model.ECSTaskARN(region, account, "c", task) }

func start(t *testing.T) store.Store {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	tx := store.NewTxn()
	for id, provider := range map[string]string{"spot": "FARGATE_SPOT", "demand": "FARGATE"} {
		tables.ECSTasks.Put(tx, account, region, "c/"+id, &model.Task{TaskID: id, ClusterName: "c", Spec: model.TaskSpec{CapacityProviderName: provider}, Desired: model.TaskDesired{Status: model.TaskRunning}})
	}
	for id, lifecycle := range map[string]string{"i-spot": "spot", "i-demand": "", "i-stopped": "spot"} {
		state := model.InstanceRunning
		if id == "i-stopped" {
			state = model.InstanceStopped
		}
		tables.Instances.Put(tx, account, region, id, &model.Instance{
			ID: id, Spec: model.InstanceSpec{Lifecycle: lifecycle}, Desired: model.InstanceDesired{State: state}, Status: model.InstanceStatus{State: state},
		})
	}
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

var errDenied = errors.New("denied")

// ask posts a request and returns the answer, and the permission that was
// asked for.
func ask(t *testing.T, h interface {
	ServeSigned(w http.ResponseWriter, r *http.Request, c *api.Call) error
}, method, name, value string, deny bool,
) (body, asked string, err error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/?"+url.Values{name: {value}}.Encode(), nil)
	w := httptest.NewRecorder()
	err = h.ServeSigned(w, r, &api.Call{Account: account, Region: region, Time: now, Authorize: func(_ context.Context, action, resource string, _ map[string]string) error {
		asked = action + " " + resource
		if deny {
			return errDenied
		}
		return nil
	}})
	return strings.TrimSpace(w.Body.String()), asked, err
}

func TestTasks(t *testing.T) {
	s := start(t)
	h := Tasks{s}
	for name, c := range map[string]struct{ method, task, code, message string }{
		"method":          {http.MethodGet, arn("spot"), "MethodNotAllowed", "Post"},
		"no ARN":          {http.MethodPost, "spot", "InvalidParameterException", "by its ARN"},
		"another kind":    {http.MethodPost, model.ECSServiceARN(region, account, "c", "spot"), "InvalidParameterException", "by its ARN"},
		"another account": {http.MethodPost, strings.Replace(arn("spot"), account, "111111111111", 1), "InvalidParameterException", "not found"},
		"none":            {http.MethodPost, arn("none"), "InvalidParameterException", "not found"},
		"on demand":       {http.MethodPost, arn("demand"), "InvalidParameterException", "FARGATE_SPOT"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := ask(t, h, c.method, "task", c.task, false); api.Code(err) != c.code || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, asked, err := ask(t, h, http.MethodPost, "task", arn("spot"), true); !errors.Is(err, errDenied) || asked != "ecs:StopTask "+arn("spot") {
		t.Errorf("asked for %s: %v", asked, err)
	}
	body, _, err := ask(t, h, http.MethodPost, "task", arn("spot"), false)
	if want := `{"id":"` + arn("spot") + `","ends":"2026-05-01T12:02:00Z"}`; err != nil || body != want {
		t.Fatalf("got %s %v", body, err)
	}
	row, err := tables.ECSTasks.Get(t.Context(), s, account, region, "c/spot")
	if d := row.V.Desired; err != nil || d.Status != "STOPPED" || d.StopCode != "SpotInterruption" || d.StoppedReason != "Your Spot Task was interrupted." || !d.StoppingAt.Equal(now) {
		t.Errorf("got %+v %v", d, err)
	}
	if _, _, err := ask(t, h, http.MethodPost, "task", arn("spot"), false); api.Code(err) != "InvalidParameterException" {
		t.Errorf("twice: %v", err)
	}
}

func TestInstances(t *testing.T) {
	s := start(t)
	h := Instances{s}
	for id, code := range map[string]string{
		"i-demand": "InvalidParameterValue", "i-stopped": "IncorrectInstanceState", "i-none": "InvalidInstanceID.NotFound", "": "InvalidInstanceID.Malformed",
	} {
		if _, _, err := ask(t, h, http.MethodPost, "instance", id, false); api.Code(err) != code {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, asked, err := ask(t, h, http.MethodPost, "instance", "i-spot", true); !errors.Is(err, errDenied) || asked != "ec2:SendSpotInstanceInterruptions arn:aws:ec2:us-east-1:000000000000:instance/i-spot" {
		t.Errorf("asked for %s: %v", asked, err)
	}
	for range 2 { // the second time changes nothing
		body, _, err := ask(t, h, http.MethodPost, "instance", "i-spot", false)
		if err != nil || body != `{"id":"i-spot","ends":"2026-05-01T12:02:00Z"}` {
			t.Fatalf("got %s %v", body, err)
		}
	}
	row, err := tables.Instances.Get(t.Context(), s, account, region, "i-spot")
	if err != nil || !row.V.Desired.SpotInterruptionAt.Equal(now.Add(2*time.Minute)) {
		t.Errorf("got %+v %v", row.V.Desired, err)
	}
}
