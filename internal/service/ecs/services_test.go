package ecs

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestClusters(t *testing.T) {
	h := start(t)
	made := must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{}))(t).Cluster
	if val(made.ClusterName) != "default" || val(made.ClusterArn) != "arn:aws:ecs:us-east-1:000000000000:cluster/default" || val(made.Status) != "ACTIVE" ||
		len(made.Settings) != 1 || val(made.Settings[0].Value) != "disabled" {
		t.Errorf("made %+v", made)
	}
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{}))(t)
	_, err := h.CreateCluster(h.ctx, &ecs.CreateClusterInput{Settings: []ecs.ClusterSetting{{Name: "containerInsights", Value: new("enabled")}}})
	refused(t, err, "InvalidParameterException", "Arguments on this idempotent request are inconsistent")
	_, err = h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("a b")})
	refused(t, err, "InvalidParameterException", "Invalid identifier")
	_, err = h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("x"), CapacityProviders: []string{"mine"}})
	refused(t, err, "InvalidParameterException", "'mine' was not found")

	must(h.PutAccountSettingDefault(h.ctx, &ecs.PutAccountSettingDefaultInput{Name: "containerInsights", Value: new("enhanced")}))(t)
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("d"), Tags: []ecs.Tag{{Key: new("k"), Value: new("v")}}}))(t)
	out := must(h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{
		Clusters: []string{"d", "none", "arn:aws:ecs:us-east-1:000000000000:cluster/default"},
		Include:  []ecs.ClusterField{"SETTINGS", "TAGS", "STATISTICS"},
	}))(t)
	if len(out.Clusters) != 2 || val(out.Clusters[0].Settings[0].Value) != "enhanced" || len(out.Clusters[0].Tags) != 1 || len(out.Clusters[0].Statistics) != 12 {
		t.Errorf("described %+v", out.Clusters)
	}
	if d := cmp.Diff([]ecs.Failure{missing("arn:aws:ecs:us-east-1:000000000000:cluster/none")}, out.Failures); d != "" {
		t.Error(d)
	}
	must(h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{
		Cluster: new("d"), CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"},
		DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{{CapacityProvider: new("FARGATE_SPOT"), Weight: new(int32(1))}},
	}))(t)
	updated := must(h.UpdateClusterSettings(h.ctx, &ecs.UpdateClusterSettingsInput{Cluster: new("d"), Settings: []ecs.ClusterSetting{{Name: "containerInsights", Value: new("disabled")}}}))(t)
	if len(updated.Cluster.CapacityProviders) != 2 || val(updated.Cluster.Settings[0].Value) != "disabled" {
		t.Errorf("updated %+v", updated.Cluster)
	}
	providers := must(h.DescribeCapacityProviders(h.ctx, &ecs.DescribeCapacityProvidersInput{CapacityProviders: []string{"FARGATE", "x"}}))(t)
	if len(providers.CapacityProviders) != 1 || len(providers.Failures) != 1 {
		t.Errorf("providers %+v", providers)
	}

	gone := must(h.DeleteCluster(h.ctx, &ecs.DeleteClusterInput{Cluster: new("d")}))(t).Cluster
	if val(gone.Status) != "INACTIVE" {
		t.Errorf("deleted: %+v", gone)
	}
	if l := must(h.ListClusters(h.ctx, &ecs.ListClustersInput{}))(t); len(l.ClusterArns) != 1 {
		t.Errorf("listed %v", l.ClusterArns)
	}
	_, err = h.UpdateCluster(h.ctx, &ecs.UpdateClusterInput{Cluster: new("d")})
	refused(t, err, "ClusterNotFoundException", "inactive")
	again := must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("d")}))(t).Cluster
	if val(again.Status) != "ACTIVE" || len(again.Tags) != 0 {
		t.Errorf("created again: %+v", again)
	}
}

