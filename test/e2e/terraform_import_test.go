package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tfstate is Terraform's state as it keeps it. terraform show would tell it in
// a documented form, and read the provider's whole schema for it.
type tfstate struct {
	Version   int `json:"version"`
	Resources []struct {
		Module    string `json:"module"`
		Mode      string `json:"mode"`
		Type      string `json:"type"`
		Name      string `json:"name"`
		Instances []struct {
			Key    any            `json:"index_key"`
			Values map[string]any `json:"attributes"`
		} `json:"instances"`
	} `json:"resources"`
}

// stateResource is one instance of a resource.
type stateResource struct {
	Address string
	Type    string
	Values  map[string]any
}

// str is an attribute of the resource, "" when it is no string.
func (r *stateResource) str(attribute string) string {
	s, _ := r.Values[attribute].(string)
	return s
}

// managed are all resources in all modules, without data sources.
func (s *tfstate) managed() []stateResource {
	var all []stateResource
	for _, r := range s.Resources {
		if r.Mode != "managed" {
			continue
		}
		address := r.Type + "." + r.Name
		if r.Module != "" {
			address = r.Module + "." + address
		}
		for _, i := range r.Instances {
			one := stateResource{Address: address, Type: r.Type, Values: i.Values}
			switch k := i.Key.(type) {
			case string:
				one.Address += fmt.Sprintf("[%q]", k)
			case float64:
				one.Address += fmt.Sprintf("[%d]", int(k))
			}
			all = append(all, one)
		}
	}
	return all
}

// state reads the state.
func (c *configuration) state() *tfstate {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "terraform.tfstate"))
	if err != nil {
		c.t.Fatal(err)
	}
	var s tfstate
	if err := json.Unmarshal(b, &s); err != nil || s.Version != 4 {
		c.t.Fatalf("a state of version %d: %v", s.Version, err)
	}
	return &s
}

// reimports says how a case is imported.
type reimports struct {
	// ids are import ids by resource type, for types whose import id is not
	// their attribute id. A type whose function returns "" cannot be imported
	// and stays in the state.
	ids map[string]func(*stateResource) string
	// changed are resource types that Terraform updates after an import from
	// AWS, too, since they have arguments that only the provider knows, such
	// as force_delete.
	changed []string
}

// attribute imports by an attribute other than id.
func attribute(name string) func(*stateResource) string {
	return func(r *stateResource) string { return r.str(name) }
}

// joined imports by several attributes with a separator between.
func joined(separator string, names ...string) func(*stateResource) string {
	return func(r *stateResource) string {
		parts := make([]string, len(names))
		for i, n := range names {
			parts[i] = r.str(n)
		}
		return strings.Join(parts, separator)
	}
}

// notImportable marks types that Terraform cannot import.
func notImportable(*stateResource) string { return "" }

// reimport forgets every resource that can be imported, imports it again, and
// wants that to change nothing: what the APIs tell is all that was applied.
func (c *configuration) reimport(revision string, how reimports) {
	c.t.Helper()
	c.settled()
	var blocks strings.Builder
	var forgotten []string
	for _, r := range c.state().managed() {
		id := r.str("id")
		if f := how.ids[r.Type]; f != nil {
			id = f(&r)
		}
		if id == "" {
			continue
		}
		forgotten = append(forgotten, r.Address)
		fmt.Fprintf(&blocks, "import {\n  to = %s\n  id = %q\n}\n", r.Address, id)
	}
	if len(forgotten) == 0 {
		c.t.Fatal("there is nothing to import")
	}
	if out, code := c.run(append([]string{"state", "rm"}, forgotten...)...); code != 0 {
		c.t.Fatalf("terraform state rm:\n%s", lastOf(out))
	}
	imports := filepath.Join(c.dir, "import.tf")
	if err := os.WriteFile(imports, []byte(blocks.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	out, code := c.run("plan", "-json", "-out=import.plan", "-var", "revision="+revision)
	if code != 0 {
		c.t.Fatalf("the plan of an import:\n%s", errorsOf(out))
	}
	updates := c.wantImported(out, len(forgotten), how.changed)
	if out, code := c.run("apply", "-auto-approve", "import.plan"); code != 0 {
		c.t.Fatalf("applying an import:\n%s", lastOf(out))
	}
	if err := os.Remove(imports); err != nil {
		c.t.Fatal(err)
	}
	// A plan that only imports has already found that nothing differs.
	if updates || *full {
		c.applied = revision
		c.settled()
	}
}

// wantImported checks that a plan, as -json tells it, imports n resources and
// changes none but those of the types changed. It returns whether there are
// such.
func (c *configuration) wantImported(plan string, n int, changed []string) (updates bool) {
	c.t.Helper()
	imported, drifted := 0, false
	for line := range strings.Lines(plan) {
		var m struct {
			Type   string `json:"type"`
			Change struct {
				Resource struct {
					Address string `json:"addr"`
					Type    string `json:"resource_type"`
				} `json:"resource"`
				Action    string    `json:"action"`
				Importing *struct{} `json:"importing"`
			} `json:"change"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			c.t.Fatalf("the plan says %s: %v", line, err)
		}
		if m.Type != "planned_change" || strings.HasPrefix(m.Change.Resource.Address, "data.") {
			continue
		}
		r := m.Change.Resource
		if m.Change.Importing != nil {
			imported++
		}
		switch {
		case m.Change.Action == "import":
		case m.Change.Action == "update" && slices.Contains(changed, r.Type):
			updates = true
		default:
			c.t.Errorf("importing %s would %s it", r.Address, m.Change.Action)
			drifted = true
		}
	}
	if imported != n {
		c.t.Errorf("%d of %d resources would be imported", imported, n)
	}
	if drifted {
		out, _ := c.run("show", "import.plan")
		c.t.Logf("the plan:\n%s", out)
	}
	return updates
}

// TestManagedResources reads a state with modules in it.
func TestManagedResources(t *testing.T) {
	var s tfstate
	err := json.Unmarshal([]byte(`{"version":4,"resources":[{"mode":"data","type":"x","name":"y","instances":[{}]},
		{"mode":"managed","type":"a","name":"b","instances":[{"attributes":{"id":"1","n":2}}]},
		{"module":"module.m","mode":"managed","type":"a","name":"b","instances":[{"index_key":0},{"index_key":"k"}]}]}`), &s)
	if err != nil {
		t.Fatal(err)
	}
	all := s.managed()
	if len(all) != 3 || all[0].str("id") != "1" || all[0].str("n") != "" || all[0].Address != "a.b" || all[1].Address != "module.m.a.b[0]" || all[2].Address != `module.m.a.b["k"]` {
		t.Errorf("managed resources: %+v", all)
	}
}

// errorsOf is what terraform said from its first error on.
func errorsOf(out string) string {
	if i := strings.Index(out, "Error:"); i >= 0 {
		out = out[i:]
	}
	return lastOf(out)
}
