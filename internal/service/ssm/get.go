package ssm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// How much is listed where a request does not say.
const (
	pathPage    = 10
	historyPage = 50
	listPage    = 50
)

// selected reads the version of a parameter that a selector names.
func (s *Service) selected(ctx context.Context, row store.Row[model.Parameter], selector string) (*model.ParameterVersion, error) {
	if selector == "" {
		return &row.V.Latest, nil
	}
	number, err := strconv.ParseInt(selector, 10, 64)
	if err != nil {
		labelled, ok := row.V.Labels[selector]
		if !ok {
			return nil, noVersion(row.V.Name, selector)
		}
		number = labelled
	}
	if number == row.V.Latest.Version {
		return &row.V.Latest, nil
	}
	v, err := tables.ParameterVersions.Get(ctx, s.Store, row.Key.Account, row.Key.Region, model.ParameterVersionID(row.V.Name, number))
	if errors.Is(err, store.ErrNotFound) {
		return nil, noVersion(row.V.Name, selector)
	}
	if err != nil {
		return nil, fmt.Errorf("read a version of a parameter: %w", err)
	}
	return v.V, nil
}

func noVersion(name, version string) error {
	return ssm.NewParameterVersionNotFound("Systems Manager could not find version %s of %s. Verify the version and try again.", version, name)
}

// value is a version's value: of a SecureString, what it is only with decrypt.
func (s *Service) value(key store.Key, name string, v *model.ParameterVersion, decrypt *bool) (string, error) {
	if v.Type != model.ParameterSecureString || !isTrue(decrypt) {
		return v.Value, nil
	}
	b, err := s.Key.Open(model.ParameterARN(key.Region, key.Account, name), v.Value)
	if err != nil {
		return "", fmt.Errorf("read the value of a parameter: %w", err)
	}
	return string(b), nil
}

// parameter is a version as the Get operations answer it.
func (s *Service) parameter(key store.Key, name, selector string, v *model.ParameterVersion, decrypt *bool) (*ssm.Parameter, error) {
	val, err := s.value(key, name, v, decrypt)
	if err != nil {
		return nil, err
	}
	p := &ssm.Parameter{
		ARN: new(model.ParameterARN(key.Region, key.Account, name)), Name: &name, Type: ssm.ParameterType(v.Type), Value: &val,
		Version: new(v.Version), DataType: new(v.DataType), LastModifiedDate: new(v.ModifiedAt),
	}
	if selector != "" {
		p.Selector = new(":" + selector)
	}
	return p, nil
}

// get reads what a request names.
func (s *Service) get(ctx context.Context, text string, decrypt *bool) (*ssm.Parameter, error) {
	r := refer(api.CallFrom(ctx), text)
	if r.isPublic() && !r.foreign {
		return s.public(ctx, r)
	}
	row, err := s.find(ctx, r)
	if err != nil {
		return nil, err
	}
	v, err := s.selected(ctx, row, r.selector)
	if err != nil {
		return nil, err
	}
	return s.parameter(row.Key, row.V.Name, r.selector, v, decrypt)
}

// GetParameter implements ssm.Handler.
func (s *Service) GetParameter(ctx context.Context, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
	p, err := s.get(ctx, *in.Name, in.WithDecryption)
	if err != nil {
		return nil, err
	}
	return &ssm.GetParameterOutput{Parameter: p}, nil
}

// GetParameters implements ssm.Handler.
func (s *Service) GetParameters(ctx context.Context, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error) {
	out := &ssm.GetParametersOutput{Parameters: []ssm.Parameter{}, InvalidParameters: []string{}}
	for _, name := range in.Names {
		p, err := s.get(ctx, name, in.WithDecryption)
		if _, known := errors.AsType[api.Error](err); known {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, *p)
	}
	return out, nil
}

// GetParametersByPath implements ssm.Handler.
func (s *Service) GetParametersByPath(ctx context.Context, in *ssm.GetParametersByPathInput) (*ssm.GetParametersByPathOutput, error) {
	path := *in.Path
	if !strings.HasPrefix(path, "/") || !wellFormed(path) {
		return nil, invalid(`The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash "/". It can't be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, if specified, must use the forward slash symbol "/". Valid example: /get/parameters2-/by1./path0_.`)
	}
	if err := checkFilters(in.ParameterFilters, true); err != nil {
		return nil, err
	}
	chosen := listOf(ctx, "GetParametersByPath", path, isTrue(in.Recursive), in.ParameterFilters)
	if strings.HasPrefix(path+"/", publicRoot) {
		return s.publicByPath(ctx, in, chosen...)
	}
	rows, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	label := labelFilter(in.ParameterFilters)
	var found []store.Row[model.Parameter]
	for _, row := range rows {
		if under(row.V.Name, path, isTrue(in.Recursive)) && passes(row.V, in.ParameterFilters) {
			found = append(found, row)
		}
	}
	found, next, err := page(found, rowName, in.NextToken, in.MaxResults, pathPage, chosen...)
	if err != nil {
		return nil, err
	}
	out := &ssm.GetParametersByPathOutput{NextToken: next, Parameters: []ssm.Parameter{}}
	for _, row := range found {
		selector := firstLabel(row.V, label)
		v, err := s.selected(ctx, row, selector)
		if err != nil {
			return nil, err
		}
		p, err := s.parameter(row.Key, row.V.Name, selector, v, in.WithDecryption)
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, *p)
	}
	return out, nil
}

