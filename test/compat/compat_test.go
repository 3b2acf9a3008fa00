// Package compat holds docs/compat against the tests: an operation that a page
// says works is called by some test, through a client or on the service.
package compat

import (
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/tools/go/packages"

	"roadstead.dev/internal/apigen"
)

const module = "roadstead.dev/"

// sdkNames are the SDK's names of services that the models name otherwise.
var sdkNames = map[string]string{"elasticloadbalancing": "elb", "elasticloadbalancingv2": "elbv2", "cloudwatchlogs": "logs"}

// calls are the operations that tests call, by service and by the name that
// the command line gives them.
type calls map[string]map[string]bool

func (c calls) add(service, operation string) {
	if c[service] == nil {
		c[service] = make(map[string]bool)
	}
	c[service][kebab(operation)] = true
}

func TestWhatWorksIsTested(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks all tests; left out by -short")
	}
	working, err := apigen.Working(os.DirFS("../../internal/apigen"))
	if err != nil {
		t.Fatal(err)
	}
	pkgs, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
		Tests:   true,
		Context: t.Context(),
	}, module+"internal/...", module+"test/...", module+"cmd/...")
	if err != nil {
		t.Fatal(err)
	}
	called := make(calls)
	for _, p := range pkgs {
		for _, f := range p.Syntax {
			if strings.HasSuffix(p.Fset.Position(f.Pos()).Filename, "_test.go") {
				called.read(f, p.TypesInfo)
			}
		}
	}
	for service, operations := range working {
		var untested []string
		for _, op := range operations {
			if !called[service][kebab(op)] {
				untested = append(untested, op)
			}
		}
		slices.Sort(untested)
		if len(untested) > 0 {
			t.Errorf("docs/compat/%s.md says that these work, and no test calls them: %s", service, strings.Join(untested, ", "))
		}
	}
}

// commandLine is an operation as a shell has it.
var commandLine = regexp.MustCompile(`\baws (?:--\S+ )*([a-z0-9-]+) ([a-z0-9-]+)`)

// read notes the operations that a file names: methods of clients and
// services, and commands.
func (c calls) read(f *ast.File, info *types.Info) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if sel := info.Selections[n]; sel != nil && sel.Kind() != types.FieldVal {
				if service := serviceOf(sel.Obj()); service != "" {
					c.add(service, n.Sel.Name)
				}
			}
			if obj, ok := info.Uses[n.Sel].(*types.Func); ok && strings.HasPrefix(obj.Name(), "New") {
				// The SDK's paginators call the operation that they are named for.
				if op, found := strings.CutSuffix(strings.TrimPrefix(obj.Name(), "New"), "Paginator"); found {
					c.add(serviceOf(obj), op)
				}
			}
		case *ast.CallExpr:
			c.readWords(n.Args)
		case *ast.CompositeLit:
			c.readWords(n.Elts)
		case *ast.BasicLit:
			for _, m := range commandLine.FindAllStringSubmatch(text(n), -1) {
				c.add(m[1], m[2])
			}
		}
		return true
	})
}

// readWords notes a command whose words are arguments of their own.
func (c calls) readWords(args []ast.Expr) {
	for i := 1; i < len(args); i++ {
		if service, operation := text(args[i-1]), text(args[i]); service != "" && operation != "" {
			c.add(service, operation)
		}
	}
}

// text is the value of a string literal, "" of anything else.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}

// serviceOf is the service that a method or function belongs to, "" of none.
func serviceOf(obj types.Object) string {
	if obj.Pkg() == nil {
		return ""
	}
	p := obj.Pkg().Path()
	for _, folder := range []string{module + "internal/service/", module + "internal/api/"} {
		if name, ok := strings.CutPrefix(p, folder); ok {
			return name
		}
	}
	if strings.Contains(p, "/aws-sdk-go-v2/service/") {
		name := path.Base(p)
		if other := sdkNames[name]; other != "" {
			return other
		}
		return name
	}
	return ""
}

// kebab is an operation's name on the command line, near enough to compare.
func kebab(operation string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, operation)
}

func TestKebab(t *testing.T) {
	for operation, command := range map[string]string{"ListOpenIDConnectProviders": "list-open-id-connect-providers", "CreateDBCluster": "create-db-cluster"} {
		if kebab(operation) != kebab(command) {
			t.Errorf("%s is not %s", operation, command)
		}
	}
}
