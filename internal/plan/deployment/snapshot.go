// Package deployment decides what happens next to an ECS service with the
// rolling update deployment controller: which tasks start and stop, how its
// deployments fare, and what its events say. Next is a pure function of a
// Snapshot and the time; it keeps between calls only what State holds.
//
// AWS's rules: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
// and, for the circuit breaker and the start throttle, the pages
// deployment-circuit-breaker.html and service-throttle-logic.html beside it.
package deployment

import "time"

// Snapshot is all that a decision rests on.
type Snapshot struct {
	Service Service
	// Deployments are the service's, the newest first. One is primary, unless
	// the service has none at all.
	Deployments []Deployment
	// Tasks are the service's: all that live, and at least those of the stopped
	// ones that State.Tasks names.
	Tasks []Task
	// State is that of the Plan made before, zero at first.
	State State
}

// Service is the part of a service that counts here.
type Service struct {
	Name    string
	Desired int
	// MinimumHealthyPercent of Desired, rounded up, stays healthy;
	// MaximumPercent of it, rounded down, is not exceeded.
	MinimumHealthyPercent int
	MaximumPercent        int
	// HealthCheckGracePeriod starts when a task runs; until it has passed,
	// failing health checks do not count.
	HealthCheckGracePeriod time.Duration
	CircuitBreaker         CircuitBreaker
	// Zones are the availability zones to keep the tasks balanced over; none
	// without rebalancing.
	Zones []string
	// Draining: the service is being deleted.
	Draining bool
	// Daemon: one task on each of Nodes, instead of Desired anywhere.
	Daemon bool
	// Nodes are the container instances that a Daemon is to be on, ascending.
	Nodes []string
	// HealthyAfter is how long a task that nothing checks must run before it
	// counts as healthy.
	HealthyAfter time.Duration
}

// HealthyAfter is AWS's value of Service.HealthyAfter.
const HealthyAfter = 40 * time.Second

// CircuitBreaker is a service's deployment circuit breaker.
type CircuitBreaker struct {
	Enable   bool
	Rollback bool
}

// Rollout states of a deployment.
const (
	InProgress = "IN_PROGRESS"
	Completed  = "COMPLETED"
	Failed     = "FAILED"
)

// Statuses of a deployment.
const (
	Primary = "PRIMARY"
	Active  = "ACTIVE"
)

// Deployment is one deployment of the service, and what a Plan makes of it.
type Deployment struct {
	// ID is "ecs-svc/" and 19 digits.
	ID string
	// Status is Primary or Active.
	Status string
	// RolloutState is InProgress, Completed or Failed; empty means InProgress.
	RolloutState       string
	RolloutStateReason string
	// The counts are a Plan's results; only Failed is read.
	Desired, Pending, Running, Failed int
}

// Phase is how far a task is in its life.
type Phase int

// A task's phases. PROVISIONING, PENDING and ACTIVATING tasks are pending;
// those from DEACTIVATING to DEPROVISIONING are stopping.
const (
	Pending Phase = iota
	Running
	Stopping
	Stopped
)

// ContainerHealth is the health status of a task's essential containers.
type ContainerHealth int

// Unchecked: no essential container has a health check. Unknown: the checks
// have not told yet.
const (
	Unchecked ContainerHealth = iota
	Unknown
	Healthy
	Unhealthy
)

// Task is a task of the service.
type Task struct {
	ID         string
	Deployment string
	// Zone is the availability zone, for balance.
	Zone string
	// Node is the container instance; Leaving: it drains, so the task is to be
	// replaced by one elsewhere.
	Node    string
	Leaving bool
	Phase   Phase
	// Wanted: the desired status is RUNNING.
	Wanted    bool
	CreatedAt time.Time
	// StartedAt is when it became RUNNING, zero before.
	StartedAt time.Time
	Health    ContainerHealth
	Targets   []Target
	// ByUser: StopTask ended it, or its host did, so its end is nobody's
	// failure.
	ByUser bool
	// ProtectedUntil keeps it from being stopped for scaling.
	ProtectedUntil time.Time
	// StartFailure tells why the task ended without ever running.
	StartFailure string
}

// TargetState is the health of a registered target.
type TargetState int

