package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// tasksPrincipal is the service that task and execution roles are passed to.
const tasksPrincipal = "ecs-tasks.amazonaws.com"

// passRole asks whether the caller may give a role to tasks.
func (sc scope) passRole(ctx context.Context, roles ...string) error {
	for _, r := range roles {
		if r == "" {
			continue
		}
		if a, err := model.ParseARN(r); err != nil || a.Account != sc.account {
			return ecs.NewAccessDeniedException("Cross-account pass role is not allowed.")
		}
		if err := sc.call.Authorize(ctx, "iam:PassRole", r, map[string]string{"iam:PassedToService": tasksPrincipal}); err != nil {
			return err
		}
	}
	return nil
}

// RegisterTaskDefinition makes the next revision of a family.
func (s *Service) RegisterTaskDefinition(ctx context.Context, in *ecs.RegisterTaskDefinitionInput) (*ecs.RegisterTaskDefinitionOutput, error) {
	sc := scopeOf(ctx)
	if len(in.InferenceAccelerators) > 0 {
		return nil, ecs.NewClientException("Amazon Elastic Inference is no longer available.")
	}
	for i := range in.Volumes {
		if v := &in.Volumes[i]; v.FsxWindowsFileServerVolumeConfiguration != nil || v.S3filesVolumeConfiguration != nil {
			return nil, ecs.NewClientException("Volume '%s' has a configuration that is not supported in this Region.", val(v.Name))
		}
	}
	d := &model.TaskDefinition{}
	convert(d, in)
	d.Tags = tagsOf(in.Tags)
	normalize(d)
	if err := checkTaskDefinition(d); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	roleARNs := []string{sc.roleARN(d.TaskRoleARN), sc.roleARN(d.ExecutionRoleARN)}
	if err := sc.passRole(ctx, roleARNs...); err != nil {
		return nil, err
	}
	d.Status = model.ECSActive
	d.RegisteredAt = sc.now
	d.RegisteredBy = sc.call.Identity.ARN
	d.RequiresAttributes = requiredAttributes(d)

	return retry(ctx, func() (*ecs.RegisterTaskDefinitionOutput, error) {
		tx := store.NewTxn()
		family, err := tables.ECSTaskDefFamilies.Get(ctx, s.store, sc.account, sc.region, d.Family)
		f := &model.TaskDefinitionFamily{Family: d.Family}
		switch {
		case err == nil:
			f = family.Copy()
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		f.LastRevision++
		f.Active = append(f.Active, f.LastRevision)
		tables.ECSTaskDefFamilies.Replace(tx, family, f)
		d.Revision = f.LastRevision
		d.TaskDefinitionARN = model.ECSTaskDefinitionARN(sc.region, sc.account, d.Family, d.Revision)
		tables.ECSTaskDefinitions.Create(tx, sc.account, sc.region, model.TaskDefinitionID(d.Family, d.Revision), d)
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		return &ecs.RegisterTaskDefinitionOutput{TaskDefinition: showTaskDefinition(d), Tags: tagList[ecs.Tag](d.Tags)}, nil
	})
}

// roleARN is the ARN of a role that is given by ARN or by name.
func (sc scope) roleARN(role string) string {
	if role == "" || strings.HasPrefix(role, "arn:") {
		return role
	}
	return model.MakeARN("iam", "", sc.account, "role/"+role)
}

func showTaskDefinition(d *model.TaskDefinition) *ecs.TaskDefinition {
	out := converted[ecs.TaskDefinition](d)
	out.Volumes = orEmpty(out.Volumes)
	out.PlacementConstraints = orEmpty(out.PlacementConstraints)
	out.Compatibilities = orEmpty(out.Compatibilities)
	for i := range out.ContainerDefinitions {
		c := &out.ContainerDefinitions[i]
		c.PortMappings = orEmpty(c.PortMappings)
		c.Environment = orEmpty(c.Environment)
		c.MountPoints = orEmpty(c.MountPoints)
		c.VolumesFrom = orEmpty(c.VolumesFrom)
		c.SystemControls = orEmpty(c.SystemControls)
	}
	return out
}

// DescribeTaskDefinition shows a revision, or a family's newest ACTIVE one.
func (s *Service) DescribeTaskDefinition(ctx context.Context, in *ecs.DescribeTaskDefinitionInput) (*ecs.DescribeTaskDefinitionOutput, error) {
	row, err := s.taskDefinition(ctx, scopeOf(ctx), val(in.TaskDefinition))
	if errors.Is(err, errNoTaskDefinition) {
		return nil, ecs.NewClientException("Unable to describe task definition.")
	}
	if err != nil {
		return nil, err
	}
	out := &ecs.DescribeTaskDefinitionOutput{TaskDefinition: showTaskDefinition(row.V)}
	if slices.Contains(in.Include, ecs.TaskDefinitionFieldTags) {
		out.Tags = tagList[ecs.Tag](row.V.Tags)
	}
	return out, nil
}

// DeregisterTaskDefinition makes a revision INACTIVE.
func (s *Service) DeregisterTaskDefinition(ctx context.Context, in *ecs.DeregisterTaskDefinitionInput) (*ecs.DeregisterTaskDefinitionOutput, error) {
	sc := scopeOf(ctx)
	ref, err := parseTaskDefinition(val(in.TaskDefinition))
	if err != nil {
		return nil, err
	}
	if ref.revision == 0 {
		return nil, ecs.NewClientException("Invalid task definition: a revision must be specified.")
	}
	return retry(ctx, func() (*ecs.DeregisterTaskDefinitionOutput, error) {
		row, err := s.taskDefinition(ctx, sc, val(in.TaskDefinition))
		if errors.Is(err, errNoTaskDefinition) {
			return nil, ecs.NewClientException("The specified task definition does not exist. Specify a valid account, family, revision and try again.")
		}
		if err != nil {
			return nil, err
		}
		if row.V.Status != model.ECSActive {
			return &ecs.DeregisterTaskDefinitionOutput{TaskDefinition: showTaskDefinition(row.V)}, nil
		}
		family, err := tables.ECSTaskDefFamilies.Get(ctx, s.store, sc.account, sc.region, row.V.Family)
		if err != nil {
			return nil, err
		}
		d, f := row.Copy(), family.Copy()
		d.Status = model.ECSInactive
		d.DeregisteredAt = sc.now
		f.Active = slices.DeleteFunc(f.Active, func(n int) bool { return n == d.Revision })
		tx := store.NewTxn()
		tables.ECSTaskDefinitions.Replace(tx, row, d)
		tables.ECSTaskDefFamilies.Replace(tx, family, f)
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		return &ecs.DeregisterTaskDefinitionOutput{TaskDefinition: showTaskDefinition(d)}, nil
	})
}

// DeleteTaskDefinitions removes INACTIVE revisions. One that tasks or services
// still have stays, DELETE_IN_PROGRESS, until it is asked for again.
func (s *Service) DeleteTaskDefinitions(ctx context.Context, in *ecs.DeleteTaskDefinitionsInput) (*ecs.DeleteTaskDefinitionsOutput, error) {
	sc := scopeOf(ctx)
	switch n := len(in.TaskDefinitions); {
	case n == 0:
		return nil, ecs.NewInvalidParameterException("Task definitions cannot be empty.")
	case n > 10:
		return nil, ecs.NewInvalidParameterException("Task definitions cannot have more than 10 elements.")
	}
	out := &ecs.DeleteTaskDefinitionsOutput{TaskDefinitions: []ecs.TaskDefinition{}, Failures: []ecs.Failure{}}
	for _, ref := range in.TaskDefinitions {
		d, err := s.deleteTaskDefinition(ctx, sc, ref)
		if f, failed := errors.AsType[*deleteFailure](err); failed {
			out.Failures = append(out.Failures, ecs.Failure{Arn: new(ref), Reason: new(f.reason), Detail: new(f.detail)})
			continue
		}
		if err != nil {
			return nil, err
		}
		out.TaskDefinitions = append(out.TaskDefinitions, *showTaskDefinition(d))
	}
	return out, nil
}

type deleteFailure struct{ reason, detail string }

func (f *deleteFailure) Error() string { return f.reason + ": " + f.detail }

func (s *Service) deleteTaskDefinition(ctx context.Context, sc scope, ref string) (*model.TaskDefinition, error) {
	gone := &deleteFailure{"TASK_DEFINITION_NOT_FOUND", "The specified task definition does not exist. Specify a valid account, family, revision and try again."}
	r, err := parseTaskDefinition(ref)
	if err != nil {
		return nil, gone
	}
	if r.revision == 0 {
		return nil, &deleteFailure{"INVALID_PARAMETER", "A revision must be specified: " + ref}
	}
	return retry(ctx, func() (*model.TaskDefinition, error) {
		row, err := s.taskDefinition(ctx, sc, ref)
		if errors.Is(err, errNoTaskDefinition) {
			return nil, gone
		}
		if err != nil {
			return nil, err
		}
		if row.V.Status == model.ECSActive {
			return nil, &deleteFailure{"INVALID_PARAMETER", "The specified task definition is still in ACTIVE status. Please deregister the target and try again."}
		}
		used, err := s.taskDefinitionInUse(ctx, sc, row.V.TaskDefinitionARN)
		if err != nil {
			return nil, err
		}
		d := row.Copy()
		tx := store.NewTxn()
		if used && d.Status == model.ECSDeleteInProgress {
			return d, nil
		}
		d.Status = model.ECSDeleteInProgress
		d.DeleteRequestedAt = sc.now
		if used {
			tables.ECSTaskDefinitions.Replace(tx, row, d)
		} else {
			tables.ECSTaskDefinitions.Delete(tx, row)
		}
		_, err = tx.Commit(ctx, s.store)
		return d, err
	})
}

func (s *Service) taskDefinitionInUse(ctx context.Context, sc scope, arn string) (bool, error) {
	q := store.Query{Account: sc.account, Region: sc.region, Index: store.Index{Name: tables.ByTaskDefinition, Value: arn}, Limit: 1}
	tasks, err := tables.ECSTasks.List(ctx, s.store, q)
	if err != nil || len(tasks) > 0 {
		return true, err
	}
	services, err := tables.ECSServices.List(ctx, s.store, q)
	return len(services) > 0, err
}

// ListTaskDefinitions lists revisions by family and revision.
func (s *Service) ListTaskDefinitions(ctx context.Context, in *ecs.ListTaskDefinitionsInput) (*ecs.ListTaskDefinitionsOutput, error) {
	sc := scopeOf(ctx)
	status := string(in.Status)
	if status == "" {
		status = model.ECSActive
	}
	descending := in.Sort == ecs.SortOrderDesc
	filters := []string{"ListTaskDefinitions", status, val(in.FamilyPrefix), string(in.Sort)}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	q := store.Query{Account: sc.account, Region: sc.region, Index: store.Index{Name: tables.ByStatus, Value: status}}
	if f := val(in.FamilyPrefix); f != "" {
		q.Prefix = f + "/"
	}
	if !descending {
		q.After, q.Limit = after, limit+1
	}
	rows, err := tables.ECSTaskDefinitions.List(ctx, s.store, q)
	if err != nil {
		return nil, err
	}
	if descending {
		slices.Reverse(rows)
		if after != "" {
			rows = slices.DeleteFunc(rows, func(r store.Row[model.TaskDefinition]) bool { return r.Key.ID >= after })
		}
	}
	out := &ecs.ListTaskDefinitionsOutput{TaskDefinitionArns: []string{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = sc.token(true, rows[limit-1].Key.ID, filters...)
	}
	for _, r := range rows {
		out.TaskDefinitionArns = append(out.TaskDefinitionArns, r.V.TaskDefinitionARN)
	}
	return out, nil
}

// ListTaskDefinitionFamilies lists families: those with ACTIVE revisions,
// those without, or all.
func (s *Service) ListTaskDefinitionFamilies(ctx context.Context, in *ecs.ListTaskDefinitionFamiliesInput) (*ecs.ListTaskDefinitionFamiliesOutput, error) {
	sc := scopeOf(ctx)
	filters := []string{"ListTaskDefinitionFamilies", string(in.Status), val(in.FamilyPrefix)}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	q := store.Query{Account: sc.account, Region: sc.region, Prefix: val(in.FamilyPrefix), After: after}
	rows, last, more, err := collect(ctx, s, tables.ECSTaskDefFamilies, q, limit, func(f *model.TaskDefinitionFamily) bool {
		switch in.Status {
		case ecs.TaskDefinitionFamilyStatusActive:
			return len(f.Active) > 0
		case ecs.TaskDefinitionFamilyStatusInactive:
			return len(f.Active) == 0
		default:
			return true
		}
	})
	if err != nil {
		return nil, err
	}
	out := &ecs.ListTaskDefinitionFamiliesOutput{Families: []string{}, NextToken: sc.token(more, last, filters...)}
	for _, r := range rows {
		out.Families = append(out.Families, r.V.Family)
	}
	return out, nil
}

// requiredAttributes are the capabilities that an instance needs for the
// definition's tasks, under the names the ECS agent registers them with.
func requiredAttributes(d *model.TaskDefinition) []model.ECSAttribute {
	need := map[string]bool{"com.amazonaws.ecs.capability.docker-remote-api.1.18": true}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if l := c.LogConfiguration; l != nil {
			need["com.amazonaws.ecs.capability.logging-driver."+l.LogDriver] = true
			if l.LogDriver == "awslogs" {
				need["com.amazonaws.ecs.capability.docker-remote-api.1.19"] = true
				if d.ExecutionRoleARN != "" {
					need["ecs.capability.execution-role-awslogs"] = true
				}
			}
		}
		if isECR(c.Image) {
			need["com.amazonaws.ecs.capability.ecr-auth"] = true
			if d.ExecutionRoleARN != "" {
				need["ecs.capability.execution-role-ecr-pull"] = true
			}
		}
		if c.HealthCheck != nil {
			need["ecs.capability.container-health-check"] = true
			need["com.amazonaws.ecs.capability.docker-remote-api.1.24"] = true
		}
		if len(c.DependsOn) > 0 {
			need["ecs.capability.container-ordering"] = true
		}
		if c.Privileged != nil && *c.Privileged {
			need["com.amazonaws.ecs.capability.privileged-container"] = true
		}
		for _, secret := range c.Secrets {
			if strings.Contains(secret.ValueFrom, ":secretsmanager:") {
				need["ecs.capability.secrets.asm.environment-variables"] = true
			} else {
				need["ecs.capability.secrets.ssm.environment-variables"] = true
			}
		}
		if c.LogConfiguration != nil {
			for _, secret := range c.LogConfiguration.SecretOptions {
				if strings.Contains(secret.ValueFrom, ":secretsmanager:") {
					need["ecs.capability.secrets.asm.bootstrap.log-driver"] = true
				} else {
					need["ecs.capability.secrets.ssm.bootstrap.log-driver"] = true
				}
			}
		}
		if c.RepositoryCredentials != nil {
			need["ecs.capability.private-registry-authentication.secretsmanager"] = true
		}
		if len(c.EnvironmentFiles) > 0 {
			need["ecs.capability.env-files.s3"] = true
		}
		if c.FirelensConfiguration != nil {
			need["ecs.capability.firelens."+c.FirelensConfiguration.Type] = true
		}
	}
	for _, v := range d.Volumes {
		switch {
		case v.DockerVolumeConfiguration != nil:
			need["ecs.capability.docker-plugin."+cmp.Or(v.DockerVolumeConfiguration.Driver, "local")] = true
		case v.EFSVolumeConfiguration != nil:
			need["ecs.capability.efs"] = true
		}
	}
	if d.PIDMode != "" || d.IPCMode != "" {
		need["ecs.capability.pid-ipc-namespace-sharing"] = true
	}
	if d.CPU != "" || d.Memory != "" {
		need["ecs.capability.task-cpu-mem-limit"] = true
	}
	if d.TaskRoleARN != "" {
		need["com.amazonaws.ecs.capability.task-iam-role"] = true
	}
	if d.NetworkMode == "awsvpc" {
		need["ecs.capability.task-eni"] = true
	}
	names := make([]string, 0, len(need))
	for n := range need {
		names = append(names, n)
	}
	slices.Sort(names)
	out := make([]model.ECSAttribute, 0, len(names))
	for _, n := range names {
		out = append(out, model.ECSAttribute{Name: n})
	}
	return out
}

// isECR tells whether an image is in a private ECR registry, by its host:
// AWS's or this server's.
func isECR(image string) bool {
	host, _, ok := strings.Cut(image, "/")
	if !ok {
		return false
	}
	host, _, _ = strings.Cut(host, ":")
	p := strings.Split(host, ".")
	return len(p) >= 5 && len(p[0]) == 12 && p[1] == "dkr" && strings.HasPrefix(p[2], "ecr")
}

// clientErrorf is the error of a task definition that cannot be registered.
func clientErrorf(format string, args ...any) error {
	return ecs.NewClientException("%s", fmt.Sprintf(format, args...))
}
