package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"fanwatch/local/servers/child"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
)

// durable is the posix backend with the one promise it lacks: an object that was acknowledged survives a power cut.
// The backend itself never syncs. Deletes are left as they are: an object that comes back after a power cut is
// harmless here.
type durable struct {
	*posix.Posix
	dir string // absolute
}

// PutObject syncs the data before the object gets its name, so that a power cut never leaves a torn object under a name
// that If-None-Match then defends for ever, and syncs attributes and directories before the answer. A refused
// conditional write waits for the winner's object to be safe too, since its writer goes on from there.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	out, err := d.PutObjectWithPostFunc(ctx, in, func(f *os.File) error { return f.Sync() })
	if err == nil || in.IfNoneMatch != nil || in.IfMatch != nil {
		if unsafe := d.sync(in.Bucket, in.Key); unsafe != nil {
			return out, unsafe
		}
	}
	return out, err
}

// CopyObject syncs the copy before the answer.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := d.Posix.CopyObject(ctx, in)
	if err == nil {
		err = d.sync(in.Bucket, in.Key)
	}
	return out, err
}

// CompleteMultipartUpload syncs the assembled object before the answer.
func (d *durable) CompleteMultipartUpload(ctx context.Context,
	in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	out, version, err := d.Posix.CompleteMultipartUpload(ctx, in)
	if err == nil {
		err = d.sync(in.Bucket, in.Key)
	}
	return out, version, err
}

// sync makes an object, its attributes and its whole path durable. One that is gone again is nothing to sync; then the
// directories are tried all the same.
func (d *durable) sync(bucket, key *string) error {
	if bucket == nil || key == nil {
		return nil
	}
	top := filepath.Join(d.dir, *bucket)
	for path := filepath.Join(top, *key); ; path = filepath.Dir(path) {
		if err := child.SyncDir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(path) <= len(top) {
			return nil
		}
	}
}

// leftover matches the name under which the backend places an object before renaming it over an older one of the same
// key; listings show it when a kill comes between.
var leftover = regexp.MustCompile(`^\..+\.sgwtmp\.[0-9]{19}$`)

// sweep removes such leftovers. It runs before the server does, when none of them can be in use.
func sweep(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == posix.MetaTmpDir:
			return fs.SkipDir // multipart uploads in progress
		case e.Type().IsRegular() && leftover.MatchString(e.Name()):
			return os.Remove(path)
		}
		return nil
	})
}
