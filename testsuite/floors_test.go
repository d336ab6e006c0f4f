// Package testsuite holds the tests that need the whole system, or look at the whole of the code.
package testsuite

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// floors says on which floor each package stands: a package imports packages of floors below its own only.
// The lowest stand first.
var floors = [][]string{
	{"fanwatch", "fanwatch/failpoint", "fanwatch/internal/durable", "fanwatch/rcf"},
	{"fanwatch/objstore", "fanwatch/detect/judge", "fanwatch/notify"},
	{"fanwatch/answer", "fanwatch/edge", "fanwatch/detect", "fanwatch/health", "fanwatch/cloud", "fanwatch/policy",
		"fanwatch/lake/internal/parquetguard"},
	{"fanwatch/lake/landing", "fanwatch/lake/rowfile"},
	{"fanwatch/lake", "fanwatch/lake/ingest"},
	{"fanwatch/activities", "fanwatch/cloud/awscatalog"},
	{"fanwatch/workflows"},
	{"fanwatch/operator"},
	{"fanwatch/workers", "fanwatch/dashboard"},
	{"fanwatch/local/aws/fault"},
	{"fanwatch/local/aws/kinesis", "fanwatch/local/aws/sns", "fanwatch/local/aws/iotcore"},
	{"fanwatch/local"},
	{"fanwatch/cmd/fanwatch", "fanwatch/cmd/fanwatch-edge", "fanwatch/cmd/fanwatch-local"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := map[string]pkg{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestAFloorImportsOnlyFloorsBelow(t *testing.T) {
	floor := map[string]int{}
	for n, names := range floors {
		for _, name := range names {
			floor[name] = n
		}
	}
	for name, p := range list(t, "./...") {
		if !ours(name) || strings.Contains(name, "/testsuite") {
			continue
		}
		at, known := floor[name]
		if !known {
			t.Errorf("%s stands on no floor: give it a place in floors_test.go", name)
			continue
		}
		for _, i := range p.Imports {
			if below, known := floor[i]; ours(i) && (!known || below >= at) {
				t.Errorf("%s (floor %d) imports %s, which does not stand below it", name, at, i)
			}
		}
	}
}

func ours(path string) bool { return path == "fanwatch" || strings.HasPrefix(path, "fanwatch/") }

func TestWhatAProgramMayLink(t *testing.T) {
	const awsSDK, temporalSDK, iceberg = "github.com/aws/", "go.temporal.io/", "github.com/apache/iceberg-go"
	for _, c := range []struct {
		pkg    string
		forbid []string
		why    string
	}{
		{"fanwatch/workflows", []string{awsSDK}, "workflows and activities see AWS through interfaces"},
		{"fanwatch/operator", []string{awsSDK}, "the operator speaks to Temporal alone"},
		{"fanwatch/lake", []string{awsSDK, temporalSDK}, "the lake speaks to a Store and a Catalog"},
		{"fanwatch/lake/landing", []string{awsSDK, temporalSDK, iceberg}, "a scorer lands without knowing the tables"},
		{"fanwatch/lake/rowfile", []string{awsSDK, temporalSDK, iceberg}, "the codec knows files, not tables"},
		{"fanwatch/lake/ingest", []string{awsSDK, temporalSDK, iceberg},
			"it lands objects, and the tables take them from there"},
		{"fanwatch/cloud", []string{"fanwatch/lake", temporalSDK}, "S3 needs the Store, not the lake"},
		{"fanwatch/notify", []string{awsSDK, temporalSDK}, "a channel is rendered and sent without either"},
		{"fanwatch/policy", []string{awsSDK, temporalSDK}, "a policy file is read and resolved without either"},
		{"fanwatch/edge", []string{awsSDK, temporalSDK}, "the edge runs on a Raspberry Pi Zero"},
		{"fanwatch/cmd/fanwatch-edge", []string{awsSDK, temporalSDK}, "so does its program"},
		{"fanwatch/detect", []string{awsSDK, temporalSDK, "github.com/", "golang.org/"}, "models are numbers"},
		{"fanwatch/detect/judge", []string{awsSDK, temporalSDK, "github.com/", "golang.org/"}, "a judge is numbers"},
	} {
		for _, dep := range list(t, c.pkg)[c.pkg].Deps {
			for _, f := range c.forbid {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s: %s", c.pkg, dep, c.why)
				}
			}
		}
	}
	for _, name := range []string{"fanwatch", "fanwatch/rcf", "fanwatch/failpoint", "fanwatch/internal/durable",
		"fanwatch/objstore"} {
		for _, dep := range list(t, name)[name].Deps {
			if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") {
				t.Errorf("%s links %s: it is to link the standard library alone", name, dep)
			}
		}
	}
}

// TestTheScorerKnowsNoTables: of what the activities do only the lake's own work needs Iceberg. The scorer lands.
func TestTheScorerKnowsNoTables(t *testing.T) {
	files, err := filepath.Glob("../activities/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || filepath.Base(name) == "lake.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if i.Path.Value == `"fanwatch/lake"` {
				t.Errorf("%s imports the tables: take what it needs from lake/landing", name)
			}
		}
	}
}

func TestEveryRoomIsOnTheMap(t *testing.T) {
	text := readText(t, "ARCHITECTURE.md")
	_, rooms, _ := strings.Cut(text, "\n## Rooms\n")
	rooms, _, _ = strings.Cut(rooms, "\n## ")
	onMap := map[string]bool{}
	for line := range strings.Lines(rooms) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.Contains(cells[1], "`") {
			onMap[strings.Trim(cells[1], " `")] = true
		}
	}
	for _, names := range floors {
		for _, name := range names {
			room := name
			if name != "fanwatch" {
				room = strings.TrimPrefix(name, "fanwatch/")
			}
			if !onMap[room] {
				t.Errorf("ARCHITECTURE.md, Rooms, has no row of `%s`", room)
			}
			delete(onMap, room)
		}
	}
	for room := range onMap {
		t.Errorf("ARCHITECTURE.md, Rooms, has a row of `%s`, which stands on no floor", room)
	}
}

// TestNoProgramLinksWhatItDoesNotNeed: iceberg-go and gocloud have parts for Azure and Google, which one import too
// many brings; the local system needs no Glue.
func TestNoProgramLinksWhatItDoesNotNeed(t *testing.T) {
	clouds := []string{"github.com/Azure/", "cloud.google.com/go/storage", "google.golang.org/api/storage",
		"gocloud.dev/blob/azureblob", "gocloud.dev/blob/gcsblob", "github.com/duckdb/", "go.temporal.io/server"}
	for program, forbidden := range map[string][]string{
		"fanwatch/cmd/fanwatch":       clouds,
		"fanwatch/cmd/fanwatch-local": append([]string{"github.com/aws/aws-sdk-go-v2/service/glue"}, clouds...),
		"fanwatch/cmd/fanwatch-edge":  clouds,
	} {
		for _, dep := range list(t, program)[program].Deps {
			for _, f := range forbidden {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s: find the import with go list -deps, and take a narrower one", program, dep)
				}
			}
		}
	}
}
