// Package autoscaling decides what happens next to an Auto Scaling group: which
// instances it launches, where and as what; which leave it and why; how each
// goes through its lifecycle; and how an instance refresh fares. Next is a pure
// function of a Snapshot and the time. What it must remember between calls is in
// the records that it gives back.
//
// AWS's rules are in its user guide,
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/: the pages
// ec2-auto-scaling-lifecycle.html, ec2-auto-scaling-termination-policies.html,
// auto-scaling-benefits.html (zones), ec2-auto-scaling-health-checks.html,
// lifecycle-hooks.html, instance-refresh-overview.html,
// mixed-instances-groups.html and as-suspend-resume-processes.html.
package autoscaling

import (
	"time"

	"roadstead.dev/internal/model"
)

// Processes that can be suspended, as far as they are decided on here.
const (
	Launch            = "Launch"
	Terminate         = "Terminate"
	HealthCheck       = "HealthCheck"
	ReplaceUnhealthy  = "ReplaceUnhealthy"
	AZRebalance       = "AZRebalance"
	AddToLoadBalancer = "AddToLoadBalancer"
	InstanceRefresh   = "InstanceRefresh"
)

// Snapshot is all that a decision rests on. Nothing in it is changed.
type Snapshot struct {
	Group     *model.AutoScalingGroup
	Instances []Instance
	// Places are where the group may launch, in its own order. Pools are what it
	// may launch, the most preferred first: one, or a mixed group's overrides.
	Places []Place
	Pools  []Pool
	// Mixed is how On-Demand and Spot share the group, nil when it is not mixed.
	Mixed *model.ASGInstanceAllocation
	// Refresh is the instance refresh that has not ended, or nil.
	Refresh *model.InstanceRefresh
}

// Place is a subnet.
type Place struct {
	Zone, SubnetID string
}

// Pool is a kind of instance that the group may launch.
type Pool struct {
	// Type may be empty: the template's.
	Type string
	// Weight is how much capacity an instance of it has, at least 1.
	Weight int
	// Template is resolved: its version is a number.
	Template model.ASGLaunchTemplate
	// Spot: the template itself asks for Spot.
	Spot bool
}

// Instance is a member of the group.
type Instance struct {
	*model.ASGInstance
	EC2 EC2
	// Registered is how many of its targets there are, draining ones too.
	Registered int
	// TargetFailed: a load balancer finds it unhealthy.
	TargetFailed bool
}

// EC2 is what EC2 says of an instance.
type EC2 struct {
	// State is empty when EC2 has forgotten the instance.
	State string
	// Ending: its end was asked for.
	Ending bool
	// Reason why it ends, in EC2's words.
	Reason   string
	Impaired bool
	// NoticeAt is when a Spot instance that has notice ends.
	NoticeAt time.Time
	// Member: the instance's own record says that it is the group's.
	Member bool
}

// gone tells whether an instance does not serve, for good or for now.
func (e *EC2) gone() bool {
	return e.State != model.InstancePending && e.State != model.InstanceRunning
}

// Ended tells whether nothing is left of an instance.
func (e *EC2) Ended() bool { return e.State == "" || e.State == model.InstanceTerminated }

// Plan is what is to be done.
type Plan struct {
	// Steps are the members that change, in the snapshot's order.
	Steps []Step
	// Terminate names the members that EC2 is to end.
	Terminate []string
	Launches  []Start
	// Unable is the cause of a launch for which there is no place or nothing to
	// launch; empty when there is.
	Unable string
	// Told are activities that are no instance's.
	Told []Activity
	// Status is the group's new one.
	Status model.ASGStatus
	// Refresh is the refresh as it becomes, nil when it does not change. Adopt:
	// what it launched becomes what the group launches.
	Refresh *model.InstanceRefresh
	Adopt   bool
	// Gone: the group is deleted, and nothing is left of it.
	Gone bool
	// Wake is when the plan must be made anew even if nothing changes; zero for
	// never.
	Wake time.Time
}

// Step is what becomes of a member.
type Step struct {
	// V is the record as it becomes. Actions without a token are new.
	V *model.ASGInstance
	// Remove ends the membership.
	Remove bool
	// Claim makes the EC2 instance the group's by its own record; Release ends
	// that.
	Claim, Release bool
	// Register and Deregister name target groups.
	Register, Deregister []string
	// End is how the activity that V.Activity names goes on or ends, nil when
	// that does not change. Begin is an activity that begins behind it.
	End   *Progress
	Begin *Activity
}

// Activity is a scaling activity that begins.
type Activity struct {
	Description, Cause string
	Progress
}

// Progress is how far an activity is.
type Progress struct {
	Code    string
	Message string
	// Suffix is added to the description.
	Suffix  string
	Percent int
	Ended   bool
}

// The status codes of activities.
const (
	PreInService       = "PreInService"
	InProgress         = "InProgress"
	MidLifecycleAction = "MidLifecycleAction"
	WaitingForDraining = "WaitingForELBConnectionDraining"
	Successful         = "Successful"
	Failed             = "Failed"
	Cancelled          = "Cancelled"
)

// Start is the launch of one instance.
type Start struct {
	Place Place
	Pool  Pool
	Spot  bool
	// Ahead is the instance's, see model.ASGInstance.
	Ahead string
	// Cause is that of the activity.
	Cause string
}
