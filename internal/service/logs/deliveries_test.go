package logs_test

import (
	"testing"

	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestDeliveries(t *testing.T) {
	f, ctx := setUp(t), t.Context()
	lb := model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/app/web/50dc6c495c0c9188")
	tx := store.NewTxn()
	tables.LoadBalancers.Create(tx, account, region, "50dc6c495c0c9188", &model.LoadBalancer{ID: "50dc6c495c0c9188", ARN: lb})
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
