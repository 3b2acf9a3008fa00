package gateway

import (
	"maps"
	"reflect"
	"strings"
)

// addRequestTags adds the tags in an input to condition keys: aws:RequestTag
// for those that it sets, aws:TagKeys for those that it names only. Keys that
// are there already stay. The services write tags in few shapes: lists of
// structures with a Key and a Value, maps, and EC2's specifications, which
// hold such a list for each type of resource.
func addRequestTags(conditions map[string]string, in any) map[string]string {
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return conditions
	}
	v = v.Elem()
	set, named := map[string]string{}, []string(nil)
	for _, name := range []string{"Tags", "TagList", "TagKeys", "TagSpecifications"} {
		f := v.FieldByName(name)
		if !f.IsValid() || f.Kind() != reflect.Slice && f.Kind() != reflect.Map {
			continue
		}
		if name == "TagSpecifications" && f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct {
			for i := range f.Len() {
				if tags := f.Index(i).FieldByName("Tags"); tags.IsValid() {
					collectTags(tags, set, &named)
				}
			}
			continue
		}
		collectTags(f, set, &named)
	}
	if len(set) == 0 && len(named) == 0 {
		return conditions
	}
	out := map[string]string{}
	for k, value := range set {
		out["aws:RequestTag/"+k] = value
	}
	if len(named) > 0 {
		out["aws:TagKeys"] = strings.Join(named, ",")
	}
	maps.Copy(out, conditions)
	return out
}

// collectTags reads tags of any shape.
func collectTags(f reflect.Value, set map[string]string, named *[]string) {
	if tags, ok := reflect.TypeAssert[map[string]string](f); ok {
		maps.Copy(set, tags)
		return
	}
	if keys, ok := reflect.TypeAssert[[]string](f); ok {
		*named = append(*named, keys...)
		return
	}
	if f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Struct {
		return
	}
	for i := range f.Len() {
		key, ok := stringIn(f.Index(i), "Key")
		if !ok {
			continue
		}
		value, _ := stringIn(f.Index(i), "Value")
		set[key] = value
	}
}

func stringIn(v reflect.Value, field string) (string, bool) {
	f := v.FieldByName(field)
	if !f.IsValid() {
		return "", false
	}
	p, ok := reflect.TypeAssert[*string](f)
	if !ok || p == nil {
		return "", false
	}
	return *p, true
}
