package iotcore_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fanwatch/cloud"
	"fanwatch/local/aws/iotcore"
	"fanwatch/local/aws/kinesis"
)

// TestKinesisGoesAndComes: the rule writes through the AWS SDK to the local Kinesis. While that is away, nothing is
// acknowledged; what was refused is sent again, and in the end everything acknowledged is on the stream.
func TestKinesisGoesAndComes(t *testing.T) {
	r, stream := newKinesisRig(t)
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT * FROM 'a'", "${fan}")
	acked := pubacksOn(r, "fan-02", "a")
	for i := range 4 {
		payload := fmt.Sprintf(`{"fan":"f","n":%d}`, i)
		if i == 2 {
			stream.stop()
			if acked(payload) {
				t.Fatal("a PUBACK while Kinesis is away")
			}
			stream.start()
		}
		r.acknowledged(r.connect(d, "fan-01"), "a", payload)
	}
	reader := stream.client.Read("readings", stream.shard(r), "", cloud.ReadOptions{})
	var got []string
	for len(got) < 4 {
		batch, err := reader.Next(t.Context())
		r.must(err)
		for _, rec := range batch.Records {
			got = append(got, rec.PartitionKey+" "+string(rec.Data))
		}
	}
	for i, g := range got {
		if want := fmt.Sprintf(`f {"fan":"f","n":%d}`, i); g != want {
			t.Errorf("record %d is %s, want %s", i, g, want)
		}
	}
}

// BenchmarkPublish is one connection with 64 publishes in flight, from the client over TLS through a rule to the
// local Kinesis and back as PUBACK.
func BenchmarkPublish(b *testing.B) {
	r, _ := newKinesisRig(b)
	d := r.provision("fan-01", open)
	r.rule("demo", "SELECT *, timestamp() AS arrived, clientid() AS client FROM 'a'", "${FANID}")
	c := r.connect(d, "fan-01")
	window := make(chan mqtt.Token, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for token := range window {
			token.Wait()
		}
	}()
	b.ResetTimer()
	for range b.N {
		window <- c.Publish("a", 1, false, demo)
	}
	close(window)
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
}

// kinesisAt is the local Kinesis on an address that it keeps while it is stopped and started.
type kinesisAt struct {
	r       *rig
	handler http.Handler
	addr    string
	server  *http.Server
	client  *cloud.Kinesis
}

func newKinesisRig(t testing.TB) (*rig, *kinesisAt) {
	t.Helper()
	k := &kinesisAt{addr: "127.0.0.1:0"}
	r := newRig(t, func(c *iotcore.Config) {
		c.PublishRate, c.ActionTimeout = -1, 300*time.Millisecond
		c.Kinesis = iotcore.PutFunc(func(ctx context.Context, stream, key string, data []byte) error {
			_, _, err := k.client.Put(ctx, stream, key, data)
			return err
		})
	})
	k.r = r
	s, err := kinesis.New(kinesis.Config{Dir: t.TempDir()})
	r.must(err)
	k.handler = s
	k.start()
	t.Cleanup(func() { k.stop(); _ = s.Close() })
	k.client, err = cloud.NewKinesis(awsConfig(), "http://"+k.addr)
	r.must(err)
	for _, name := range []string{"readings", "errors"} {
		r.must(k.client.CreateStream(t.Context(), name, 1))
	}
	return r, k
}

func (k *kinesisAt) start() {
	l, err := net.Listen("tcp", k.addr)
	k.r.must(err)
	k.addr = l.Addr().String()
	k.server = &http.Server{Handler: k.handler}
	go func() { _ = k.server.Serve(l) }()
}

func (k *kinesisAt) stop() { _ = k.server.Close() }

func (k *kinesisAt) shard(r *rig) string {
	shards, err := k.client.Shards(r.Context(), "readings")
	r.must(err)
	return shards[0].ID
}
