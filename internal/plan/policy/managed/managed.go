// Package managed holds the AWS managed policies that Roadstead knows, with
// the documents that AWS publishes for them.
package managed

import (
	"embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// Policy is an AWS managed policy. It has no owner account, cannot be changed
// and has one version.
type Policy struct {
	Name        string
	Path        string
	ARN         string
	ID          string
	Description string
	Document    string
	// Version is the id of the published version, "v4".
	Version string
	Created time.Time
	Updated time.Time
}

//go:embed policies/*.json
var files embed.FS

// file is one policy as it stands in policies/<name>.json.
type file struct {
	Path        string
	Description string
	Version     string
	Created     time.Time
	Updated     time.Time
	Document    json.RawMessage
}

type table struct {
	byARN  map[string]*Policy
	sorted []*Policy
}

// load reads the embedded files once; they are part of the program, so what
// is wrong with one is a bug and a test finds it.
var load = sync.OnceValue(func() table {
	t := table{byARN: map[string]*Policy{}}
	entries, err := files.ReadDir("policies")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		b, err := files.ReadFile("policies/" + e.Name())
		if err != nil {
			panic(err)
		}
		var f file
		if err := json.Unmarshal(b, &f); err != nil {
			panic(fmt.Sprintf("managed policy %s: %v", e.Name(), err))
		}
		name := strings.TrimSuffix(e.Name(), ".json")
		p := &Policy{
			Name: name, Path: f.Path, ARN: "arn:aws:iam::aws:policy" + f.Path + name, ID: uniqueID(name),
			Description: f.Description, Document: string(f.Document), Version: f.Version,
			Created: f.Created, Updated: f.Updated,
		}
		t.byARN[p.ARN] = p
		t.sorted = append(t.sorted, p)
	}
	slices.SortFunc(t.sorted, func(a, b *Policy) int { return strings.Compare(a.Name, b.Name) })
	return t
})

// Get finds a policy by its ARN.
func Get(arn string) (*Policy, bool) {
	if !strings.HasPrefix(arn, "arn:aws:iam::aws:policy/") {
		return nil, false
	}
	p, ok := load().byARN[arn]
	return p, ok
}

// All lists the policies by name. The slice must not be changed.
func All() []*Policy { return load().sorted }

// uniqueID is a policy id of IAM's form that is the same on every server.
func uniqueID(name string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	h := fnv.New128a()
	_, _ = h.Write([]byte(name)) // never fails
	sum := h.Sum(nil)
	id := []byte("ANPA")
	for i := range 17 {
		id = append(id, alphabet[sum[i%len(sum)]>>(i/len(sum))&31])
	}
	return string(id)
}
