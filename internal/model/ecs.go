package model

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cluster is an ECS cluster. Record id: its name. Writer: service/ecs.
type Cluster struct {
	ClusterName string `json:"clusterName"`
	ClusterARN  string `json:"clusterArn"`
	// Status is ACTIVE, or INACTIVE once deleted: then it can still be
	// described for a while, and created again under the same name.
	// DEPROVISIONING is between the two, while DeleteCluster looks whether the
	// cluster is empty. Who adds a service or a task makes the write depend on
	// the cluster's record being ACTIVE and unchanged, so that none is added to
	// a cluster that goes.
	Status                          string                         `json:"status"`
	Settings                        []ECSNameValue                 `json:"settings,omitempty"`
	Configuration                   *ClusterConfiguration          `json:"configuration,omitempty"`
	CapacityProviders               []string                       `json:"capacityProviders,omitempty"`
	DefaultCapacityProviderStrategy []CapacityProviderStrategyItem `json:"defaultCapacityProviderStrategy,omitempty"`
	Tags                            Tags                           `json:"tags,omitzero"`
	CreatedAt                       time.Time                      `json:"createdAt,omitzero"`
	// DeletedAt is when the cluster became INACTIVE.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
	// Attachments are what ECS keeps for the sake of the capacity providers:
	// of type as_policy (details capacityProviderName and scalingPolicyName)
	// for managed scaling, and managed_draining (capacityProviderName and
	// autoScalingLifecycleHookName). controller/capacityprovider writes them.
	Attachments []ClusterAttachment `json:"attachments,omitempty"`
	// AttachmentsStatus is UPDATE_IN_PROGRESS from a change of the providers
	// on (service/ecs) and UPDATE_COMPLETE once Attachments fit them
	// (controller/capacityprovider); empty where there never was one.
	AttachmentsStatus string `json:"attachmentsStatus,omitempty"`
	// Provisioning: the attachments in progress are the first ones, of a
	// cluster made with providers.
	Provisioning bool `json:"provisioning,omitempty"`
}

// ClusterAttachment is one of a cluster's attachments, shaped as a task's.
type ClusterAttachment = TaskAttachment

// The types of clusters' attachments, their details' names and the states that
// the whole of them is in.
const (
	AttachmentScalingPolicy = "as_policy"
	AttachmentDraining      = "managed_draining"

	DetailCapacityProvider = "capacityProviderName"
	DetailScalingPolicy    = "scalingPolicyName"
	DetailLifecycleHook    = "autoScalingLifecycleHookName"

	AttachmentsUpdating = "UPDATE_IN_PROGRESS"
	AttachmentsUpdated  = "UPDATE_COMPLETE"
)

// DrainingHook is the lifecycle hook of managed draining.
const DrainingHook = "ecs-managed-draining-termination-hook"

// States of clusters, services and task definitions.
const (
	ECSActive           = "ACTIVE"
	ECSInactive         = "INACTIVE"
	ECSDeprovisioning   = "DEPROVISIONING"     // clusters only
	ECSDraining         = "DRAINING"           // services only: deleted, tasks still stop
	ECSDeleteInProgress = "DELETE_IN_PROGRESS" // task definitions only
)

// ECSNameValue is one of ECS's many pairs: settings, environment, proxy
// properties.
type ECSNameValue struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// ClusterConfiguration holds the cluster's exec and storage settings.
type ClusterConfiguration struct {
	ExecuteCommandConfiguration *ExecuteCommandConfiguration `json:"executeCommandConfiguration,omitempty"`
	ManagedStorageConfiguration *ManagedStorageConfiguration `json:"managedStorageConfiguration,omitempty"`
}

// ExecuteCommandConfiguration says how ECS Exec sessions are logged.
type ExecuteCommandConfiguration struct {
	KMSKeyID         string                          `json:"kmsKeyId,omitempty"`
	Logging          string                          `json:"logging,omitempty"`
	LogConfiguration *ExecuteCommandLogConfiguration `json:"logConfiguration,omitempty"`
}

// ExecuteCommandLogConfiguration names where ECS Exec sessions are logged.
type ExecuteCommandLogConfiguration struct {
	CloudWatchLogGroupName      string `json:"cloudWatchLogGroupName,omitempty"`
	CloudWatchEncryptionEnabled bool   `json:"cloudWatchEncryptionEnabled,omitempty"`
	S3BucketName                string `json:"s3BucketName,omitempty"`
	S3EncryptionEnabled         bool   `json:"s3EncryptionEnabled,omitempty"`
	S3KeyPrefix                 string `json:"s3KeyPrefix,omitempty"`
}

// ManagedStorageConfiguration names the keys that encrypt storage.
type ManagedStorageConfiguration struct {
	KMSKeyID                        string `json:"kmsKeyId,omitempty"`
	FargateEphemeralStorageKMSKeyID string `json:"fargateEphemeralStorageKmsKeyId,omitempty"`
}

// CapacityProviderStrategyItem is one line of a capacity provider strategy.
type CapacityProviderStrategyItem struct {
	CapacityProvider string `json:"capacityProvider"`
	Weight           int    `json:"weight"`
	Base             int    `json:"base"`
}

