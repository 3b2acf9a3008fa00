package resourcegroupstaggingapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/resourcegroupstaggingapi"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
)

// Bounds of GetResources:
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
const (
	defaultResources = 50
	maxResources     = 100
	minTags          = 100
	maxTags          = 500
	maxTypes         = 100
)

// maxNames is how many keys or values a page has.
const maxNames = 1000

// tokenLife is how long a page token is good.
const tokenLife = 15 * time.Minute

var errToken = invalid("The specified PaginationToken is invalid.")

// tokenFor is the token of the page behind position.
func tokenFor(c *api.Call, position string, list ...string) *string {
	issued := strconv.FormatInt(c.Time.Unix(), 10)
	return new(pagetoken.Make(issued+" "+position, append([]string{c.Account, c.Region}, list...)...))
}

// openToken is the position in a token, "" without one.
func openToken(c *api.Call, token *string, list ...string) (string, error) {
	if value(token) == "" {
		return "", nil
	}
	text, ok := pagetoken.Open(*token, append([]string{c.Account, c.Region}, list...)...)
	issued, position, cut := strings.Cut(text, " ")
	n, err := strconv.ParseInt(issued, 10, 64)
	if !ok || !cut || err != nil {
		return "", errToken
	}
	if c.Time.Sub(time.Unix(n, 0)) > tokenLife {
		return "", resourcegroupstaggingapi.NewPaginationTokenExpiredException("The specified PaginationToken has expired. A PaginationToken is valid for a maximum of 15 minutes.")
	}
	return position, nil
}

// GetResources lists the resources that have tags or had.
func (s *Service) GetResources(ctx context.Context, in *resourcegroupstaggingapi.GetResourcesInput) (*resourcegroupstaggingapi.GetResourcesOutput, error) {
	c := api.CallFrom(ctx)
	if err := checkGet(c, in); err != nil {
		return nil, err
	}
	filters, err := json.Marshal([]any{in.TagFilters, in.ResourceTypeFilters})
	if err != nil {
		return nil, err
	}
	after, err := openToken(c, in.PaginationToken, "GetResources", string(filters))
	if err != nil {
		return nil, err
	}
	found, err := s.all(ctx, serviceFilter(in))
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r resource) bool { return r.arn <= after || !selected(in, r) })
	slices.SortFunc(found, func(a, b resource) int { return cmp.Compare(a.arn, b.arn) })
	out := &resourcegroupstaggingapi.GetResourcesOutput{PaginationToken: new(""), ResourceTagMappingList: []resourcegroupstaggingapi.ResourceTagMapping{}}
	// Nothing is noncompliant where there are no tag policies.
	if value(in.ExcludeCompliantResources) {
		return out, nil
	}
	n := fit(in, found)
	if n < len(found) {
		out.PaginationToken = tokenFor(c, found[n-1].arn, "GetResources", string(filters))
	}
	for _, r := range found[:n] {
		m := resourcegroupstaggingapi.ResourceTagMapping{ResourceARN: new(r.arn), Tags: []resourcegroupstaggingapi.Tag{}}
		for _, k := range slices.Sorted(maps.Keys(r.tags)) {
			m.Tags = append(m.Tags, resourcegroupstaggingapi.Tag{Key: new(k), Value: new(r.tags[k])})
		}
		if value(in.IncludeComplianceDetails) {
			m.ComplianceDetails = &resourcegroupstaggingapi.ComplianceDetails{
				ComplianceStatus: new(true), NoncompliantKeys: []string{}, KeysWithNoncompliantValues: []string{},
			}
		}
		out.ResourceTagMappingList = append(out.ResourceTagMappingList, m)
	}
	return out, nil
}

// checkGet checks what a GetResources says by itself.
func checkGet(c *api.Call, in *resourcegroupstaggingapi.GetResourcesInput) error {
	listed := len(in.ResourceARNList) > 0
	switch n, tags := in.ResourcesPerPage, in.TagsPerPage; {
	case listed && len(in.ResourceTypeFilters) > 0:
		return invalid("You can't specify both ResourceARNList and ResourceTypeFilters in the same request.")
	case listed && len(in.TagFilters) > 0:
		return invalid("You can't specify both ResourceARNList and TagFilters in the same request.")
	case listed && (n != nil || tags != nil || value(in.PaginationToken) != ""):
		return invalid("You can't specify both ResourceARNList and any of the pagination parameters (ResourcesPerPage, TagsPerPage, PaginationToken) in the same request.")
	case n != nil && (*n < 1 || *n > maxResources):
		return invalid("ResourcesPerPage must be between 1 and %d", maxResources)
	case tags != nil && (*tags < minTags || *tags > maxTags):
		return invalid("TagsPerPage must be between %d and %d", minTags, maxTags)
	case len(in.ResourceTypeFilters) > maxTypes:
		return invalid("ResourceTypeFilters can include up to %d items", maxTypes)
	case value(in.ExcludeCompliantResources) && !value(in.IncludeComplianceDetails):
		return invalid("You can use ExcludeCompliantResources only if IncludeComplianceDetails is also set to true.")
	}
	for _, arn := range in.ResourceARNList {
		if _, err := parse(c, arn); err != nil {
			return err
		}
	}
	for _, f := range in.ResourceTypeFilters {
		service, kind, has := strings.Cut(f, ":")
		if service == "" || has && kind == "" {
			return invalid("'%s' is not a valid resource type: the format is service[:resourceType]", f)
		}
	}
	seen := map[string]bool{}
	for _, f := range in.TagFilters {
		switch k := value(f.Key); {
		case k == "":
			return invalid("A tag filter must contain a key")
		case seen[k]:
			return invalid("The tag key '%s' is specified more than once in TagFilters", k)
		default:
			seen[k] = true
		}
	}
	return nil
}

