// Package cloud has the clients of AWS, or of local servers with the same API: only the endpoints differ. It has one
// file per service and only the calls that fanwatch makes; packages that use a client declare the interface that they
// need.
package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Settings select the AWS to use, or the local system.
type Settings struct {
	// Region is a region such as eu-central-1; "" = that of the environment, or us-east-1 when Local.
	Region string
	// CABundle is a PEM file with certificates to trust beside the system's. Not used when Local.
	CABundle string
	// Local selects the local system: static keys, nothing read from environment or home directory, and no connection
	// to another machine.
	Local bool
	// AccessKey and SecretKey are the static keys. Required when Local; otherwise "" = the SDK's default chain.
	AccessKey, SecretKey string
	// Endpoints are the base URLs of the services. When Local there must be at least one, and each must pass
	// RequireLoopback; otherwise they are not used.
	Endpoints []string
}

// Config returns the SDK's configuration for s. The error is for a missing region, keys or endpoints, or a CA bundle
// that cannot be read.
func Config(ctx context.Context, s Settings) (aws.Config, error) {
	if s.Local {
		return localConfig(s)
	}
	var options []func(*config.LoadOptions) error
	if s.Region != "" {
		options = append(options, config.WithRegion(s.Region))
	}
	if s.AccessKey != "" || s.SecretKey != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKey,
			s.SecretKey, "")))
	}
	if s.CABundle != "" {
		pem, err := os.ReadFile(s.CABundle)
		if err != nil {
			return aws.Config{}, fmt.Errorf("cloud: reading the CA bundle: %w", err)
		}
		options = append(options, config.WithCustomCABundle(bytes.NewReader(pem)))
	}
	// Without an HTTP client of its own: LoadDefaultConfig refuses any but a BuildableClient together with a CA bundle,
	// also one from AWS_CA_BUNDLE.
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("cloud: loading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, errors.New("cloud: no AWS region; set one, for example with AWS_REGION")
	}
	return cfg, nil
}

// RequireLoopback returns an error when the endpoint is not an http or https URL of this machine.
func RequireLoopback(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return fmt.Errorf("cloud: endpoint %q: want a URL such as http://127.0.0.1:4567", redacted(endpoint))
	}
	if host := u.Hostname(); host != "localhost" && !isLoopback(host) {
		return fmt.Errorf("cloud: endpoint %q is not on this machine; the local system speaks to 127.0.0.1, ::1 or "+
			"localhost only", endpoint)
	}
	return nil
}

// localConfig returns the configuration of the local system. It does not use LoadDefaultConfig, which reads profile,
// proxy, endpoint and CA bundle from the environment.
func localConfig(s Settings) (aws.Config, error) {
	if s.AccessKey == "" || s.SecretKey == "" {
		return aws.Config{}, errors.New("cloud: the local system needs its static access key and secret key")
	}
	if len(s.Endpoints) == 0 {
		return aws.Config{}, errors.New("cloud: the local system needs the endpoints of its servers; without one the " +
			"SDK would try the real AWS")
	}
	for _, e := range s.Endpoints {
		if err := RequireLoopback(e); err != nil {
			return aws.Config{}, err
		}
	}
	region := s.Region
	if region == "" {
		region = "us-east-1"
	}
	return aws.Config{
		Region:      region,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.Proxy = nil
			t.DialContext = dialLoopback
		}),
	}, nil
}

// ErrNotLocal says that a client of the local system tried to connect to another machine.
var ErrNotLocal = errors.New("the local system connects to this machine only; give the client a loopback endpoint")

// dialLoopback connects to loopback addresses only, by whatever endpoint a client was made with. It looks up no
// name but localhost, which must resolve to loopback.
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("cloud: %w", err)
	}
	if host != "localhost" && !isLoopback(host) {
		return nil, fmt.Errorf("cloud: connecting to %s: %w", address, ErrNotLocal)
	}
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, resolved string, _ syscall.RawConn) error {
		if host, _, err := net.SplitHostPort(resolved); err != nil || !isLoopback(host) {
			return fmt.Errorf("cloud: connecting to %s: %w", resolved, ErrNotLocal)
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// redacted returns a URL without its password.
func redacted(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		return u.Redacted()
	}
	return "(unreadable)"
}
