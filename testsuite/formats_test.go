package testsuite

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const formatsDoc = "../docs/FORMATS.md"

var backticked = regexp.MustCompile("`([^`\n]+)`")

// formats gives the page's text.
func formats(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(formatsDoc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources gives the parsed Go files of the project whose name passes keep; node_modules and hidden folders are left
// out.
func sources(t *testing.T, keep func(path string) bool) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != ".." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || !keep(path):
			return nil
		}
		files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func isCode(path string) bool {
	return !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "../testsuite/")
}

// TestFormatsNameEveryVersion holds the table of versions against the code: every constant whose name ends in Version
// and whose value is a number stands there with that value, and nothing else does.
func TestFormatsNameEveryVersion(t *testing.T) {
	var code []string
	for _, file := range sources(t, isCode) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if !strings.HasSuffix(name.Name, "Version") || i >= len(spec.Values) {
					continue
				}
				if value, ok := spec.Values[i].(*ast.BasicLit); ok && value.Kind == token.INT {
					code = append(code, name.Name+" = "+value.Value)
				}
			}
			return true
		})
	}
	_, table, _ := strings.Cut(formats(t), "\n## Versions\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var page []string
	for _, m := range regexp.MustCompile("(?m)^\\| [^|]+ \\| `(\\w+)` \\| (\\d+) \\|").FindAllStringSubmatch(table, -1) {
		page = append(page, m[1]+" = "+m[2])
	}
	slices.Sort(code)
	slices.Sort(page)
	if len(code) == 0 || !slices.Equal(code, page) {
		t.Errorf("the code alone has %q, docs/FORMATS.md alone %q", without(code, page), without(page, code))
	}
}

// without gives a without one of each of b.
func without(a, b []string) []string {
	rest := slices.Clone(a)
	for _, s := range b {
		if i := slices.Index(rest, s); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return rest
}

// TestFormatsNameEveryField holds the fields of structures against the page: of every versioned one (with a field v or
// version), of every row of a Parquet file, of what workflows start with, and of all of the root package and the
// dashboard. One section of the page must name all of a structure's fields.
func TestFormatsNameEveryField(t *testing.T) {
	var sections []map[string]bool
	for _, text := range regexp.MustCompile(`(?m)^##+ `).Split(formats(t), -1) {
		named := make(map[string]bool)
		for _, m := range backticked.FindAllStringSubmatch(text, -1) {
			named[m[1]] = true
		}
		sections = append(sections, named)
	}
	tag := regexp.MustCompile(`\b(json|yaml|parquet):"(\w+)`)
	checked := 0
	for path, file := range sources(t, isCode) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			byKind := make(map[string][]string)
			for _, f := range structure.Fields.List {
				if f.Tag != nil {
					for _, m := range tag.FindAllStringSubmatch(f.Tag.Value, -1) {
						byKind[m[1]] = append(byKind[m[1]], m[2])
					}
				}
			}
			for kind, fields := range byKind {
				sent := file.Name.Name == "fanwatch" || file.Name.Name == "dashboard" || strings.HasSuffix(spec.Name.Name, "Input")
				if kind != "parquet" && !sent && !slices.Contains(fields, "v") && !slices.Contains(fields, "version") {
					continue
				}
				checked++
				if missing := missingEverywhere(sections, fields); len(missing) > 0 {
					t.Errorf("%s: %s: no section of docs/FORMATS.md names all its %s fields; the nearest lacks %q", path, spec.Name,
						kind, missing)
				}
			}
			return true
		})
	}
	if checked < 20 {
		t.Errorf("only %d structures were found", checked)
	}
}

// missingEverywhere gives what the section that names most of the fields does not name.
func missingEverywhere(sections []map[string]bool, fields []string) (least []string) {
	least = fields
	for _, named := range sections {
		var missing []string
		for _, f := range fields {
			if !named[f] {
				missing = append(missing, f)
			}
		}
		if len(missing) < len(least) {
			least = missing
		}
	}
	return least
}

