package main

import (
	"encoding/json"
	"os"
)

// groupOf is the control group of the instance whose spec is in a file.
func groupOf(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var s struct {
		Cgroup string `json:"cgroup"`
	}
	return s.Cgroup, json.Unmarshal(b, &s)
}
