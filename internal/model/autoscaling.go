package model

import "time"

// The states of an instance in an Auto Scaling group.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
const (
	ASGPending            = "Pending"
	ASGPendingWait        = "Pending:Wait"
	ASGPendingProceed     = "Pending:Proceed"
	ASGInService          = "InService"
	ASGTerminating        = "Terminating"
	ASGTerminatingWait    = "Terminating:Wait"
	ASGTerminatingProceed = "Terminating:Proceed"
	ASGTerminated         = "Terminated"
	ASGDetaching          = "Detaching"
	ASGDetached           = "Detached"
	ASGEnteringStandby    = "EnteringStandby"
	ASGStandby            = "Standby"
)

// AutoScalingGroup is an Auto Scaling group. Record id: its name.
//
// Writers: service/autoscaling writes all but Status, which is
// controller/autoscalinggroup's. Its instances are records of their own
// (ASGInstance); whoever adds one checks in the same transaction that the
// group is as it was read, so that none is left without its group.
type AutoScalingGroup struct {
	Name      string    `json:"name"`
	ARN       string    `json:"arn"`
	CreatedAt time.Time `json:"createdAt"`
	Spec      ASGSpec   `json:"spec"`
	// Desired is the capacity wanted: the user's, a policy's, or a capacity
	// provider's, whoever wrote it last.
	Desired int `json:"desired"`
	// DesiredReason begins the cause of the activities that the last change of
	// Desired leads to, a sentence with its time: "At 2026-01-02T03:04:05Z a
	// user request explicitly set group desired capacity changing the desired
	// capacity from 0 to 2."
	DesiredReason string `json:"desiredReason,omitempty"`
	// Suspended processes, by name, and why.
	Suspended map[string]string `json:"suspended,omitempty"`
	// Deleting is set while the group goes; ForceDelete when its instances go
	// with it.
	Deleting    bool     `json:"deleting,omitempty"`
	ForceDelete bool     `json:"forceDelete,omitempty"`
	Tags        []ASGTag `json:"tags,omitempty"`
	// EnabledMetrics are the group metrics that are collected.
	EnabledMetrics []string `json:"enabledMetrics,omitempty"`

	Status ASGStatus `json:"status"`
}

// ASGTag is a tag of a group.
type ASGTag struct {
	Key               string `json:"key"`
	Value             string `json:"value,omitempty"`
	PropagateAtLaunch bool   `json:"propagateAtLaunch,omitempty"`
}

// ASGSpec is what a group was asked to be. Where AWS has a default it is
// filled in.
type ASGSpec struct {
	Min int `json:"min"`
	Max int `json:"max"`
	// LaunchTemplate, or MixedInstances, which has one of its own.
	LaunchTemplate *ASGLaunchTemplate `json:"launchTemplate,omitempty"`
	MixedInstances *ASGMixedInstances `json:"mixedInstances,omitempty"`
	Zones          []string           `json:"zones,omitempty"`
	SubnetIDs      []string           `json:"subnetIds,omitempty"`
	TargetGroups   []string           `json:"targetGroups,omitempty"` // ARNs
	ClassicELBs    []string           `json:"classicElbs,omitempty"`
	// HealthCheckType lists what tells that an instance is unhealthy, as it was
	// given: "EC2", "ELB", "EC2,ELB". EC2 always does.
	HealthCheckType           string    `json:"healthCheckType"`
	HealthCheckGraceSeconds   int       `json:"healthCheckGraceSeconds"`
	CooldownSeconds           int       `json:"cooldownSeconds"`
	InstanceWarmupSeconds     *int      `json:"instanceWarmupSeconds,omitempty"`
	TerminationPolicies       []string  `json:"terminationPolicies"`
	NewInstancesProtected     bool      `json:"newInstancesProtected,omitempty"`
	CapacityRebalance         bool      `json:"capacityRebalance,omitempty"`
	MaxInstanceLifetimeSecond int       `json:"maxInstanceLifetimeSeconds,omitempty"`
	ServiceLinkedRoleARN      string    `json:"serviceLinkedRoleArn,omitempty"`
	LifecycleHooks            []ASGHook `json:"lifecycleHooks,omitempty"`
	MinHealthyPercentage      *int      `json:"minHealthyPercentage,omitempty"`
	MaxHealthyPercentage      *int      `json:"maxHealthyPercentage,omitempty"`
	// ZoneDistribution is balanced-best-effort or balanced-only: whether a zone
	// where launches fail is made up for in the others.
	ZoneDistribution string `json:"zoneDistribution,omitempty"`
	// DeletionProtection is none, prevent-force-deletion or
	// prevent-all-deletion; empty is none.
	DeletionProtection string `json:"deletionProtection,omitempty"`
	// Told back as they were given: units; default or none.
	DesiredCapacityType string `json:"desiredCapacityType,omitempty"`
	CapacityReservation string `json:"capacityReservation,omitempty"`
}

