package servers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

func TestS3FirstWriterWins(t *testing.T) {
	p := start(t, "s3", s3Args(t)...)
	c := s3Client(p)
	for round := range 30 {
		key := fmt.Sprintf("landing/shard=%d/after=%d.parquet", round%3, round)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			wg.Go(func() { errs[i] = put(t.Context(), c, key, fmt.Sprintf("writer %d", i), "*") })
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			if err == nil && won >= 0 {
				t.Fatalf("%s: both writers won", key)
			}
			if err == nil {
				won = i
			} else if code(err) != "PreconditionFailed" {
				t.Fatalf("%s: writer %d got %v, want 412 PreconditionFailed", key, i, err)
			}
		}
		if won < 0 {
			t.Fatalf("%s: no writer won", key)
		}
		if body, meta := get(t, c, key); body != fmt.Sprintf("writer %d", won) || meta != strconv.Itoa(len(body)) {
			t.Fatalf("%s: holds %q with metadata %q, but writer %d won", key, body, meta, won)
		}
	}
}

func TestS3KeepsWhatItAcknowledged(t *testing.T) {
	args := s3Args(t)
	p := start(t, "s3", args...)

	// Four writers put until the server is killed under them.
	var acked sync.Map
	var n atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			c := s3Client(p)
			for i := 0; ; i++ {
				key := fmt.Sprintf("w%d/%d", w, i)
				body := string(bytes.Repeat([]byte(key+" "), 1+i*37%4000))
				if put(t.Context(), c, key, body, "*") != nil {
					return
				}
				acked.Store(key, body)
				n.Add(1)
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); n.Load() < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no hundred PUTs in a minute")
		}
	}
	p.kill()
	wg.Wait()

	c := s3Client(start(t, "s3", args...))
	acked.Range(func(key, want any) bool {
		if body, meta := get(t, c, key.(string)); body != want || meta != strconv.Itoa(len(body)) {
			t.Errorf("%s: %d bytes with metadata %q after the kill, want %d bytes", key, len(body), meta, len(want.(string)))
		}
		return true
	})
	listed := 0
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("lake"),
		StartAfter: aws.String("w0/"), Prefix: aws.String("w")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		listed += len(page.Contents)
	}
	// A PUT may have been carried out though its answer was cut off, one for each writer at most.
	if got, least := int64(listed), n.Load(); got < least || got > least+4 {
		t.Errorf("%d objects are listed, %d were acknowledged", got, least)
	}
}

func TestS3CopyAndOverwrite(t *testing.T) {
	c := s3Client(start(t, "s3", s3Args(t)...))
	for _, body := range []string{"a segment", ""} { // the second is a tombstone over the first
		if err := put(t.Context(), c, "landing/x", body, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t.Context(), c, "landing/x", "late", "*"); code(err) != "PreconditionFailed" {
		t.Errorf("a late writer got %v from the tombstone, want 412", err)
	}
	if err := put(t.Context(), c, "source", "copy me", ""); err != nil {
		t.Fatal(err)
	}
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("lake"), Key: aws.String("deep/copy"),
		CopySource: aws.String("lake/source")})
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := get(t, c, "deep/copy"); body != "copy me" {
		t.Errorf("the copy holds %q", body)
	}
}

func s3Args(t *testing.T) []string {
	return []string{"--dir", filepath.Join(t.TempDir(), "s3"), "--port", "0", "--access-key-file", keyFile(t), "--bucket",
		"lake", "--bucket", "state"}
}

func s3Client(p *process) *s3.Client {
	return s3.New(s3.Options{
		Region:       p.ready["region"],
		BaseEndpoint: aws.String("http://" + p.ready["addr"]),
		UsePathStyle: true,
		Retryer:      aws.NopRetryer{}, // a retried PUT would meet its own first attempt
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKLOCAL", SecretAccessKey: "local/secret="}, nil
		}),
	})
}

// put writes an object whose metadata tells its length; ifNoneMatch is "*" or empty.
func put(ctx context.Context, c *s3.Client, key, body, ifNoneMatch string) error {
	in := &s3.PutObjectInput{
		Bucket: aws.String("lake"), Key: aws.String(key), Body: bytes.NewReader([]byte(body)),
		Metadata: map[string]string{"length": strconv.Itoa(len(body))},
	}
	if ifNoneMatch != "" {
		in.IfNoneMatch = aws.String(ifNoneMatch)
	}
	_, err := c.PutObject(ctx, in)
	return err
}

// get reads an object and its metadata "length".
func get(t *testing.T, c *s3.Client, key string) (body, length string) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("lake"), Key: aws.String(key)})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return "", ""
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Errorf("%s: %v", key, err)
	}
	return string(b), out.Metadata["length"]
}

// code is the S3 error code, empty for none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
