package ec2

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
)

// query is what all Describe operations take.
type query struct {
	op      string
	ids     []string
	filters []ec2.Filter
	max     *int32
	token   *string
}

// kind is how resources of one kind are described.
type kind[T any] struct {
	noun  noun
	table *store.Table[T]
	id    func(*T) string
	tags  func(*T) model.Tags
	// hidden resources are on their way out.
	hidden func(*T) bool
	// field gives a resource's values of a filter; ok is false when there is
	// no filter of that name.
	field func(v *T, name string) (values []string, ok bool)
}

// get reads one resource that is not hidden.
func (k kind[T]) get(ctx context.Context, s *Service, call *api.Call, id string) (store.Row[T], error) {
	row, err := k.table.Get(ctx, s.store, call.Account, call.Region, id)
	if err != nil {
		return row, k.noun.orMissing(err, id)
	}
	if k.hidden != nil && k.hidden(row.V) {
		return row, k.noun.missing(id)
	}
	return row, nil
}

// all reads all resources of the call's region that are not hidden.
func (k kind[T]) all(ctx context.Context, s *Service, call *api.Call) ([]*T, error) {
	rows, err := k.table.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
	if err != nil {
		return nil, err
	}
	var out []*T
	for _, r := range rows {
		if k.hidden == nil || !k.hidden(r.V) {
			out = append(out, r.V)
		}
	}
	return out, nil
}

// describe reads the resources that q selects, and the token of the next
// page.
func (k kind[T]) describe(ctx context.Context, s *Service, call *api.Call, q query) ([]*T, *string, error) {
	var found []*T
	if len(q.ids) > 0 {
		seen := map[string]bool{}
		for _, id := range q.ids {
			row, err := k.get(ctx, s, call, id)
			if err != nil {
				return nil, nil, err
			}
			if !seen[id] {
				seen[id] = true
				found = append(found, row.V)
			}
		}
	} else {
		var err error
		if found, err = k.all(ctx, s, call); err != nil {
			return nil, nil, err
		}
	}
	return selectPage(call, found, q, k.id, k.tags, k.field)
}

// maxFilterValues is how many values all filters of a request may have
// together.
const maxFilterValues = 200

// selectPage filters and pages what was found. Pages follow the order of ids.
func selectPage[T any](call *api.Call, found []*T, q query, id func(*T) string, tags func(*T) model.Tags, field func(*T, string) ([]string, bool)) ([]*T, *string, error) {
	if q.max != nil && len(q.ids) > 0 {
		return nil, nil, api.NewFault("InvalidParameterCombination", "The parameter MaxResults cannot be used with resource IDs in the same request.")
	}
	match, err := compile(q.filters, tags, field)
	if err != nil {
		return nil, nil, err
	}
	list := q.identity(call)
	after := ""
	if token := deref(q.token); token != "" {
		var ok bool
		if after, ok = pagetoken.Open(token, list...); !ok {
			return nil, nil, invalidValue("Value ( %s ) for parameter NextToken is invalid. The token is invalid.", token)
		}
	}
	found = slices.DeleteFunc(slices.Clone(found), func(v *T) bool { return id(v) <= after && after != "" || !match(v) })
	slices.SortFunc(found, func(a, b *T) int { return strings.Compare(id(a), id(b)) })
	if q.max != nil && *q.max > 0 && len(found) > int(*q.max) {
		found = found[:*q.max]
		return found, new(pagetoken.Make(id(found[len(found)-1]), list...)), nil
	}
	return found, nil, nil
}

// identity is what makes the list that pages are taken of.
func (q *query) identity(call *api.Call) []string {
	list := []string{q.op, call.Account, call.Region}
	for _, f := range q.filters {
		list = append(append(list, "filter", deref(f.Name)), f.Values...)
	}
	return list
}

// compile makes a test of filters: all must match, each by any of its values.
func compile[T any](filters []ec2.Filter, tags func(*T) model.Tags, field func(*T, string) ([]string, bool)) (func(*T) bool, error) {
	type test struct {
		name     string
		patterns []*regexp.Regexp
	}
	var tests []test
	var zero T
	values := 0
	for _, f := range filters {
		name := deref(f.Name)
		if values += len(f.Values); values > maxFilterValues {
			return nil, api.NewFault("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues)
		}
		switch {
		case name == "":
			return nil, invalidValue("The filter 'null' is invalid")
		case len(f.Values) == 0:
			return nil, invalidValue("The filter '%s' must have at least one value", name)
		}
		if !isTagFilter(name) {
			if _, ok := field(&zero, name); !ok {
				return nil, invalidValue("The filter '%s' is invalid", name)
			}
		}
		t := test{name: name}
		for _, v := range f.Values {
			t.patterns = append(t.patterns, pattern(v))
		}
		tests = append(tests, t)
	}
	return func(v *T) bool {
		for _, t := range tests {
			var values []string
			if isTagFilter(t.name) {
				values = tagValues(tags(v), t.name)
			} else {
				values, _ = field(v, t.name)
			}
			if !slices.ContainsFunc(values, func(value string) bool {
				return slices.ContainsFunc(t.patterns, func(p *regexp.Regexp) bool { return p.MatchString(value) })
			}) {
				return false
			}
		}
		return true
	}, nil
}

// pattern is a filter's value, in which * stands for any characters and ? for
// one, unless a backslash precedes them.
func pattern(v string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^(?s:")
	escaped := false
	for _, r := range v {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*':
			b.WriteString(".*")
		case r == '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(")$")
	return regexp.MustCompile(b.String())
}

func isTagFilter(name string) bool {
	return strings.HasPrefix(name, "tag:") || name == "tag-key" || name == "tag-value"
}

func tagValues(tags model.Tags, filter string) []string {
	var values []string
	for k, v := range tags {
		switch filter {
		case "tag-key":
			values = append(values, k)
		case "tag-value", "tag:" + k:
			values = append(values, v)
		}
	}
	return values
}

// one is a filter's only value.
func one(v string) ([]string, bool) { return []string{v}, true }

func oneBool(v bool) ([]string, bool) {
	if v {
		return []string{"true"}, true
	}
	return []string{"false"}, true
}

// inUse runs a deletion in an order that keeps anything new from referring to
// what goes: it is marked first, then users are looked for, then it is
// deleted, or unmarked when check finds a user. last, when not nil, adds more
// to the deletion.
func inUse[T any](ctx context.Context, s *Service, table *store.Table[T], row store.Row[T], deleting func(*T) *bool, check func() error, last func(tx *store.Txn) error) error {
	mark := func(on bool) (store.Row[T], error) {
		return table.Update(ctx, s.store, row.Key.Account, row.Key.Region, row.Key.ID, func(v *T) error {
			if *deleting(v) == on {
				return store.ErrUnchanged
			}
			*deleting(v) = on
			return nil
		})
	}
	if _, err := mark(true); errors.Is(err, store.ErrNotFound) {
		return nil // another request deleted it meanwhile
	} else if err != nil {
		return err
	}
	if err := check(); err != nil {
		if _, undo := mark(false); undo != nil && !errors.Is(undo, store.ErrNotFound) {
			return errors.Join(err, undo)
		}
		return err
	}
	return retry(func() error {
		now, err := table.Get(ctx, s.store, row.Key.Account, row.Key.Region, row.Key.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		table.Delete(tx, now)
		if last != nil {
			if err := last(tx); err != nil {
				return err
			}
		}
		_, err = tx.Commit(ctx, s.store)
		return err
	})
}
