// Package durable changes files so that a change which was reported done survives kill -9 and a power cut, and a
// change that was interrupted leaves the file as it was.
//
// A file is durable when its bytes have been synced, and its name when the directory that holds the name has been:
// package os does neither. The functions here are those of package os with both, for small files that are replaced as
// a whole. Logs that grow sync themselves and need [SyncDir] and [MkdirAll] alone.
//
// The package is internal, because it promises what fanwatch's own files need and nothing more, and it imports the
// standard library alone, so that the edge's program can use it. The nested module local/servers cannot import it
// without the whole of fanwatch, and has a SyncDir of its own.
//
// Windows cannot sync a directory; there a name is as durable as NTFS makes it.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// tempSuffix ends the name of the file in which [WriteFile] collects the bytes, beside the one that it replaces. The
// name is always the same, so that what a kill leaves behind is overwritten by the next call and never piles up.
const tempSuffix = ".tmp"

// WriteFile replaces the bytes of the file at path, which need not exist, and returns when bytes and name are on the
// disk. A reader, and a program that starts after a crash, sees the old bytes or the new ones, whole. mode is the new
// file's, before umask, whatever the old file had.
//
// A crash may leave path with ".tmp" behind it, which the next call replaces. An error leaves the old file and no such
// file, but for one case: when the directory alone could not be synced, the new bytes are there and a power cut may
// bring the old ones back. Calls for one path must not run at the same time.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	temp := path + tempSuffix
	if err := writeTemp(temp, data, mode); err != nil {
		return err
	}
	if err := Rename(temp, path); err != nil {
		_ = os.Remove(temp) // gone already when only the directory could not be synced
		return err
	}
	return nil
}

// writeTemp makes the file at path anew, with the bytes on the disk, or leaves none.
func writeTemp(path string, data []byte, mode fs.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path) // the first error says what is wrong
	}
	return err
}

// Rename renames the file or directory at from to to, in the same directory or another, and returns when the name
// is on the disk. What is in it must be there already.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		if err := SyncDir(filepath.Dir(from)); err != nil {
			return err
		}
	}
	return SyncDir(filepath.Dir(to))
}

// Remove removes the file at path and returns when it cannot come back. A file that is not there is no error, nor is a
// directory that is not there.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := SyncDir(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// MkdirAll makes the directory at path and its missing parents, with mode before umask, and returns when their names
// are on the disk. A directory that is there stays as it is.
func MkdirAll(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil {
		info, statErr := os.Stat(path)
		if statErr != nil || !info.IsDir() { // else another process made it meanwhile
			return err
		}
	}
	return SyncDir(parent)
}

// SyncDir returns when the names in the directory at path (of files made, renamed or removed) are on the disk.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
