// Package tables holds the store tables of all services, a file a service, so
// that services, controllers and dispatch share them. The file's owner is the
// owner of the records.
package tables

import (
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// The tables of ECS. Keys of records are told with each model type.
var (
	ECSClusters        = store.NewTable[model.Cluster]("ecs", "Cluster")
	ECSTaskDefinitions = store.NewTable[model.TaskDefinition]("ecs", "TaskDefinition").WithIndex(ByStatus, taskDefinitionStatus)
	ECSTaskDefFamilies = store.NewTable[model.TaskDefinitionFamily]("ecs", "TaskDefinitionFamily")
	ECSServices        = store.NewTable[model.Service]("ecs", "Service").WithIndex(ByTaskDefinition, serviceTaskDefinitions).WithIndex(ByTargetGroup, serviceTargetGroups)
	ECSServiceEvents   = store.NewTable[model.ServiceEvents]("ecs", "ServiceEvents")
	// ECSServiceDeployments lists by prefix "<cluster>/<service>/".
	ECSServiceDeployments = store.NewTable[model.ServiceDeployment]("ecs", "ServiceDeployment")
	ECSAccountSettings    = store.NewTable[model.ECSAccountSetting]("ecs", "AccountSetting")
	ECSClientTokens       = store.NewTable[model.ECSClientToken]("ecs", "ClientToken")
	ECSTasks              = newTasks()
)

// Names of indexes. A task's index values are told with each.
const (
	// ByService: "<cluster>/<service>"; of tasks that have not STOPPED.
	ByService = "liveService"
	// ByDesiredStatus: "<cluster>/<desired status>".
	ByDesiredStatus = "desiredStatus"
	// ByLastStatus: the last status alone.
	ByLastStatus = "lastStatus"
	// ByServiceStatus: "<cluster>/<service>/<desired status>".
	ByServiceStatus = "serviceStatus"
	// ByFamily: "<cluster>/<family>/<desired status>".
	ByFamily = "familyStatus"
	// ByStartedBy: "<cluster>/<startedBy>/<desired status>".
	ByStartedBy = "startedByStatus"
	// ByCluster: the cluster's name; of tasks that have not STOPPED.
	ByCluster = "cluster"
	// ByStopMinute: of tasks that have STOPPED, the minute of the hour in which
	// they did, "07".
	ByStopMinute = "stopMinute"
	// ByNode: Status.Node, of tasks that have not STOPPED.
	ByNode = "node"
	// ByTaskDefinition: the ARN; of tasks that have not STOPPED, and of
	// services that are not INACTIVE with each of their deployments.
	ByTaskDefinition = "taskDefinition"
	// ByTargetGroup: the ARN of a target group that the service registers with.
	ByTargetGroup = "targetGroup"
	// ByNetworkInterface: the id of the task's network interface.
	ByNetworkInterface = "networkInterface"
	// ByCredentials: the ids of the task's credentials, of both roles.
	ByCredentials = "credentials"
	// ByStatus: the status of the record.
	ByStatus = "status"
)

func newTasks() *store.Table[model.Task] {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	alive := func(t *model.Task) bool { return t.Status.LastStatus != model.TaskStopped }
	return store.NewTable[model.Task]("ecs", "Task").
		WithIndex(ByService, func(t *model.Task) []string {
			if !alive(t) {
				return nil
			}
			return one(t.TaskServiceID())
		}).
		WithIndex(ByDesiredStatus, func(t *model.Task) []string { return one(t.ClusterName + "/" + t.Desired.Status) }).
		WithIndex(ByLastStatus, func(t *model.Task) []string { return one(t.Status.LastStatus) }).
		WithIndex(ByServiceStatus, func(t *model.Task) []string {
			if t.TaskServiceID() == "" {
				return nil
			}
			return one(t.TaskServiceID() + "/" + t.Desired.Status)
		}).
		WithIndex(ByFamily, func(t *model.Task) []string {
			return one(t.ClusterName + "/" + t.Spec.Family + "/" + t.Desired.Status)
		}).
		WithIndex(ByCluster, func(t *model.Task) []string {
			if !alive(t) {
				return nil
			}
			return one(t.ClusterName)
		}).
		WithIndex(ByStopMinute, func(t *model.Task) []string {
			if alive(t) {
				return nil
			}
			return one(StopMinute(t.Status.StoppedAt))
		}).
		WithIndex(ByStartedBy, func(t *model.Task) []string {
			if t.Spec.StartedBy == "" {
				return nil
			}
			return one(t.ClusterName + "/" + t.Spec.StartedBy + "/" + t.Desired.Status)
		}).
		WithIndex(ByNode, func(t *model.Task) []string {
			if !alive(t) {
				return nil
			}
			return one(t.Status.Node)
		}).
		WithIndex(ByTaskDefinition, func(t *model.Task) []string {
			if !alive(t) {
				return nil
			}
			return one(t.Spec.TaskDefinitionARN)
		}).
		WithIndex(ByNetworkInterface, func(t *model.Task) []string {
			if e := t.ENI(); e != nil && alive(t) {
				return one(e.Detail("networkInterfaceId"))
			}
			return nil
		}).
		WithIndex(ByCredentials, func(t *model.Task) []string {
			return append(one(t.Status.CredentialsID), one(t.Status.ExecutionCredentialsID)...)
		})
}

// LiveTasks select, together, all tasks that have not STOPPED.
func LiveTasks() []store.Query {
	var out []store.Query
	for _, status := range []string{
		model.TaskProvisioning, model.TaskPending, model.TaskActivating, model.TaskRunning,
		model.TaskDeactivating, model.TaskStopping, model.TaskDeprovisioning,
	} {
		out = append(out, store.Query{Kind: ECSTasks.Kind(), Index: store.Index{Name: ByLastStatus, Value: status}})
	}
	return out
}

// StopMinute is the value of ByStopMinute for a time.
func StopMinute(t time.Time) string { return t.UTC().Format("04") }

func taskDefinitionStatus(d *model.TaskDefinition) []string { return []string{d.Status} }

func serviceTaskDefinitions(s *model.Service) []string {
	if s.Status == model.ECSInactive {
		return nil
	}
	out := []string{s.Spec.TaskDefinition}
	for _, d := range s.Deployments {
		if d.TaskDefinition != s.Spec.TaskDefinition {
			out = append(out, d.TaskDefinition)
		}
	}
	return out
}

func serviceTargetGroups(s *model.Service) []string {
	var out []string
	if s.Status != model.ECSInactive {
		for _, lb := range s.Spec.LoadBalancers {
			if arn := lb.Group(); arn != "" {
				out = append(out, arn)
			}
		}
	}
	return out
}
