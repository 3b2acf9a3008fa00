package model

import (
	"cmp"
	"slices"
	"time"
)

// Service is an ECS service. Record id: "<cluster>/<service>".
//
// Writers: service/ecs writes the record but for Counts and what
// Deployment names as the controller's; controller/ecsservice writes those.
// A service's events are a record of their own (ServiceEvents).
type Service struct {
	ServiceName string `json:"serviceName"`
	ServiceARN  string `json:"serviceArn"`
	ClusterName string `json:"clusterName"`
	ClusterARN  string `json:"clusterArn"`
	// Status is ACTIVE (service/ecs), DRAINING from DeleteService on
	// (service/ecs), and INACTIVE once its last task has stopped (the
	// controller, which sets Spec.DesiredCount to nothing else than it is:
	// DeleteService has made it 0).
	Status    string      `json:"status"`
	Spec      ServiceSpec `json:"spec"`
	Tags      Tags        `json:"tags,omitzero"`
	CreatedAt time.Time   `json:"createdAt,omitzero"`
	CreatedBy string      `json:"createdBy,omitempty"`
	// DeletedAt is when DeleteService was called.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
	// Deployments, newest first. service/ecs puts a PRIMARY one in front for
	// every change that needs new tasks and makes the former ones ACTIVE. The
	// controller removes one that is not PRIMARY and has no tasks left. When a
	// deployment fails and rolls back, the controller makes the last one that
	// completed PRIMARY again, puts it in front, and gives Spec back what it was
	// made from.
	Deployments []Deployment `json:"deployments,omitempty"`
	// Counts is the controller's.
	Counts ServiceCounts `json:"counts"`
}

// ServiceSpec is what the user asks for. Where AWS has a default it is filled
// in, so that readers need none.
type ServiceSpec struct {
	// TaskDefinition is the ARN of a revision.
	TaskDefinition           string                         `json:"taskDefinition"`
	DesiredCount             int                            `json:"desiredCount"`
	LaunchType               string                         `json:"launchType,omitempty"`
	CapacityProviderStrategy []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitempty"`
	// FirstLaunchType is the one that the service was created with.
	FirstLaunchType string `json:"firstLaunchType,omitempty"`
	// PlatformVersion as it was asked for (LATEST, 1.4.0); PlatformFamily is
	// Linux or Windows's.
	PlatformVersion      string                   `json:"platformVersion,omitempty"`
	PlatformFamily       string                   `json:"platformFamily,omitempty"`
	NetworkConfiguration *ECSNetworkConfiguration `json:"networkConfiguration,omitempty"`
	LoadBalancers        []ServiceLoadBalancer    `json:"loadBalancers,omitempty"`
	ServiceRegistries    []ServiceRegistry        `json:"serviceRegistries,omitempty"`
	// HealthCheckGracePeriodSeconds is how long after a task's start its
	// targets' health is not held against it; nil where it has no meaning.
	HealthCheckGracePeriodSeconds *int                           `json:"healthCheckGracePeriodSeconds,omitempty"`
	SchedulingStrategy            string                         `json:"schedulingStrategy,omitempty"`
	DeploymentController          string                         `json:"deploymentController,omitempty"`
	DeploymentConfiguration       ServiceDeploymentConfiguration `json:"deploymentConfiguration"`
	PlacementConstraints          []ECSPlacementConstraint       `json:"placementConstraints,omitempty"`
	PlacementStrategy             []ECSPlacementStrategy         `json:"placementStrategy,omitempty"`
	EnableECSManagedTags          bool                           `json:"enableECSManagedTags,omitempty"`
	EnableExecuteCommand          bool                           `json:"enableExecuteCommand,omitempty"`
	// PropagateTags is TASK_DEFINITION, SERVICE or NONE.
	PropagateTags               string `json:"propagateTags,omitempty"`
	AvailabilityZoneRebalancing string `json:"availabilityZoneRebalancing,omitempty"`
	RoleARN                     string `json:"roleArn,omitempty"`
}

// ServiceLoadBalancer registers a container's port with a target group, or its
// instance with a classic load balancer.
type ServiceLoadBalancer struct {
	TargetGroupARN string `json:"targetGroupArn,omitempty"`
	// LoadBalancerName is a classic one's, and ClassicGroupARN its target
	// group's, which the API does not show.
	LoadBalancerName string `json:"loadBalancerName,omitempty"`
	ClassicGroupARN  string `json:"classicGroupArn,omitempty"`
	ContainerName    string `json:"containerName,omitempty"`
	ContainerPort    *int   `json:"containerPort,omitempty"`
}

// Group is the ARN of the target group.
func (b *ServiceLoadBalancer) Group() string { return cmp.Or(b.TargetGroupARN, b.ClassicGroupARN) }

// ServiceRegistry registers tasks with a Cloud Map service.
type ServiceRegistry struct {
	RegistryARN   string `json:"registryArn,omitempty"`
	Port          *int   `json:"port,omitempty"`
	ContainerName string `json:"containerName,omitempty"`
	ContainerPort *int   `json:"containerPort,omitempty"`
}

// ServiceDeploymentConfiguration limits a rolling update.
type ServiceDeploymentConfiguration struct {
	Strategy string `json:"strategy,omitempty"`
	// MaximumPercent and MinimumHealthyPercent of the desired count; both are
	// set in records.
	MaximumPercent           *int                      `json:"maximumPercent,omitempty"`
	MinimumHealthyPercent    *int                      `json:"minimumHealthyPercent,omitempty"`
	DeploymentCircuitBreaker *DeploymentCircuitBreaker `json:"deploymentCircuitBreaker,omitempty"`
	BakeTimeInMinutes        *int                      `json:"bakeTimeInMinutes,omitempty"`
}