func TestClusterConfiguration(t *testing.T) {
	h := start(t)
	override := func(l ecs.ExecuteCommandLogConfiguration) *ecs.ClusterConfiguration {
		return &ecs.ClusterConfiguration{ExecuteCommandConfiguration: &ecs.ExecuteCommandConfiguration{Logging: "OVERRIDE", LogConfiguration: &l}}
	}
	for name, c := range map[string]struct {
		configuration *ecs.ClusterConfiguration
		code          string
	}{
		"managed storage":  {&ecs.ClusterConfiguration{ManagedStorageConfiguration: &ecs.ManagedStorageConfiguration{KmsKeyId: new("k")}}, "UnsupportedFeatureException"},
		"a key":            {&ecs.ClusterConfiguration{ExecuteCommandConfiguration: &ecs.ExecuteCommandConfiguration{KmsKeyId: new("k")}}, "UnsupportedFeatureException"},
		"a bucket":         {override(ecs.ExecuteCommandLogConfiguration{S3BucketName: new("b")}), "UnsupportedFeatureException"},
		"encrypted logs":   {override(ecs.ExecuteCommandLogConfiguration{CloudWatchEncryptionEnabled: new(true)}), "UnsupportedFeatureException"},
		"override of none": {&ecs.ClusterConfiguration{ExecuteCommandConfiguration: &ecs.ExecuteCommandConfiguration{Logging: "OVERRIDE"}}, "InvalidParameterException"},
		"without override": {&ecs.ClusterConfiguration{ExecuteCommandConfiguration: &ecs.ExecuteCommandConfiguration{Logging: "DEFAULT", LogConfiguration: &ecs.ExecuteCommandLogConfiguration{}}}, "InvalidParameterException"},
	} {
		_, err := h.CreateCluster(h.ctx, &ecs.CreateClusterInput{Configuration: c.configuration})
		if api.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{Configuration: override(ecs.ExecuteCommandLogConfiguration{CloudWatchLogGroupName: new("/ecs/exec")})}))(t)
	out := must(h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{Include: []ecs.ClusterField{"CONFIGURATIONS"}}))(t)
	if val(out.Clusters[0].Configuration.ExecuteCommandConfiguration.LogConfiguration.CloudWatchLogGroupName) != "/ecs/exec" {
		t.Errorf("%+v", out.Clusters[0].Configuration)
	}
}