// ASGLaunchTemplate names a template and a version, which may be $Latest or
// $Default.
type ASGLaunchTemplate struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// ASGMixedInstances is a mixed instances policy.
type ASGMixedInstances struct {
	LaunchTemplate ASGLaunchTemplate     `json:"launchTemplate"`
	Overrides      []ASGOverride         `json:"overrides,omitempty"`
	Distribution   ASGInstanceAllocation `json:"distribution"`
}

// ASGOverride is a type that a mixed group may launch.
type ASGOverride struct {
	InstanceType     string             `json:"instanceType,omitempty"`
	WeightedCapacity string             `json:"weightedCapacity,omitempty"`
	LaunchTemplate   *ASGLaunchTemplate `json:"launchTemplate,omitempty"`
}

// ASGInstanceAllocation shares a mixed group between On-Demand and Spot.
type ASGInstanceAllocation struct {
	OnDemandAllocationStrategy string `json:"onDemandAllocationStrategy"`
	OnDemandBase               int    `json:"onDemandBase"`
	OnDemandPercentAboveBase   int    `json:"onDemandPercentAboveBase"`
	SpotAllocationStrategy     string `json:"spotAllocationStrategy"`
	SpotInstancePools          int    `json:"spotInstancePools,omitempty"`
	SpotMaxPrice               string `json:"spotMaxPrice,omitempty"`
}

// ASGHook is a lifecycle hook.
type ASGHook struct {
	Name string `json:"name"`
	// Transition is autoscaling:EC2_INSTANCE_LAUNCHING or …_TERMINATING.
	Transition string `json:"transition"`
	// DefaultResult is CONTINUE or ABANDON.
	DefaultResult         string `json:"defaultResult"`
	HeartbeatSeconds      int    `json:"heartbeatSeconds"`
	GlobalTimeoutSeconds  int    `json:"globalTimeoutSeconds"`
	NotificationTargetARN string `json:"notificationTargetArn,omitempty"`
	NotificationMetadata  string `json:"notificationMetadata,omitempty"`
	RoleARN               string `json:"roleArn,omitempty"`
}

// ASGStatus is what controller/autoscalinggroup knows.
type ASGStatus struct {
	// ScaledAt is when the last scaling activity ended, for the cooldown.
	ScaledAt time.Time `json:"scaledAt,omitzero"`
	// FailedAt and Failures hold off launches that fail again and again.
	FailedAt time.Time `json:"failedAt,omitzero"`
	Failures int       `json:"failures,omitempty"`
	// Told is the DesiredReason whose change was brought about: what is done
	// from then on has causes of its own.
	Told string `json:"told,omitempty"`
	// Stuck is the DesiredReason for which it was told that nothing more can
	// leave the group.
	Stuck string `json:"stuck,omitempty"`
}

