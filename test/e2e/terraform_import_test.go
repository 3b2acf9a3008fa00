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

// stateModule is a module as `terraform show -json` tells it.
type stateModule struct {
	Resources []stateResource `json:"resources"`
	Children  []stateModule   `json:"child_modules"`
}

type stateResource struct {
	Address string         `json:"address"`
	Mode    string         `json:"mode"`
	Type    string         `json:"type"`
	Values  map[string]any `json:"values"`
}

// str is an attribute of the resource, "" when it is no string.
func (r *stateResource) str(attribute string) string {
	s, _ := r.Values[attribute].(string)
	return s
}

// managed are the resources of a module and those in it, without data sources.
func (m *stateModule) managed() []stateResource {
	all := slices.DeleteFunc(slices.Clone(m.Resources), func(r stateResource) bool { return r.Mode != "managed" })
	for _, child := range m.Children {
		all = append(all, child.managed()...)
	}
	return all
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
	var state struct {
		Values struct {
			Root stateModule `json:"root_module"`
		} `json:"values"`
	}
	c.show(&state)
	var blocks strings.Builder
	var forgotten []string
	for _, r := range state.Values.Root.managed() {
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
	if out, code := c.run("plan", "-out=import.plan", "-var", "revision="+revision); code != 0 {
		c.t.Fatalf("the plan of an import:\n%s", errorsOf(out))
	}
	c.wantImported(forgotten, how.changed)
	if out, code := c.run("apply", "-auto-approve", "import.plan"); code != 0 {
		c.t.Fatalf("applying an import:\n%s", lastOf(out))
	}
	if err := os.Remove(imports); err != nil {
		c.t.Fatal(err)
	}
	if out, code := c.run("plan", "-detailed-exitcode", "-var", "revision="+revision); code != 0 {
		c.t.Errorf("the plan after an import is not empty (exit code %d):\n%s", code, lastOf(out))
	}
}

// show reads the state, or a plan's file.
func (c *configuration) show(into any, args ...string) {
	c.t.Helper()
	out, code := c.run(append([]string{"show", "-json"}, args...)...)
	if code != 0 {
		c.t.Fatalf("terraform show:\n%s", lastOf(out))
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatal(err)
	}
}

// wantImported checks that the plan imports all of addresses and changes none
// but those of the types changed.
func (c *configuration) wantImported(addresses, changed []string) {
	c.t.Helper()
	var plan struct {
		Changes []struct {
			Address string `json:"address"`
			Mode    string `json:"mode"`
			Type    string `json:"type"`
			Change  struct {
				Actions   []string  `json:"actions"`
				Importing *struct{} `json:"importing"`
			} `json:"change"`
		} `json:"resource_changes"`
	}
	c.show(&plan, "import.plan")
	imported, drifted := 0, false
	for _, r := range plan.Changes {
		if r.Mode != "managed" {
			continue
		}
		if r.Change.Importing != nil {
			imported++
		}
		if does := strings.Join(r.Change.Actions, ", "); does != "no-op" && (does != "update" || !slices.Contains(changed, r.Type)) {
			c.t.Errorf("importing %s would %s it", r.Address, does)
			drifted = true
		}
	}
	if imported != len(addresses) {
		c.t.Errorf("%d of %d resources would be imported", imported, len(addresses))
	}
	if drifted {
		out, _ := c.run("show", "import.plan")
		c.t.Logf("the plan:\n%s", out)
	}
}

// TestManagedResources reads a state with modules in it.
func TestManagedResources(t *testing.T) {
	var m stateModule
	err := json.Unmarshal([]byte(`{"resources":[{"address":"data.x.y","mode":"data"},{"address":"a.b","mode":"managed","values":{"id":"1","n":2}}],
		"child_modules":[{"resources":[{"address":"module.m.a.b","mode":"managed"}]}]}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	all := m.managed()
	if len(all) != 2 || all[0].str("id") != "1" || all[0].str("n") != "" || all[1].Address != "module.m.a.b" {
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
