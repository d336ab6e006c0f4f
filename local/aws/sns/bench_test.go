package sns_test

import (
	"testing"

	"fanwatch/local/aws/sns"
)

// BenchmarkPublish is one message to one inbox, through the SDK, synced to disk.
func BenchmarkPublish(b *testing.B) {
	_, client, _ := start(b, sns.Config{})
	topic := createTopic(b, client, "alerts")
	subscribe(b, client, topic, "email", "ann@example.com", nil)
	for b.Loop() {
		publish(b, client, topic, "fan-07 turns at 300 RPM.", nil)
	}
}
