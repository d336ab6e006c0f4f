package testsuite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/objstore"
)

const lakeDoc = "../docs/lake.md"

// venv is what .ci/run makes of testsuite/pyiceberg/requirements.txt.
const venv = "pyiceberg/.venv/bin/python"

// snippets gives the fenced blocks of the page whose first line says run=NAME, by NAME.
func snippets(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(lakeDoc)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, m := range regexp.MustCompile("(?ms)^```\\w+ run=(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}

// TestLakeDocSnippetsReadARunningSystem runs the local snippets of docs/lake.md in the directory of a running system,
// as a reader would: the Python ones as they are, DuckDB's with keys, address and metadata file put in. Each must find
// every reading that was published.
func TestLakeDocSnippetsReadARunningSystem(t *testing.T) {
	t.Parallel()
	python, err := filepath.Abs(venv)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c",
		"import pyiceberg, polars, duckdb, duckdb_extension_iceberg").CombinedOutput(); err != nil {
		t.Skipf("the readers are not installed: .ci/run makes testsuite/pyiceberg/.venv: %v %s", err, out)
	}
	dir := t.TempDir()
	s := start(t, filepath.Join(dir, ".fanwatch"), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	type state struct {
		Catalog struct{ Kind, Name, Where string }
		Tables  []lake.Status
	}
	var st state
	for _, rows := range []int64{50, 100} { // two commits, two snapshots
		p.publish(s, 50)
		s.until(time.Minute, "the readings in the table", func() (bool, string) {
			out, err := s.cli("lake", "status", "--json")
			if err == nil {
				err = json.Unmarshal([]byte(out), &st)
			}
			if err != nil {
				return false, err.Error() // nothing has landed yet
			}
			return st.Tables[0].Rows == rows, fmt.Sprintf("%+v", st.Tables[0])
		})
	}
	if c := st.Catalog; c.Kind != "sqlite" || c.Name != lake.CatalogName || c.Where != filepath.Join(s.Dir, "catalog.db") {
		t.Errorf("status says that the catalog is %+v", c)
	}
	keys, err := os.ReadFile(s.Keys)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Fields(string(keys))
	page := snippets(t)
	for name, want := range map[string][]string{
		"pyiceberg": {"'fan_id': '" + p.fan + "', 'rpm_min_count': 100,", "50 rows in the oldest snapshot"},
		"polars":    {"'fan_id': '" + p.fan + "', 'readings': 100,"},
		"duckdb":    {"'fan_id': '" + p.fan + "', 'readings': 100,", "'operation': 'append'"},
	} {
		text := page[name]
		if text == "" {
			t.Errorf("docs/lake.md has no block run=%s", name)
			continue
		}
		args := []string{"-W", "ignore", "-"}
		if name == "duckdb" {
			for from, to := range map[string]string{"ACCESS_KEY": key[0], "SECRET_KEY": key[1],
				"METADATA":       st.Tables[0].Metadata,
				"127.0.0.1:4569": strings.TrimPrefix(s.S3, "http://")} {
				if !strings.Contains(text, from) {
					t.Errorf("the block %s does not name %s", name, from)
				}
				text = strings.ReplaceAll(text, from, to)
			}
			runner, err := filepath.Abs("pyiceberg/duckdb_run.py")
			if err != nil {
				t.Fatal(err)
			}
			args = []string{runner, t.TempDir()}
		}
		cmd := exec.Command(python, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(text)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		for _, w := range want {
			if err != nil || !strings.Contains(string(out), w) {
				t.Errorf("%s: %v, want %q in:\n%s%s", name, err, w, out, stderr.String())
			}
		}
	}
}

// TestLakeDocNamesEveryColumn holds the column tables of docs/lake.md against the tables that the code makes.
func TestLakeDocNamesEveryColumn(t *testing.T) {
	dir := t.TempDir()
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	catalog, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	cfg := lake.TableConfig{Catalog: catalog, Store: store, Location: "file://" + store.Root()}
	if _, err := lake.OpenTables(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(lakeDoc)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\| (\\w+) \\| (yes|no) \\|")
	for _, name := range []string{"readings", "anomalies", "quarantine", "alerts", "labels"} {
		_, section, found := strings.Cut(string(text), "\n### `"+name+"`")
		section, _, _ = strings.Cut(section, "\n#")
		tbl, err := catalog.LoadTable(t.Context(), []string{"fanwatch", name})
		if err != nil || !found {
			t.Errorf("%s: %v, in the page: %t", name, err, found)
			continue
		}
		var want, got []string
		for _, f := range tbl.Schema().Fields() {
			required := map[bool]string{true: "yes", false: "no"}[f.Required]
			want = append(want, fmt.Sprint(f.ID, f.Name, f.Type, required))
		}
		for _, m := range row.FindAllStringSubmatch(section, -1) {
			got = append(got, fmt.Sprint(m[1], m[2], m[3], m[4]))
		}
		if a, b := strings.ReplaceAll(strings.Join(got, "\n"), " ", ""), strings.ReplaceAll(strings.Join(want, "\n"), " ",
			""); a != b {
			t.Errorf("%s: the page has\n%s\nthe code makes\n%s", name, a, b)
		}
		if sort := tbl.SortOrder(); sort.Len() != 2 {
			t.Errorf("%s: sorted by %s", name, sort)
		}
	}
}