func TestServiceLife(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	svc := must(h.CreateService(h.ctx, serveWeb()))(t).Service
	d := svc.Deployments[0]
	if val(svc.Status) != "ACTIVE" || val(svc.DesiredCount) != 2 || val(svc.RunningCount) != 0 || val(svc.PlatformVersion) != "LATEST" || val(svc.PlatformFamily) != "Linux" ||
		svc.SchedulingStrategy != "REPLICA" || svc.DeploymentController.Type != "ECS" || svc.PropagateTags != "NONE" || svc.Events == nil ||
		val(svc.HealthCheckGracePeriodSeconds) != 0 || val(svc.TaskDefinition) != "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1" {
		t.Errorf("created %+v", svc)
	}
	if c := svc.DeploymentConfiguration; val(c.MaximumPercent) != 200 || val(c.MinimumHealthyPercent) != 100 || c.Strategy != "ROLLING" || val(c.DeploymentCircuitBreaker.Enable) {
		t.Errorf("deployment configuration %+v", c)
	}
	if !regexp.MustCompile(`^ecs-svc/\d{19}$`).MatchString(val(d.Id)) || val(d.Status) != "PRIMARY" || val(d.DesiredCount) != 2 || d.RolloutState != "IN_PROGRESS" ||
		val(d.RolloutStateReason) != "ECS deployment "+val(d.Id)+" in progress." {
		t.Errorf("deployment %+v", d)
	}
	_, err := h.CreateService(h.ctx, serveWeb())
	refused(t, err, "InvalidParameterException", "Creation of service was not idempotent.")
	_, err = h.DeleteCluster(h.ctx, &ecs.DeleteClusterInput{Cluster: new("c")})
	refused(t, err, "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")

	update := func(in ecs.UpdateServiceInput) *ecs.Service {
		t.Helper()
		in.Cluster, in.Service = new("c"), new("s")
		return must(h.UpdateService(h.ctx, &in))(t).Service
	}
	if s := update(ecs.UpdateServiceInput{DesiredCount: new(int32(5))}); len(s.Deployments) != 1 || val(s.DesiredCount) != 5 {
		t.Errorf("scaled: %+v", s)
	}
	if s := update(ecs.UpdateServiceInput{TaskDefinition: new("web")}); len(s.Deployments) != 1 {
		t.Errorf("the same task definition made a deployment: %+v", s.Deployments)
	}
	h.web()
	s := update(ecs.UpdateServiceInput{TaskDefinition: new("web")})
	if len(s.Deployments) != 2 || val(s.Deployments[0].Status) != "PRIMARY" || val(s.Deployments[1].Status) != "ACTIVE" ||
		!strings.HasSuffix(val(s.Deployments[0].TaskDefinition), "web:2") || val(s.Deployments[0].DesiredCount) != 5 || val(s.Deployments[1].Id) != val(d.Id) {
		t.Errorf("a new revision: %+v", s.Deployments)
	}
	if s = update(ecs.UpdateServiceInput{ForceNewDeployment: new(true)}); len(s.Deployments) != 3 {
		t.Errorf("forced: %d deployments", len(s.Deployments))
	}
	n := network()
	n.AwsvpcConfiguration.AssignPublicIp = "ENABLED"
	if s = update(ecs.UpdateServiceInput{NetworkConfiguration: n}); len(s.Deployments) != 4 {
		t.Errorf("another network: %d deployments", len(s.Deployments))
	}

	// It can be scaled down when its load balancer and definition are gone.
	tx := store.NewTxn()
	row, _ := tables.Rules.Get(h.ctx, h.store, account, region, "lb/l/1111111111111111")
	tables.Rules.Delete(tx, row)
	must(tx.Commit(h.ctx, h.store))(t)
	_, err = h.DeleteService(h.ctx, &ecs.DeleteServiceInput{Cluster: new("c"), Service: new("s")})
	refused(t, err, "InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
	update(ecs.UpdateServiceInput{DesiredCount: new(int32(0))})

	del := must(h.DeleteService(h.ctx, &ecs.DeleteServiceInput{Cluster: new("c"), Service: svc.ServiceArn}))(t).Service
	if val(del.Status) != "DRAINING" {
		t.Errorf("deleted: %+v", del)
	}
	_, err = h.CreateService(h.ctx, serveWeb())
	refused(t, err, "InvalidParameterException", "Unable to Start a service that is still Draining.")
	_, err = h.UpdateService(h.ctx, &ecs.UpdateServiceInput{Cluster: new("c"), Service: new("s")})
	refused(t, err, "ServiceNotActiveException", "Service was not ACTIVE.")
	must(tables.ECSServices.Update(h.ctx, h.store, account, region, "c/s", func(v *model.Service) error { v.Status = model.ECSInactive; return nil }))(t)
	_, err = h.DeleteService(h.ctx, &ecs.DeleteServiceInput{Cluster: new("c"), Service: new("s")})
	refused(t, err, "ServiceNotFoundException", "Service not found.")
	out := must(h.DescribeServices(h.ctx, &ecs.DescribeServicesInput{Cluster: new("c"), Services: []string{"s", "none"}}))(t)
	if val(out.Services[0].Status) != "INACTIVE" || len(out.Failures) != 1 || val(out.Failures[0].Arn) != "arn:aws:ecs:us-east-1:000000000000:service/c/none" {
		t.Errorf("described %+v", out)
	}
	in := serveWeb()
	in.LoadBalancers = nil
	again := must(h.CreateService(h.ctx, in))(t).Service
	if val(again.Status) != "ACTIVE" || len(again.Deployments) != 1 || again.HealthCheckGracePeriodSeconds != nil {
		t.Errorf("created again: %+v", again)
	}
	if l := must(h.ListServices(h.ctx, &ecs.ListServicesInput{Cluster: new("c"), LaunchType: "FARGATE"}))(t); len(l.ServiceArns) != 1 {
		t.Errorf("listed %v", l.ServiceArns)
	}
}

func TestCreateServiceRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change        func(*ecs.CreateServiceInput)
		code, message string
	}{
		"group not used": {func(in *ecs.CreateServiceInput) {
			in.LoadBalancers[0].TargetGroupArn = new(groupARN("3333333333333333"))
		}, "InvalidParameterException", "does not have an associated load balancer."},
		"group of type": {func(in *ecs.CreateServiceInput) {
			in.LoadBalancers[0].TargetGroupArn = new(groupARN("2222222222222222"))
		}, "InvalidParameterException", "has target type instance, which is incompatible with the awsvpc network mode specified in the task definition."},
		"no group": {func(in *ecs.CreateServiceInput) {
			in.LoadBalancers[0].TargetGroupArn = new(groupARN("4444444444444444"))
		}, "InvalidParameterException", "does not exist"},
		"port":      {func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].ContainerPort = new(int32(81)) }, "InvalidParameterException", "The container app did not have a container port 81 defined."},
		"container": {func(in *ecs.CreateServiceInput) { in.LoadBalancers[0].ContainerName = new("x") }, "InvalidParameterException", "The container x does not exist in the task definition."},
		"classic": {func(in *ecs.CreateServiceInput) {
			in.LoadBalancers = []ecs.LoadBalancer{{LoadBalancerName: new("old")}}
		}, "InvalidParameterException", "The load balancer old does not exist."},
		"grace": {func(in *ecs.CreateServiceInput) {
			in.LoadBalancers, in.HealthCheckGracePeriodSeconds = nil, new(int32(5))
		}, "InvalidParameterException", "Health check grace period is only valid for services configured to use load balancers"},
		"count":  {func(in *ecs.CreateServiceInput) { in.DesiredCount = nil }, "InvalidParameterException", "Desired count"},
		"name":   {func(in *ecs.CreateServiceInput) { in.ServiceName = new("a/b") }, "InvalidParameterException", "Service name"},
		"daemon": {func(in *ecs.CreateServiceInput) { in.SchedulingStrategy = "DAEMON" }, "InvalidParameterException", "The daemon scheduling strategy is not supported for Fargate tasks."},
		"controller": {func(in *ecs.CreateServiceInput) {
			in.DeploymentController = &ecs.DeploymentController{Type: "CODE_DEPLOY"}
		}, "UnsupportedFeatureException", "CODE_DEPLOY"},
		"blue-green": {func(in *ecs.CreateServiceInput) {
			in.DeploymentConfiguration = &ecs.DeploymentConfiguration{Strategy: "BLUE_GREEN"}
		}, "UnsupportedFeatureException", "BLUE_GREEN"},
		"connect": {func(in *ecs.CreateServiceInput) {
			in.ServiceConnectConfiguration = &ecs.ServiceConnectConfiguration{Enabled: new(true)}
		}, "UnsupportedFeatureException", "Service Connect"},
		"registries": {func(in *ecs.CreateServiceInput) {
			in.ServiceRegistries = []ecs.ServiceRegistry{{RegistryArn: new("x")}}
		}, "UnsupportedFeatureException", "Service discovery"},
		"exec": {func(in *ecs.CreateServiceInput) { in.EnableExecuteCommand = new(true) }, "UnsupportedFeatureException", "ECS Exec"},
		"percents": {func(in *ecs.CreateServiceInput) {
			in.DeploymentConfiguration = &ecs.DeploymentConfiguration{MaximumPercent: new(int32(100))}
		}, "InvalidParameterException", "Both minimumHealthyPercent and maximumPercent cannot be 100 as this will block deployments."},
		"role":        {func(in *ecs.CreateServiceInput) { in.Role = new("r") }, "InvalidParameterException", "service linked role"},
		"no cluster":  {func(in *ecs.CreateServiceInput) { in.Cluster = new("none") }, "ClusterNotFoundException", "Cluster not found."},
		"definitions": {func(in *ecs.CreateServiceInput) { in.TaskDefinition = new("web:9") }, "ClientException", "TaskDefinition not found."},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			h.cluster()
			h.web()
			in := serveWeb()
			tt.change(in)
			_, err := h.CreateService(h.ctx, in)
			refused(t, err, tt.code, tt.message)
		})
	}
}

