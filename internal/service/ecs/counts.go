package ecs

import (
	"context"
	"strconv"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// clusterCount is what a cluster holds.
type clusterCount struct {
	activeServices          int
	running, pending, alive int
	// instances that are registered: those that are not INACTIVE
	instances int
	// by launch type
	activeByType, drainingByType map[string]int
	runningByType, pendByType    map[string]int
}

func (s *Service) countCluster(ctx context.Context, sc scope, name string) (clusterCount, error) {
	c := clusterCount{
		activeByType: map[string]int{}, drainingByType: map[string]int{},
		runningByType: map[string]int{}, pendByType: map[string]int{},
	}
	q := store.Query{Account: sc.account, Region: sc.region, Prefix: name + "/"}
	services, err := tables.ECSServices.List(ctx, s.store, q)
	if err != nil {
		return c, err
	}
	for _, r := range services {
		switch t := serviceLaunchType(r.V); r.V.Status {
		case model.ECSActive:
			c.activeServices++
			c.activeByType[t]++
		case model.ECSDraining:
			c.drainingByType[t]++
		}
	}
	instances, err := tables.ECSContainerInstances.List(ctx, s.store, q)
	if err != nil {
		return c, err
	}
	for _, r := range instances {
		if r.V.Status != model.ContainerInstanceInactive {
			c.instances++
		}
	}
	q.Index = store.Index{Name: tables.ByCluster, Value: name}
	tasks, err := tables.ECSTasks.List(ctx, s.store, q)
	if err != nil {
		return c, err
	}
	for _, r := range tasks {
		c.alive++
		switch r.V.Status.LastStatus {
		case model.TaskRunning:
			c.running++
			c.runningByType[r.V.Spec.LaunchType]++
		case model.TaskProvisioning, model.TaskPending, model.TaskActivating:
			c.pending++
			c.pendByType[r.V.Spec.LaunchType]++
		}
	}
	return c, nil
}

// serviceLaunchType is the launch type that a service's tasks have, be it
// given or through its capacity providers.
func serviceLaunchType(s *model.Service) string {
	if s.Spec.LaunchType != "" {
		return s.Spec.LaunchType
	}
	for _, i := range s.Spec.CapacityProviderStrategy {
		if i.CapacityProvider == model.CapacityProviderFargate || i.CapacityProvider == model.CapacityProviderFargateSpot {
			return model.LaunchTypeFargate
		}
	}
	return model.LaunchTypeEC2
}

func (c clusterCount) statistics() []ecs.KeyValuePair {
	var out []ecs.KeyValuePair
	add := func(name string, n int) {
		out = append(out, ecs.KeyValuePair{Name: &name, Value: new(strconv.Itoa(n))})
	}
	for _, t := range []struct{ name, launchType string }{{"EC2", "EC2"}, {"Fargate", "FARGATE"}, {"External", "EXTERNAL"}} {
		add("running"+t.name+"TasksCount", c.runningByType[t.launchType])
		add("pending"+t.name+"TasksCount", c.pendByType[t.launchType])
		add("active"+t.name+"ServiceCount", c.activeByType[t.launchType])
		add("draining"+t.name+"ServiceCount", c.drainingByType[t.launchType])
	}
	return out
}