func rowName(r store.Row[model.Parameter]) string { return r.V.Name }

// list reads the parameters of the caller's account and region, by name.
func (s *Service) list(ctx context.Context) ([]store.Row[model.Parameter], error) {
	c := api.CallFrom(ctx)
	rows, err := tables.Parameters.List(ctx, s.Store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return nil, fmt.Errorf("list parameters: %w", err)
	}
	return rows, nil
}

// under tells whether a name is below a path: directly, or anywhere with
// recursive. A name without a slash is directly below the root.
func under(name, path string, recursive bool) bool {
	rest, ok := strings.CutPrefix("/"+strings.TrimPrefix(name, "/"), strings.TrimSuffix(path, "/")+"/")
	return ok && rest != "" && (recursive || !strings.Contains(rest, "/"))
}

// GetParameterHistory implements ssm.Handler.
func (s *Service) GetParameterHistory(ctx context.Context, in *ssm.GetParameterHistoryInput) (*ssm.GetParameterHistoryOutput, error) {
	row, err := s.find(ctx, refer(api.CallFrom(ctx), *in.Name))
	if err != nil {
		return nil, err
	}
	all, err := s.versions(ctx, row)
	if err != nil {
		return nil, err
	}
	key := func(v *model.ParameterVersion) string { return model.ParameterVersionID("", v.Version) }
	all, next, err := page(all, key, in.NextToken, in.MaxResults, historyPage, listOf(ctx, "GetParameterHistory", row.V.Name)...)
	if err != nil {
		return nil, err
	}
	out := &ssm.GetParameterHistoryOutput{NextToken: next}
	for _, v := range all {
		val, err := s.value(row.Key, row.V.Name, v, in.WithDecryption)
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, ssm.ParameterHistory{
			Name: new(row.V.Name), Type: ssm.ParameterType(v.Type), Value: &val, Version: new(v.Version), KeyId: opt(v.KeyID),
			AllowedPattern: opt(v.AllowedPattern), DataType: new(v.DataType), Description: opt(v.Description), Tier: ssm.ParameterTier(v.Tier),
			LastModifiedDate: new(v.ModifiedAt), LastModifiedUser: new(v.ModifiedBy), Labels: labelsOf(row.V, v.Version), Policies: []ssm.ParameterInlinePolicy{},
		})
	}
	return out, nil
}

// DescribeParameters implements ssm.Handler.
func (s *Service) DescribeParameters(ctx context.Context, in *ssm.DescribeParametersInput) (*ssm.DescribeParametersOutput, error) {
	if len(in.Filters) > 0 && len(in.ParameterFilters) > 0 {
		return nil, invalid("You can use either Filters or ParameterFilters in a single request.")
	}
	if err := checkFilters(in.ParameterFilters, false); err != nil {
		return nil, err
	}
	rows, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var found []store.Row[model.Parameter]
	for _, row := range rows {
		// No parameter is shared by another account.
		if !isTrue(in.Shared) && passes(row.V, in.ParameterFilters) && passesOld(row.V, in.Filters) {
			found = append(found, row)
		}
	}
	found, next, err := page(found, rowName, in.NextToken, in.MaxResults, listPage,
		listOf(ctx, "DescribeParameters", in.Filters, in.ParameterFilters, isTrue(in.Shared))...)
	if err != nil {
		return nil, err
	}
	out := &ssm.DescribeParametersOutput{NextToken: next, Parameters: []ssm.ParameterMetadata{}}
	for _, row := range found {
		v := &row.V.Latest
		out.Parameters = append(out.Parameters, ssm.ParameterMetadata{
			ARN: new(model.ParameterARN(row.Key.Region, row.Key.Account, row.V.Name)), Name: new(row.V.Name), Type: ssm.ParameterType(v.Type),
			Version: new(v.Version), KeyId: opt(v.KeyID), AllowedPattern: opt(v.AllowedPattern), DataType: new(v.DataType), Description: opt(v.Description),
			Tier: ssm.ParameterTier(v.Tier), LastModifiedDate: new(v.ModifiedAt), LastModifiedUser: new(v.ModifiedBy), Policies: []ssm.ParameterInlinePolicy{},
		})
	}
	return out, nil
}
