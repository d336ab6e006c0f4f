// Package lake keeps what the scorers say: the landing log that is every shard's checkpoint (Log), the
// snapshots of the models beside it (Log.PutSnapshot), the Apache Iceberg table that is fed from the log
// (Table), whose files it merges (Table.Compact) and of which it answers what a fan did in any period
// (Table.Query, Table.Rows), and the account that shows that no acknowledged reading was lost or doubled
// (Reconcile).
//
// It speaks to an object store through Store and to an Iceberg catalog that the caller opens, and links
// neither the AWS SDK nor Temporal: package cloud brings S3, Glue and REST.
package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// The two answers of a Store that a caller must tell from failures.
var (
	ErrNotFound = errors.New("no such object")
	ErrNoBucket = errors.New("no such bucket") // whether an object is there is not known then
	ErrExists   = errors.New("object exists already")
)

// Store is an object store: S3, or a directory (Dir). A Put is atomic: a reader sees the whole object or
// none, and once Put returned nil the object survives a crash of the process. All methods may be called
// concurrently, also from several processes.
type Store interface {
	// Get gives the object's bytes, or an error that wraps ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetRange gives n bytes of the object from offset on. It fails where the object ends before them.
	GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error)
	// Put writes the object. With onlyIfAbsent it writes nothing when the key is taken and gives an error
	// that wraps ErrExists (S3: If-None-Match: *, status 412). An error that is neither leaves open
	// whether the object was written.
	Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error
	// PutFrom is like Put for size bytes that are read from data, which may be read several times: an object
	// that is too large to lie in memory.
	PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64, onlyIfAbsent bool) error
	// List gives the objects whose key has the prefix and is above startAfter, in the keys' byte order.
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

// CheckKey says whether key is one that every Store can hold: 1 to 1,024 bytes of printable ASCII,
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
