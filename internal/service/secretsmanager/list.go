package secretsmanager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// defaultPage is how much is listed where a request does not say.
const defaultPage = 100

// paginate sorts what is listed and cuts a page out. Tokens are the position
// of a page's last element, so that what comes and goes between two pages
// moves nothing else.
func paginate[T any](all []T, position func(T) string, descending bool, token *string, limit *int32, list ...string) (page []T, next *string, err error) {
	order := func(a, b string) int {
		if descending {
			a, b = b, a
		}
		return cmp.Compare(a, b)
	}
	slices.SortFunc(all, func(a, b T) int { return order(position(a), position(b)) })
	if token != nil {
		after, ok := pagetoken.Open(*token, list...)
		if !ok {
			return nil, nil, errNextToken
		}
		all = slices.DeleteFunc(all, func(e T) bool { return order(position(e), after) <= 0 })
	}
	size := defaultPage
	if limit != nil {
		size = int(*limit)
	}
	if len(all) > size {
		all = all[:size]
		next = new(pagetoken.Make(position(all[size-1]), list...))
	}
	return all, next, nil
}

// listOf is what makes a list what it is, for paginate: the operation, whose
// it is, and what chose and ordered its elements.
func listOf(ctx context.Context, operation string, chosen ...any) []string {
	c := api.CallFrom(ctx)
	b, err := json.Marshal(chosen)
	if err != nil {
		panic(err) // inputs are made of strings and booleans
	}
	return []string{operation, c.Account, c.Region, string(b)}
}

// stamp makes a time sort as text.
func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z") + " "
}

// ListSecrets implements secretsmanager.Handler.
func (s *Service) ListSecrets(ctx context.Context, in *secretsmanager.ListSecretsInput) (*secretsmanager.ListSecretsOutput, error) {
	c := api.CallFrom(ctx)
	rows, err := tables.Secrets.List(ctx, s.Store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	all := []secretsmanager.SecretListEntry{}
	for _, row := range rows {
		switch {
		case row.V.Gone(c.Time), !row.V.DeletionDate.IsZero() && !isTrue(in.IncludePlannedDeletion), !matches(row.V, in.Filters):
		default:
			all = append(all, entry(row.V))
		}
	}
	position := func(e secretsmanager.SecretListEntry) string {
		switch in.SortBy {
		case secretsmanager.SortByTypeName:
			return *e.Name
		case secretsmanager.SortByTypeLastAccessedDate:
			return stamp(e.LastAccessedDate) + *e.Name
		case secretsmanager.SortByTypeLastChangedDate:
			return stamp(e.LastChangedDate) + *e.Name
		case secretsmanager.SortByTypeCreatedDate:
		}
		return stamp(e.CreatedDate) + *e.Name
	}
	// Secrets come by date, the newest first, as on AWS, unless asked otherwise.
	descending := in.SortOrder != secretsmanager.SortOrderTypeAsc
	page, next, err := paginate(all, position, descending, in.NextToken, in.MaxResults,
		listOf(ctx, "ListSecrets", in.Filters, in.SortBy, descending, isTrue(in.IncludePlannedDeletion))...)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.ListSecretsOutput{SecretList: page, NextToken: next}, nil
}

// matches tells whether a secret passes every filter. A filter passes with
// any of its values; one that begins with "!" passes what does not match it.
func matches(v *model.Secret, filters []secretsmanager.Filter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(f.Values, func(value string) bool {
			value, negated := strings.CutPrefix(value, "!")
			return matchesValue(v, f.Key, value) != negated
		}) {
			return false
		}
	}
	return true
}

func matchesValue(v *model.Secret, key secretsmanager.FilterNameStringType, value string) bool {
	switch key {
	case secretsmanager.FilterNameStringTypeName:
		return strings.HasPrefix(v.Name, value)
	case secretsmanager.FilterNameStringTypeDescription:
		return hasWords(v.Description, value)
	case secretsmanager.FilterNameStringTypeTagKey:
		for k := range v.Tags {
			if strings.HasPrefix(k, value) {
				return true
			}
		}
	case secretsmanager.FilterNameStringTypeTagValue:
		for _, t := range v.Tags {
			if strings.HasPrefix(t, value) {
				return true
			}
		}
	case secretsmanager.FilterNameStringTypeAll:
		text := []string{v.Name, v.Description}
		for k, t := range v.Tags {
			text = append(text, k, t)
		}
		return hasWords(strings.Join(text, " "), value)
	case secretsmanager.FilterNameStringTypePrimaryRegion, secretsmanager.FilterNameStringTypeOwningService:
		// No secret is a replica or a service's.
	}
	return false
}

// hasWords tells whether each word of value begins a word of text, in either
// case.
func hasWords(text, value string) bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(" /_+=.@-!", r) })
	words = append(words, strings.Fields(strings.ToLower(text))...)
	for w := range strings.FieldsSeq(strings.ToLower(value)) {
		if !slices.ContainsFunc(words, func(have string) bool { return strings.HasPrefix(have, w) }) {
			return false
		}
	}
	return true
}
