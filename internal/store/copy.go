package store

import (
	"net/netip"
	"reflect"
	"sync"
	"time"
)

// copiers make deep copies of values of a type, by type. They are what a round
// trip through JSON makes of a value that came from JSON, in a fraction of its
// time.
var copiers sync.Map // reflect.Type → copier

// copier makes dst, which is settable, a deep copy of src. A nil copier stands
// for assignment.
type copier func(dst, src reflect.Value)

// plain are types with fields that nobody can set, whose values never change.
var plain = map[reflect.Type]bool{
	reflect.TypeFor[time.Time](): true, reflect.TypeFor[netip.Addr](): true, reflect.TypeFor[netip.AddrPort](): true, reflect.TypeFor[netip.Prefix](): true,
}

// deepCopy copies v, or returns nil where its type holds what cannot be
// copied.
func deepCopy[T any](v *T) *T {
	c, ok := copierOf(reflect.TypeFor[T]())
	if !ok {
		return nil
	}
	out := new(T)
	if c == nil {
		*out = *v
		return out
	}
	c(reflect.ValueOf(out).Elem(), reflect.ValueOf(v).Elem())
	return out
}

type made struct {
	copy copier
	ok   bool
}

func copierOf(t reflect.Type) (copier, bool) {
	if m, ok := copiers.Load(t); ok {
		return m.(made).copy, m.(made).ok
	}
	c, ok := makeCopier(t, map[reflect.Type]bool{})
	copiers.Store(t, made{c, ok})
	return c, ok
}

// makeCopier knows the types that records are made of. A type that holds itself
// is not among them.
func makeCopier(t reflect.Type, within map[reflect.Type]bool) (copier, bool) {
	if plain[t] {
		return nil, true
	}
	if within[t] {
		return nil, false
	}
	within[t] = true
	defer delete(within, t)
	switch t.Kind() {
	case reflect.Pointer:
		elem, ok := makeCopier(t.Elem(), within)
		return func(dst, src reflect.Value) {
			if src.IsNil() {
				return
			}
			p := reflect.New(t.Elem())
			assign(elem, p.Elem(), src.Elem())
			dst.Set(p)
		}, ok
	case reflect.Slice:
		elem, ok := makeCopier(t.Elem(), within)
		return func(dst, src reflect.Value) {
			if src.IsNil() {
				return
			}
			n := src.Len()
			s := reflect.MakeSlice(t, n, n)
			if elem == nil {
				reflect.Copy(s, src)
			} else {
				for i := range n {
					elem(s.Index(i), src.Index(i))
				}
			}
			dst.Set(s)
		}, ok
	case reflect.Array:
		elem, ok := makeCopier(t.Elem(), within)
		if elem == nil {
			return nil, ok
		}
		return func(dst, src reflect.Value) {
			for i := range t.Len() {
				elem(dst.Index(i), src.Index(i))
			}
		}, ok
	case reflect.Map:
		elem, ok := makeCopier(t.Elem(), within)
		key, keyOK := makeCopier(t.Key(), within)
		return func(dst, src reflect.Value) {
			if src.IsNil() {
				return
			}
			m := reflect.MakeMapWithSize(t, src.Len())
			for it := src.MapRange(); it.Next(); {
				v := it.Value()
				if elem != nil {
					v = reflect.New(t.Elem()).Elem()
					elem(v, it.Value())
				}
				m.SetMapIndex(it.Key(), v)
			}
			dst.Set(m)
		}, ok && keyOK && key == nil
	case reflect.Struct:
		return structCopier(t, within)
	case reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return nil, false
	default:
		return nil, true
	}
}

func structCopier(t reflect.Type, within map[reflect.Type]bool) (copier, bool) {
	type field struct {
		index int
		copy  copier
	}
	var deep []field
	for i := range t.NumField() {
		c, ok := makeCopier(t.Field(i).Type, within)
		if !ok || c != nil && !t.Field(i).IsExported() {
			return nil, false
		}
		if c != nil {
			deep = append(deep, field{i, c})
		}
	}
	if len(deep) == 0 {
		return nil, true
	}
	return func(dst, src reflect.Value) {
		dst.Set(src)
		for _, f := range deep {
			d := dst.Field(f.index)
			d.SetZero()
			f.copy(d, src.Field(f.index))
		}
	}, true
}

func assign(c copier, dst, src reflect.Value) {
	if c == nil {
		dst.Set(src)
		return
	}
	c(dst, src)
}