// Launch types, and Fargate's capacity providers.
const (
	LaunchTypeEC2 = "EC2"
	// LaunchTypeExternal is for machines of the user's: ECS Anywhere.
	LaunchTypeExternal = "EXTERNAL"
	LaunchTypeFargate  = "FARGATE"

	CapacityProviderFargate     = "FARGATE"
	CapacityProviderFargateSpot = "FARGATE_SPOT"
)

// OnFargate tells whether the tasks of a capacity provider run on Fargate.
func OnFargate(provider string) bool {
	return provider == CapacityProviderFargate || provider == CapacityProviderFargateSpot
}

// StrategyOnFargate tells whether a strategy's tasks run on Fargate: its
// providers are all of one kind.
func StrategyOnFargate(strategy []CapacityProviderStrategyItem) bool {
	return len(strategy) > 0 && OnFargate(strategy[0].CapacityProvider)
}

// MaxProvisioning is how many tasks of a cluster may wait for a capacity
// provider's instances.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
const MaxProvisioning = 500

// AwsvpcConfiguration is where the interfaces of awsvpc tasks are put.
type AwsvpcConfiguration struct {
	// Subnets are subnet ids, at least one, all of one VPC.
	Subnets []string `json:"subnets"`
	// SecurityGroups are group ids; none means the VPC's default group.
	SecurityGroups []string `json:"securityGroups,omitempty"`
	// AssignPublicIP is ENABLED or DISABLED.
	AssignPublicIP string `json:"assignPublicIp,omitempty"`
}

// ECSNetworkConfiguration wraps AwsvpcConfiguration as the API does.
type ECSNetworkConfiguration struct {
	AwsvpcConfiguration *AwsvpcConfiguration `json:"awsvpcConfiguration,omitempty"`
}

// ECSAccountSetting is the value of an ECS account setting for one principal.
// Record id: "<principal ARN>/<name>", or "default/<name>" for the account's
// own default. Writer: service/ecs.
type ECSAccountSetting struct {
	Name         string `json:"name"`
	Value        string `json:"value"`
	PrincipalARN string `json:"principalArn,omitempty"`
}

// ECSClientToken remembers what a call with a client token made. Record id:
// "<operation>/<cluster>/<token>". Writer: service/ecs.
type ECSClientToken struct {
	// RequestHash tells a repeated request from another one under its token.
	RequestHash string `json:"requestHash"`
	// Resources are the ARNs that the first call made.
	Resources []string  `json:"resources"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// ECSClusterARN is the ARN of the cluster name.
func ECSClusterARN(region, account, cluster string) string {
	return MakeARN("ecs", region, account, "cluster/"+cluster)
}

// ECSServiceARN is the (long) ARN of a service.
func ECSServiceARN(region, account, cluster, service string) string {
	return MakeARN("ecs", region, account, "service/"+cluster+"/"+service)
}

// ECSTaskARN is the (long) ARN of a task.
func ECSTaskARN(region, account, cluster, task string) string {
	return MakeARN("ecs", region, account, "task/"+cluster+"/"+task)
}

// ECSContainerInstanceARN is the (long) ARN of a container instance.
func ECSContainerInstanceARN(region, account, cluster, id string) string {
	return MakeARN("ecs", region, account, "container-instance/"+cluster+"/"+id)
}

// ECSContainerARN is the ARN of the container id of a task.
func ECSContainerARN(region, account, cluster, task, id string) string {
	return MakeARN("ecs", region, account, "container/"+cluster+"/"+task+"/"+id)
}

// ECSTaskDefinitionARN is the ARN of a revision of a family.
func ECSTaskDefinitionARN(region, account, family string, revision int) string {
	return MakeARN("ecs", region, account, fmt.Sprintf("task-definition/%s:%d", family, revision))
}

// TaskDefinitionID is the record id of a revision: ids of one family sort by
// revision.
func TaskDefinitionID(family string, revision int) string {
	return fmt.Sprintf("%s/%010d", family, revision)
}

// TaskDefinitionIDFromARN is the record id of the revision that an ARN as
// ECSTaskDefinitionARN makes it, or a "family:revision", names. It reports
// false for anything else.
func TaskDefinitionIDFromARN(s string) (string, bool) {
	if strings.HasPrefix(s, "arn:") {
		a, err := ParseARN(s)
		if err != nil || a.Service != "ecs" {
			return "", false
		}
		var ok bool
		if s, ok = strings.CutPrefix(a.Resource, "task-definition/"); !ok {
			return "", false
		}
	}
	family, rev, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(rev)
	if !ok || family == "" || err != nil || n <= 0 {
		return "", false
	}
	return TaskDefinitionID(family, n), true
}

// ECSResourceID is the record id that the (long) ARN of a cluster, a service
// or a task names: "<cluster>", "<cluster>/<service>", "<cluster>/<task>". It
// is "" for anything else.
func ECSResourceID(arn string) string {
	a, err := ParseARN(arn)
	if err != nil || a.Service != "ecs" {
		return ""
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	switch kind {
	case "cluster", "service", "task":
		return rest
	}
	return ""
}
