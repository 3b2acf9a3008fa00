package apigen

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Generate writes the API package of each named service below apiDir and its
// page below compatDir. No names means every list in files' operations folder,
// and the pages' index.
// Files that would not change are left alone.
func Generate(files fs.FS, apiDir, compatDir string, names ...string) error {
	all := len(names) == 0
	if all {
		lists, err := fs.Glob(files, "operations/*.txt")
		if err != nil {
			return err
		}
		for _, l := range lists {
			names = append(names, strings.TrimSuffix(filepath.Base(l), ".txt"))
		}
	}
	services := make([]*service, 0, len(names))
	for _, name := range names {
		s, err := load(files, name)
		if err != nil {
			return err
		}
		services = append(services, s)
		out := map[string][]byte{
			filepath.Join(apiDir, name, "types.go"):      s.types(),
			filepath.Join(apiDir, name, "errors.go"):     s.errors(),
			filepath.Join(apiDir, name, "shapes.go"):     s.tables(),
			filepath.Join(apiDir, name, "operations.go"): s.operations(),
			filepath.Join(compatDir, name+".md"):         s.compat(),
		}
		for _, path := range slices.Sorted(maps.Keys(out)) {
			if err := write(path, out[path]); err != nil {
				return err
			}
		}
	}
	if all {
		return write(filepath.Join(compatDir, "README.md"), compatIndex(services))
	}
	return nil
}

func write(path string, b []byte) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// service is a model reduced to what the listed operations reach.
type service struct {
	name    string
	model   *model
	ops     []listed
	refused []string
	// reached holds the shapes that the operations need.
	reached map[string]bool
	// renamed gives the Go name of shapes that are one operation's own input
	// or output; aliases are further names of shapes that are not.
	renamed map[string]string
	aliases map[string]string
}

func load(files fs.FS, name string) (*service, error) {
	m, err := loadModel(files, name)
	if err != nil {
		return nil, err
	}
	ops, err := loadList(files, name)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ops, func(a, b listed) int { return strings.Compare(a.Name, b.Name) })
	s := &service{name: name, model: m, ops: ops, reached: map[string]bool{}, renamed: map[string]string{}, aliases: map[string]string{}}
	served := map[string]bool{}
	for _, l := range ops {
		if m.Operations[l.Name] == nil {
			return nil, fmt.Errorf("operations/%s.txt: the model has no operation %s", name, l.Name)
		}
		served[l.Name] = true
	}
	for _, op := range slices.Sorted(maps.Keys(m.Operations)) {
		if !served[op] {
			s.refused = append(s.refused, op)
		}
	}
	s.giveEveryOperationShapes()
	s.nameInputsAndOutputs()
	for _, l := range ops {
		op := m.Operations[l.Name]
		s.reach(op.Input.Shape)
		s.reach(op.Output.Shape)
		for _, e := range op.Errors {
			s.reach(e.Shape)
		}
	}
	return s, nil
}

// giveEveryOperationShapes adds empty structures where the model has no input
// or output, so that nothing downstream needs to tell the difference.
func (s *service) giveEveryOperationShapes() {
	empty := func(name string) *ref {
		s.model.Shapes[name] = &shape{Type: "structure"}
		return &ref{Shape: name}
	}
	for _, l := range s.ops {
		op := s.model.Operations[l.Name]
		if op.Input == nil {
			op.Input = empty(l.Name + "Input")
		}
		if op.Output == nil {
			op.Output = empty(l.Name + "Output")
		}
	}
}

func (s *service) nameInputsAndOutputs() {
	uses := map[string]int{}
	for _, op := range s.model.Operations {
		if op.Input != nil {
			uses[op.Input.Shape]++
		}
		if op.Output != nil {
			uses[op.Output.Shape]++
		}
	}
	for _, sh := range s.model.Shapes {
		for _, r := range sh.refs() {
			uses[r.Shape]++
		}
	}
	name := func(shape, want string) {
		if uses[shape] == 1 && (shape == want || s.model.Shapes[want] == nil) {
			s.renamed[shape] = want
		} else if exported(shape) != want {
			s.aliases[want] = exported(shape)
		}
	}
	for _, l := range s.ops {
		op := s.model.Operations[l.Name]
		name(op.Input.Shape, l.Name+"Input")
		name(op.Output.Shape, l.Name+"Output")
	}
}

func (s *shape) refs() []ref {
	var rs []ref
	if s.Members != nil {
		for _, n := range s.Members.Names {
			rs = append(rs, s.Members.Refs[n])
		}
	}
	for _, r := range []*ref{s.Member, s.Key, s.Value} {
		if r != nil {
			rs = append(rs, *r)
		}
	}
	return rs
}

func (s *service) reach(name string) {
	if s.reached[name] {
		return
	}
	s.reached[name] = true
	for _, r := range s.model.Shapes[name].refs() {
		s.reach(r.Shape)
	}
}

// goName is the Go name of a structure or an enumeration.
func (s *service) goName(shape string) string {
	if n := s.renamed[shape]; n != "" {
		return n
	}
	return exported(shape)
}

// sorted lists the reached shapes by name.
func (s *service) sorted() []string { return slices.Sorted(maps.Keys(s.reached)) }

// errorShapes lists the reached error shapes by name.
func (s *service) errorShapes() []string {
	return slices.DeleteFunc(s.sorted(), func(n string) bool { return !s.model.Shapes[n].Exception })
}
