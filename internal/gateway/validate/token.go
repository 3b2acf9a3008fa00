package validate

import (
	"reflect"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// FillTokens gives the idempotency tokens that are absent from an input a new
// value each, as an SDK would have done.
func FillTokens(shape *api.Shape, in any, newToken func() string) {
	if shape == nil || in == nil {
		return
	}
	n := typed.Of(shape)
	v := reflect.ValueOf(in).Elem()
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Member.IdempotencyToken && f.Node.Shape.Kind == api.String && f.Absent(v.Field(f.Index)) {
			f.Alloc(v).SetString(newToken())
		}
	}
}
