package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"fanwatch/objstore"
)

// S3 implements objstore.Store by a bucket. Safe for concurrent use.
type S3 struct {
	client *s3.Client
	bucket string
}

// NewS3 returns the store of a bucket in cfg's region, or at the server at endpoint when that is not empty.
func NewS3(cfg aws.Config, endpoint, bucket string) *S3 {
	return &S3{bucket: bucket, client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
			o.UsePathStyle = true // a local server has no host name per bucket
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	})}
}

// CreateBucket makes the bucket unless the account has it.
func (s *S3) CreateBucket(ctx context.Context) error {
	in := &s3.CreateBucketInput{Bucket: aws.String(s.bucket)}
	if region := s.client.Options().Region; region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(
			region)}
	}
	_, err := s.client.CreateBucket(ctx, in)
	var own *types.BucketAlreadyOwnedByYou
	if err == nil || errors.As(err, &own) {
		return nil
	}
	return fmt.Errorf("cloud: bucket %s: %w", s.bucket, err)
}

// Get implements objstore.Store.
func (s *S3) Get(ctx context.Context, key string) ([]byte, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	return data, nil
}

// GetRange implements objstore.Store by a Range header (RFC 9110, section 14).
func (s *S3) GetRange(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("cloud: get s3://%s/%s: %d bytes from %d on is no range", s.bucket, key, n, offset)
	}
	if n == 0 {
		return nil, nil // a Range header cannot name an empty range
	}
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))})
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	defer out.Body.Close()
	data := make([]byte, n)
	if _, err := io.ReadFull(out.Body, data); err != nil { // also for a range that ends behind the object
		return nil, s.failed("get", key, err)
	}
	return data, nil
}

// Put implements objstore.Store: with onlyIfAbsent by If-None-Match: * (S3 user guide, "Conditional writes").
func (s *S3) Put(ctx context.Context, key string, data []byte, onlyIfAbsent bool) error {
	return s.PutFrom(ctx, key, bytes.NewReader(data), int64(len(data)), onlyIfAbsent)
}

// PutFrom implements objstore.Store by one PutObject, which takes up to 5 GB.
func (s *S3) PutFrom(ctx context.Context, key string, data io.ReadSeeker, size int64, onlyIfAbsent bool) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	in := &s3.PutObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key), Body: data,
		ContentLength: aws.Int64(size)}
	if onlyIfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := s.client.PutObject(ctx, in)
	return s.failed("put", key, err)
}

// List implements objstore.Store.
func (s *S3) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(prefix)}
		if startAfter != "" {
			in.StartAfter = aws.String(startAfter)
		}
		pages := s3.NewListObjectsV2Paginator(s.client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(objstore.Object{}, s.failed("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				if !yield(objstore.Object{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size),
					Modified: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements objstore.Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
	return s.failed("delete", key, err)
}

// failed returns the error with the object's name, wrapping objstore's error for 404, 412 and archived objects. A
// conflict with a write under way (409) stays an error, which the caller retries.
func (s *S3) failed(what, key string, err error) error {
	if err == nil {
		return nil
	}
	var archived *types.InvalidObjectState
	if errors.As(err, &archived) {
		return fmt.Errorf("cloud: %s s3://%s/%s: %w", what, s.bucket, key, objstore.ErrArchived)
	}
	var status *awshttp.ResponseError
	if errors.As(err, &status) {
		switch status.HTTPStatusCode() {
		case http.StatusNotFound:
			var api smithy.APIError
			if errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket" {
				return fmt.Errorf("cloud: %s s3://%s/%s: %w", what, s.bucket, key, objstore.ErrNoBucket)
			}
			return fmt.Errorf("cloud: %s s3://%s/%s: %w", what, s.bucket, key, objstore.ErrNotFound)
		case http.StatusPreconditionFailed:
			return fmt.Errorf("cloud: %s s3://%s/%s: %w", what, s.bucket, key, objstore.ErrExists)
		}
	}
	return fmt.Errorf("cloud: %s s3://%s/%s: %w", what, s.bucket, key, err)
}
