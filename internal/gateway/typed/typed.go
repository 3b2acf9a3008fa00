// Package typed pairs the shapes of a model with the generated Go types that
// stand for them, so that codecs and checks walk both at once. Pairs are made
// once and kept.
package typed

import (
	"reflect"
	"sync"

	"roadstead.dev/internal/api"
)

// Node is a shape and the Go type of its values, never a pointer type.
type Node struct {
	Shape *api.Shape
	Type  reflect.Type
	// Fields of a Structure, by member index.
	Fields []Field
	// Elem of a List or Map, Key of a Map.
	Elem, Key *Node

	byWire map[string]*Field
}

// Field is a member of a structure.
type Field struct {
	Member *api.Member
	// Index of the Go field.
	Index int
	// Ptr is set where the Go field is a pointer to the node's type.
	Ptr  bool
	Node *Node
}

// ByWire finds a field by its member's wire name.
func (n *Node) ByWire(name string) *Field { return n.byWire[name] }

var (
	mu    sync.Mutex
	cache sync.Map // *api.Shape → *Node, complete ones only
)

// Of is the node of a linked shape that has a Go type.
func Of(s *api.Shape) *Node {
	if n, ok := cache.Load(s); ok {
		return n.(*Node)
	}
	mu.Lock()
	defer mu.Unlock()
	made := make(map[*api.Shape]*Node)
	n := build(s, s.GoType(), made)
	// A node is shared only when all that it reaches is complete.
	for s, m := range made {
		cache.LoadOrStore(s, m)
	}
	return n
}

func build(s *api.Shape, t reflect.Type, made map[*api.Shape]*Node) *Node {
	if n, ok := cache.Load(s); ok {
		return n.(*Node)
	}
	if n, ok := made[s]; ok {
		return n
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := &Node{Shape: s, Type: t}
	made[s] = n
	switch s.Kind {
	case api.Structure:
		n.Fields = make([]Field, len(s.Members))
		n.byWire = make(map[string]*Field, len(s.Members))
		for i := range s.Members {
			m := &s.Members[i]
			ft := t.Field(i).Type
			n.Fields[i] = Field{
				Member: m, Index: i,
				Ptr:  ft.Kind() == reflect.Pointer,
				Node: build(m.Type(), ft, made),
			}
			n.byWire[m.Wire()] = &n.Fields[i]
		}
	case api.List:
		n.Elem = build(s.ElementShape(), t.Elem(), made)
	case api.Map:
		n.Key = build(s.KeyShape(), t.Key(), made)
		n.Elem = build(s.ElementShape(), t.Elem(), made)
	case api.String, api.Boolean, api.Integer, api.Long, api.Float, api.Double,
		api.Blob, api.Timestamp, api.Document:
	}
	return n
}

// Absent tells whether a field holds no value: a nil pointer, list, map, blob
// or document, or an empty enumeration.
func (f *Field) Absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	default:
		return false
	}
}

// Value is the field's value in struct v behind its pointer. The field must
// not be absent.
func (f *Field) Value(v reflect.Value) reflect.Value {
	fv := v.Field(f.Index)
	if f.Ptr {
		return fv.Elem()
	}
	return fv
}

// Alloc is the settable value of the field in struct v, allocated when it is
// behind a pointer.
func (f *Field) Alloc(v reflect.Value) reflect.Value {
	fv := v.Field(f.Index)
	if !f.Ptr {
		return fv
	}
	if fv.IsNil() {
		fv.Set(reflect.New(f.Node.Type))
	}
	return fv.Elem()
}
