package fanwatch

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version says from which source the running program was built, and for what: "1a2b3c4d5e6f (go1.26.8, linux/arm64)".
// A build without version control information is "unknown"; one of changed files ends in "+changes".
func Version() string {
	source, changed := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				source = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+changes"
			}
		}
	}
	return fmt.Sprintf("%s%s (%s, %s/%s)", cmp.Or(source, "unknown"), changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
