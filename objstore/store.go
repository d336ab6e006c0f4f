// Package objstore is the object store that fanwatch needs: [Store], and [Dir], which keeps the objects in a directory.
// Package cloud brings S3.
//
// A program opens a store with [OpenDir] and hands it on as a [Store]. A [Store.Put] is atomic and, with onlyIfAbsent,
// conditional: of several processes that write one key exactly one succeeds and all others get an error that wraps
// [ErrExists]. The landing log (package landing) stands on that promise. Keys are checked by [CheckKey] before anything
// is written. All methods may be called concurrently, also from several processes.
//
// Errors are told apart with errors.Is: [ErrNotFound], [ErrExists], [ErrNoBucket] and [ErrArchived]. Any other error
// leaves open what became of the call.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// The answers of a Store that a caller must tell from failures.
var (
	// ErrNotFound says that no object has the key.
	ErrNotFound = errors.New("no such object")
	// ErrNoBucket says that the store itself is not there; whether the object is, is not known.
	ErrNoBucket = errors.New("no such bucket")
	// ErrExists says that an object has the key already.
	ErrExists = errors.New("object exists already")
	// ErrArchived says that a Store has an object and does not give it, for it lies in an archive.
	ErrArchived = errors.New("the object is archived: restore it (aws s3api restore-object)")
)

// Store is an object store: S3, or a directory (Dir). A Put is atomic: a reader sees the whole object or
// none, and once Put returned nil the object survives a crash of the process. All methods may be called
// concurrently, also from several processes.
type Store interface {
	// Get returns the object's bytes, or an error that wraps ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetRange returns n bytes of the object from offset on. It fails where the object ends before them.
	GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error)
	// Put writes the object. With onlyIfAbsent it writes nothing when the key is taken and gives an error
	// that wraps ErrExists (S3: If-None-Match: *, status 412). An error that is neither leaves open
	// whether the object was written.
	Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error
	// PutFrom is like Put for size bytes that are read from data, which may be read several times: an object
	// that is too large to lie in memory.
	PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64, onlyIfAbsent bool) error
	// List returns the objects whose key has the prefix and is above startAfter, in the keys' byte order.
	// After an error the sequence ends.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]
	// Delete removes the object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Object is one entry of a listing.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// CheckKey reports whether key is one that every Store can hold: 1 to 1,024 bytes of printable ASCII,
// without empty, "." or ".." levels and without a level that starts with ".tmp".
func CheckKey(key string) error {
	if key == "" || len(key) > 1024 {
		return fmt.Errorf("object key of %d bytes: use 1 to 1024", len(key))
	}
	for _, r := range key {
		if r <= ' ' || r > '~' || r == '\\' {
			return fmt.Errorf("object key %.80q: use printable ASCII without spaces and backslashes", key)
		}
	}
	for _, level := range strings.Split(key, "/") {
		if level == "" || level == "." || level == ".." || strings.HasPrefix(level, ".tmp") {
			return fmt.Errorf("object key %.80q: level %.20q is not allowed", key, level)
		}
	}
	return nil
}
