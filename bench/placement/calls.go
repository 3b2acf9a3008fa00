package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/test/rawaws"
)

const (
	ecsImage = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	join     = "#!/bin/bash\necho ECS_CLUSTER=" + cluster + " >> /etc/ecs/ecs.config\n"
	clients  = 16
)

// throughTheAPI measures RunTask on simulated instances, with this server and
// with moto's.
func throughTheAPI(ctx context.Context, binary, dir string, span time.Duration) (string, error) {
	var rows [][]string
	for _, n := range apiSizes {
		ours, joined, err := roadstead(ctx, binary, filepath.Join(dir, fmt.Sprintf("data-%d", n)), n, span)
		if err != nil {
			return "", fmt.Errorf("roadstead with %d instances: %w", n, err)
		}
		peer, err := moto(ctx, dir, n, span)
		if err != nil {
			return "", fmt.Errorf("moto with %d instances: %w", n, err)
		}
		fmt.Printf("RunTask on %4d instances: %s, moto %s\n", n, ours, peer)
		rows = append(rows, []string{
			fmt.Sprint(n), ours.one(), ours.ten(), peer.one(), peer.ten(),
			report.Ratio(ours.tens, peer.tens) + "×", report.Milliseconds(joined),
		})
	}
	return "### RunTask through the API\n\n" +
		report.Table([]string{"instances", "tasks/s", "tasks/s, ten a call", "moto", "moto, ten a call", "to moto's", "launched and joined"}, rows...) +
		fmt.Sprintf("\nRunTask from %d clients at once, spread by zone and then instance, on instances of the server's own that run nothing but the real agent: each task goes to its agent and through its life meanwhile, on the same cores. moto_server's instances are records, as its tasks are: it takes the first with room, whatever the strategy, and starts nothing. Both use as many cores as they can.\n", clients), nil
}

// rates are how many tasks a second were run, one and ten to a call.
type rates struct{ ones, tens float64 }

func (r rates) one() string    { return perSecond(r.ones) }
func (r rates) ten() string    { return perSecond(r.tens) }
func (r rates) String() string { return r.one() + " and " + r.ten() + " tasks/s" }

func roadstead(ctx context.Context, binary, dir string, n int, span time.Duration) (r rates, joined time.Duration, err error) {
	s, err := server.Start(ctx, server.Options{Binary: binary, DataDir: dir, Engine: "fake"})
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	c := rawaws.New(s.Endpoint, clients)
	defer c.Close()
	if err := prepare(ctx, s, c); err != nil {
		return r, 0, err
	}
	began := time.Now()
	api := ec2.NewFromConfig(s.Config())
	for left := n; left > 0; left -= 100 {
		if _, err := api.RunInstances(ctx, &ec2.RunInstancesInput{
			ImageId: new(ecsImage), InstanceType: types.InstanceTypeM524xlarge, MinCount: new(int32(min(left, 100))), MaxCount: new(int32(min(left, 100))),
			IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: new(cluster)}, UserData: new(base64.StdEncoding.EncodeToString([]byte(join))),
		}); err != nil {
			return r, 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		k, err := connected(ctx, c)
		if err != nil {
			return r, 0, err
		}
		if k == n {
			break
		}
		select {
		case <-ctx.Done():
			return r, 0, fmt.Errorf("%d of %d agents are connected: %w", k, n, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	joined = time.Since(began)
	r, err = runTasks(ctx, c, span)
	return r, joined, err
}

// prepare makes what instances need to join the cluster.
func prepare(ctx context.Context, s *server.Server, c *rawaws.Client) error {
	principals := iam.NewFromConfig(s.Config())
	_, err := principals.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: new(cluster), AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	})
	if err == nil {
		_, err = principals.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: new(cluster), PolicyArn: new("arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role")})
	}
	if err == nil {
		_, err = principals.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new(cluster)})
	}
	if err == nil {
		_, err = principals.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: new(cluster), RoleName: new(cluster)})
	}
	if err == nil {
		err = c.Call(ctx, rawaws.ECS, "CreateCluster", rawaws.Object{"clusterName": cluster}, nil)
	}
	if err == nil {
		err = register(ctx, c)
	}
	return err
}

