package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// members are the names that manifests and descriptors give to what is checked
// here.
var members = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "fsLayers",
	"digest", "size", "urls",
}

// frame is an object or array that is being read.
type frame struct {
	// keys of an object, nil in an array.
	keys map[string]bool
	// name is whether a name comes next in an object.
	name bool
	// free objects may have any names: annotations.
	free bool
}

// oneMeaning refuses JSON that says a thing twice, or in names that some
// readers take for others: what is checked here must be what clients read.
// Body is valid JSON.
func oneMeaning(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	var stack []frame
	last := ""
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		top := len(stack) - 1
		if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
			stack = stack[:top]
			continue
		}
		if top >= 0 && stack[top].name {
			name, _ := t.(string)
			if err := stack[top].add(name); err != nil {
				return err
			}
			last = name
			continue
		}
		if top >= 0 && stack[top].keys != nil {
			stack[top].name = true
		}
		switch t {
		case json.Delim('{'):
			free := last == "annotations" || top >= 0 && stack[top].free
			stack = append(stack, frame{keys: make(map[string]bool), name: true, free: free})
		case json.Delim('['):
			stack = append(stack, frame{free: top >= 0 && stack[top].free})
		}
	}
}

func (f *frame) add(name string) error {
	if f.keys[name] {
		return fmt.Errorf("%w: %q is there twice", ErrInvalid, name)
	}
	f.keys[name] = true
	f.name = false
	if !f.free && slices.ContainsFunc(members, func(m string) bool { return name != m && strings.EqualFold(name, m) }) {
		return fmt.Errorf("%w: %q is no member of a manifest", ErrInvalid, name)
	}
	return nil
}
