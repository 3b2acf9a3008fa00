package autoscaling

import (
	"context"
	"encoding/json"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/pagetoken"
)

// paged asks for a page of a list.
type paged struct {
	token *string
	size  *int32
	// usual is how many items a page has unless the request says; most is the
	// most it may say.
	usual, most int32
	// operation and in tell which list it is; of in all but size and token.
	operation string
	in        any
}

// page is the part of items behind the token, and the token of the next part.
// Items come in the order of their positions.
func page[T any](ctx context.Context, p paged, items []T, position func(T) string) ([]T, *string, error) {
	c := api.CallFrom(ctx)
	size := p.usual
	if p.size != nil {
		if size = *p.size; size < 1 {
			return nil, nil, constraint(size, "maxRecords", "have value greater than or equal to 1")
		}
		if size > p.most {
			return nil, nil, constraint(size, "maxRecords", "have value less than or equal to %d", p.most)
		}
	}
	which, err := json.Marshal(p.in)
	if err != nil {
		return nil, nil, err
	}
	list := []string{p.operation, c.Account, c.Region, string(which)}
	if t := value(p.token); t != "" {
		after, ok := pagetoken.Open(t, list...)
		if !ok {
			return nil, nil, autoscaling.NewInvalidNextToken("The token '%s' is invalid.", t)
		}
		i := 0
		for i < len(items) && position(items[i]) <= after {
			i++
		}
		items = items[i:]
	}
	if len(items) <= int(size) {
		return items, nil, nil
	}
	return items[:size], new(pagetoken.Make(position(items[size-1]), list...)), nil
}

// nothing checks the token and size of a page of a list that is always empty.
func nothing(ctx context.Context, p paged) error {
	_, _, err := page(ctx, p, nil, func(struct{}) string { return "" })
	return err
}