// DeploymentCircuitBreaker fails a deployment whose tasks do not come up.
type DeploymentCircuitBreaker struct {
	Enable   bool `json:"enable"`
	Rollback bool `json:"rollback"`
}

// States of a Deployment, and of its rollout.
const (
	DeploymentPrimary  = "PRIMARY"
	DeploymentActive   = "ACTIVE"
	DeploymentInactive = "INACTIVE"

	RolloutInProgress = "IN_PROGRESS"
	RolloutCompleted  = "COMPLETED"
	RolloutFailed     = "FAILED"
)

// Deployment is one generation of a service's tasks.
type Deployment struct {
	// ID is "ecs-svc/" and 19 digits; the tasks' startedBy.
	ID string `json:"id"`
	// Status is PRIMARY or ACTIVE; see Service.Deployments for who writes it.
	Status string `json:"status"`

	// What follows up to UpdatedAt is the part of the service's spec that the
	// deployment's tasks are made from, written with the deployment and never
	// changed.
	TaskDefinition           string                         `json:"taskDefinition"`
	LaunchType               string                         `json:"launchType,omitempty"`
	CapacityProviderStrategy []CapacityProviderStrategyItem `json:"capacityProviderStrategy,omitempty"`
	PlatformVersion          string                         `json:"platformVersion,omitempty"`
	PlatformFamily           string                         `json:"platformFamily,omitempty"`
	NetworkConfiguration     *ECSNetworkConfiguration       `json:"networkConfiguration,omitempty"`
	LoadBalancers            []ServiceLoadBalancer          `json:"loadBalancers,omitempty"`
	ServiceRegistries        []ServiceRegistry              `json:"serviceRegistries,omitempty"`
	EnableExecuteCommand     bool                           `json:"enableExecuteCommand,omitempty"`
	CreatedAt                time.Time                      `json:"createdAt,omitzero"`
	// RevisionID names the service revision that was deployed, the last part
	// of its ARN.
	RevisionID string `json:"revisionId,omitempty"`

	// The rest is the controller's once the deployment is written:
	// service/ecs gives DesiredCount (that of the service) and RolloutState
	// (IN_PROGRESS) their first values.
	UpdatedAt          time.Time `json:"updatedAt,omitzero"`
	DesiredCount       int       `json:"desiredCount"`
	PendingCount       int       `json:"pendingCount"`
	RunningCount       int       `json:"runningCount"`
	FailedTasks        int       `json:"failedTasks"`
	RolloutState       string    `json:"rolloutState,omitempty"`
	RolloutStateReason string    `json:"rolloutStateReason,omitempty"`
}

// ServiceDeployment is the history of one deployment that the user caused, and
// of the service revision that it made. Record id: "<cluster>/<service>/" and
// the digits of the deployment's id, which are the revision's id too. Writer:
// service/ecs, when the deployment is made and when the next one follows; what
// happens in between is read from the service.
type ServiceDeployment struct {
	ServiceARN string `json:"serviceArn"`
	ClusterARN string `json:"clusterArn"`
	// Deployment as it was when it was made.
	Deployment    Deployment                     `json:"deployment"`
	Configuration ServiceDeploymentConfiguration `json:"configuration"`
	// SourceRevisions are the ids of the revisions that it replaced.
	SourceRevisions []string `json:"sourceRevisions,omitempty"`
	// Status is empty until the next deployment follows: then it is how this
	// one ended.
	Status     string    `json:"status,omitempty"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
}

// ServiceCounts are the service's tasks by lastStatus, of all deployments.
type ServiceCounts struct {
	RunningCount int `json:"runningCount"`
	PendingCount int `json:"pendingCount"`
	// SteadySince is when the service last reached, and announced, a steady
	// state; zero while it has not.
	SteadySince time.Time `json:"steadySince,omitzero"`
}

// Primary is the service's PRIMARY deployment, nil when it has none.
func (s *Service) Primary() *Deployment {
	for i := range s.Deployments {
		if s.Deployments[i].Status == DeploymentPrimary {
			return &s.Deployments[i]
		}
	}
	return nil
}

// ServiceEvent is a line of a service's history, in AWS's words.
type ServiceEvent struct {
	// ID is a UUID.
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	Message   string    `json:"message"`
}

// ServiceEvents are the events of one service. Record id: as the service's.
// Writers: controller/ecsservice adds events; service/ecs empties the list
// when a service is created again under the name.
type ServiceEvents struct {
	// Events, newest first, at most MaxServiceEvents.
	Events []ServiceEvent `json:"events"`
}

// MaxServiceEvents is how many events of a service are kept, as AWS keeps.
const MaxServiceEvents = 100

// Add puts events, oldest first, in front of the list and cuts it to length.
func (e *ServiceEvents) Add(events ...ServiceEvent) {
	all := make([]ServiceEvent, 0, len(events)+len(e.Events))
	for _, event := range slices.Backward(events) {
		all = append(all, event)
	}
	all = append(all, e.Events...)
	if len(all) > MaxServiceEvents {
		all = all[:MaxServiceEvents]
	}
	e.Events = all
}