func TestCreateServiceClientToken(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	in := serveWeb()
	in.ClientToken = new("t")
	one := must(h.CreateService(h.ctx, in))(t)
	two := must(h.CreateService(h.ctx, in))(t)
	if d := cmp.Diff(one, two); d != "" {
		t.Error(d)
	}
	in.DesiredCount = new(int32(9))
	_, err := h.CreateService(h.ctx, in)
	refused(t, err, "InvalidParameterException", "Creation of service was not idempotent.")
}

func TestCapacityProviderStrategyOfService(t *testing.T) {
	h := start(t)
	h.web()
	strategy := []ecs.CapacityProviderStrategyItem{{CapacityProvider: new("FARGATE"), Weight: new(int32(1)), Base: new(int32(1))}}
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("c"), CapacityProviders: []string{"FARGATE"}, DefaultCapacityProviderStrategy: strategy}))(t)
	in := serveWeb()
	in.LaunchType = ""
	svc := must(h.CreateService(h.ctx, in))(t).Service
	if svc.LaunchType != "" || len(svc.CapacityProviderStrategy) != 1 || val(svc.CapacityProviderStrategy[0].CapacityProvider) != "FARGATE" {
		t.Errorf("created %+v", svc)
	}
	run := runWeb()
	run.LaunchType = ""
	task := must(h.RunTask(h.ctx, run))(t).Tasks[0]
	if task.LaunchType != "FARGATE" || val(task.CapacityProviderName) != "FARGATE" {
		t.Errorf("ran %+v", task)
	}
	_, err := h.UpdateService(h.ctx, &ecs.UpdateServiceInput{Cluster: new("c"), Service: new("s"), CapacityProviderStrategy: strategy})
	refused(t, err, "InvalidParameterException", "forced")
	_, err = h.PutClusterCapacityProviders(h.ctx, &ecs.PutClusterCapacityProvidersInput{Cluster: new("c"), CapacityProviders: []string{}, DefaultCapacityProviderStrategy: []ecs.CapacityProviderStrategyItem{}})
	refused(t, err, "ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
}

