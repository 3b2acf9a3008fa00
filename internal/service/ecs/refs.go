package ecs

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// defaultCluster is the cluster of calls that name none.
const defaultCluster = "default"

// clusterName is the name in a cluster reference: nothing, a name or an ARN.
func clusterName(ref *string) (string, error) {
	s := val(ref)
	if s == "" {
		return defaultCluster, nil
	}
	if !strings.HasPrefix(s, "arn:") {
		return s, nil
	}
	a, err := model.ParseARN(s)
	name, ok := strings.CutPrefix(a.Resource, "cluster/")
	if err != nil || a.Service != "ecs" || !ok || name == "" || strings.Contains(name, "/") {
		return "", ecs.NewInvalidParameterException("Invalid identifier: Unexpected resource type or format in ARN %s.", s)
	}
	return name, nil
}

// inScope refuses ARNs of other partitions, accounts and regions as not found.
func (sc scope) inScope(ref string) bool {
	if !strings.HasPrefix(ref, "arn:") {
		return true
	}
	a, err := model.ParseARN(ref)
	return err == nil && a.Partition == model.Partition(sc.region) && a.Account == sc.account && a.Region == sc.region
}

func errClusterNotFound() error { return ecs.NewClusterNotFoundException("Cluster not found.") }

// cluster reads the cluster that ref names, of any status.
func (s *Service) cluster(ctx context.Context, sc scope, ref *string) (store.Row[model.Cluster], error) {
	name, err := clusterName(ref)
	if err != nil {
		return store.Row[model.Cluster]{}, err
	}
	if !sc.inScope(val(ref)) {
		return store.Row[model.Cluster]{}, errClusterNotFound()
	}
	row, err := tables.ECSClusters.Get(ctx, s.store, sc.account, sc.region, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, errClusterNotFound()
	}
	return row, err
}

// activeCluster is cluster, for calls that an INACTIVE one refuses.
func (s *Service) activeCluster(ctx context.Context, sc scope, ref *string) (store.Row[model.Cluster], error) {
	row, err := s.cluster(ctx, sc, ref)
	if err != nil {
		return row, err
	}
	if row.V.Status != model.ECSActive {
		return row, ecs.NewClusterNotFoundException("The referenced cluster was inactive.")
	}
	return row, nil
}

// child is the record id that a reference to a service or task ("service",
// "task") of a cluster means: its name, or an ARN with or without the cluster.
func child(kind, cluster, ref string) (string, error) {
	if !strings.HasPrefix(ref, "arn:") {
		// A cluster may stand in front, as in the ARN.
		if c, rest, ok := strings.Cut(ref, "/"); ok && c == cluster {
			ref = rest
		}
		// The ids of tasks were UUIDs once.
		if n := len(ref); kind == "task" && n != 32 && n != 36 {
			return "", ecs.NewInvalidParameterException("taskId length should be one of [32,36]")
		}
		return cluster + "/" + ref, nil
	}
	a, err := model.ParseARN(ref)
	rest, ok := strings.CutPrefix(a.Resource, kind+"/")
	if err != nil || a.Service != "ecs" || !ok || rest == "" {
		return "", ecs.NewInvalidParameterException("Invalid identifier: Unexpected resource type or format in ARN %s.", ref)
	}
	c, name, ok := strings.Cut(rest, "/")
	switch {
	case !ok:
		return cluster + "/" + rest, nil
	case c != cluster:
		return "", ecs.NewInvalidParameterException("Invalid identifier: Identifier is for cluster %s. Your cluster is %s", c, cluster)
	}
	return cluster + "/" + name, nil
}

// taskDefinitionRef is a reference to a task definition, taken apart. Revision
// is 0 when the reference has none.
type taskDefinitionRef struct {
	family   string
	revision int
}

func parseTaskDefinition(ref string) (taskDefinitionRef, error) {
	s := ref
	if strings.HasPrefix(s, "arn:") {
		a, err := model.ParseARN(s)
		rest, ok := strings.CutPrefix(a.Resource, "task-definition/")
		if err != nil || a.Service != "ecs" || !ok {
			return taskDefinitionRef{}, ecs.NewInvalidParameterException("Invalid identifier: Unexpected resource type or format in ARN %s.", ref)
		}
		s = rest
	}
	family, rev, ok := strings.Cut(s, ":")
	if !ok {
		return taskDefinitionRef{family: family}, nil
	}
	n, err := strconv.Atoi(rev)
	if err != nil || n < 1 {
		return taskDefinitionRef{}, ecs.NewInvalidParameterException("Invalid revision number. Number: %s", rev)
	}
	return taskDefinitionRef{family, n}, nil
}

// errNoTaskDefinition is internal: each operation says it in its own words.
var errNoTaskDefinition = errors.New("no such task definition")

// taskDefinition reads what ref names: a revision of any status, or the newest
// ACTIVE one of a family.
func (s *Service) taskDefinition(ctx context.Context, sc scope, ref string) (store.Row[model.TaskDefinition], error) {
	var none store.Row[model.TaskDefinition]
	r, err := parseTaskDefinition(ref)
	if err != nil {
		return none, err
	}
	if !sc.inScope(ref) {
		return none, errNoTaskDefinition
	}
	if r.revision == 0 {
		f, err := tables.ECSTaskDefFamilies.Get(ctx, s.store, sc.account, sc.region, r.family)
		if errors.Is(err, store.ErrNotFound) || err == nil && len(f.V.Active) == 0 {
			return none, errNoTaskDefinition
		}
		if err != nil {
			return none, err
		}
		r.revision = f.V.Active[len(f.V.Active)-1]
	}
	row, err := tables.ECSTaskDefinitions.Get(ctx, s.store, sc.account, sc.region, model.TaskDefinitionID(r.family, r.revision))
	if errors.Is(err, store.ErrNotFound) {
		return none, errNoTaskDefinition
	}
	return row, err
}

// runnableTaskDefinition is taskDefinition for new tasks and services.
func (s *Service) runnableTaskDefinition(ctx context.Context, sc scope, ref string) (store.Row[model.TaskDefinition], error) {
	row, err := s.taskDefinition(ctx, sc, ref)
	switch {
	case errors.Is(err, errNoTaskDefinition):
		return row, ecs.NewClientException("TaskDefinition not found.")
	case err != nil:
		return row, err
	case row.V.Status != model.ECSActive:
		return row, ecs.NewClientException("TaskDefinition is inactive")
	}
	return row, nil
}