func register(ctx context.Context, c *rawaws.Client) error {
	return c.Call(ctx, rawaws.ECS, "RegisterTaskDefinition", rawaws.Object{
		"family": "job", "networkMode": "bridge", "requiresCompatibilities": []string{"EC2"},
		"containerDefinitions": []rawaws.Object{{"name": "main", "image": "job:1", "cpu": 1, "memory": 6}},
	}, nil)
}

func connected(ctx context.Context, c *rawaws.Client) (int, error) {
	n, token := 0, ""
	for {
		in := rawaws.Object{"cluster": cluster, "filter": "agentConnected == true"}
		if token != "" {
			in["nextToken"] = token
		}
		var out struct {
			ContainerInstanceArns []string `json:"containerInstanceArns"`
			NextToken             string   `json:"nextToken"`
		}
		if err := c.Call(ctx, rawaws.ECS, "ListContainerInstances", in, &out); err != nil {
			return 0, err
		}
		n += len(out.ContainerInstanceArns)
		if token = out.NextToken; token == "" {
			return n, nil
		}
	}
}

// moto registers container instances with moto_server.
func moto(ctx context.Context, dir string, n int, span time.Duration) (r rates, err error) {
	s, err := server.Moto(ctx, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	c := rawaws.New(s.Endpoint, clients)
	defer c.Close()
	if err := c.Call(ctx, rawaws.ECS, "CreateCluster", rawaws.Object{"clusterName": cluster}, nil); err != nil {
		return r, err
	}
	if err := register(ctx, c); err != nil {
		return r, err
	}
	api := ec2.NewFromConfig(s.Config())
	images, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	if err != nil || len(images.Images) == 0 {
		return r, fmt.Errorf("moto has no image: %w", err)
	}
	for left := n; left > 0; left -= 100 {
		out, err := api.RunInstances(ctx, &ec2.RunInstancesInput{
			ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeM524xlarge, MinCount: new(int32(min(left, 100))), MaxCount: new(int32(min(left, 100))),
		})
		if err != nil {
			return r, err
		}
		for _, i := range out.Instances {
			document := fmt.Sprintf(`{"instanceId":%q,"accountId":"123456789012","region":"us-east-1"}`, *i.InstanceId)
			if err := c.Call(ctx, rawaws.ECS, "RegisterContainerInstance", rawaws.Object{"cluster": cluster, "instanceIdentityDocument": document}, nil); err != nil {
				return r, err
			}
		}
	}
	return runTasks(ctx, c, span)
}

// runTasks runs tasks from all clients for the span, one to a call and then ten.
func runTasks(ctx context.Context, c *rawaws.Client, span time.Duration) (r rates, err error) {
	if r.ones, err = runTask(ctx, c, span, 1); err == nil {
		r.tens, err = runTask(ctx, c, span, 10)
	}
	return r, err
}

func runTask(ctx context.Context, c *rawaws.Client, span time.Duration, count int) (float64, error) {
	in := rawaws.Object{
		"cluster": cluster, "taskDefinition": "job", "launchType": "EC2", "count": count,
		"placementStrategy": []rawaws.Object{{"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "spread", "field": "instanceId"}},
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	var failed error
	began := time.Now()
	for range clients {
		wg.Go(func() {
			sum := 0
			var err error
			for err == nil && time.Since(began) < span {
				var out struct {
					Tasks    []struct{}      `json:"tasks"`
					Failures []rawaws.Object `json:"failures"`
				}
				if err = c.Call(ctx, rawaws.ECS, "RunTask", in, &out); err == nil && len(out.Tasks) < count {
					err = fmt.Errorf("%d of %d tasks were placed: %v", len(out.Tasks), count, out.Failures[:min(len(out.Failures), 1)])
				}
				sum += len(out.Tasks)
			}
			mu.Lock()
			defer mu.Unlock()
			total += sum
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	return float64(total) / time.Since(began).Seconds(), failed
}
