package gateway

import "reflect"

// isDryRun tells whether an EC2 input asks only whether it would be allowed.
func isDryRun(in any) bool {
	f := reflect.ValueOf(in).Elem().FieldByName("DryRun")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() {
		return false
	}
	return f.Elem().Kind() == reflect.Bool && f.Elem().Bool()
}
