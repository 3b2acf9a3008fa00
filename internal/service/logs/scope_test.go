package logs_test

import (
	"testing"

	"roadstead.dev/internal/api"
	apilogs "roadstead.dev/internal/api/logs"
)

// A group's ARN may end with ":*" in a request; to a policy it is one group.
func TestScopeOfTaggedGroups(t *testing.T) {
	f := setUp(t)
	ctx := api.WithCall(t.Context(), &api.Call{Account: account, Region: region, Partition: "aws"})
	const arn = "arn:aws:logs:eu-west-1:000000000000:log-group:g"
	for given, want := range map[string]string{arn: arn, arn + ":*": arn, "arn:aws-cn:logs:eu-west-1:000000000000:log-group:g": "arn:aws-cn:logs:eu-west-1:000000000000:log-group:g"} {
		for _, in := range []any{&apilogs.TagResourceInput{ResourceArn: &given}, &apilogs.UntagResourceInput{ResourceArn: &given}, &apilogs.ListTagsForResourceInput{ResourceArn: &given}} {
			if got, _ := f.service.ScopeOf(ctx, nil, in); len(got) != 1 || got[0] != want {
				t.Errorf("%T of %s: %v", in, given, got)
			}
		}
	}
	if _, err := f.service.TagResource(ctx, &apilogs.TagResourceInput{ResourceArn: new("arn:aws-cn:logs:eu-west-1:000000000000:log-group:g"), Tags: map[string]string{"a": "b"}}); api.Code(err) != "ResourceNotFoundException" {
		t.Errorf("another partition's group: %v", err)
	}
}
