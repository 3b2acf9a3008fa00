package autoscaling

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	principal    = "autoscaling.amazonaws.com"
	ec2Principal = "ec2.amazonaws.com"
	rolePath     = "/aws-service-role/" + principal + "/"
	roleName     = "AWSServiceRoleForAutoScaling"
)

// linkedRole is the ARN of the service-linked role that a group acts by: the
// one asked for, or the default one, which is made when it is not there.
func (s *Service) linkedRole(ctx context.Context, tx *store.Txn, asked *string) (string, error) {
	c := api.CallFrom(ctx)
	if asked != nil {
		return s.customRole(ctx, c, *asked)
	}
	arn := model.RoleARN(c.Account, rolePath, roleName)
	_, err := tables.Roles.Get(ctx, s.Store, c.Account, "", strings.ToLower(roleName))
	if !errors.Is(err, store.ErrNotFound) {
		return arn, err
	}
	if err := c.Authorize(ctx, "iam:CreateServiceLinkedRole", arn, map[string]string{"iam:AWSServiceName": principal}); err != nil {
		return "", err
	}
	tables.Roles.Create(tx, c.Account, "", strings.ToLower(roleName), &model.Role{
		IAMPrincipal:       model.IAMPrincipal{Name: roleName, Path: rolePath, ID: model.IAMRolePrefix + id.Upper(17), ARN: arn, CreateDate: c.Time},
		Description:        "Default Service-Linked Role enables access to AWS Services and Resources used or managed by Auto Scaling",
		TrustPolicy:        `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + principal + `"},"Action":"sts:AssumeRole"}]}`,
		MaxSessionDuration: 3600, LinkedService: principal,
	})
	return arn, nil
}

func (s *Service) customRole(ctx context.Context, c *api.Call, arn string) (string, error) {
	a, err := model.ParseARN(arn)
	if err != nil || a.Service != "iam" || a.Account != c.Account {
		return "", invalid("ARN specified for Service-Linked Role is not valid.")
	}
	name := a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
	row, err := tables.Roles.Get(ctx, s.Store, c.Account, "", strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.ARN != arn || row.V.LinkedService != principal) {
		return "", invalid("ARN specified for Service-Linked Role does not exist.")
	}
	if err != nil {
		return "", err
	}
	return arn, c.Authorize(ctx, "iam:PassRole", arn, map[string]string{"iam:PassedToService": principal})
}
