// Package objstore has the object store that fanwatch needs, [Store], and [Dir], which keeps the objects in a
// directory. Package cloud has the Store of S3.
//
// A [Store.Put] is atomic and, with onlyIfAbsent, conditional: of several processes that write one key exactly one
// succeeds and all others get an error that wraps [ErrExists]. The landing log (package landing) depends on that. Keys
// are checked by [CheckKey] before anything is written. All methods may be called concurrently, also from several
// processes.
//
// Errors are told apart with errors.Is: [ErrNotFound], [ErrExists], [ErrNoBucket] and [ErrArchived]. After any other
// error of a write the object may or may not have been written.
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

// The errors that a caller of a Store tells from failures.
var (
	// ErrNotFound says that no object has the key.
	ErrNotFound = errors.New("no such object")
	// ErrNoBucket says that the store itself does not exist; whether it has the object is not known.
	ErrNoBucket = errors.New("no such bucket")
	// ErrExists says that an object has the key already.
	ErrExists = errors.New("object exists already")
	// ErrArchived says that the object exists and cannot be read, because it lies in an archive.
	ErrArchived = errors.New("the object is archived: restore it (aws s3api restore-object)")
)

// Store is an object store: S3, or a directory ([Dir]). A Put is atomic: a reader sees the whole object or none, and
// once Put has returned nil the object survives a crash of the process. All methods may be called concurrently, also
// from several processes.
type Store interface {
	// Get returns the object's bytes, or an error that wraps ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetRange returns n bytes of the object from offset on. It fails where the object has fewer.
	GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error)
	// Put writes the object. With onlyIfAbsent it writes nothing where the key is taken and returns an error that wraps
	// ErrExists (S3: If-None-Match: *, status 412). After any other error the object may or may not have been written.
	Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error
	// PutFrom is Put of an object that is too large for memory: size bytes that are read from data, possibly several
	// times.
	PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64, onlyIfAbsent bool) error
	// List returns the objects whose key has the prefix and is above startAfter, in the keys' byte order. After an error
	// the sequence ends.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]
	// Delete removes the object. That there is none is no error.
	Delete(ctx context.Context, key string) error
}

// Object is one entry of a listing.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// CheckKey returns an error where a Store might not be able to hold key, and nil of 1 to 1,024 bytes of printable ASCII
// without spaces, backslashes, empty, "." or ".." levels and levels that begin with ".tmp".
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
