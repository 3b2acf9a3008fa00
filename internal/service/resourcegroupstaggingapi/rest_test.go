package resourcegroupstaggingapi_test

import (
	"testing"

	rgta "roadstead.dev/internal/api/resourcegroupstaggingapi"
	"roadstead.dev/internal/service/resourcegroupstaggingapi"
)

// TestNothingIsRequired asks an account without an organization for the tags
// that its policies require.
func TestNothingIsRequired(t *testing.T) {
	out, err := new(resourcegroupstaggingapi.Service).ListRequiredTags(t.Context(), &rgta.ListRequiredTagsInput{})
	if err != nil || len(out.RequiredTags) != 0 || out.NextToken != nil {
		t.Errorf("required: %+v, %v", out, err)
	}
}
