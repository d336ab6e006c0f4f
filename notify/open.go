package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"fanwatch"
)

// Topics publishes to SNS topics.
type Topics interface {
	// PublishEach sends a message to a topic, by name or ARN, with a body for each protocol: of sms, http and others of
	// SNS's names, and "default" for those that are not named. It returns SNS's ID of the message.
	PublishEach(ctx context.Context, topic, subject string, bodies map[string]string, key string,
		attributes map[string]string) (id string, err error)
}

// Deps is what channels need beside their configuration.
type Deps struct {
	SNS   Topics         // nil: SNS channels cannot be opened
	Zone  *time.Location // of readers whose channel names none; nil = UTC
	Roots *x509.CertPool // authorities of servers; nil = the system's
	Try   time.Duration  // bound of one Send; 0 = 15 s
	Now   fanwatch.Clock // nil = time.Now
}

// Open returns the channel of a configuration. It reads no secret and connects to nothing; Send does.
func Open(c Config, d Deps) (Channel, error) {
	if err := c.Check(); err != nil {
		return nil, &Failure{text: err.Error(), permanent: true}
	}
	zone, err := c.Location(d.Zone)
	if err != nil {
		return nil, err
	}
	if d.Try == 0 {
		d.Try = 15 * time.Second
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	o := opened{Deps: d, zone: zone}
	switch c.Sort() {
	case "sns":
		if d.SNS == nil {
			return nil, &Failure{text: fmt.Sprintf("channel %.60q: there is no SNS here", c.Name), permanent: true}
		}
		return topic{o, *c.SNS}, nil
	case "mail":
		return mailbox{o, *c.Mail}, nil
	case "webhook":
		return webhook{o, *c.Webhook}, nil
	case "slack":
		return slack{o, *c.Slack}, nil
	case "teams":
		return teams{o, *c.Teams}, nil
	}
	return pager{o, *c.PagerDuty}, nil
}

// opened is what all channels have.
type opened struct {
	Deps
	zone *time.Location
}

// unreadable returns the Failure of a secret that cannot be read. It may be there at the next try.
func unreadable(channel string, err error) *Failure {
	return &Failure{text: channel + ": " + fanwatch.Legible(err.Error(), maxAnswer)}
}

// read returns an address that is a secret.
func (o opened) read(channel string, s Secret) (string, error) {
	text, err := s.Read()
	if err != nil {
		return "", unreadable(channel, err)
	}
	if _, err := address(text); err != nil {
		return "", &Failure{text: fmt.Sprintf("%s: %s: %v", channel, s, err), permanent: true}
	}
	return text, nil
}

// post sends JSON to an address and returns what the receiver answers, when that is a status of 2xx. secrets beside the
// address are kept out of errors and answers.
func (o opened) post(ctx context.Context, channel, to string, body []byte, header http.Header, secrets ...string) (
	answer string, err error) {
	u, err := address(to)
	if err != nil {
		return "", &Failure{text: channel + ": " + err.Error(), permanent: true}
	}
	secrets = append(secrets, to, u.RequestURI(), u.RawQuery)
	channel += " at " + name(u.Host)
	ctx, cancel := context.WithTimeout(ctx, o.Try)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return "", failed(channel, err, secrets...)
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "fanwatch")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return "", failed(channel, err, secrets...)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	answer = fanwatch.Legible(hide(string(text), secrets...), maxAnswer)
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return "", refused(channel, resp, answer, o.Now())
	case err != nil: // it took the message, and what it said of that is lost
		return "", nil
	}
	return answer, nil
}

// status returns the Detail of a Receipt.
func status(answer string) string {
	if answer == "" {
		return "taken"
	}
	return answer
}
