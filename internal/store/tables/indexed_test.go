package tables

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestIndexed looks for tables with indexes in the package's source.
func TestIndexed(t *testing.T) {
	listed, err := os.ReadFile("indexed.go")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, entry := range packages {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				v := spec.(*ast.ValueSpec)
				text := string(source[v.Pos()-file.FileStart : v.End()-file.FileStart])
				if !strings.Contains(text, "WithIndex(") && !strings.Contains(text, "newTasks()") {
					continue
				}
				found++
				if !strings.Contains(string(listed), "\t\t"+v.Names[0].Name+",\n") {
					t.Errorf("%s has indexes, and Indexed does not name it", v.Names[0].Name)
				}
			}
		}
	}
	if found != len(Indexed()) || found < 15 {
		t.Errorf("found %d tables with indexes, Indexed names %d", found, len(Indexed()))
	}
}
