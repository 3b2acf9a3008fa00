package e2e

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// answering is how the sample app names its task.
var answering = regexp.MustCompile(`task/\S+/[0-9a-f]{32}`)

// TestTerraformExample applies examples/terraform as its README says: the
// service answers, a new image rolls it over, and nothing is left in the end.
func TestTerraformExample(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := shared(t)
	name := unique(t, "t")
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tf := configure(t, s, "../../../../examples/terraform", map[string]string{"name": name, "sources": sources, "image_tag": "v1"})
	t.Cleanup(func() {
		if t.Failed() {
			out, code := tf.run("destroy", "-auto-approve")
			t.Logf("destroy after failure: %d\n%s", code, lastOf(out))
		}
	})

	tf.apply("1", "37 added, 0 changed, 0 destroyed")
	browser, url := s.newBrowser(), tf.output("url")+"/"
	tasks := map[string]bool{}
	eventually(t, 30*time.Second, "both tasks answer", func() error {
		code, body, err := get(browser, url)
		if err != nil || code != http.StatusOK {
			return errorf("%d %q %v", code, body, err)
		}
		tasks[answering.FindString(body)] = true
		if len(tasks) < 2 || tasks[""] {
			return errorf("answered: %v", tasks)
		}
		return nil
	})

	// Terraform waits until the service is steady: then only new tasks answer.
	tf.env = append(tf.env, "TF_VAR_image_tag=v2")
	tf.apply("2", "2 added, 1 changed, 2 destroyed")
	for range 6 {
		code, body, err := get(browser, url)
		if err != nil || code != http.StatusOK || tasks[answering.FindString(body)] {
			t.Errorf("after the new image: %d %q %v", code, body, err)
		}
	}
	images, err := s.ecr.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: new(name)})
	if err != nil || len(images.ImageDetails) != 1 || len(images.ImageDetails[0].ImageTags) != 2 {
		t.Errorf("the same sources make the same image, under both tags: %+v %v", images, err)
	}

	tf.destroy("2")
	ctx := t.Context()
	_, err = s.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	gone(t, "RepositoryNotFoundException", err)
	_, err = s.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{name}})
	gone(t, "LoadBalancerNotFound", err)
	vpcs, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("tag:Example"), Values: []string{name}}}})
	if err != nil || len(vpcs.Vpcs) != 0 {
		t.Errorf("VPCs: %+v %v", vpcs, err)
	}
	addresses, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []ec2types.Filter{{Name: new("tag:Example"), Values: []string{name}}}})
	if err != nil || len(addresses.Addresses) != 0 {
		t.Errorf("addresses: %+v %v", addresses, err)
	}
	groups, err := s.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: new("/ecs/" + name)})
	if err != nil || len(groups.LogGroups) != 0 {
		t.Errorf("log groups: %+v %v", groups, err)
	}
	clusters, err := s.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{name}})
	if err != nil || len(clusters.Clusters) == 1 && *clusters.Clusters[0].Status != "INACTIVE" {
		t.Errorf("the cluster: %+v %v", clusters, err)
	}
	interfaces, err := s.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{{Name: new("group-name"), Values: []string{name, name + "-lb"}}}})
	if err != nil || len(interfaces.NetworkInterfaces) != 0 {
		t.Errorf("interfaces: %+v %v", strings.TrimSpace(name), err)
	}
}
