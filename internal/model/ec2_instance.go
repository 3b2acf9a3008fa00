package model

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The states of an EC2 instance, with EC2's codes.
const (
	InstancePending      = "pending"       // 0
	InstanceRunning      = "running"       // 16
	InstanceShuttingDown = "shutting-down" // 32
	InstanceTerminated   = "terminated"    // 48
	InstanceStopping     = "stopping"      // 64
	InstanceStopped      = "stopped"       // 80
)

// InstanceStateCode is the number that EC2 gives a state.
func InstanceStateCode(state string) int32 {
	switch state {
	case InstanceRunning:
		return 16
	case InstanceShuttingDown:
		return 32
	case InstanceTerminated:
		return 48
	case InstanceStopping:
		return 64
	case InstanceStopped:
		return 80
	}
	return 0
}

// Instance is an EC2 instance. Record id: its id, i-….
//
// Its parts have one writer each: Spec and Desired by service/ec2 (on behalf
// of Auto Scaling, too, which runs instances through the same code), Status by
// controller/ec2instance. A terminated instance is kept for an hour.
type Instance struct {
	ID      string          `json:"id"`
	Owner   string          `json:"owner"`
	Spec    InstanceSpec    `json:"spec"`
	Desired InstanceDesired `json:"desired"`
	Status  InstanceStatus  `json:"status"`
	Tags    Tags            `json:"tags,omitzero"`
}

// InstanceSpec is what an instance was launched as.
type InstanceSpec struct {
	ReservationID string `json:"reservationId"`
	// LaunchIndex is the instance's place in its reservation.
	LaunchIndex int    `json:"launchIndex,omitempty"`
	ImageID     string `json:"imageId"`
	Type        string `json:"type"`
	KeyName     string `json:"keyName,omitempty"`
	VPCID       string `json:"vpcId"`
	SubnetID    string `json:"subnetId"`
	Zone        string `json:"zone"`
	// InterfaceIDs in the order of their device indexes; the first is primary.
	InterfaceIDs []string   `json:"interfaceIds"`
	PrivateIP    netip.Addr `json:"privateIp"`
	// PrivateDNSName is the host name, ip-10-0-0-5.ec2.internal.
	PrivateDNSName string `json:"privateDnsName"`
	// UserData is decoded from base64.
	UserData []byte `json:"userData,omitempty"`
	// ProfileARN names the instance profile, whose role the instance has.
	ProfileARN           string `json:"profileArn,omitempty"`
	ProfileAssociationID string `json:"profileAssociationId,omitempty"`
	// Metadata says how the metadata service answers.
	Metadata InstanceMetadataOptions `json:"metadata"`
	// Lifecycle is "spot" for Spot instances, else empty.
	Lifecycle             string `json:"lifecycle,omitempty"`
	SpotRequestID         string `json:"spotRequestId,omitempty"`
	SpotCancelled         bool   `json:"spotCancelled,omitempty"`
	Monitoring            bool   `json:"monitoring,omitempty"`
	EBSOptimized          bool   `json:"ebsOptimized,omitempty"`
	SourceDestCheck       bool   `json:"sourceDestCheck"`
	DisableAPITermination bool   `json:"disableApiTermination,omitempty"`
	DisableAPIStop        bool   `json:"disableApiStop,omitempty"`
	// ShutdownBehavior is what a shutdown from within does: stop or terminate.
	ShutdownBehavior string `json:"shutdownBehavior"`
	// ClientToken of the RunInstances call.
	ClientToken string `json:"clientToken,omitempty"`
	// LaunchTemplate it was launched from, id and version.
	LaunchTemplateID      string    `json:"launchTemplateId,omitempty"`
	LaunchTemplateVersion int64     `json:"launchTemplateVersion,omitempty"`
	LaunchedAt            time.Time `json:"launchedAt"`
	// AutoScalingGroup that the instance belongs to, by name.
	AutoScalingGroup string `json:"autoScalingGroup,omitempty"`
	Architecture     string `json:"architecture"`
	// HostnameType is ip-name or resource-name.
	HostnameType string `json:"hostnameType"`
	// AssignPublicIP gives the primary interface a public address each time
	// that the instance starts.
	AssignPublicIP bool `json:"assignPublicIp,omitempty"`
	// SpotMaxPrice is the most that a Spot request offers, as it was written.
	SpotMaxPrice string       `json:"spotMaxPrice,omitempty"`
	RootVolume   InstanceRoot `json:"rootVolume"`
}

