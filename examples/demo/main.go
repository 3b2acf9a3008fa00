// Command demo does what a user of Amazon ECS does first: it pushes an image
// to ECR and runs it as a Fargate service of two tasks behind an Application
// Load Balancer. It speaks AWS's APIs through AWS's own SDK and prints, for
// each step, the AWS CLI command that does the same.
//
// It reads the endpoint, region and keys from the environment that roadstead
// env prints. Running it again brings what is there up to date.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// name is what the demo calls everything that it makes.
const name = "demo"

// logGroup is where the tasks' output goes.
const logGroup = "/ecs/" + name

// The command lines that are printed more than once.
const cliTail = "aws logs tail " + logGroup + " --follow"

// demo carries the clients and what the steps find out.
type demo struct {
	out *steps

	ecr  *ecr.Client
	ecs  *ecs.Client
	ec2  *ec2.Client
	elb  *elb.Client
	iam  *iam.Client
	logs *cloudwatchlogs.Client

	endpoint string
	region   string
	// binary is the sample app, compiled for Linux and linked statically.
	binary string

	image         string
	executionRole string
	taskRole      string
	vpc           string
	subnets       []string
	balancerSG    string
	taskSG        string
	balancer      string
	dnsName       string
	targetGroup   string
	definition    string
}

func main() {
	binary := flag.String("app", "", "the sample app, statically linked for Linux")
	timeout := flag.Duration("timeout", 5*time.Minute, "how long the whole demo may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := run(ctx, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string) error {
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		return errors.New("AWS_ENDPOINT_URL is not set: start roadstead up, then eval $(roadstead env)")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	d := &demo{
		out:      &steps{w: os.Stdout},
		ecr:      ecr.NewFromConfig(cfg),
		ecs:      ecs.NewFromConfig(cfg),
		ec2:      ec2.NewFromConfig(cfg),
		elb:      elb.NewFromConfig(cfg),
		iam:      iam.NewFromConfig(cfg),
		logs:     cloudwatchlogs.NewFromConfig(cfg),
		endpoint: endpoint,
		region:   cfg.Region,
		binary:   binary,
	}
	for _, step := range []func(context.Context) error{
		d.pushImage,
		d.createLogGroup,
		d.createRoles,
		d.findNetwork,
		d.createSecurityGroups,
		d.createLoadBalancer,
		d.createTargetGroup,
		d.createListener,
		d.createCluster,
		d.registerTaskDefinition,
		d.createService,
		d.waitUntilStable,
		d.waitUntilHealthy,
		d.visit,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
