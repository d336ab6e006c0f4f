package testsuite

import (
	"go/ast"
	"go/constant"
	"go/types"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestEveryExportedNameIsUsed finds dead exported names (constants, variables, functions, types and methods): those
// that no program code of this module uses, nor a test of another package. staticcheck finds dead names that are
// not exported. rcf is a library and exempt.
//
// A method counts as used when a type that has it, itself or by embedding, implements an interface with it.
// Temporal finds workflows and activities by reflection, but workflows and workers name them in Go, which is a use.
func TestEveryExportedNameIsUsed(t *testing.T) {
	all := module(t)
	var declared []types.Object
	var made []types.Type
	used := map[string]bool{}
	interfaces := conventions()
	seen := map[*types.Package]bool{}
	for _, p := range all {
		collect(p.Types, interfaces, seen)
		home := strings.TrimSuffix(p.PkgPath, "_test") // an external test is its package's
		for at, o := range p.TypesInfo.Uses {
			inTest := strings.HasSuffix(p.Fset.Position(at.Pos()).Filename, "_test.go")
			if o.Pkg() != nil && (!inTest || o.Pkg().Path() != home) {
				used[name(o)] = true
			}
		}
		for at, o := range p.TypesInfo.Defs {
			if _, ok := o.(*types.TypeName); ok && !strings.HasSuffix(p.Fset.Position(at.Pos()).Filename, "_test.go") {
				made = append(made, o.Type())
			}
		}
		if p.ID == p.PkgPath && p.PkgPath != "fanwatch/rcf" && !strings.Contains(p.PkgPath, "/testsuite") {
			declared = append(declared, exported(p.Types)...)
		}
	}
	for _, at := range made {
		answers(at, interfaces, used)
	}
	for _, o := range declared {
		if !used[name(o)] {
			t.Errorf("%s: no program code and no test of another package uses it: remove it, or what it is for is missing",
				name(o))
		}
	}
	if len(declared) < 300 {
		t.Errorf("looked at %d names only", len(declared))
	}
}

// module is the whole module type-checked, tests included.
func module(t *testing.T) []*packages.Package {
	t.Helper()
	if testing.Short() {
		t.Skip("type-checks the whole module: 5 s, half a minute where nothing is compiled yet")
	}
	all, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, e := range p.Errors {
			t.Fatal(e)
		}
	}
	return all
}

var loaded = sync.OnceValues(func() ([]*packages.Package, error) {
	return packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo,
		Dir: "..", Tests: true,
	}, "./...")
})

// TestErrorsAreLoggedUnderOneKey: what is an error stands under err in every log, of slog and of Temporal.
func TestErrorsAreLoggedUnderOneKey(t *testing.T) {
	fault := types.Universe.Lookup("error").Type().Underlying().(*types.Interface)
	calls := 0
	for _, p := range module(t) {
		for _, file := range p.Syntax {
			for n := range ast.Preorder(file) {
				call, ok := n.(*ast.CallExpr)
				if !ok || !logs(p.TypesInfo, call) {
					continue
				}
				calls++
				for i, arg := range call.Args[1:] {
					key := p.TypesInfo.Types[call.Args[i]].Value // the argument before
					if key == nil || key.Kind() != constant.String || constant.StringVal(key) == "err" {
						continue
					}
					if constant.StringVal(key) == "error" || types.Implements(p.TypesInfo.TypeOf(arg), fault) {
						t.Errorf("%s: the key of an error is err, not %s", p.Fset.Position(arg.Pos()), key)
					}
				}
			}
		}
	}
	if calls < 100 {
		t.Errorf("looked at %d calls only", calls)
	}
}

// logs tells whether a call has a message or a key and then keys and values.
func logs(info *types.Info, call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	f, ok := info.Uses[s.Sel].(*types.Func)
	if !ok || f.Pkg() == nil || f.Pkg().Path() != "log/slog" && f.Pkg().Path() != "go.temporal.io/sdk/log" {
		return false
	}
	switch f.Name() {
	case "Debug", "Info", "Warn", "Error", "With", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log":
		return true
	}
	return false
}