// TestDeleteClusterRaces runs DeleteCluster against RunTask and CreateService:
// a cluster that is gone never holds what was added at the same time.
func TestDeleteClusterRaces(t *testing.T) {
	for range 20 {
		h := start(t)
		h.cluster()
		h.web()
		var wg sync.WaitGroup
		var ran, made, deleted bool
		wg.Go(func() {
			_, err := h.RunTask(h.ctx, runWeb())
			ran = err == nil
		})
		wg.Go(func() {
			_, err := h.CreateService(h.ctx, serveWeb())
			made = err == nil
		})
		wg.Go(func() {
			_, err := h.DeleteCluster(h.ctx, &ecs.DeleteClusterInput{Cluster: new("c")})
			deleted = err == nil
		})
		wg.Wait()
		c, err := tables.ECSClusters.Get(h.ctx, h.store, account, region, "c")
		if err != nil {
			t.Fatal(err)
		}
		if deleted && (ran || made) || deleted != (c.V.Status == model.ECSInactive) || !deleted && c.V.Status != model.ECSActive {
			t.Fatalf("ran %v, made %v, deleted %v: the cluster is %s", ran, made, deleted, c.V.Status)
		}
	}
}

func TestTags(t *testing.T) {
	h := start(t)
	h.cluster()
	d := h.web()
	must(h.CreateService(h.ctx, serveWeb()))(t)
	task := must(h.RunTask(h.ctx, runWeb()))(t).Tasks[0]
	for _, arn := range []string{
		"arn:aws:ecs:us-east-1:000000000000:cluster/c", "arn:aws:ecs:us-east-1:000000000000:service/c/s", *d.TaskDefinitionArn, *task.TaskArn,
	} {
		must(h.TagResource(h.ctx, &ecs.TagResourceInput{ResourceArn: &arn, Tags: []ecs.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))(t)
		must(h.UntagResource(h.ctx, &ecs.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"b", "team"}}))(t)
		out := must(h.ListTagsForResource(h.ctx, &ecs.ListTagsForResourceInput{ResourceArn: &arn}))(t)
		if d := cmp.Diff([]ecs.Tag{{Key: new("a"), Value: new("1")}}, out.Tags); d != "" {
			t.Errorf("%s:\n%s", arn, d)
		}
	}
	_, err := h.TagResource(h.ctx, &ecs.TagResourceInput{ResourceArn: task.TaskArn, Tags: []ecs.Tag{{Key: new("a"), Value: new("1")}, {Key: new("a"), Value: new("2")}}})
	refused(t, err, "InvalidParameterException", "duplicate")
	_, err = h.ListTagsForResource(h.ctx, &ecs.ListTagsForResourceInput{ResourceArn: new("web")})
	refused(t, err, "InvalidParameterException", "not a valid ARN")
	_, err = h.ListTagsForResource(h.ctx, &ecs.ListTagsForResourceInput{ResourceArn: new("arn:aws:ecs:us-east-1:000000000000:cluster/none")})
	refused(t, err, "ClusterNotFoundException", "Cluster not found.")
}