// ASGInstance is an instance's membership in a group. Record id:
// "<group>/<instance id>". controller/autoscalinggroup writes it, but for
// Protected, HealthStatus and Command, which service/autoscaling writes, and
// HookActions' Result and ExpiresAt. Health checks set HealthStatus to
// Unhealthy, too. An instance that AttachInstances adds is a record of the
// service's, too, that begins as Pending. Group names may hold slashes: what a
// prefix lists has to be compared with Group.
type ASGInstance struct {
	Group          string    `json:"group"`
	InstanceID     string    `json:"instanceId"`
	InstanceType   string    `json:"instanceType"`
	Zone           string    `json:"zone"`
	LifecycleState string    `json:"lifecycleState"`
	LaunchedAt     time.Time `json:"launchedAt"`
	// StateSince is when LifecycleState was reached.
	StateSince time.Time `json:"stateSince"`
	// Template and version it was launched from, as they were resolved.
	Template ASGLaunchTemplate `json:"template"`
	// HookActions are those of the hooks that are waited for: the ones of all
	// hooks of the transition, which begin at once.
	HookActions []ASGHookAction `json:"hookActions,omitempty"`
	// Activity is the id of the activity in progress. The service sets it with
	// a Command, and the controller ends that activity.
	Activity string `json:"activity,omitempty"`
	Spot     bool   `json:"spot,omitempty"`
	Weight   int    `json:"weight,omitempty"`
	SubnetID string `json:"subnetId,omitempty"`
	// Ahead tells for the sake of what it was launched beyond the desired
	// capacity, in which it does not count yet: one of the ASGAhead… constants.
	Ahead string `json:"ahead,omitempty"`
	// Targets are the ARNs of the target groups that the instance was
	// registered with, or left out of while AddToLoadBalancer was suspended.
	Targets []string `json:"targets,omitempty"`
	// ImpairedSince is when it was first seen to fail its status checks.
	ImpairedSince time.Time `json:"impairedSince,omitzero"`
	// HealthCause tells why health checks found it Unhealthy, as an activity's
	// cause ends; empty when SetInstanceHealth did.
	HealthCause string `json:"healthCause,omitempty"`

	// HealthStatus is Healthy or Unhealthy.
	HealthStatus string `json:"healthStatus"`
	Protected    bool   `json:"protected,omitempty"`
	// Command is what the user asked for: Terminate, Detach, EnterStandby,
	// ExitStandby; empty when nothing is asked.
	Command ASGCommand `json:"command,omitzero"`
}

// What is asked of an instance. Whoever asks for one to leave lowers Desired in
// the same transaction, if the capacity is to shrink by it.
const (
	ASGDetach       = "Detach"
	ASGTerminate    = "Terminate"
	ASGEnterStandby = "EnterStandby"
	ASGExitStandby  = "ExitStandby"
)

// For the sake of what instances are launched before others terminate.
const (
	ASGAheadOfRebalance = "AZRebalance"
	ASGAheadOfRefresh   = "InstanceRefresh"
	ASGAheadOfHealth    = "ReplaceUnhealthy"
	ASGAheadOfLifetime  = "MaxInstanceLifetime"
	ASGAheadOfSpot      = "CapacityRebalance"
)

// ASGCommand is what the user asked of one instance. The controller empties it
// when it is carried out.
type ASGCommand struct {
	// Name is one of the constants above.
	Name string `json:"name,omitempty"`
	// Cause is the sentence of the activity.
	Cause string `json:"cause,omitempty"`
}

// ASGHookAction is a lifecycle action that waits to be completed.
type ASGHookAction struct {
	Hook    string    `json:"hook"`
	Token   string    `json:"token"`
	BegunAt time.Time `json:"begunAt"`
	// ExpiresAt is when the heartbeat times out. A heartbeat sets it anew, at
	// most to EndsAt, where the global timeout ends the action.
	ExpiresAt time.Time `json:"expiresAt"`
	EndsAt    time.Time `json:"endsAt,omitzero"`
	// Result is CONTINUE or ABANDON once CompleteLifecycleAction said so.
	Result string `json:"result,omitempty"`
}

