package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model/acs"
)

// taskState is all that a node knows of a task, as it is kept on disk. It is
// changed by task.update alone. Every part of it moves forward only.
type taskState struct {
	Task acs.Task `json:"task"`
	// Stop: the task is to end, because the control plane said so or for
	// Reason.
	Stop bool `json:"stop,omitempty"`
	// Reason is why the node itself ends the task, in AWS's words.
	Reason string `json:"reason,omitempty"`
	// Resources: network, limits and files are made. Cleaned: they are gone
	// again, and the containers too.
	Resources bool   `json:"resources,omitempty"`
	Cleaned   bool   `json:"cleaned,omitempty"`
	NetNS     string `json:"netns,omitempty"`

	Containers []containerState `json:"containers"`

	AcceptedAt         time.Time `json:"acceptedAt,omitzero"`
	PullStartedAt      time.Time `json:"pullStartedAt,omitzero"`
	PullStoppedAt      time.Time `json:"pullStoppedAt,omitzero"`
	StartedAt          time.Time `json:"startedAt,omitzero"`
	ExecutionStoppedAt time.Time `json:"executionStoppedAt,omitzero"`

	// Sequence counts the reports; Acked is the newest one that the control
	// plane has taken.
	Sequence int64 `json:"sequence"`
	Acked    int64 `json:"acked"`
}

// Steps of a container, in order.
type step int

const (
	stepNone step = iota
	stepPulled
	stepCreated
	stepRunning
	stepStopped
)