// conventions gives the interfaces, by their method, that are spelled out where they are asked for: error, the errors'
// Unwrap, and Permanent, by which workers hear that a call is not to be repeated.
func conventions() map[string][]*types.Interface {
	fault, yes := types.Universe.Lookup("error").Type(), types.Typ[types.Bool]
	all := map[string][]*types.Interface{"Error": {fault.Underlying().(*types.Interface)}}
	for name, results := range map[string][]types.Type{"Unwrap": {fault, types.NewSlice(fault)}, "Permanent": {yes}} {
		for _, r := range results {
			result := types.NewTuple(types.NewVar(0, nil, "", r))
			method := types.NewFunc(0, nil, name, types.NewSignatureType(nil, nil, nil, nil, result, false))
			all[name] = append(all[name], types.NewInterfaceType([]*types.Func{method}, nil).Complete())
		}
	}
	return all
}

// name is the import path of o's package, the type if o is a method, and o's name.
func name(o types.Object) string {
	if f, ok := o.(*types.Func); ok {
		if recv := receiver(f.Origin()); recv != nil {
			return o.Pkg().Path() + "." + recv.Obj().Name() + "." + o.Name()
		}
	}
	return o.Pkg().Path() + "." + o.Name()
}

// receiver is the type that f is a method of, nil if f is none of a named type.
func receiver(f *types.Func) *types.Named {
	recv := f.Signature().Recv()
	if recv == nil {
		return nil
	}
	at := recv.Type()
	if p, ok := at.(*types.Pointer); ok {
		at = p.Elem()
	}
	named, _ := at.(*types.Named)
	return named
}

// exported lists the exported names of p's scope and the exported methods of its types, small ones included.
func exported(p *types.Package) (all []types.Object) {
	for _, n := range p.Scope().Names() {
		o := p.Scope().Lookup(n)
		if o.Exported() {
			all = append(all, o)
		}
		named, ok := o.Type().(*types.Named)
		if _, isType := o.(*types.TypeName); !ok || !isType || named.Obj() != o {
			continue
		}
		for m := range named.Methods() {
			if m.Exported() {
				all = append(all, m)
			}
		}
	}
	return all
}

// collect gathers the interfaces of p's scope, and of all that p imports.
func collect(p *types.Package, into map[string][]*types.Interface, seen map[*types.Package]bool) {
	if seen[p] {
		return
	}
	seen[p] = true
	scopes := []*types.Scope{p.Scope()}
	for len(scopes) > 0 {
		s := scopes[0]
		scopes = scopes[1:]
		for _, n := range s.Names() {
			o, ok := s.Lookup(n).(*types.TypeName)
			if !ok {
				continue
			}
			if i, ok := o.Type().Underlying().(*types.Interface); ok {
				for m := range i.Methods() {
					into[m.Name()] = append(into[m.Name()], i)
				}
			}
		}
		for c := range s.Children() {
			scopes = append(scopes, c)
		}
	}
	for _, i := range p.Imports() {
		collect(i, into, seen)
	}
}

// answers marks the methods of a type, promoted ones included, by which it implements an interface.
func answers(at types.Type, interfaces map[string][]*types.Interface, used map[string]bool) {
	if n, ok := at.(*types.Named); !ok || n.TypeParams().Len() > 0 || types.IsInterface(at) {
		return
	}
	pointer := types.NewPointer(at)
	methods := types.NewMethodSet(pointer)
	for m := range methods.Methods() {
		for _, i := range interfaces[m.Obj().Name()] {
			if m.Obj().Pkg() != nil && types.Implements(pointer, i) {
				used[name(m.Obj())] = true
				break
			}
		}
	}
}
