package cloud

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
)

// IoTData is a client of the HTTPS data plane of AWS IoT Core. Safe for concurrent use.
// https://docs.aws.amazon.com/iot/latest/apireference/API_iotdata_Publish.html
type IoTData struct {
	cfg      aws.Config
	endpoint string // "" = that of the account, for which control is asked
	control  *IoT

	mu     sync.Mutex
	client *iotdataplane.Client
}

// NewIoTData returns a client of the server at endpoint ("http://127.0.0.1:1234") or, when that is empty, of the
// account's endpoint, for which the first Publish asks control.
func NewIoTData(cfg aws.Config, endpoint string, control *IoT) *IoTData {
	return &IoTData{cfg: cfg, endpoint: endpoint, control: control}
}

// Publish sends one message with QoS 1. It returns nil when IoT Core has taken it.
func (d *IoTData) Publish(ctx context.Context, topic string, payload []byte) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	_, err = c.Publish(ctx, &iotdataplane.PublishInput{Topic: &topic, Payload: payload, Qos: 1})
	return wrapIoT("publish on "+topic, err)
}

func (d *IoTData) connect(ctx context.Context) (*iotdataplane.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		return d.client, nil
	}
	endpoint := d.endpoint
	if endpoint == "" {
		address, err := d.control.Endpoint(ctx)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("iot: data endpoint %q: %w", address, err)
		}
		endpoint = "https://" + host
	}
	d.client = iotdataplane.NewFromConfig(d.cfg, func(o *iotdataplane.Options) { o.BaseEndpoint = &endpoint })
	return d.client, nil
}