// A target that no listener uses is never checked and counts as healthy.
const (
	TargetInitial TargetState = iota
	TargetHealthy
	TargetUnhealthy
	TargetDraining
)

// Target is the task's registration with one target group.
type Target struct {
	GroupARN string
	Port     int
	State    TargetState
	// Reason says why it is unhealthy, in the load balancer's words.
	Reason string
	// Registered: the registration has been made.
	Registered bool
	// Refused tells why it cannot be made, in the load balancer's words.
	Refused string
}

// State is what a decision must remember of the ones before. It is stored
// with the service and belongs to this package.
type State struct {
	// Tasks holds the tasks whose end has not been seen, by id.
	Tasks    map[string]TaskState `json:"tasks,omitempty"`
	Throttle Throttle             `json:"throttle,omitzero"`
	// SteadyAt is when the steady state that still lasts was last announced.
	SteadyAt time.Time `json:"steadyAt,omitzero"`
	// Blocked: it was announced that the percentages leave no way on.
	Blocked bool `json:"blocked,omitempty"`
	// Placement is the last announced reason for a failed start.
	Placement string `json:"placement,omitempty"`
	// Unplaced is why the last task that was to start found no instance, and
	// UnplacedAt when that was announced; empty once all find one.
	Unplaced   string    `json:"unplaced,omitempty"`
	UnplacedAt time.Time `json:"unplacedAt,omitzero"`
	// Rebalancing: it was announced that the zones are not balanced.
	Rebalancing bool `json:"rebalancing,omitempty"`
}

// TaskState is what is remembered of one task.
type TaskState struct {
	Deployment string `json:"deployment"`
	// Healthy: it has been healthy once.
	Healthy bool `json:"healthy,omitempty"`
	// Unhealthy: that it is unhealthy has been announced and counted.
	Unhealthy bool `json:"unhealthy,omitempty"`
	// Registered: its targets' registration has been announced.
	Registered bool `json:"registered,omitempty"`
	// Refused: that a target group refuses it has been announced.
	Refused bool `json:"refused,omitempty"`
	// Stopped: a plan stopped it.
	Stopped bool `json:"stopped,omitempty"`
	// Ended: its end has been accounted for.
	Ended bool `json:"ended,omitempty"`
}

// Throttle delays the starts of a deployment whose tasks keep dying.
type Throttle struct {
	Deployment string `json:"deployment,omitempty"`
	// Level counts the rounds of failed starts in a row.
	Level int `json:"level,omitempty"`
	// RaisedAt is when Level last grew; a task made before then cannot raise
	// it again.
	RaisedAt time.Time `json:"raisedAt,omitzero"`
	// Until is when the next start may be.
	Until time.Time `json:"until,omitzero"`
}

// Stop ends a task.
type Stop struct {
	Task string
	// Reason is the task's stoppedReason.
	Reason string
}

// Plan is what is to be done, and what is to be written of the service. Tasks
// that start belong to the primary deployment.
type Plan struct {
	// Start is how many tasks are started; Replaced of them stand in for
	// unhealthy ones.
	Start    int
	Replaced int
	// StartOn names the instances that a Daemon's tasks start on, Start of them.
	StartOn []string
	// StartIn names the availability zones that the one task to start is to be
	// in, to balance them; empty for any.
	StartIn []string
	Stops   []Stop
	// Deployments replace the snapshot's; those that are over are missing.
	Deployments []Deployment
	// RollBack is the id of the deployment that the service goes back to: the
	// service's definition becomes that deployment's. Empty mostly.
	RollBack string
	// Events are new, the oldest first; StartedEvent makes the one about Start,
	// which comes before them.
	Events []string
	State  State
	// Running and Pending count the service's tasks.
	Running, Pending int
	// Drained: the service is Draining and has no task left.
	Drained bool
	// Wake is when the plan must be made anew even if nothing changes; zero for
	// never.
	Wake time.Time
}

// Started adds a task that was made for p.Start to the state.
func (p *Plan) Started(id, deployment string) {
	if p.State.Tasks == nil {
		p.State.Tasks = map[string]TaskState{}
	}
	p.State.Tasks[id] = TaskState{Deployment: deployment}
}
