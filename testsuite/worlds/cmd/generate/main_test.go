package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func generate(t *testing.T, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.Bytes()
}

// TestBothFormatsHoldTheSame: each line of NDJSON has the values of its row of CSV that are not empty.
func TestBothFormatsHoldTheSame(t *testing.T) {
	labels := filepath.Join(t.TempDir(), "labels.json")
	args := []string{"-world", "follows-told", "-days", "0.1", "-fault", "drop-10", "-onset", "1h", "-labels", labels}
	rows, err := csv.NewReader(bytes.NewReader(generate(t, args...))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(generate(t, append(args, "-format", "ndjson")...))), "\n")
	if len(rows) != 1+8640 || len(lines) != 8640 {
		t.Fatalf("%d rows, %d lines", len(rows), len(lines))
	}
	faulty := 0
	for i, line := range lines {
		var object map[string]any
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for k, name := range rows[0] {
			want := rows[1+i][k]
			got, ok := object[name]
			if text, _ := got.(string); text != want && (!ok || got != json.Number(want)) && (ok || want != "") {
				t.Fatalf("%s is %v, in CSV %q", name, got, want)
			}
		}
		if object["fault"] == "drop-10" {
			faulty++
		}
	}
	var label label
	data, err := os.ReadFile(labels)
	if err == nil {
		err = json.Unmarshal(data, &label)
	}
	if err != nil || label.Readings != 8640 || label.Visible.IsZero() || faulty != 8640-3600+1 {
		t.Errorf("%+v, %d readings with the fault, %v", label, faulty, err)
	}
}

// TestTheDocumentNamesEveryColumn: docs/worlds.md has a row for each.
func TestTheDocumentNamesEveryColumn(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/worlds.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Columns\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, name := range columns {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("docs/worlds.md does not name column %s", name)
		}
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-world", "nowhere"}, {"-fault", "none"}, {"-interval", "1500ms"}, {"-days", "-1"},
		{"-format", "xml"}, {"-fan", "2"}, {"more"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
