package hostile

import (
	"os"
	"slices"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/api/cloudwatch"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/api/resourcegroupstaggingapi"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/api/sts"
)

// services are all that are served.
var services = []*api.Service{
	acm.New(nil), autoscaling.New(nil), inQuery(cloudwatch.New(nil)), ec2.New(nil), ecr.New(nil), ecs.New(nil), elb.New(nil), elbv2.New(nil), iam.New(nil), logs.New(nil), resourcegroupstaggingapi.New(nil),
	secretsmanager.New(nil), ssm.New(nil), sts.New(nil),
}

// inQuery has a service that speaks several protocols tested in the query one.
func inQuery(s *api.Service) *api.Service {
	s.Protocol = api.Query
	return s
}

// restServices are those whose requests are no bodies: rest_test.go.
var restServices = []*api.Service{s3.New(nil)}

// A service that joins the others is tested with them.
func TestEveryServiceIsTested(t *testing.T) {
	entries, err := os.ReadDir("../../internal/api")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.ContainsFunc(slices.Concat(services, restServices), func(s *api.Service) bool { return s.Name == e.Name() }) {
			t.Errorf("%s is not among the services that are tested", e.Name())
		}
	}
	for _, s := range services {
		switch s.Protocol {
		case api.JSON, api.Query, api.EC2Query:
		default:
			t.Errorf("%s speaks %s, which this test does not", s.Name, s.Protocol)
		}
	}
}

// A pattern that Go cannot say would be no constraint at all.
func TestEveryPatternIsChecked(t *testing.T) {
	for _, s := range slices.Concat(services, restServices) {
		for i := range s.Shapes {
			if sh := &s.Shapes[i]; sh.Pattern != "" && sh.Regexp() == nil {
				t.Errorf("%s: the pattern of %s is not checked: %s", s.Name, sh.Name, sh.Pattern)
			}
		}
	}
}

func service(name string) *api.Service {
	for _, s := range services {
		if s.Name == name {
			return s
		}
	}
	panic("no service " + name)
}