func TestAccountSettings(t *testing.T) {
	h := start(t)
	for _, bad := range []struct {
		name           ecs.SettingName
		value, message string
	}{
		{"containerInsights", "maybe", "Invalid setting 'value'"},
		{"tagResourceAuthorization", "enabled", "Invalid setting 'value'"},
		{"taskLongArnFormat", "disabled", "You can no longer disable Long Arn settings"},
		{"serviceLongArnFormat", "no", "Invalid setting 'value'"},
	} {
		_, err := h.PutAccountSettingDefault(h.ctx, &ecs.PutAccountSettingDefaultInput{Name: bad.name, Value: &bad.value})
		refused(t, err, "InvalidParameterException", bad.message)
	}
	must(h.PutAccountSetting(h.ctx, &ecs.PutAccountSettingInput{Name: "awsvpcTrunking", Value: new("enabled")}))(t)
	list := func(effective bool) map[string]string {
		out := map[string]string{}
		in := &ecs.ListAccountSettingsInput{EffectiveSettings: &effective}
		for {
			page := must(h.ListAccountSettings(h.ctx, in))(t)
			for _, s := range page.Settings {
				out[string(s.Name)] = val(s.Value)
			}
			if in.NextToken = page.NextToken; in.NextToken == nil {
				return out
			}
		}
	}
	if got := list(false); len(got) != 1 || got["awsvpcTrunking"] != "enabled" {
		t.Errorf("set: %v", got)
	}
	if got := list(true); len(got) != 11 || got["awsvpcTrunking"] != "enabled" || got["taskLongArnFormat"] != "enabled" {
		t.Errorf("effective: %v", got)
	}
	gone := must(h.DeleteAccountSetting(h.ctx, &ecs.DeleteAccountSettingInput{Name: "awsvpcTrunking"}))(t)
	if val(gone.Setting.Value) != "disabled" {
		t.Errorf("deleted: %+v", gone.Setting)
	}
}

// What is not of the caller's partition, account and region is not found, and
// so is nothing that a policy could have meant.
func TestForeignARNsAreNotFound(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	must(h.CreateService(h.ctx, serveWeb()))(t)
	for _, prefix := range []string{"arn:aws-cn:ecs:us-east-1:000000000000:", "arn:aws:ecs:eu-west-1:000000000000:", "arn:aws:ecs:us-east-1:999999999999:"} {
		in := &ecs.DeleteServiceInput{Cluster: new("c"), Service: new(prefix + "service/c/s"), Force: new(true)}
		_, err := h.DeleteService(h.ctx, in)
		refused(t, err, "ServiceNotFoundException", "")
		_, err = h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{Clusters: []string{prefix + "cluster/c"}})
		if err != nil {
			t.Error(err)
		}
		_, err = h.UpdateCluster(h.ctx, &ecs.UpdateClusterInput{Cluster: new(prefix + "cluster/c")})
		refused(t, err, "ClusterNotFoundException", "")
	}
}

