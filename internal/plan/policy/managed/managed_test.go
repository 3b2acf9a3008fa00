package managed

import (
	"testing"

	"roadstead.dev/internal/plan/policy"
)

func TestPoliciesParse(t *testing.T) {
	ids := map[string]string{}
	for _, p := range All() {
		if _, err := policy.Parse(p.Document, policy.Identity); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.Description == "" || p.Created.IsZero() || p.Updated.Before(p.Created) || p.Version == "" {
			t.Errorf("%s is not fully described: %+v", p.Name, p)
		}
		if len(p.ID) != 21 || ids[p.ID] != "" {
			t.Errorf("%s: id %q is wrong or that of %s", p.Name, p.ID, ids[p.ID])
		}
		ids[p.ID] = p.Name
		if got, ok := Get(p.ARN); !ok || got != p {
			t.Errorf("%s is not found by its ARN %s", p.Name, p.ARN)
		}
	}
}

func TestWhatPeopleAttach(t *testing.T) {
	for _, arn := range []string{
		"arn:aws:iam::aws:policy/AdministratorAccess",
		"arn:aws:iam::aws:policy/PowerUserAccess",
		"arn:aws:iam::aws:policy/ReadOnlyAccess",
		"arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
		"arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role",
		"arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceRole",
		"arn:aws:iam::aws:policy/AmazonECS_FullAccess",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess",
		"arn:aws:iam::aws:policy/CloudWatchLogsFullAccess",
		"arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
		"arn:aws:iam::aws:policy/AutoScalingFullAccess",
		"arn:aws:iam::aws:policy/ElasticLoadBalancingFullAccess",
		"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",
		"arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
		"arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
	} {
		if _, ok := Get(arn); !ok {
			t.Errorf("no %s", arn)
		}
	}
}
