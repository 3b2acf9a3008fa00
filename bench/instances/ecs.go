package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"roadstead.dev/bench/internal/report"
)

const (
	ecsImage = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	name     = "bench"
	join     = "#!/bin/bash\necho ECS_CLUSTER=" + name + " >> /etc/ecs/ecs.config\n"
)

// containerInstances measures how long it takes until an instance of Amazon
// ECS's image is registered and its agent connected, and what many take.
func (b *bench) containerInstances(ctx context.Context, rounds, many int) (string, error) {
	if err := b.prepare(ctx); err != nil {
		return "", err
	}
	var joined report.Samples[time.Duration]
	for range rounds {
		began := time.Now()
		ids, err := b.launch(ctx, 1, ecsImage, name, join)
		if err != nil {
			return "", err
		}
		if err := b.await(ctx, ids, b.connected); err != nil {
			return "", err
		}
		joined.Add(time.Since(began))
		if err := b.terminate(ctx, ids); err != nil {
			return "", err
		}
	}
	began := time.Now()
	ids, err := b.launch(ctx, many, ecsImage, name, join)
	if err != nil {
		return "", err
	}
	if err := b.await(ctx, ids, b.connected); err != nil {
		return "", err
	}
	all := time.Since(began)
	select {
	case <-time.After(5 * time.Second): // for what is only there while booting
	case <-ctx.Done():
		return "", ctx.Err()
	}
	sum, processes, err := b.memory(ids)
	if err != nil {
		return "", err
	}
	if err := b.terminate(ctx, ids); err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("\nWith Amazon ECS's image, until the agent is connected to the cluster:\n\n")
	out.WriteString(report.Table(append([]string{""}, report.Columns()...), append([]string{"one at a time"}, report.Cells(&joined, report.Milliseconds)...)))
	fmt.Fprintf(&out, "\n%d at once, each with its agent, and then idle:\n\n", many)
	out.WriteString(report.Table([]string{"", ""},
		[]string{"until all are connected", report.Milliseconds(all)},
		[]string{"processes", strconv.Itoa(processes)},
		[]string{"memory of all (PSS)", report.Megabytes(sum)},
		[]string{"memory of one (PSS)", report.Megabytes(sum / int64(many))}))
	return out.String(), nil
}

// prepare makes a cluster and an instance profile.
func (b *bench) prepare(ctx context.Context) error {
	principals := iam.NewFromConfig(b.Config())
	_, err := principals.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: new(name), AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	})
	if err == nil {
		_, err = principals.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: new(name), PolicyArn: new("arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role")})
	}
	if err == nil {
		_, err = principals.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new(name)})
	}
	if err == nil {
		_, err = principals.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: new(name), RoleName: new(name)})
	}
	if err == nil {
		_, err = ecs.NewFromConfig(b.Config()).CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new(name)})
	}
	return err
}

// connected tells whether the instances are registered, with their agents
// connected.
func (b *bench) connected(ctx context.Context, ids []string) (bool, error) {
	client := ecs.NewFromConfig(b.Config())
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	pages := ecs.NewListContainerInstancesPaginator(client, &ecs.ListContainerInstancesInput{Cluster: new(name), Filter: new("agentConnected == true"), Status: ecstypes.ContainerInstanceStatusActive})
	n := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, err
		}
		if len(page.ContainerInstanceArns) == 0 {
			continue
		}
		out, err := client.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(name), ContainerInstances: page.ContainerInstanceArns})
		if err != nil {
			return false, err
		}
		for _, i := range out.ContainerInstances {
			if wanted[*i.Ec2InstanceId] {
				n++
			}
		}
	}
	return n == len(ids), nil
}

func (b *bench) terminate(ctx context.Context, ids []string) error {
	if _, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return err
	}
	return b.await(ctx, ids, b.gone)
}
