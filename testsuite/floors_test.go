// Package testsuite holds the tests that need the whole system, or look at the whole of the code.
package testsuite

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors says on which floor each package stands: a package imports packages of floors below its own only.
// The lowest stand first.
var floors = [][]string{
	{"fanwatch", "fanwatch/failpoint", "fanwatch/rcf"},
	{"fanwatch/edge", "fanwatch/detect", "fanwatch/lake", "fanwatch/health"},
	{"fanwatch/cloud"}, // its store is lake's
	{"fanwatch/activities"},
	{"fanwatch/workflows"},
	{"fanwatch/workers", "fanwatch/dashboard"},
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
	const awsSDK, temporalSDK = "github.com/aws/", "go.temporal.io/"
	for _, c := range []struct {
		pkg    string
		forbid []string
		why    string
	}{
		{"fanwatch/workflows", []string{awsSDK}, "workflows and activities see AWS through interfaces"},
		{"fanwatch/lake", []string{awsSDK, temporalSDK}, "the lake speaks to a Store and a Catalog"},
		{"fanwatch/edge", []string{awsSDK, temporalSDK}, "the edge runs on a Raspberry Pi Zero"},
		{"fanwatch/cmd/fanwatch-edge", []string{awsSDK, temporalSDK}, "so does its program"},
		{"fanwatch/detect", []string{awsSDK, temporalSDK, "github.com/", "golang.org/"}, "models are numbers"},
	} {
		for _, dep := range list(t, c.pkg)[c.pkg].Deps {
			for _, f := range c.forbid {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s: %s", c.pkg, dep, c.why)
				}
			}
		}
	}
	for _, name := range []string{"fanwatch", "fanwatch/rcf", "fanwatch/failpoint"} {
		for _, dep := range list(t, name)[name].Deps {
			if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") {
				t.Errorf("%s links %s: it is to link the standard library alone", name, dep)
			}
		}
	}
}

// TestNoProgramLinksAnotherCloud: iceberg-go and gocloud have parts for Azure and Google, which one import too many
// brings.
func TestNoProgramLinksAnotherCloud(t *testing.T) {
	foreign := []string{"github.com/Azure/", "cloud.google.com/go/storage", "google.golang.org/api/storage", "gocloud.dev/blob/azureblob",
		"gocloud.dev/blob/gcsblob", "github.com/duckdb/", "go.temporal.io/server"}
	for _, program := range []string{"fanwatch/cmd/fanwatch", "fanwatch/cmd/fanwatch-local", "fanwatch/cmd/fanwatch-edge"} {
		for _, dep := range list(t, program)[program].Deps {
			for _, f := range foreign {
				if strings.HasPrefix(dep, f) {
					t.Errorf("%s links %s: find the import with go list -deps, and take a narrower one", program, dep)
				}
			}
		}
	}
}