// TestFormatsNameEveryKeyOfTheStore holds the texts by which the code makes keys against the page's keys.
func TestFormatsNameEveryKeyOfTheStore(t *testing.T) {
	verb := regexp.MustCompile(`%[0-9]*[sdx]`)
	page := formats(t)
	var keys []string
	for _, m := range backticked.FindAllStringSubmatch(page, -1) {
		keys = append(keys, m[1])
	}
	found := 0
	for path, file := range sources(t, isCode) {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !regexp.MustCompile(`^(landing|state|tables|alerts)/\S*$`).MatchString(text) {
				return true
			}
			found++
			parts := verb.Split(text, -1)
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			key := regexp.MustCompile("^" + strings.Join(parts, `[A-Z]+`))
			if !slices.ContainsFunc(keys, key.MatchString) {
				t.Errorf("%s makes keys %q, which docs/FORMATS.md does not name", path, text)
			}
			return true
		})
	}
	if found < 5 {
		t.Errorf("only %d keys were found in the code", found)
	}
}

// TestFormatsNameOnlyWhatExists looks for every test and every file that the page names.
func TestFormatsNameOnlyWhatExists(t *testing.T) {
	tests := make(map[string]bool)
	for _, file := range sources(t, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				tests[f.Name.Name] = true
			}
		}
	}
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, m := range backticked.FindAllStringSubmatch(formats(t), -1) {
		name := m[1]
		if regexp.MustCompile(`^(Test|Fuzz|Example)[A-Z0-9]\w*$`).MatchString(name) {
			if checked++; !tests[name] {
				t.Errorf("docs/FORMATS.md names the test %s, which does not exist", name)
			}
			continue
		}
		first, rest, _ := strings.Cut(name, "/")
		isFolder := slices.ContainsFunc(folders, func(e fs.DirEntry) bool { return e.IsDir() && e.Name() == first })
		if !isFolder || rest != "" && !strings.HasSuffix(rest, "/") && filepath.Ext(rest) == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Errorf("docs/FORMATS.md names %s: %v", name, err)
		}
	}
	if checked < 50 {
		t.Errorf("only %d tests are named", checked)
	}
}

// TestFormatsNameEveryFileOfARunningSystem looks at what a system leaves below its state directory, the objects of its
// bucket among it: each stands in one of the page's tables of files.
func TestFormatsNameEveryFileOfARunningSystem(t *testing.T) {
	t.Parallel()
	page := formats(t)
	patterns := func(heading string) (found []*regexp.Regexp) {
		_, section, ok := strings.Cut(page, "\n## "+heading+"\n")
		if !ok {
			t.Fatalf("docs/FORMATS.md has no section %s", heading)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
			text := regexp.MustCompile(`[A-Z]+`).ReplaceAllString(regexp.QuoteMeta(m[1]), `[^/]+`)
			found = append(found, regexp.MustCompile("^"+strings.ReplaceAll(text, `\*\*`, ".+")+"$"))
		}
		return found
	}
	keys, files := patterns("Objects on S3"), patterns("Files of the local system")
	s := start(t, t.TempDir(), nil, "--fans", "2", "--no-faults", "--snapshot-every", "5s")
	s.until(time.Minute, "readings in the table", func() (bool, string) {
		out, err := s.cli("lake", "status")
		return err == nil && strings.Contains(out, "append"), fmt.Sprint(out, err)
	})
	s.until(time.Minute, "a snapshot", func() (bool, string) {
		found, err := filepath.Glob(filepath.Join(s.Dir, "s3/*/state/*/*/*.snapshot"))
		return len(found) > 0, fmt.Sprint(found, err)
	})
	seen := 0
	err := filepath.WalkDir(s.Dir, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // it came and went
		}
		if err != nil || e.IsDir() || strings.Contains(path, ".sgwtmp") || strings.HasSuffix(path, ".tmp") {
			return err // half-written files of the S3 server and of replacements
		}
		name, known := strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(s.Dir)+"/"), files
		if key, ok := strings.CutPrefix(name, "s3/"+s.Bucket+"/"); ok {
			name, known = key, keys
		}
		if seen++; !slices.ContainsFunc(known, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
			t.Errorf("docs/FORMATS.md does not name %s", name)
		}
		return nil
	})
	if err != nil || seen < 20 {
		t.Errorf("%d files: %v", seen, err)
	}
}
