package elbv2

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
)

// maxPage is how many items a page has, unless the request wants fewer.
const maxPage = 400

// paged asks for a page of a list.
type paged struct {
	marker *string
	size   *int32
	// list is the operation and its filters.
	list []string
}

// page is the part of items behind the marker, and the marker of the next
// part. Items come in the order of their positions.
func page[T any](ctx context.Context, in paged, items []T, position func(T) string) ([]T, *string, error) {
	c := api.CallFrom(ctx)
	list := append([]string{c.Account, c.Region}, in.list...)
	if m := value(in.marker); m != "" {
		after, ok := pagetoken.Open(m, list...)
		if !ok {
			return nil, nil, invalid("The marker '%s' is not valid", m)
		}
		i := 0
		for i < len(items) && position(items[i]) <= after {
			i++
		}
		items = items[i:]
	}
	limit := maxPage
	if in.size != nil {
		limit = int(*in.size)
	}
	if len(items) <= limit {
		return items, nil, nil
	}
	return items[:limit], new(pagetoken.Make(position(items[limit-1]), list...)), nil
}

func byID[T any](r store.Row[T]) string { return r.Key.ID }
