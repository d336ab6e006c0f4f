package fanwatch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// stamp is the commit and its date, with a space between, as the Taskfile has the linker write it; empty in other
// builds. It counts where the go command recorded no version control, as with -buildvcs=false.
var stamp string

// Build says from which source a program was built, and for what. The first three are empty where neither the go
// command nor the Taskfile found version control, as in a source without .git.
type Build struct {
	Version  string `json:"version"`  // of the module: a tag, or v0.0.0-TIME-COMMIT; ends in +dirty when Modified
	Commit   string `json:"commit"`   // 40 hexadecimal digits
	Date     string `json:"date"`     // of the commit, RFC 3339, UTC
	Modified bool   `json:"modified"` // files differed from the commit
	Go       string `json:"go"`       // such as go1.26.8
	OS       string `json:"os"`       // GOOS
	Arch     string `json:"arch"`     // GOARCH
}

// RunningBuild returns the Build of the running program.
func RunningBuild() Build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(info, stamp)
}

// buildOf reads what the go command recorded, and the stamp where it recorded no commit. nil is a program without a
// record.
func buildOf(info *debug.BuildInfo, stamp string) Build {
	b := Build{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	b.Commit, b.Date, _ = strings.Cut(stamp, " ")
	if at, err := time.Parse(time.RFC3339, b.Date); err == nil {
		b.Version = fmt.Sprintf("v0.0.0-%s-%.12s", at.UTC().Format("20060102150405"), b.Commit)
	}
	if info == nil {
		return b
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String returns one line: "v0.0.0-20261130185900-1a2b3c4d5e6f, commit 1a2b3c4d5e6f of 2026-11-30T18:59:00Z,
// go1.26.8, linux/arm64".
func (b Build) String() string {
	source := "commit unknown"
	if b.Commit != "" {
		source = fmt.Sprintf("commit %.12s of %s", b.Commit, cmp.Or(b.Date, "an unknown date"))
	}
	if b.Modified {
		source += " with changes"
	}
	return fmt.Sprintf("%s, %s, %s, %s/%s", cmp.Or(b.Version, "version unknown"), source, b.Go, b.OS, b.Arch)
}

// Print writes the program's name and String in one line, or one line of JSON.
func (b Build) Print(out io.Writer, program string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(b)
	}
	_, err := fmt.Fprintln(out, program, b)
	return err
}
