// Package resourcegroupstaggingapi serves the Resource Groups Tagging API: it
// finds the tagged resources of all services, and tags them by their services'
// own operations. It keeps no records.
package resourcegroupstaggingapi

import (
	"context"
	"log/slog"

	"roadstead.dev/internal/api/resourcegroupstaggingapi"
	"roadstead.dev/internal/store"
)

// Operations calls operations of other services.
type Operations interface {
	// Invoke calls an operation for the caller of ctx, who needs its permission,
	// and returns its output or its error. Service is the API's name.
	Invoke(ctx context.Context, service, operation string, in any) (any, error)
}

// Config is what a Service needs. Log may be nil.
type Config struct {
	Store      store.Store
	Operations Operations
	Log        *slog.Logger
}

// Service implements resourcegroupstaggingapi.Handler.
type Service struct{ Config }

var _ resourcegroupstaggingapi.Handler = (*Service)(nil)

// New makes a Service.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{c}
}

func invalid(format string, args ...any) error {
	return resourcegroupstaggingapi.NewInvalidParameterException(format, args...)
}

// errNoOrganization refuses what only the management account of an
// organization may ask: accounts here belong to none.
var errNoOrganization = resourcegroupstaggingapi.NewConstraintViolationException(
	"You can perform this operation only from the management account of an organization in which tag policies are enabled.")

// GetComplianceSummary is refused.
func (s *Service) GetComplianceSummary(context.Context, *resourcegroupstaggingapi.GetComplianceSummaryInput) (*resourcegroupstaggingapi.GetComplianceSummaryOutput, error) {
	return nil, errNoOrganization
}

// StartReportCreation is refused.
func (s *Service) StartReportCreation(context.Context, *resourcegroupstaggingapi.StartReportCreationInput) (*resourcegroupstaggingapi.StartReportCreationOutput, error) {
	return nil, errNoOrganization
}

// DescribeReportCreation is refused.
func (s *Service) DescribeReportCreation(context.Context, *resourcegroupstaggingapi.DescribeReportCreationInput) (*resourcegroupstaggingapi.DescribeReportCreationOutput, error) {
	return nil, errNoOrganization
}

// ListRequiredTags lists what an organization's tag policies require of the
// account: nothing, as there are none. No list goes on, so no token is known.
func (s *Service) ListRequiredTags(_ context.Context, in *resourcegroupstaggingapi.ListRequiredTagsInput) (*resourcegroupstaggingapi.ListRequiredTagsOutput, error) {
	if value(in.NextToken) != "" {
		return nil, errToken
	}
	return &resourcegroupstaggingapi.ListRequiredTagsOutput{RequiredTags: []resourcegroupstaggingapi.RequiredTag{}}, nil
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