// InstanceRoot describes an instance's root volume, which is a folder: nothing
// holds it to its size and speed.
type InstanceRoot struct {
	ID         string `json:"id"` // vol-
	SnapshotID string `json:"snapshotId"`
	Size       int32  `json:"size"` // GiB
	Type       string `json:"type"`
	IOPS       int32  `json:"iops,omitempty"`
	Throughput int32  `json:"throughput,omitempty"` // MiB/s
	Tags       Tags   `json:"tags,omitzero"`
}

// InstanceMetadataOptions are those of the instance metadata service.
type InstanceMetadataOptions struct {
	// Endpoint is enabled or disabled; Tokens is required or optional; Tags is
	// enabled or disabled.
	Endpoint string `json:"endpoint"`
	Tokens   string `json:"tokens"`
	Tags     string `json:"tags"`
	HopLimit int    `json:"hopLimit"`
}

// InstanceDesired is what state the user wants.
type InstanceDesired struct {
	// State is running, stopped or terminated; it never leaves terminated.
	State string `json:"state"`
	// Boots counts the times that the instance was to boot: a reboot adds one.
	Boots int `json:"boots"`
	// Reason and ReasonCode tell why, in EC2's words: "User initiated
	// (2026-01-02 03:04:05 GMT)", Client.UserInitiatedShutdown.
	Reason     string `json:"reason,omitempty"`
	ReasonCode string `json:"reasonCode,omitempty"`
	// Force stops without waiting for what runs in the instance.
	Force bool `json:"force,omitempty"`
	// Since is when it was last changed.
	Since time.Time `json:"since,omitzero"`
	// SpotInterruptionAt is when a Spot instance that was given notice ends.
	SpotInterruptionAt time.Time `json:"spotInterruptionAt,omitzero"`
}

// InstanceStatus is where controller/ec2instance has brought the instance.
type InstanceStatus struct {
	State string `json:"state"`
	// Boots is the Desired.Boots that was carried out.
	Boots int `json:"boots,omitempty"`
	// Booted tells whether the user data of the first boot has ended.
	Booted bool `json:"booted,omitempty"`
	// Impaired tells why the instance does not pass its status checks; empty
	// when it does.
	Impaired     string    `json:"impaired,omitempty"`
	RunningSince time.Time `json:"runningSince,omitzero"`
	TerminatedAt time.Time `json:"terminatedAt,omitzero"`
}

// State is what state the instance is in for its users: what was asked for
// counts from the moment of the asking.
func (i *Instance) State() string {
	at := i.Status.State
	switch {
	case at == InstanceTerminated:
		return InstanceTerminated
	case i.Desired.State == InstanceTerminated:
		return InstanceShuttingDown
	case i.Desired.State == InstanceStopped && at == InstanceStopped:
		return InstanceStopped
	case i.Desired.State == InstanceStopped:
		return InstanceStopping
	case at == InstanceRunning:
		return InstanceRunning
	}
	return InstancePending
}

// PrivateDomain ends the private DNS names of a region.
func PrivateDomain(region string) string {
	if region == "us-east-1" {
		return "ec2.internal"
	}
	return region + ".compute.internal"
}

// PrivateDNSName is the name that a VPC's resolver has for an address.
func PrivateDNSName(a netip.Addr, region string) string {
	return "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + PrivateDomain(region)
}

// InstanceMetadataDefaults are what an account's region gives instances that
// say nothing else. Its id is "defaults"; what is empty or zero is not set.
type InstanceMetadataDefaults struct {
	Options InstanceMetadataOptions `json:"options"`
}

// LaunchTemplate is an EC2 launch template. Record id: its id, lt-….
type LaunchTemplate struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	// DefaultVersion and LatestVersion are numbers from 1.
	DefaultVersion int64 `json:"defaultVersion"`
	LatestVersion  int64 `json:"latestVersion"`
	// LastVersion is the newest there ever was: numbers are not used again.
	LastVersion int64 `json:"lastVersion"`
	Tags        Tags  `json:"tags,omitzero"`
}

// LaunchTemplateVersionID is the id of a version's record.
func LaunchTemplateVersionID(templateID string, version int64) string {
	return fmt.Sprintf("%s/%010d", templateID, version)
}

// LaunchTemplateVersion is one version of a template. Record id:
// "<template id>/<version, ten digits>".
type LaunchTemplateVersion struct {
	TemplateID  string    `json:"templateId"`
	Version     int64     `json:"version"`
	Description string    `json:"description,omitempty"`
	CreatedBy   string    `json:"createdBy"`
	CreatedAt   time.Time `json:"createdAt"`
	// Data is EC2's RequestLaunchTemplateData as JSON, under EC2's names and
	// without what was not given: what LaunchData is read from.
	Data []byte `json:"data"`
}