// parse takes an ARN of the caller's partition apart.
func parse(c *api.Call, arn string) (model.ARN, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return a, invalid("'%s' is not a valid ARN", arn)
	}
	if a.Partition != model.Partition(c.Region) {
		return a, invalid("The partition '%s' of the ARN '%s' is not the one of the Region %s", a.Partition, arn, c.Region)
	}
	return a, nil
}

// serviceFilter tells which services' resources may be selected at all.
func serviceFilter(in *resourcegroupstaggingapi.GetResourcesInput) func(string) bool {
	if len(in.ResourceTypeFilters) == 0 && len(in.ResourceARNList) == 0 {
		return everyService
	}
	wanted := map[string]bool{}
	for _, f := range in.ResourceTypeFilters {
		service, _, _ := strings.Cut(f, ":")
		wanted[service] = true
	}
	for _, arn := range in.ResourceARNList {
		if a, err := model.ParseARN(arn); err == nil {
			wanted[a.Service] = true
		}
	}
	return func(name string) bool { return wanted[name] }
}

// selected tells whether the filters let a resource through: every tag filter,
// by any of its values.
func selected(in *resourcegroupstaggingapi.GetResourcesInput, r resource) bool {
	if len(in.ResourceARNList) > 0 && !slices.Contains(in.ResourceARNList, r.arn) {
		return false
	}
	if len(in.ResourceTypeFilters) > 0 && !slices.ContainsFunc(in.ResourceTypeFilters, func(f string) bool { return ofType(r.arn, f) }) {
		return false
	}
	for _, f := range in.TagFilters {
		v, has := r.tags[value(f.Key)]
		if !has || len(f.Values) > 0 && !slices.Contains(f.Values, v) {
			return false
		}
	}
	return true
}

// ofType tells whether an ARN is of a type: a service, or a service with what
// the resource begins with, as ec2:vpc or elasticloadbalancing:loadbalancer/app.
func ofType(arn, filter string) bool {
	a, err := model.ParseARN(arn)
	if err != nil {
		return false
	}
	service, kind, has := strings.Cut(filter, ":")
	if a.Service != service {
		return false
	}
	rest, ok := strings.CutPrefix(a.Resource, kind)
	return !has || ok && (rest == "" || rest[0] == '/' || rest[0] == ':')
}

// fit is how many of the resources go on a page. A resource without tags
// counts as one tag.
func fit(in *resourcegroupstaggingapi.GetResourcesInput, found []resource) int {
	if len(in.ResourceARNList) > 0 {
		return len(found)
	}
	limit := defaultResources
	if in.ResourcesPerPage != nil {
		limit = int(*in.ResourcesPerPage)
	} else if in.TagsPerPage != nil {
		limit = maxTags
	}
	n := min(limit, len(found))
	if in.TagsPerPage == nil {
		return n
	}
	tags := 0
	for i, r := range found[:n] {
		if tags += max(len(r.tags), 1); tags > int(*in.TagsPerPage) && i > 0 {
			return i
		}
	}
	return n
}

// GetTagKeys lists the keys in use.
func (s *Service) GetTagKeys(ctx context.Context, in *resourcegroupstaggingapi.GetTagKeysInput) (*resourcegroupstaggingapi.GetTagKeysOutput, error) {
	keys, next, err := s.names(ctx, in.PaginationToken, []string{"GetTagKeys"}, func(t model.Tags, add func(string)) {
		for k := range t {
			add(k)
		}
	})
	return &resourcegroupstaggingapi.GetTagKeysOutput{PaginationToken: next, TagKeys: keys}, err
}

// GetTagValues lists the values in use for a key.
func (s *Service) GetTagValues(ctx context.Context, in *resourcegroupstaggingapi.GetTagValuesInput) (*resourcegroupstaggingapi.GetTagValuesOutput, error) {
	values, next, err := s.names(ctx, in.PaginationToken, []string{"GetTagValues", *in.Key}, func(t model.Tags, add func(string)) {
		if v, has := t[*in.Key]; has {
			add(v)
		}
	})
	return &resourcegroupstaggingapi.GetTagValuesOutput{PaginationToken: next, TagValues: values}, err
}

// names is a page of the distinct names that of finds in tags.
func (s *Service) names(ctx context.Context, token *string, list []string, of func(t model.Tags, add func(string))) ([]string, *string, error) {
	c := api.CallFrom(ctx)
	after, err := openToken(c, token, list...)
	if err != nil {
		return nil, nil, err
	}
	found, err := s.all(ctx, everyService)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, r := range found {
		of(r.tags, func(name string) { seen[name] = true })
	}
	names := make([]string, 0, len(seen))
	for n := range seen {
		// A value may be empty: it comes first.
		if value(token) == "" || n > after {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if len(names) <= maxNames {
		return names, new(""), nil
	}
	return names[:maxNames], tokenFor(c, names[maxNames-1], list...), nil
}
