package resourcegroupstaggingapi

import (
	"context"
	"errors"
	"net/http"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/resourcegroupstaggingapi"
	"roadstead.dev/internal/model"
)

// TagResources adds tags to resources, or changes their values.
func (s *Service) TagResources(ctx context.Context, in *resourcegroupstaggingapi.TagResourcesInput) (*resourcegroupstaggingapi.TagResourcesOutput, error) {
	failed, err := s.eachARN(ctx, in.ResourceARNList, func(src source, arn model.ARN) error {
		return src.tag(ctx, s.Operations, arn, in.Tags)
	})
	return &resourcegroupstaggingapi.TagResourcesOutput{FailedResourcesMap: failed}, err
}

// UntagResources removes tags from resources.
func (s *Service) UntagResources(ctx context.Context, in *resourcegroupstaggingapi.UntagResourcesInput) (*resourcegroupstaggingapi.UntagResourcesOutput, error) {
	failed, err := s.eachARN(ctx, in.ResourceARNList, func(src source, arn model.ARN) error {
		return src.untag(ctx, s.Operations, arn, in.TagKeys)
	})
	return &resourcegroupstaggingapi.UntagResourcesOutput{FailedResourcesMap: failed}, err
}

// eachARN does something to each resource, and tells of those that it failed
// for. An ARN that is none fails the whole request.
func (s *Service) eachARN(ctx context.Context, arns []string, do func(source, model.ARN) error) (map[string]resourcegroupstaggingapi.FailureInfo, error) {
	c := api.CallFrom(ctx)
	parsed := make(map[string]model.ARN, len(arns))
	for _, arn := range arns {
		a, err := parse(c, arn)
		if err != nil {
			return nil, err
		}
		parsed[arn] = a
	}
	failed := map[string]resourcegroupstaggingapi.FailureInfo{}
	for arn, a := range parsed {
		err := inReach(c, a)
		if err == nil {
			if src, ok := sources[a.Service]; ok {
				err = do(src, a)
			} else {
				err = errType
			}
		}
		if err != nil {
			failed[arn] = s.failure(ctx, arn, err)
		}
	}
	return failed, nil
}

// inReach refuses resources of other accounts and regions.
func inReach(c *api.Call, a model.ARN) error {
	if a.Service == "s3" {
		return nil // ARNs of buckets say neither: S3 itself refuses others'
	}
	region := a.Region
	if region == "" {
		region = globalRegion[a.Partition]
	}
	if region != c.Region {
		return invalid("The resource '%s' is not in the Region %s", a, c.Region)
	}
	if a.Account != c.Account {
		return invalid("The resource '%s' does not belong to the account %s", a, c.Account)
	}
	return nil
}

// failure tells why a resource was not changed, by its service's own code.
func (s *Service) failure(ctx context.Context, arn string, err error) resourcegroupstaggingapi.FailureInfo {
	if e, ok := errors.AsType[api.Error](err); ok {
		return resourcegroupstaggingapi.FailureInfo{
			StatusCode: new(int32(e.HTTPStatus())), ErrorCode: resourcegroupstaggingapi.ErrorCode(e.ErrorCode()), ErrorMessage: new(e.ErrorMessage()),
		}
	}
	message := "The resource's service did not respond."
	if errors.Is(err, errType) {
		message = "The resource type is not supported by the Resource Groups Tagging API."
	} else {
		s.Log.ErrorContext(ctx, "tagging failed", "resource", arn, "error", err)
	}
	return resourcegroupstaggingapi.FailureInfo{
		StatusCode: new(int32(http.StatusInternalServerError)), ErrorCode: resourcegroupstaggingapi.ErrorCodeInternalServiceException, ErrorMessage: &message,
	}
}
