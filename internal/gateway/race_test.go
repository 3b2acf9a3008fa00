package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/store"
)

func TestOvertakenHandlersReadAnew(t *testing.T) {
	gone := fmt.Errorf("vpc-1: %w", store.ErrNotFound)
	refused := api.NewFault("InvalidVpcID.NotFound", "gone")
	for name, tt := range map[string]struct {
		errs  []error
		want  error
		calls int
	}{
		"well":             {[]error{nil}, nil, 1},
		"gone meanwhile":   {[]error{gone, refused}, refused, 2},
		"changed":          {[]error{fmt.Errorf("x: %w", store.ErrConflict), nil}, nil, 2},
		"again":            {[]error{gone, gone}, gone, 2},
		"refused":          {[]error{refused}, refused, 1},
		"refused for this": {[]error{errors.Join(refused, gone)}, refused, 1},
		"another failure":  {[]error{context.DeadlineExceeded}, context.DeadlineExceeded, 1},
	} {
		calls := 0
		_, err := run(t.Context(), &api.Operation{Invoke: func(context.Context, any) (any, error) {
			calls++
			return nil, tt.errs[calls-1]
		}}, nil)
		if calls != tt.calls || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
}
