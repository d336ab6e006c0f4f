package operator

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Dial connects to Temporal. After an outage the connection is back within 0.5 s of the server, where gRPC's default
// back-off grows to 2 min, which would delay alerts.
func Dial(ctx context.Context, o client.Options) (client.Client, error) {
	quick := backoff.DefaultConfig
	quick.MaxDelay = 500 * time.Millisecond
	o.ConnectionOptions.DialOptions = append(o.ConnectionOptions.DialOptions,
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: 5 * time.Second}))
	o.PayloadLimits.MemoSizeWarning = 64 << 10 // an alert's memo has up to 15 KB, and the default is 2
	c, err := client.DialContext(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("connect to Temporal at %s: %w", o.HostPort, err)
	}
	return c, nil
}