// containerState is one container of a taskState, in the task's order.
type containerState struct {
	Name string `json:"name"`
	// ID is the container's in the engine and in the metadata endpoint's paths.
	ID   string `json:"id"`
	Step step   `json:"step"`
	// Started: the container has run; a restarted one goes back to
	// stepCreated with Started set.
	Started      bool      `json:"started,omitempty"`
	Image        string    `json:"image,omitempty"`
	ImageDigest  string    `json:"imageDigest,omitempty"`
	ImageID      string    `json:"imageId,omitempty"`
	CreatedAt    time.Time `json:"createdAt,omitzero"`
	StartedAt    time.Time `json:"startedAt,omitzero"`
	FinishedAt   time.Time `json:"finishedAt,omitzero"`
	ExitCode     *int32    `json:"exitCode,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Health       string    `json:"health,omitempty"`
	HealthSince  time.Time `json:"healthSince,omitzero"`
	HealthOutput string    `json:"healthOutput,omitempty"`
	HealthExit   int32     `json:"healthExit,omitempty"`
	RestartCount int32     `json:"restartCount,omitempty"`
	// Place is the container's own in the network, nil for one that is in its
	// task's.
	Place *Place `json:"place,omitempty"`
}

// container finds the state of a container by name.
func (s *taskState) container(name string) *containerState {
	i := slices.IndexFunc(s.Containers, func(c containerState) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Containers[i]
}

// definition finds what a container was told to be.
func (s *taskState) definition(name string) *acs.Container {
	i := slices.IndexFunc(s.Task.Containers, func(c acs.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Task.Containers[i]
}

// done tells that nothing of the task is left but the report of its end.
func (s *taskState) done() bool { return s.Cleaned }

// status is the task's, as reported.
func (s *taskState) status() string {
	if s.done() {
		return acs.StatusStopped
	}
	for _, c := range s.Containers {
		if !c.Started {
			return acs.StatusPending
		}
	}
	return acs.StatusRunning
}

func (c *containerState) status() string {
	switch {
	case c.Step == stepStopped:
		return acs.StatusStopped
	case c.Step == stepRunning || c.Started:
		return acs.StatusRunning
	default:
		return acs.StatusPending
	}
}

// health is the task's: that of its essential containers with a check.
func (s *taskState) health() string {
	h := acs.HealthUnknown
	for _, c := range s.Containers {
		d := s.definition(c.Name)
		if d == nil || !d.Essential || d.HealthCheckType == "" {
			continue
		}
		switch c.Health {
		case acs.HealthUnhealthy:
			return acs.HealthUnhealthy
		case acs.HealthHealthy:
			h = acs.HealthHealthy
		default:
			return acs.HealthUnknown
		}
	}
	return h
}

// change is the report of the state.
func (s *taskState) change() acs.TaskStateChange {
	when := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	ch := acs.TaskStateChange{
		Cluster: s.Task.TaskClusterArn, Task: s.Task.Arn, Status: s.status(), Reason: s.Reason,
		PullStartedAt: when(s.PullStartedAt), PullStoppedAt: when(s.PullStoppedAt), StartedAt: when(s.StartedAt),
		ExecutionStoppedAt: when(s.ExecutionStoppedAt), HealthStatus: s.health(), Sequence: s.Sequence,
	}
	for _, c := range s.Containers {
		status := c.status()
		if c.Step == stepStopped && !s.Stop && restarts(s.definition(c.Name).RestartPolicy, &c) {
			status = acs.StatusRunning // it will be again in a moment
		}
		cc := acs.ContainerStateChange{
			ContainerName: c.Name, Status: status, ImageDigest: c.ImageDigest, Reason: c.Reason,
			HealthStatus: c.Health, RestartCount: c.RestartCount, StartedAt: when(c.StartedAt), StoppedAt: when(c.FinishedAt),
		}
		if c.Step >= stepCreated {
			cc.RuntimeID = c.ID
		}
		if c.Started && c.Place != nil {
			cc.NetworkBindings = c.Place.Bindings
		}
		if status == acs.StatusStopped {
			cc.ExitCode = c.ExitCode
		}
		ch.Containers = append(ch.Containers, cc)
	}
	if s.Resources {
		status := "ATTACHED"
		if s.Cleaned {
			status = "DETACHED"
		}
		for _, e := range s.Task.ElasticNetworkInterfaces {
			if e.AttachmentArn != "" {
				ch.Attachments = append(ch.Attachments, acs.AttachmentStateChange{AttachmentArn: e.AttachmentArn, Status: status})
			}
		}
	}
	return ch
}

// clone is a copy that shares nothing that changes.
func (s *taskState) clone() taskState {
	c := *s
	c.Containers = slices.Clone(s.Containers)
	return c
}

// taskID is the last part of a task's ARN.
func taskID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// files keeps task states in a folder, a file each.
type files struct {
	dir      string
	volatile bool // nothing is kept
	log      *slog.Logger
}

func (f files) path(arn string) string { return filepath.Join(f.dir, taskID(arn)+".json") }

// save writes the state and returns once it is on disk.
func (f files) save(s *taskState) error {
	if f.volatile {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the state of %s: %w", s.Task.Arn, err)
	}
	path := f.path(s.Task.Arn)
	tmp := path + ".new"
	// It holds credentials.
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save the state of %s: %w", s.Task.Arn, err)
	}
	_, err = w.Write(b)
	if err == nil {
		err = w.Sync()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("save the state of %s: %w", s.Task.Arn, err)
	}
	return nil
}

func (f files) remove(arn string) error {
	if f.volatile {
		return nil
	}
	if err := os.Remove(f.path(arn)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state of %s: %w", arn, err)
	}
	return nil
}

// load reads all states. A file that can't be read is told and skipped: its
// containers are removed as unknown ones.
func (f files) load() ([]*taskState, error) {
	if f.volatile {
		return nil, nil
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("read the tasks' states: %w", err)
	}
	var all []*taskState
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the tasks' states: %w", err)
		}
		s := &taskState{}
		if err := json.Unmarshal(b, s); err != nil || s.Task.Arn == "" {
			f.log.Error("skip a task's state that does not decode", "file", e.Name(), "error", err)
			continue
		}
		all = append(all, s)
	}
	return all, nil
}
