package testsuite

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is the length of the longest line of a source file, in characters; a tab counts as one.
const maxColumns = 120

// textFiles returns the project's own files whose names end in one of the suffixes, relative to its root.
// Files of testdata are inputs, not sources.
func textFiles(t *testing.T, suffixes ...string) []string {
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

func generated(text string) bool {
	return strings.Contains(text, "\n// Code generated ") || strings.HasPrefix(text, "// Code generated ")
}

func TestNoLineOfSourcePassesTheMargin(t *testing.T) {
	for _, name := range textFiles(t, ".go", ".ts", ".css", ".s", ".sh", ".py", ".yml", ".yaml") {
		text := readText(t, name)
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

// exportedName is an exported name of a package with the comment that belongs to it.
type exportedName struct {
	name, comment string
	at            token.Position
}

// exports returns the exported types, functions, methods of exported types, constants and variables of a file. The
// comment of a constant or variable is the one above it or, in a group, the one behind it on its line.
func exports(fset *token.FileSet, file *ast.File) []exportedName {
	var all []exportedName
	add := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		e := exportedName{name: name.Name, at: fset.Position(name.Pos())}
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
	for _, name := range textFiles(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, readText(t, name), parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range exports(fset, file) {
			looked++
			if first, _, _ := strings.Cut(e.comment, " "); strings.TrimRight(first, ",:;.'s") != strings.TrimRight(e.name, "s") {
				t.Errorf("%s:%d: the comment of %s does not begin with its name: %q", e.at.Filename, e.at.Line, e.name,
					brief(e.comment))
			}
		}
	}
	t.Logf("%d exported names", looked)
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

// forbidden returns the words of GLOSSARY.md's table of words that exported names do not use.
func forbidden(t *testing.T) map[string]string {
	t.Helper()
	_, table, found := strings.Cut(readText(t, "docs/GLOSSARY.md"), "## Words that exported names do not use")
	if !found {
		t.Fatal("docs/GLOSSARY.md has no table of words that exported names do not use")
	}
	words := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.Contains(cells[1], "---") || strings.TrimSpace(cells[1]) == "not" {
			continue
		}
		for word := range strings.SplitSeq(cells[1], ",") {
			words[strings.TrimSpace(word)] = strings.TrimSpace(cells[2])
		}
	}
	if len(words) < 20 {
		t.Fatalf("%d words: the table is not read", len(words))
	}
	return words
}

func TestExportedNamesKeepToTheGlossary(t *testing.T) {
	say := forbidden(t)
	for _, name := range textFiles(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, readText(t, name), 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			var names []*ast.Ident
			switch n := n.(type) {
			case *ast.FuncDecl:
				names = []*ast.Ident{n.Name}
			case *ast.TypeSpec:
				names = []*ast.Ident{n.Name}
			case *ast.ValueSpec:
				names = n.Names
			case *ast.Field:
				names = n.Names
			}
			for _, id := range names {
				if !id.IsExported() {
					continue
				}
				for _, word := range camelWord.FindAllString(id.Name, -1) {
					if better, ok := say[word]; ok {
						t.Errorf("%s: %s says %s: say %s", fset.Position(id.Pos()), id.Name, word, better)
					}
				}
			}
			return true
		})
	}
}

// camelWord is one word of a name in camel case.
var camelWord = regexp.MustCompile(`[A-Z][a-z]+|[A-Z]+`)

// persons are words that a comment uses of a component where its name would say more.
var persons = regexp.MustCompile(`(?i)\b(somebody|nobody|anybody|everybody|whoever|likewise|in vain)\b`)

func TestCommentsNameComponentsAndNotPersons(t *testing.T) {
	for _, name := range textFiles(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, readText(t, name), parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if word := persons.FindString(c.Text); word != "" {
					t.Errorf("%s: a comment says %q: name the component", fset.Position(c.Pos()), word)
				}
			}
		}
	}
}
