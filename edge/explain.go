package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// ConnectError says why there is no connection, and what to do about it.
type ConnectError struct {
	Err  error
	Mend string // one sentence without a full stop
}

// Error returns the cause and the mend on one line.
func (e *ConnectError) Error() string { return e.Err.Error() + ": " + e.Mend }

// Unwrap returns Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// explain tells the causes of a failed connection apart: the network, the clock of this machine, the broker's
// certificate, this device's, and what the broker allows. step is what was tried: connect, tls or mqtt.
func explain(c Config, step string, err error) error {
	what := step + " " + c.Broker
	if step == "mqtt" {
		what += " as " + c.ClientID
	}
	why, mend := c.cause(err)
	if why != "" {
		what += ": " + why
	}
	return &ConnectError{Err: fmt.Errorf("%s: %w", what, err), Mend: mend}
}

// cause returns the reason in words, "" where the error has them, and the mend.
func (c Config) cause(err error) (why, mend string) {
	var (
		dns       *net.DNSError
		timeout   net.Error
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     = err.Error()
	)
	if end := c.expiry(); !end.IsZero() && c.Synchronised() && c.Clock.Wall().After(end) {
		return "the certificate of this device has expired on " + end.UTC().Format(time.DateOnly), "provision the fan again"
	}
	switch {
	case errors.As(err, &dns):
		return "", "see that the broker is written as the endpoint is called, and that DNS works"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "", "nothing listens there: see host and port, and that the broker runs"
	case errors.As(err, &authority):
		return "the broker's certificate is of another authority",
			"set ca to the broker's root certificate, for AWS AmazonRootCA1.pem"
	case errors.As(err, &name):
		return "the broker's certificate has another name", "write broker as the endpoint is called"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && !c.Synchronised():
		return c.wrongClock(), "switch NTP on (timedatectl set-ntp true), or set the clock"
	case errors.As(err, &invalid):
		return "the broker's certificate is not valid", "see the clock of this machine, and the broker's certificate"
	case strings.Contains(alert, "tls: expired certificate"):
		return "the broker says that this device's certificate has expired", "provision the fan again"
	case strings.Contains(alert, "remote error: tls:") && strings.Contains(alert, "certificate"):
		return "the broker does not take this device's certificate",
			"see that it is the broker's and ACTIVE, or provision the fan again"
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return "the broker is not available now", "it is tried again"
	case errors.Is(err, packets.ErrorRefusedNotAuthorised), errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword),
		errors.Is(err, packets.ErrorRefusedIDRejected), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the broker refuses this client",
			"see that the certificate is ACTIVE and that its policy allows this client ID, or provision the fan again"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "", "see that this port is open to the outside (443 often is where 8883 is not), and that MQTT is spoken there"
	}
	return "", "see broker, network, and the certificate's policy"
}

// expiry returns the end of this device's certificate; zero when it is not known.
func (c Config) expiry() time.Time {
	if c.TLS == nil || len(c.TLS.Certificates) == 0 {
		return time.Time{}
	}
	return end(c.TLS.Certificates[0])
}

func end(pair tls.Certificate) time.Time {
	if pair.Leaf == nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// wrongClock says how the clock of this machine stands.
func (c Config) wrongClock() string {
	return fmt.Sprintf("the clock of this machine is not synchronised and says %s",
		c.Clock.Wall().UTC().Format(time.DateTime))
}
