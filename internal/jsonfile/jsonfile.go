// Package jsonfile keeps values in files as JSON. It is for state that a
// machine's crash may set back: what must survive one is synced elsewhere.
package jsonfile

import (
	"encoding/json"
	"os"
)

// Write replaces a file whole, which only its owner can read: whoever reads it
// sees the value of before or this one.
func Write(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
