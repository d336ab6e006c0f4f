package objstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fanwatch/internal/durable"
)

// Dir is a [Store] in a directory of the local file system, for tests and offline tools: an object is a file whose path
// is its key. Every Put is synced, file and directory, before it returns. A new object appears by link(2), which fails
// where the name is taken and is atomic on every POSIX file system; a replaced one by rename(2).
type Dir struct{ root string }

// dirTemp is the folder of half-written files, beside the objects so that link and rename stay on one file system.
const dirTemp = ".tmp"

// abandonedAfter is the age at which OpenDir removes a temporary file, because its process was killed.
const abandonedAfter = time.Hour

// OpenDir opens the directory, makes it where it is missing, and removes files that were left half-written more than
// an hour ago.
func OpenDir(path string) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("object directory %s: %w", path, err)
	}
	d := &Dir{root: root}
	if err := durable.MkdirAll(filepath.Join(root, dirTemp), 0o755); err != nil {
		return nil, fmt.Errorf("object directory: %w", err)
	}
	left, err := os.ReadDir(filepath.Join(root, dirTemp))
	if err != nil {
		return nil, fmt.Errorf("object directory: %w", err)
	}
	for _, e := range left {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
			_ = os.Remove(filepath.Join(root, dirTemp, e.Name())) // one that stays is removed by the next OpenDir
		}
	}
	return d, nil
}

// Root returns the directory's absolute path.
func (d *Dir) Root() string { return d.root }

// Get reads the file of the key; see [Store].
func (d *Dir) Get(ctx context.Context, key string) ([]byte, error) {
	if err := d.check(ctx, key); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(d.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	return data, err
}

// GetRange reads a part of the file of the key; see [Store].
func (d *Dir) GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	if err := d.check(ctx, key); err != nil {
		return nil, err
	}
	f, err := os.Open(d.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if offset < 0 || n < 0 || offset > info.Size()-n {
		return nil, fmt.Errorf("%s has %d bytes, want %d from %d on: %w", key, info.Size(), n, offset, io.ErrUnexpectedEOF)
	}
	data := make([]byte, n)
	_, err = f.ReadAt(data, offset)
	return data, err
}

// Put writes the file of the key; see [Store].
func (d *Dir) Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error {
	return d.PutFrom(ctx, key, bytes.NewReader(data), int64(len(data)), onlyIfAbsent)
}

// PutFrom writes the file of the key; see [Store].
func (d *Dir) PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64, onlyIfAbsent bool) error {
	if err := d.check(ctx, key); err != nil {
		return err
	}
	temp, err := d.writeTemp(data, size)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	defer os.Remove(temp)
	target := d.path(key)
	if err := durable.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if onlyIfAbsent {
		err = os.Link(temp, target)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, key)
		}
	} else {
		err = os.Rename(temp, target)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return durable.SyncDir(filepath.Dir(target))
}

// List walks the directory; see [Store]. It holds all matching names in memory.
func (d *Dir) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		found, err := d.find(ctx, prefix, startAfter)
		if err != nil {
			yield(Object{}, fmt.Errorf("list %s: %w", prefix, err))
			return
		}
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Delete removes the file of the key; see [Store].
func (d *Dir) Delete(ctx context.Context, key string) error {
	if err := d.check(ctx, key); err != nil {
		return err
	}
	if err := os.Remove(d.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *Dir) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckKey(key)
}

func (d *Dir) path(key string) string { return filepath.Join(d.root, filepath.FromSlash(key)) }

func (d *Dir) writeTemp(data io.Reader, size int64) (string, error) {
	f, err := os.CreateTemp(filepath.Join(d.root, dirTemp), "put-")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, data)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes were read, want %d", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func (d *Dir) find(ctx context.Context, prefix, startAfter string) ([]Object, error) {
	start := d.root
	if i := strings.LastIndexByte(prefix, '/'); i > 0 {
		if err := CheckKey(prefix[:i]); err != nil {
			return nil, err
		}
		start = d.path(prefix[:i])
	}
	var found []Object
	err := filepath.WalkDir(start, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed during the walk, or nothing has the prefix
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && path == filepath.Join(d.root, dirTemp):
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		if !strings.HasPrefix(key, prefix) || key <= startAfter {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil // removed during the walk
		}
		found = append(found, Object{Key: key, Size: info.Size(), Modified: info.ModTime()})
		return nil
	})
	// A directory walk orders "a-b/x" behind "a/x", the keys' byte order does not.
	slices.SortFunc(found, func(a, b Object) int { return cmp.Compare(a.Key, b.Key) })
	return found, err
}