func TestRetryIsBounded(t *testing.T) {
	tries := 0
	_, err := retry(t.Context(), func() (int, error) { tries++; return 0, store.ErrConflict })
	if !errors.Is(err, store.ErrConflict) || tries != maxTries {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestScope(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	for _, tt := range []struct {
		in      any
		arns    []string
		cluster string
	}{
		{&ecs.RunTaskInput{Cluster: new("c"), TaskDefinition: new("web")}, []string{"arn:aws:ecs:us-east-1:000000000000:task-definition/web:1"}, "c"},
		{&ecs.StopTaskInput{Task: new("0123456789abcdef0123456789abcdef")}, []string{"arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef"}, "default"},
		{&ecs.DescribeServicesInput{Cluster: new("arn:aws:ecs:us-east-1:000000000000:cluster/c"), Services: []string{"s"}}, []string{"arn:aws:ecs:us-east-1:000000000000:service/c/s"}, "c"},
		{&ecs.ListTasksInput{Cluster: new("c")}, nil, "c"},
		// Other names of the same resources, which a policy that denies must meet.
		{&ecs.DeleteServiceInput{Cluster: new("c"), Service: new("c/s")}, []string{"arn:aws:ecs:us-east-1:000000000000:service/c/s"}, "c"},
		{&ecs.DeleteServiceInput{Cluster: new("c"), Service: new("arn:aws:ecs:us-east-1:000000000000:service/s")}, []string{"arn:aws:ecs:us-east-1:000000000000:service/c/s"}, "c"},
		{&ecs.StopTaskInput{Cluster: new("c"), Task: new("arn:aws:ecs:us-east-1:000000000000:task/x")}, []string{"arn:aws:ecs:us-east-1:000000000000:task/c/x"}, "c"},
		{&ecs.ListClustersInput{}, nil, ""},
	} {
		arns, conditions := h.ScopeOf(h.ctx, nil, tt.in)
		if d := cmp.Diff(tt.arns, arns); d != "" {
			t.Errorf("%T:\n%s", tt.in, d)
		}
		if got := conditions["ecs:cluster"]; tt.cluster != "" && !strings.HasSuffix(got, "cluster/"+tt.cluster) || tt.cluster == "" && got != "" {
			t.Errorf("%T: cluster %q", tt.in, got)
		}
	}
}

func TestOtherAccountsAreNotFound(t *testing.T) {
	h := start(t)
	h.cluster()
	for _, ref := range []string{"arn:aws:ecs:us-east-1:111111111111:cluster/c", "arn:aws:ecs:eu-west-1:000000000000:cluster/c"} {
		_, err := h.ListServices(h.ctx, &ecs.ListServicesInput{Cluster: &ref})
		refused(t, err, "ClusterNotFoundException", "Cluster not found.")
	}
	other := *h.call
	other.Account = "111111111111"
	_, err := h.ListServices(api.WithCall(t.Context(), &other), &ecs.ListServicesInput{Cluster: new("c")})
	refused(t, err, "ClusterNotFoundException", "Cluster not found.")
	_, err = h.DescribeTasks(h.ctx, &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: []string{"arn:aws:ecs:us-east-1:000000000000:task/d/x"}})
	refused(t, err, "InvalidParameterException", "Identifier is for cluster d. Your cluster is c")
}

func TestZoneRebalancing(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	create := func(name string, rebalancing ecs.AvailabilityZoneRebalancing, most *int32) (*ecs.CreateServiceOutput, error) {
		in := serveWeb()
		in.ServiceName, in.AvailabilityZoneRebalancing = new(name), rebalancing
		if most != nil {
			in.DeploymentConfiguration = &ecs.DeploymentConfiguration{MaximumPercent: most, MinimumHealthyPercent: new(int32(0))}
		}
		return h.CreateService(h.ctx, in)
	}
	for _, c := range []struct {
		name        string
		rebalancing ecs.AvailabilityZoneRebalancing
		most        *int32
		want        ecs.AvailabilityZoneRebalancing
	}{
		{"by-default", "", nil, "ENABLED"},
		{"cannot", "", new(int32(100)), "DISABLED"},
		{"off", "DISABLED", nil, "DISABLED"},
	} {
		if out := must(create(c.name, c.rebalancing, c.most))(t); out.Service.AvailabilityZoneRebalancing != c.want {
			t.Errorf("%s: %s, want %s", c.name, out.Service.AvailabilityZoneRebalancing, c.want)
		}
	}
	_, err := create("refused", "ENABLED", new(int32(100)))
	refused(t, err, "InvalidParameterException", "maximumPercent must be greater than 100")
	// An update that does not speak of it leaves it alone.
	out := must(h.UpdateService(h.ctx, &ecs.UpdateServiceInput{Cluster: new("c"), Service: new("by-default"), DesiredCount: new(int32(1))}))(t)
	if out.Service.AvailabilityZoneRebalancing != "ENABLED" {
		t.Errorf("after an update: %s", out.Service.AvailabilityZoneRebalancing)
	}
}
