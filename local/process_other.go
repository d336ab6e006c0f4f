//go:build !unix

package local

import (
	"os"
	"os/exec"
)

// lockFile cannot lock here; two systems on one directory find each other's ports taken instead.
func lockFile(*os.File) error { return nil }

// ownGroup does nothing here: Ctrl-C reaches the children too, and they stop by themselves.
func ownGroup(*exec.Cmd) {}
