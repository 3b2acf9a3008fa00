package logs_test

import (
	"testing"

	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"roadstead.dev/internal/api"
	apilogs "roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestDeliveries(t *testing.T) {
	f, ctx := setUp(t), t.Context()
	lb := model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/app/web/50dc6c495c0c9188")
	tx := store.NewTxn()
	tables.LoadBalancers.Create(tx, account, region, "50dc6c495c0c9188", &model.LoadBalancer{ID: "50dc6c495c0c9188", ARN: lb})
	net := model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/net/front/60dc6c495c0c9188")
	tables.LoadBalancers.Create(tx, account, region, "60dc6c495c0c9188", &model.LoadBalancer{ID: "60dc6c495c0c9188", ARN: net})
	if _, err := tx.Commit(ctx, f.store); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CreateLogGroup(ctx, &cwl.CreateLogGroupInput{LogGroupName: new("/elb/web")}); err != nil {
		t.Fatal(err)
	}
	group := model.LogGroupARN(region, account, "/elb/web") + ":*"
	source := func(name, arn, kind string) error {
		_, err := f.PutDeliverySource(ctx, &cwl.PutDeliverySourceInput{Name: &name, ResourceArn: &arn, LogType: &kind})
		return err
	}
	destination := func(name, arn string, format types.OutputFormat) error {
		_, err := f.PutDeliveryDestination(ctx, &cwl.PutDeliveryDestinationInput{Name: &name, OutputFormat: format, DeliveryDestinationConfiguration: &types.DeliveryDestinationConfiguration{DestinationResourceArn: &arn}})
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{source("s", lb, "ALB_ACCESS_LOGS"), ""},
		{source("s", lb, "ALB_ACCESS_LOGS"), ""},
		{source("s", lb, "ALB_CONNECTION_LOGS"), "ConflictException"},
		{source("t", lb, "NLB_ACCESS_LOGS"), "ValidationException"},
		{source("t", net, "ALB_ACCESS_LOGS"), "ValidationException"},
		{source("net", net, "NLB_ACCESS_LOGS"), ""},
		{source("checks", lb, "ALB_HEALTH_CHECK_LOGS"), ""},
		{source("t", lb+"0", "ALB_ACCESS_LOGS"), "ResourceNotFoundException"},
		{destination("d", group, types.OutputFormatPlain), ""},
		{destination("e", "arn:aws:s3:::bucket", types.OutputFormatPlain), "ValidationException"},
		{destination("e", group, types.OutputFormatParquet), "ValidationException"},
		{destination("e", model.LogGroupARN(region, account, "none"), ""), "ResourceNotFoundException"},
	} {
		if code(c.err) != c.want {
			t.Errorf("%v, not %s", c.err, c.want)
		}
	}
	d, err := f.GetDeliveryDestination(ctx, &cwl.GetDeliveryDestinationInput{Name: new("d")})
	if err != nil {
		t.Fatal(err)
	}
	create := func(fields ...string) (*cwl.CreateDeliveryOutput, error) {
		return f.CreateDelivery(ctx, &cwl.CreateDeliveryInput{DeliverySourceName: new("s"), DeliveryDestinationArn: d.DeliveryDestination.Arn, RecordFields: fields})
	}
	if _, err := create("nothing"); code(err) != "ValidationException" {
		t.Error(err)
	}
	made, err := create("time", "elb_status_code")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(); code(err) != "ConflictException" {
		t.Error(err)
	}
	if _, err := f.UpdateDeliveryConfiguration(ctx, &cwl.UpdateDeliveryConfigurationInput{Id: made.Delivery.Id, FieldDelimiter: new("\t")}); err != nil {
		t.Error(err)
	}
	got, err := f.GetDelivery(ctx, &cwl.GetDeliveryInput{Id: made.Delivery.Id})
	if err != nil || *got.Delivery.FieldDelimiter != "\t" || len(got.Delivery.RecordFields) != 2 || got.Delivery.DeliveryDestinationType != types.DeliveryDestinationTypeCwl {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := f.DeleteDeliverySource(ctx, &cwl.DeleteDeliverySourceInput{Name: new("s")}); code(err) != "ConflictException" {
		t.Error(err)
	}
	if _, err := f.DeleteDeliveryDestination(ctx, &cwl.DeleteDeliveryDestinationInput{Name: new("d")}); code(err) != "ConflictException" {
		t.Error(err)
	}
	if l, err := f.DescribeDeliveries(ctx, &cwl.DescribeDeliveriesInput{}); err != nil || len(l.Deliveries) != 1 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := f.DeleteDelivery(ctx, &cwl.DeleteDeliveryInput{Id: made.Delivery.Id}); err != nil {
		t.Error(err)
	}
	if _, err := f.DeleteDeliverySource(ctx, &cwl.DeleteDeliverySourceInput{Name: new("s")}); err != nil {
		t.Error(err)
	}
	if _, err := f.DeleteDeliveryDestination(ctx, &cwl.DeleteDeliveryDestinationInput{Name: new("d")}); err != nil {
		t.Error(err)
	}
	if _, err := f.DeleteDeliverySource(ctx, &cwl.DeleteDeliverySourceInput{Name: new("checks")}); err != nil {
		t.Error(err)
	}
	if _, err := f.DeleteDeliverySource(ctx, &cwl.DeleteDeliverySourceInput{Name: new("net")}); err != nil {
		t.Error(err)
	}
	if l, err := f.DescribeDeliverySources(ctx, &cwl.DescribeDeliverySourcesInput{}); err != nil || len(l.DeliverySources) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if l, err := f.DescribeDeliveryDestinations(ctx, &cwl.DescribeDeliveryDestinationsInput{}); err != nil || len(l.DeliveryDestinations) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := f.GetDeliverySource(ctx, &cwl.GetDeliverySourceInput{Name: new("s")}); code(err) != "ResourceNotFoundException" {
		t.Error(err)
	}
}

// TestDeliveryTags tags each part of a delivery, changes the parts, and looks at
// the tags by ARN.
func TestDeliveryTags(t *testing.T) {
	f, ctx := setUp(t), t.Context()
	lb := model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/app/web/50dc6c495c0c9188")
	tx := store.NewTxn()
	tables.LoadBalancers.Create(tx, account, region, "50dc6c495c0c9188", &model.LoadBalancer{ID: "50dc6c495c0c9188", ARN: lb})
	if _, err := tx.Commit(ctx, f.store); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CreateLogGroup(ctx, &cwl.CreateLogGroupInput{LogGroupName: new("g")}); err != nil {
		t.Fatal(err)
	}
	put := func(tags map[string]string) (source, destination *string) {
		t.Helper()
		s, err := f.PutDeliverySource(ctx, &cwl.PutDeliverySourceInput{Name: new("s"), ResourceArn: &lb, LogType: new("ALB_ACCESS_LOGS"), Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		d, err := f.PutDeliveryDestination(ctx, &cwl.PutDeliveryDestinationInput{
			Name: new("d"), DeliveryDestinationConfiguration: &types.DeliveryDestinationConfiguration{DestinationResourceArn: new(model.LogGroupARN(region, account, "g"))}, Tags: tags,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s.DeliverySource.Arn, d.DeliveryDestination.Arn
	}
	source, destination := put(map[string]string{"a": "1"})
	delivery, err := f.CreateDelivery(ctx, &cwl.CreateDeliveryInput{DeliverySourceName: new("s"), DeliveryDestinationArn: destination, Tags: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	put(nil) // a change without tags leaves them
	for _, arn := range []*string{source, destination, delivery.Delivery.Arn} {
		if _, err := f.TagResource(ctx, &cwl.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"b": "2", "c": "3"}}); err != nil {
			t.Error(err)
		}
		if _, err := f.UntagResource(ctx, &cwl.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"c"}}); err != nil {
			t.Error(err)
		}
		got, err := f.ListTagsForResource(ctx, &cwl.ListTagsForResourceInput{ResourceArn: arn})
		if err != nil || len(got.Tags) != 2 || got.Tags["a"] != "1" || got.Tags["b"] != "2" {
			t.Errorf("%s: %+v, %v", *arn, got, err)
		}
		if _, err := f.TagResource(ctx, &cwl.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"aws:x": ""}}); code(err) != "InvalidParameterException" {
			t.Errorf("%s: AWS's own key: %v", *arn, err)
		}
		if _, err := f.ListTagsForResource(ctx, &cwl.ListTagsForResourceInput{ResourceArn: new(*arn + "x")}); code(err) != "ResourceNotFoundException" {
			t.Errorf("%sx: %v", *arn, err)
		}
	}
}

func TestDeliveryDestinationPolicy(t *testing.T) {
	f, ctx := setUp(t), t.Context()
	const arn = "arn:aws:logs:" + region + ":" + account + ":delivery-destination:d"
	// In-process: the fixture's gateway weighs no policies of resources.
	in := api.WithCall(ctx, &api.Call{Account: account, Region: region, Partition: "aws"})
	policy := func() string {
		t.Helper()
		text, _, err := f.service.PolicyOf(in, arn)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const text = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"logs:CreateDelivery","Resource":"` + arn + `"}}`
	put := func(text string) error {
		_, err := f.PutDeliveryDestinationPolicy(ctx, &cwl.PutDeliveryDestinationPolicyInput{DeliveryDestinationName: new("d"), DeliveryDestinationPolicy: &text})
		return err
	}
	if got := policy(); code(put(text)) != "ResourceNotFoundException" || got != "" {
		t.Errorf("there is no destination yet, and its policy is %q", got)
	}
	if _, err := f.CreateLogGroup(ctx, &cwl.CreateLogGroupInput{LogGroupName: new("g")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutDeliveryDestination(ctx, &cwl.PutDeliveryDestinationInput{
		Name: new("d"), DeliveryDestinationConfiguration: &types.DeliveryDestinationConfiguration{DestinationResourceArn: new(model.LogGroupARN(region, account, "g"))},
	}); err != nil {
		t.Fatal(err)
	}
	if err := put("{"); code(err) != "ValidationException" {
		t.Errorf("no policy: %v", err)
	}
	if err := put(text); err != nil || policy() != text {
		t.Errorf("%q, %v", policy(), err)
	}
	if got, err := f.service.GetDeliveryDestinationPolicy(in, &apilogs.GetDeliveryDestinationPolicyInput{DeliveryDestinationName: new("d")}); err != nil || *got.Policy.DeliveryDestinationPolicy != text {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.service.DeleteDeliveryDestinationPolicy(in, &apilogs.DeleteDeliveryDestinationPolicyInput{DeliveryDestinationName: new("d")}); err != nil || policy() != "" {
		t.Errorf("%q, %v", policy(), err)
	}
	if got, err := f.service.GetDeliveryDestinationPolicy(in, &apilogs.GetDeliveryDestinationPolicyInput{DeliveryDestinationName: new("d")}); err != nil || got.Policy.DeliveryDestinationPolicy != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
