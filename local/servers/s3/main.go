// Command fanwatch-s3 is an S3 server on loopback that keeps objects as plain files: versitygw's posix backend, made
// durable (see durable.go). The local system starts it as a child process (see package child for how the two end);
// production uses Amazon S3 instead.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fanwatch/local/servers/child"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/utils"
)

// options are the command's flags; port is a loopback port, 0 for a free one.
type options struct {
	dir     string
	port    int
	keyFile string
	region  string
	buckets []string
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "`directory` of the buckets, created if missing (required)")
	flag.IntVar(&o.port, "port", 7480, "`port` of the S3 API, 0 for a free one")
	flag.StringVar(&o.keyFile, "access-key-file", "", "`file` of two lines, access key and secret (required)")
	flag.StringVar(&o.region, "region", "us-east-1", "AWS `region` that clients sign for")
	flag.Func("bucket", "bucket `name`, created if missing; repeatable", func(name string) error {
		o.buckets = append(o.buckets, name)
		return nil
	})
	flag.Parse()

	child.Main("fanwatch-s3", func(ctx context.Context, ready func(any) error) error {
		return run(ctx, o, ready)
	})
}

// run serves until ctx ends.
func run(ctx context.Context, o options, ready func(any) error) error {
	key, err := o.resolve()
	if err != nil {
		return err
	}
	port, err := child.Claim(ctx, "port", o.port)
	if err != nil {
		return err
	}
	backend, err := openDurable(o.dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", o.dir, err)
	}
	for _, name := range o.buckets {
		if err := ensureBucket(ctx, backend, name, key.access); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}

	listening := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
			RootUserAccess: key.access,
			RootUserSecret: key.secret,
			IAMService: auth.NewIAMServiceSingle(auth.Account{Access: key.access, Secret: key.secret,
				Role: auth.RoleAdmin}),
			Region:            o.region,
			Ports:             []string{child.Addr(port)},
			MaxConnections:    4096,
			MaxRequests:       2048,  // more at once are answered 503 SlowDown
			MultipartMaxParts: 10000, // as on AWS
			KeepAlive:         true,
			Quiet:             true,
			S3Options:         []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
		})
	}()
	select {
	case err := <-done:
		return err
	case <-listening:
	}
	if err := ready(map[string]string{"addr": child.Addr(port), "region": o.region}); err != nil {
		return err
	}
	return <-done
}

// resolve reads the key, makes the directory and turns its path into an absolute one: the posix backend changes the
// working directory of the whole process.
func (o *options) resolve() (key accessKey, err error) {
	if o.dir == "" {
		return key, errors.New("--dir is missing: name the directory to keep the buckets in")
	}
	if o.keyFile == "" {
		return key, errors.New("--access-key-file is missing: name a file with the access key in its first line and " +
			"the secret in its second")
	}
	text, err := os.ReadFile(o.keyFile)
	if err != nil {
		return key, fmt.Errorf("--access-key-file: %w", err)
	}
	if key, err = parseAccessKey(string(text)); err != nil {
		return key, fmt.Errorf("--access-key-file %s: %w", o.keyFile, err)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return key, err
	}
	if err = os.MkdirAll(o.dir, 0o755); err != nil {
		return key, fmt.Errorf("--dir: %w", err)
	}
	return key, nil
}

// accessKey is the one account of the server, its root. It has no String method on purpose: it must not be printed.
type accessKey struct{ access, secret string }

// parseAccessKey reads two lines, access key and secret. Surrounding blanks and a trailing newline do not count, and no
// error repeats any of the text.
func parseAccessKey(text string) (accessKey, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 {
		return accessKey{}, fmt.Errorf("has %d lines, not 2: access key and secret", len(lines))
	}
	key := accessKey{access: strings.TrimSpace(lines[0]), secret: strings.TrimSpace(lines[1])}
	if key.access == "" || key.secret == "" || strings.ContainsAny(key.access, " \t\r/,=") {
		return accessKey{}, errors.New("first line is not an access key: it takes letters and digits, without blanks, " +
			"'/', ',' and '='")
	}
	return key, nil
}

// ensureBucket makes a bucket that the root account owns. It may be repeated, and it heals a bucket whose creation was
// cut off between its directory and its attributes, which S3's own CreateBucket leaves unusable.
func ensureBucket(ctx context.Context, b *durable, name, owner string) error {
	utils.SetBucketNameValidationStrict(true)
	if !utils.IsValidBucketName(name) {
		return errors.New("not a bucket name: 3 to 63 lowercase letters, digits, dots and hyphens")
	}
	if err := os.Mkdir(filepath.Join(b.dir, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	acl, err := json.Marshal(auth.ACL{Owner: owner})
	if err != nil {
		return err
	}
	if err := b.PutBucketAcl(ctx, name, acl); err != nil {
		return err
	}
	if err := b.PutBucketOwnershipControls(ctx, name, types.ObjectOwnershipBucketOwnerEnforced); err != nil {
		return err
	}
	return errors.Join(child.SyncDir(filepath.Join(b.dir, name)), child.SyncDir(b.dir))
}

// openDurable opens the directory, an absolute path, and clears what a killed predecessor left half-written.
func openDurable(dir string) (*durable, error) {
	if err := (meta.XattrMeta{}).Test(dir); err != nil {
		return nil, fmt.Errorf("%w: objects keep their metadata in extended attributes; choose a directory on ext4, "+
			"XFS, Btrfs, APFS or the like", err)
	}
	if err := sweep(dir); err != nil {
		return nil, err
	}
	p, err := posix.New(dir, meta.XattrMeta{}, posix.PosixOpts{
		CopyObjectThreshold: 5 << 30, // 5 GiB, as on AWS; the zero value refuses every copy
	})
	if err != nil {
		return nil, err
	}
	return &durable{Posix: p, dir: dir}, nil
}
