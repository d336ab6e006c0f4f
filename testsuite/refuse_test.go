package testsuite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// refusal is a line of fanwatch refused --json.
type refusal struct{ Fan, Client, Reason, Payload string }

// TestWhatIsNotAcceptedIsRefusedAndNothingElseStops sends everything that a device must not send, while
// another device goes on.
func TestWhatIsNotAcceptedIsRefusedAndNothingElseStops(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	cert, key := s.provision("fan-a", "--client", "legacy-a", "--min-rpm", "900")
	bystander := newPublisher(t, s, 1)

	// What the broker does not let in: no PUBACK, and the reason in the log and in the list.
	foreignCert, foreignKey := foreign(t, "fan-a")
	if _, err := s.connect("fan-a", foreignCert, foreignKey); err == nil {
		t.Error("a certificate of another authority was let in")
	}
	s.logged("unknown authority")
	if _, err := s.connect("fan-k", cert, key); err == nil {
		t.Error("a client ID that is another fan's was let in")
	}
	s.logged("kind=connect client=fan-k")
	for topic, payload := range map[string]string{
		"$aws/rules/fanwatch_readings/fan-k": "{}", // another fan's topic
		"somewhere/else":                     "{}",
		"IoT_TOPIC/recieve":                  `{"FANID":"fan-a","RPM":1,"x":"` + strings.Repeat("x", 130<<10) + `"}`,
	} {
		c := mustConnect(s, "legacy-a", cert, key)
		if token := c.Publish(topic, 1, false, payload); token.WaitTimeout(3*time.Second) && token.Error() == nil &&
			c.IsConnectionOpen() {
			t.Errorf("%d bytes to %s were acknowledged", len(payload), topic)
		}
		c.Disconnect(0)
	}
	c := mustConnect(s, "legacy-a", cert, key)
	c.Publish("IoT_TOPIC/recieve", 1, true, "retained")
	twin := mustConnect(s, "fan-a", cert, key)
	mustConnect(s, "fan-a", cert, key).Disconnect(0)
	s.until(10*time.Second, "the end of the connection that was taken over",
		func() (bool, string) { return !twin.IsConnectionOpen(), "" })
	s.logged("topic/$aws/rules/fanwatch_readings/fan-k")
	s.logged("topic/somewhere/else")
	s.logged("131072")
	s.logged("client fan-a was taken over by another connection; the earlier one was closed")
	s.until(30*time.Second, "what the broker refused, with reason and mend", func() (bool, string) {
		listed := ask[[]refusal](s, "refused")
		for _, want := range []refusal{
			{Reason: "unknown authority: use a certificate that fanwatch provision signed"},
			{Client: "fan-k", Reason: "iot:Connect on client/fan-k: connect under the fan's name"},
			{Client: "legacy-a", Reason: "topic/$aws/rules/fanwatch_readings/fan-k: publish to a topic that", Payload: "{}"},
			{Client: "legacy-a", Reason: "topic/somewhere/else", Payload: "{}"},
			{Client: "legacy-a", Reason: "at most 131072 are allowed: send fewer readings",
				Payload: `{"FANID":"fan-a","RPM":1,`},
			{Client: "legacy-a", Reason: "publish without retain", Payload: "retained"},
			{Client: "fan-a", Reason: "client fan-a was taken over by another connection"},
		} {
			if !slices.ContainsFunc(listed, func(r refusal) bool {
				return r.Client == want.Client && strings.HasPrefix(r.Reason, "refused by the broker: ") &&
					strings.Contains(r.Reason, want.Reason) && strings.HasPrefix(r.Payload, want.Payload)
			}) {
				return false, fmt.Sprintf("no %+v in %+v", want, listed)
			}
		}
		return true, ""
	})

	// What is received and not accepted: acknowledged, kept, and a reason that names the fault.
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	bad := []struct{ payload, want, keeps string }{
		{`this is not JSON`, "JSON", "this is not JSON"},
		{`{"TIME": "` + at(0) + `", "FREQ": 60, "RPM": 1800}`, "FANID", "1800"},
		{`{"TIME": "` + at(0) + `", "FANID": "fan-a", "FREQ": 60, "RPM": NaN}`, "JSON", "NaN"},
		{`{"TIME": "` + at(0) + `", "FANID": "fan-a", "FREQ": 60, "RPM": -300}`, "-300", "-300"},
		{`{"TIME": "` + at(100*24*time.Hour) + `", "FANID": "fan-a", "FREQ": 60, "RPM": 1800}`, "ahead", "1800"},
		{`{"TIME": "` + at(0) + `", "FANID": "fan-k", "FREQ": 60, "RPM": 1800}`, "does not own", "fan-k"},
		{`{"TIME": "` + at(0) + `", "FANID": "nobody", "FREQ": 60, "RPM": 1800}`, "unknown", "nobody"},
	}
	c = mustConnect(s, "legacy-a", cert, key)
	for _, b := range bad {
		if token := c.Publish("IoT_TOPIC/recieve", 1, false, b.payload); !token.WaitTimeout(10*time.Second) ||
			token.Error() != nil {
			t.Fatalf("%s was not acknowledged: %v", b.payload, token.Error())
		}
		bystander.publish(s, 20)
	}
	s.until(30*time.Second, "every refused message with its reason", func() (bool, string) {
		// in the order of arrival
		listed := slices.DeleteFunc(ask[[]refusal](s, "refused"), func(r refusal) bool {
			return strings.HasPrefix(r.Reason,
				"refused by the broker: ")
		})
		if len(listed) != len(bad) {
			return false, fmt.Sprintf("%d of %d: %+v", len(listed), len(bad), listed)
		}
		for i, b := range bad {
			if r := listed[i]; r.Client != "legacy-a" || !strings.Contains(r.Reason, b.want) ||
				!strings.Contains(r.Payload, b.keeps) {
				t.Errorf("%s was listed as %+v", b.payload, r)
			}
		}
		return true, ""
	})

	// And nothing else has stopped: neither the bystander nor the fan that sent all this.
	demo(t, c, "fan-a", time.Now().Add(-2*time.Second), 300)
	demo(t, c, "fan-a", time.Now().Add(-time.Second), 300)
	demo(t, c, "fan-a", time.Now(), 300)
	s.openAlert("fan-a", 20*time.Second)
	bystander.check(s)
}

// logged waits for a text in the system's log.
func (s *system) logged(text string) {
	s.t.Helper()
	s.until(10*time.Second, "in the log: "+text, func() (bool, string) {
		b, err := os.ReadFile(filepath.Join(s.Dir, "fanwatch.log"))
		return strings.Contains(string(b), text), fmt.Sprint(err)
	})
}

// foreign makes a certificate for a client that its own authority signed.
func foreign(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY",
		Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
