package e2e

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// TestTerraformEC2Example applies examples/terraform-ec2 as its README says: the
// group grows from nothing, the tasks find room and answer at dynamic ports, a
// new image rolls the service over, and nothing is left in the end.
func TestTerraformEC2Example(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := shared(t)
	ctx := t.Context()
	name := unique(t, "t")
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tf := configure(t, s, "../../../../examples/terraform-ec2", map[string]string{"name": name, "sources": sources, "image_tag": "v1"})
	t.Cleanup(func() {
		if t.Failed() {
			out, code := tf.run("destroy", "-auto-approve")
			t.Logf("destroy after failure: %d\n%s", code, lastOf(out))
		}
	})

	tf.apply("1", "24 added, 0 changed, 0 destroyed")
	browser, url := s.newBrowser(), tf.output("url")+"/"
	tasks := map[string]bool{}
	eventually(t, 60*time.Second, "all four tasks answer", func() error {
		code, body, err := get(browser, url)
		if err != nil || code != http.StatusOK {
			return errorf("%d %q %v", code, body, err)
		}
		tasks[answering.FindString(body)] = true
		if len(tasks) < 4 || tasks[""] {
			return errorf("answered: %v", tasks)
		}
		return nil
	})
	instances, err := s.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(name)})
	if err != nil || len(instances.ContainerInstanceArns) == 0 || len(instances.ContainerInstanceArns) > 4 {
		t.Errorf("four tasks are on %+v, %v", instances, err)
	}

	tf.env = append(tf.env, "TF_VAR_image_tag=v2")
	tf.apply("2", "2 added, 1 changed, 2 destroyed")
	for range 8 {
		code, body, err := get(browser, url)
		if err != nil || code != http.StatusOK || tasks[answering.FindString(body)] {
			t.Errorf("after the new image: %d %q %v", code, body, err)
		}
	}

	tf.destroy("2")
	left, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: new("tag:aws:autoscaling:groupName"), Values: []string{name}},
		{Name: new("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped", "shutting-down"}},
	}})
	if err != nil || len(left.Reservations) > 0 {
		t.Errorf("instances are left: %+v %v", left, err)
	}
	clusters, err := s.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	if err != nil || len(clusters.Clusters) == 1 && *clusters.Clusters[0].Status != "INACTIVE" {
		t.Errorf("the cluster: %+v %v", clusters, err)
	}
}
