package iam

import (
	"context"
	"encoding/json"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// linkedRole is what a service's service-linked role looks like.
type linkedRole struct {
	name   string
	policy string // of AWS's, below /aws-service-role/
	suffix bool   // whether a CustomSuffix is allowed
}

// linkedRoles are the services that have one, by service principal.
var linkedRoles = map[string]linkedRole{
	"apprunner.amazonaws.com":                               {"AWSServiceRoleForAppRunner", "AppRunnerServiceRolePolicy", false},
	"autoscaling.amazonaws.com":                             {"AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy", true},
	"ec2.application-autoscaling.amazonaws.com":             {"AWSServiceRoleForApplicationAutoScaling_EC2SpotFleetRequest", "AWSApplicationAutoscalingEC2SpotFleetRequestPolicy", false},
	"ecs.amazonaws.com":                                     {"AWSServiceRoleForECS", "AmazonECSServiceRolePolicy", false},
	"ecs.application-autoscaling.amazonaws.com":             {"AWSServiceRoleForApplicationAutoScaling_ECSService", "AWSApplicationAutoscalingECSServicePolicy", false},
	"eks.amazonaws.com":                                     {"AWSServiceRoleForAmazonEKS", "AmazonEKSServiceRolePolicy", false},
	"eks-fargate.amazonaws.com":                             {"AWSServiceRoleForAmazonEKSForFargate", "AmazonEKSForFargateServiceRolePolicy", false},
	"eks-nodegroup.amazonaws.com":                           {"AWSServiceRoleForAmazonEKSNodegroup", "AWSServiceRoleForAmazonEKSNodegroup", false},
	"elasticfilesystem.amazonaws.com":                       {"AWSServiceRoleForAmazonElasticFileSystem", "AmazonElasticFileSystemServiceRolePolicy", false},
	"elasticloadbalancing.amazonaws.com":                    {"AWSServiceRoleForElasticLoadBalancing", "AWSElasticLoadBalancingServiceRolePolicy", false},
	"fsx.amazonaws.com":                                     {"AWSServiceRoleForAmazonFSx", "AmazonFSxServiceRolePolicy", false},
	"pullthroughcache.ecr.amazonaws.com":                    {"AWSServiceRoleForECRPullThroughCache", "AWSECRPullThroughCache_ServiceRolePolicy", false},
	"replication.ecr.amazonaws.com":                         {"AWSServiceRoleForECRReplication", "ECRReplicationServiceRolePolicy", false},
	"spot.amazonaws.com":                                    {"AWSServiceRoleForEC2Spot", "AWSEC2SpotServiceRolePolicy", false},
	"ssm.amazonaws.com":                                     {"AWSServiceRoleForAmazonSSM", "AmazonSSMServiceRolePolicy", false},
	"ecs.compute.amazonaws.com":                             {"AWSServiceRoleForECSCompute", "AmazonECSComputeServiceRolePolicy", false},
	"custom-resource.application-autoscaling.amazonaws.com": {"AWSServiceRoleForApplicationAutoScaling_CustomResource", "AWSApplicationAutoScalingCustomResourcePolicy", true},
}

// trustOf is a trust policy that lets one service in.
func trustOf(service string) string {
	name, err := json.Marshal(service)
	if err != nil {
		panic(err) // strings always encode
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":` + string(name) + `},"Action":"sts:AssumeRole"}]}`
}

// CreateServiceLinkedRole makes the role that a service acts by.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, in *iam.CreateServiceLinkedRoleInput) (*iam.CreateServiceLinkedRoleOutput, error) {
	c := api.CallFrom(ctx)
	service := *in.AWSServiceName
	l, ok := linkedRoles[service]
	if !ok {
		return nil, iam.NewInvalidInputException("Service principal '%s' is not valid or does not support service linked roles.", service)
	}
	if in.CustomSuffix != nil {
		if !l.suffix {
			return nil, iam.NewInvalidInputException("Custom suffix is not allowed for %s", service)
		}
		l.name += "_" + *in.CustomSuffix
	}
	path := "/aws-service-role/" + service + "/"
	r := &model.Role{
		IAMPrincipal: model.IAMPrincipal{
			Name: l.name, Path: path, ID: uniqueID(model.IAMRolePrefix),
			ARN: model.RoleARN(c.Account, path, l.name), CreateDate: now(c),
		},
		Description: str(in.Description), TrustPolicy: trustOf(service),
		MaxSessionDuration: defaultSession, LinkedService: service,
	}
	if arn := "arn:aws:iam::aws:policy/aws-service-role/" + l.policy; hasManaged(arn) {
		r.Attached = []string{arn}
	}
	err := s.write(ctx, func(tx *store.Txn) error {
		if _, err := s.role(ctx, l.name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = iam.NewInvalidInputException("Service role name %s has been taken in this account, please try a different suffix.", l.name)
			}
			return err
		}
		tables.Roles.Create(tx, c.Account, "", key(l.name), r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateServiceLinkedRoleOutput{Role: describedRole(r)}, nil
}

func hasManaged(arn string) bool {
	_, ok := managed.Get(arn)
	return ok
}

// DeleteServiceLinkedRole removes a service-linked role and answers with a
// task, which has succeeded already.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, in *iam.DeleteServiceLinkedRoleInput) (*iam.DeleteServiceLinkedRoleOutput, error) {
	c := api.CallFrom(ctx)
	var task model.ServiceLinkedRoleDeletion
	err := s.write(ctx, func(tx *store.Txn) error {
		row, err := s.role(ctx, *in.RoleName)
		if err != nil {
			return err
		}
		if row.V.LinkedService == "" {
			return iam.NewInvalidInputException("The role %s is not a service linked role.", row.V.Name)
		}
		task = model.ServiceLinkedRoleDeletion{
			ID:     "task" + row.V.Path + row.V.Name + "/" + id.UUID(),
			Status: string(iam.DeletionTaskStatusTypeSucceeded),
		}
		tables.Roles.Delete(tx, row)
		tables.ServiceLinkedRoleDeletions.Create(tx, c.Account, "", task.ID, &task)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.DeleteServiceLinkedRoleOutput{DeletionTaskId: &task.ID}, nil
}

// GetServiceLinkedRoleDeletionStatus tells what became of a deletion.
func (s *Service) GetServiceLinkedRoleDeletionStatus(ctx context.Context, in *iam.GetServiceLinkedRoleDeletionStatusInput) (*iam.GetServiceLinkedRoleDeletionStatusOutput, error) {
	if !strings.HasPrefix(*in.DeletionTaskId, "task/") {
		return nil, iam.NewInvalidInputException("The DeletionTaskId %s is not valid.", *in.DeletionTaskId)
	}
	row, err := tables.ServiceLinkedRoleDeletions.Get(ctx, s.store, api.CallFrom(ctx).Account, "", *in.DeletionTaskId)
	if err != nil {
		return nil, absent(err, iam.NewNoSuchEntityException("The deletion task %s cannot be found.", *in.DeletionTaskId))
	}
	out := &iam.GetServiceLinkedRoleDeletionStatusOutput{Status: iam.DeletionTaskStatusType(row.V.Status)}
	if row.V.Reason != "" {
		out.Reason = &iam.DeletionTaskFailureReasonType{Reason: &row.V.Reason}
	}
	return out, nil
}
