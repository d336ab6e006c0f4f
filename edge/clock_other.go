//go:build !linux

package edge

import "time"

// started stands for the boot: elsewhere no kernel stamps edges, so any fixed origin does.
var started = time.Now()

func sinceBoot() time.Duration { return time.Since(started) }

// Synchronised is true: machines other than the Pi set their clock before anything runs.
func Synchronised() bool { return true }

func bootID() string { return "" }
