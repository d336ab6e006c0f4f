package testsuite

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is the length of the longest line of a source file, in characters; a tab counts as one.
const maxColumns = 120

// sources returns the project's own files whose names end in one of the suffixes, relative to its root.
// Files of testdata are inputs, not sources.
func sources(t *testing.T, suffixes ...string) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Skip("git lists the files that are looked at, and it does not answer here: ", err)
	}
	var files []string
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if strings.Contains(name, "testdata/") {
			continue
		}
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		t.Fatalf("no file ends in %q: the test looks at nothing", suffixes)
	}
	return files
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func generated(text string) bool {
	return strings.Contains(text, "\n// Code generated ") || strings.HasPrefix(text, "// Code generated ")
}

func TestNoLineOfSourcePassesTheMargin(t *testing.T) {
	for _, name := range sources(t, ".go", ".ts", ".css", ".s", ".sh", ".py", ".yml", ".yaml") {
		text := read(t, name)
		if generated(text) {
			continue
		}
		n := 0
		for line := range strings.Lines(text) {
			n++
			if long := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); long > maxColumns {
				t.Errorf("%s:%d has %d columns, %d are the most", name, n, long, maxColumns)
			}
		}
	}
}

// exported is an exported name of a package with the comment that belongs to it.
type exported struct {
	name, comment string
	at            token.Position
}

// exports returns the exported types, functions, methods of exported types, constants and variables of a file. The comment of
// a constant or variable is the one above it or, in a group, the one behind it on its line.
func exports(fset *token.FileSet, file *ast.File) []exported {
	var all []exported
	add := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		e := exported{name: name.Name, at: fset.Position(name.Pos())}
		for _, c := range comments {
			if e.comment == "" && c != nil {
				e.comment = strings.TrimSpace(c.Text())
			}
		}
		all = append(all, e)
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || receiverExported(d.Recv.List[0].Type) {
				add(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					add(s.Name, s.Doc, alone(d))
				case *ast.ValueSpec:
					for _, name := range s.Names {
						add(name, s.Doc, s.Comment, alone(d))
					}
				}
			}
		}
	}
	return all
}

// alone returns the comment of a declaration that declares one thing.
func alone(d *ast.GenDecl) *ast.CommentGroup {
	if len(d.Specs) == 1 {
		return d.Doc
	}
	return nil
}

func receiverExported(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverExported(t.X)
	case *ast.IndexExpr:
		return receiverExported(t.X)
	case *ast.IndexListExpr:
		return receiverExported(t.X)
	case *ast.Ident:
		return t.IsExported()
	}
	return false
}

func TestEveryExportedNameHasACommentThatBeginsWithIt(t *testing.T) {
	looked := 0
	for _, name := range sources(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, read(t, name), parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range exports(fset, file) {
			looked++
			if first, _, _ := strings.Cut(e.comment, " "); strings.TrimRight(first, ",:;.'s") != strings.TrimRight(e.name, "s") {
				t.Errorf("%s:%d: the comment of %s does not begin with its name: %q", e.at.Filename, e.at.Line, e.name, brief(e.comment))
			}
		}
	}
	if looked < 300 {
		t.Fatalf("%d exported names were looked at: the test looks past most of them", looked)
	}
}

func brief(s string) string {
	if len(s) > 60 {
		return fmt.Sprint(s[:60], "...")
	}
	return s
}
