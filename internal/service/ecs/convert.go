package ecs

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/model"
)

// convert fills dst, a pointer to a struct, with the fields of src that have
// the same name in dst, upper and lower case being one. It is how API shapes
// and records, which AWS gives the same members, become each other: pointers
// and values, named and plain strings, numbers of any size, tags as lists and
// as maps are turned into each other. Empty strings and zero times of a record
// are absent in the API; numbers and booleans that are no pointers are there.
//
// Fields of other kinds on both sides are left alone; the tests hold the list
// of fields that have no counterpart.
func convert(dst, src any) {
	convertStruct(reflect.ValueOf(dst).Elem(), reflect.Indirect(reflect.ValueOf(src)))
}

// converted is a new T with the fields of src.
func converted[T any](src any) *T {
	v := reflect.ValueOf(src)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	out := new(T)
	convert(out, src)
	return out
}

// convertedList converts each element; nil stays nil.
func convertedList[T, S any](src []S) []T {
	if src == nil {
		return nil
	}
	out := make([]T, len(src))
	for i := range src {
		convert(&out[i], &src[i])
	}
	return out
}

type typePair struct{ dst, src reflect.Type }

// pairs caches which field of a source becomes which of a destination.
var pairs sync.Map // typePair → [][2]int

func fieldPairs(dst, src reflect.Type) [][2]int {
	key := typePair{dst, src}
	if p, ok := pairs.Load(key); ok {
		return p.([][2]int)
	}
	names := map[string]int{}
	for i := range src.NumField() {
		names[strings.ToLower(src.Field(i).Name)] = i
	}
	var out [][2]int
	for i := range dst.NumField() {
		if j, ok := names[strings.ToLower(dst.Field(i).Name)]; ok {
			out = append(out, [2]int{i, j})
		}
	}
	pairs.Store(key, out)
	return out
}

func convertStruct(dst, src reflect.Value) {
	for _, p := range fieldPairs(dst.Type(), src.Type()) {
		convertValue(dst.Field(p[0]), src.Field(p[1]))
	}
}

var timeType = reflect.TypeFor[time.Time]()

func convertValue(dst, src reflect.Value) {
	if src.Kind() == reflect.Pointer {
		if src.IsNil() {
			return
		}
		if dst.Kind() != reflect.Pointer {
			convertValue(dst, src.Elem())
			return
		}
		src = src.Elem()
	} else if dst.Kind() == reflect.Pointer && absent(src) {
		return
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		convertValue(p.Elem(), src)
		dst.Set(p)
		return
	}
	switch {
	case dst.Type() == src.Type() && dst.Kind() != reflect.Struct, dst.Type() == timeType && src.Type() == timeType:
		dst.Set(src)
	case dst.Kind() == reflect.String && src.Kind() == reflect.String,
		dst.CanInt() && src.CanInt(),
		dst.Kind() == reflect.Bool && src.Kind() == reflect.Bool:
		dst.Set(src.Convert(dst.Type()))
	case dst.Kind() == reflect.Struct && src.Kind() == reflect.Struct:
		convertStruct(dst, src)
	case dst.Kind() == reflect.Slice && src.Kind() == reflect.Slice:
		if src.IsNil() {
			return
		}
		out := reflect.MakeSlice(dst.Type(), src.Len(), src.Len())
		for i := range src.Len() {
			convertValue(out.Index(i), src.Index(i))
		}
		dst.Set(out)
	case dst.Kind() == reflect.Map && src.Kind() == reflect.Map:
		dst.Set(src.Convert(dst.Type()))
	}
}

// absent tells which values of a record the API leaves out.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return v.Type() == timeType && v.IsZero()
	default:
		return false
	}
}

// tag is what the API's Tag looks like in every service.
type tag interface{ ~struct{ Key, Value *string } }

func tagsOf[T tag](list []T) model.Tags {
	if len(list) == 0 {
		return nil
	}
	out := model.Tags{}
	for _, t := range list {
		kv := struct{ Key, Value *string }(t)
		out[val(kv.Key)] = val(kv.Value)
	}
	return out
}

func tagList[T tag](tags model.Tags) []T {
	out := make([]T, 0, len(tags))
	for k, v := range tags {
		out = append(out, T(struct{ Key, Value *string }{&k, &v}))
	}
	slices.SortFunc(out, func(a, b T) int {
		return strings.Compare(*struct{ Key, Value *string }(a).Key, *struct{ Key, Value *string }(b).Key)
	})
	return out
}
