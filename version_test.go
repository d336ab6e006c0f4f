package fanwatch

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestABuildNamesItsCommitAndItsDate(t *testing.T) {
	platform := runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "1a2b3c4d5e6f7890123456789012345678901234"},
			{Key: "vcs.time", Value: "2026-11-30T18:59:00Z"}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		name  string
		info  *debug.BuildInfo
		stamp string
		want  string
	}{
		{"a commit", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: vcs("false")}, "",
			"v1.2.3, commit 1a2b3c4d5e6f of 2026-11-30T18:59:00Z, "},
		{"changed files", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: vcs("true")},
			"ffff 2020-01-01T00:00:00Z",
			"v1.2.3+dirty, commit 1a2b3c4d5e6f of 2026-11-30T18:59:00Z with changes, "},
		{"-buildvcs=false, or a source without .git", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "",
			"version unknown, commit unknown, "},
		{"-buildvcs=false by the Taskfile", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}},
			"1a2b3c4d5e6f7890123456789012345678901234 2026-11-30T18:59:00Z",
			"v0.0.0-20261130185900-1a2b3c4d5e6f, commit 1a2b3c4d5e6f of 2026-11-30T18:59:00Z, "},
		{"no record at all", nil, "", "version unknown, commit unknown, "},
	} {
		if got := buildOf(c.info, c.stamp).String(); got != c.want+platform {
			t.Errorf("%s: %q, want %q", c.name, got, c.want+platform)
		}
	}
}

func TestABuildPrintsOneLineOfTextOrJSON(t *testing.T) {
	b := Build{Version: "v1.2.3", Commit: "1a2b", Date: "2026-11-30T18:59:00Z", Go: "go1.26.8", OS: "linux", Arch: "arm"}
	var text, object strings.Builder
	if err := b.Print(&text, "fanwatch-edge", false); err != nil || text.String() != "fanwatch-edge "+b.String()+"\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
	var got Build
	if err := b.Print(&object, "fanwatch-edge", true); err != nil || strings.Count(object.String(), "\n") != 1 {
		t.Errorf("%q, %v", object.String(), err)
	}
	if err := json.Unmarshal([]byte(object.String()), &got); err != nil || got != b {
		t.Errorf("%+v, %v", got, err)
	}
}
