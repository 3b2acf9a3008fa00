package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"roadstead.dev/internal/imagebuild"
)

// is tells whether err is the SDK's error type E: "it exists already".
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func (d *demo) pushImage(ctx context.Context) error {
	d.out.begin("Create an ECR repository and push the sample app's image to it",
		"aws ecr create-repository --repository-name "+name,
		"aws ecr get-login-password | docker login --username AWS --password-stdin <registry>",
		"docker push <registry>/"+name+":latest")
	var uri string
	created, err := d.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new(name)})
	switch {
	case is[*ecrtypes.RepositoryAlreadyExistsException](err):
		found, err := d.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
		if err != nil {
			return err
		}
		uri = *found.Repositories[0].RepositoryUri
	case err != nil:
		return err
	default:
		uri = *created.Repository.RepositoryUri
	}
	// What aws ecr get-login-password prints.
	token, err := d.ecr.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return err
	}
	login, err := imagebuild.ECRCredentials(*token.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(d.binary)
	if err != nil {
		return fmt.Errorf("the sample app: %w", err)
	}
	app := imagebuild.Program("webapp", binary)
	app.Ports = []string{"80/tcp"}
	img, err := imagebuild.Build(app)
	if err != nil {
		return err
	}
	d.image = uri + ":latest"
	digest, err := imagebuild.Push(ctx, d.image, img, login)
	if err != nil {
		return err
	}
	d.out.say("pushed %s (%s)", d.image, digest)
	return nil
}

func (d *demo) createLogGroup(ctx context.Context) error {
	d.out.begin("Create a log group for the tasks' output", "aws logs create-log-group --log-group-name "+logGroup)
	_, err := d.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new(logGroup)})
	if err != nil && !is[*logstypes.ResourceAlreadyExistsException](err) {
		return err
	}
	return nil
}

// trust lets ECS tasks assume a role.
const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

const executionPolicy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"

func (d *demo) createRoles(ctx context.Context) error {
	d.out.begin("Create the execution role (pulls the image, writes the logs) and the task role",
		"aws iam create-role --role-name "+name+"-execution --assume-role-policy-document file://trust.json",
		"aws iam attach-role-policy --role-name "+name+"-execution\n--policy-arn "+executionPolicy,
		"aws iam create-role --role-name "+name+"-task --assume-role-policy-document file://trust.json")
	role := func(n string) (string, error) {
		out, err := d.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new(n), AssumeRolePolicyDocument: new(trust)})
		if is[*iamtypes.EntityAlreadyExistsException](err) {
			found, err := d.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: new(n)})
			if err != nil {
				return "", err
			}
			return *found.Role.Arn, nil
		}
		if err != nil {
			return "", err
		}
		return *out.Role.Arn, nil
	}
	var err error
	if d.executionRole, err = role(name + "-execution"); err != nil {
		return err
	}
	if d.taskRole, err = role(name + "-task"); err != nil {
		return err
	}
	_, err = d.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: new(name + "-execution"), PolicyArn: new(executionPolicy)})
	return err
}

func (d *demo) findNetwork(ctx context.Context) error {
	d.out.begin("Find the default VPC and its subnets",
		"aws ec2 describe-vpcs --filters Name=is-default,Values=true",
		"aws ec2 describe-subnets --filters Name=vpc-id,Values=<vpc>")
	vpcs, err := d.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("is-default"), Values: []string{"true"}}}})
	if err != nil {
		return err
	}
	if len(vpcs.Vpcs) == 0 {
		return errors.New("there is no default VPC: aws ec2 create-default-vpc")
	}
	d.vpc = *vpcs.Vpcs[0].VpcId
	subnets, err := d.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: new("vpc-id"), Values: []string{d.vpc}}}})
	if err != nil {
		return err
	}
	for _, s := range subnets.Subnets {
		d.subnets = append(d.subnets, *s.SubnetId)
	}
	d.out.say("%s %s with %s", d.vpc, *vpcs.Vpcs[0].CidrBlock, strings.Join(d.subnets, ", "))
	return nil
}

func (d *demo) createSecurityGroups(ctx context.Context) error {
	d.out.begin("Create two security groups: the balancer's lets everybody in, the tasks' only the balancer",
		"aws ec2 create-security-group --group-name "+name+"-balancer --description … --vpc-id "+d.vpc,
		"aws ec2 authorize-security-group-ingress --group-id <balancer> --protocol tcp --port 80 --cidr 0.0.0.0/0",
		"aws ec2 authorize-security-group-ingress --group-id <tasks> --protocol tcp --port 80 --source-group <balancer>")
	var err error
	if d.balancerSG, err = d.securityGroup(ctx, name+"-balancer", ec2types.IpPermission{
		IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(80)),
		IpRanges: []ec2types.IpRange{{CidrIp: new("0.0.0.0/0")}},
	}); err != nil {
		return err
	}
	d.taskSG, err = d.securityGroup(ctx, name+"-tasks", ec2types.IpPermission{
		IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(80)),
		UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(d.balancerSG)}},
	})
	return err
}

// securityGroup makes a group with one inbound rule, or finds it.
func (d *demo) securityGroup(ctx context.Context, group string, rule ec2types.IpPermission) (string, error) {
	found, err := d.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{
		{Name: new("group-name"), Values: []string{group}},
		{Name: new("vpc-id"), Values: []string{d.vpc}},
	}})
	if err != nil {
		return "", err
	}
	if len(found.SecurityGroups) > 0 {
		return *found.SecurityGroups[0].GroupId, nil
	}
	made, err := d.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: new(group), Description: new("The demo of Roadstead"), VpcId: new(d.vpc),
	})
	if err != nil {
		return "", err
	}
	_, err = d.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: made.GroupId, IpPermissions: []ec2types.IpPermission{rule},
	})
	return *made.GroupId, err
}

// port is the port of the API endpoint, which balancers answer on as well.
func (d *demo) port() (string, error) {
	u, err := url.Parse(d.endpoint)
	if err != nil {
		return "", fmt.Errorf("AWS_ENDPOINT_URL: %w", err)
	}
	return u.Port(), nil
}
