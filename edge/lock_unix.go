//go:build unix

package edge

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps a second publisher out of the directory. The kernel lets go of the lock when the
// process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another publisher uses it (%w): give each its own directory", err)
	}
	return f, nil
}