// ScalingActivity is what a group did. Record id: "<group>/<id>", where ids
// (id.Newest) sort from the newest to the oldest. It is kept for six weeks,
// longer than its group.
type ScalingActivity struct {
	ID            string    `json:"id"`
	Group         string    `json:"group"`
	GroupARN      string    `json:"groupArn"`
	InstanceID    string    `json:"instanceId,omitempty"`
	Description   string    `json:"description"`
	Cause         string    `json:"cause"`
	StartedAt     time.Time `json:"startedAt"`
	EndedAt       time.Time `json:"endedAt,omitzero"`
	StatusCode    string    `json:"statusCode"`
	StatusMessage string    `json:"statusMessage,omitempty"`
	Progress      int       `json:"progress"`
	Details       string    `json:"details,omitempty"`
}

// InstanceRefresh replaces a group's instances. Record id: "<group>/<id>",
// where ids (id.Newest) sort from the newest to the oldest.
//
// service/autoscaling makes it, Pending, and sets Cancelled and Rollback; all
// else is controller/autoscalinggroup's. When a refresh with a desired
// configuration has succeeded, the controller makes that the group's.
type InstanceRefresh struct {
	ID    string `json:"id"`
	Group string `json:"group"`
	// Status is Pending, InProgress, Successful, Failed, Cancelling, Cancelled,
	// RollbackInProgress, RollbackFailed, RollbackSuccessful or Baking.
	Status               string    `json:"status"`
	StatusReason         string    `json:"statusReason,omitempty"`
	StartedAt            time.Time `json:"startedAt"`
	EndedAt              time.Time `json:"endedAt,omitzero"`
	MinHealthyPercentage int       `json:"minHealthyPercentage"`
	MaxHealthyPercentage int       `json:"maxHealthyPercentage"`
	WarmupSeconds        int       `json:"warmupSeconds"`
	SkipMatching         bool      `json:"skipMatching,omitempty"`
	AutoRollback         bool      `json:"autoRollback,omitempty"`
	// Template is what the group launches from once it is refreshed, or
	// MixedInstances; Desired tells that it was given as the desired
	// configuration, else it is the group's own.
	Template       ASGLaunchTemplate  `json:"template"`
	MixedInstances *ASGMixedInstances `json:"mixedInstances,omitempty"`
	Desired        bool               `json:"desired,omitempty"`
	// Previous and PreviousMixed are what the group launched from before, for
	// a rollback.
	Previous      *ASGLaunchTemplate `json:"previous,omitempty"`
	PreviousMixed *ASGMixedInstances `json:"previousMixed,omitempty"`
	// ScaleInProtected is what becomes of protected instances: Refresh, Ignore
	// or Wait. Standby, of those in standby: Terminate, Ignore or Wait.
	ScaleInProtected string `json:"scaleInProtected,omitempty"`
	Standby          string `json:"standby,omitempty"`
	// Cancelled and Rollback say what was asked for meanwhile.
	Cancelled bool `json:"cancelled,omitempty"`
	Rollback  bool `json:"rollback,omitempty"`
	// RollbackAt, RollbackReason, RollbackTotal and RollbackPercentage tell
	// when, why and where a rollback began.
	RollbackAt         time.Time `json:"rollbackAt,omitzero"`
	RollbackReason     string    `json:"rollbackReason,omitempty"`
	RollbackTotal      int       `json:"rollbackTotal,omitempty"`
	RollbackPercentage int       `json:"rollbackPercentage,omitempty"`
	// ToReplace are the instances that are still to go, or whose successors do
	// not serve yet; Total is how many there were.
	ToReplace []string `json:"toReplace,omitempty"`
	Total     int      `json:"total"`
	// ProgressAt is when one was last replaced.
	ProgressAt time.Time `json:"progressAt,omitzero"`
}

// The statuses of an instance refresh.
const (
	RefreshPending            = "Pending"
	RefreshInProgress         = "InProgress"
	RefreshSuccessful         = "Successful"
	RefreshFailed             = "Failed"
	RefreshCancelling         = "Cancelling"
	RefreshCancelled          = "Cancelled"
	RefreshRollbackInProgress = "RollbackInProgress"
	RefreshRollbackFailed     = "RollbackFailed"
	RefreshRollbackSuccessful = "RollbackSuccessful"
)
