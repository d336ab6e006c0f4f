package notify

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"strings"
	"time"

	"fanwatch"
)

// Config configures one channel: exactly one of its sections is set.
type Config struct {
	Name      string     `yaml:"-"`
	Zone      string     `yaml:"zone"` // IANA zone of the reader; "" = that of the file
	SNS       *SNS       `yaml:"sns"`
	Mail      *Mail      `yaml:"mail"`
	Webhook   *Webhook   `yaml:"webhook"`
	Slack     *Slack     `yaml:"slack"`
	Teams     *Teams     `yaml:"teams"`
	PagerDuty *PagerDuty `yaml:"pagerduty"`
}

// SNS is a topic.
type SNS struct {
	Topic string `yaml:"topic"` // name or ARN
}

// Mail is a mailbox, to which a server takes mail by SMTP.
type Mail struct {
	To       []string `yaml:"to"` // 1 to MaxMailboxes; each gets a mail of its own
	From     string   `yaml:"from"`
	Server   string   `yaml:"server"`   // host:port
	TLS      string   `yaml:"tls"`      // starttls, tls or none; "" = starttls. none is for loopback alone
	User     string   `yaml:"user"`     // "" = no authentication
	Password Secret   `yaml:"password"` // of User
}

// MaxMailboxes is the largest number of addresses of one channel.
const MaxMailboxes = 20

// Webhook is an HTTPS address that takes documents signed by Standard Webhooks.
type Webhook struct {
	URL    Secret `yaml:"url"`
	Secret Secret `yaml:"secret"` // whsec_ and base64, or bytes; 24 bytes at least
}

// Slack is an incoming webhook of Slack.
type Slack struct {
	URL Secret `yaml:"url"`
}

// Teams is a workflow webhook of Microsoft Teams.
type Teams struct {
	URL Secret `yaml:"url"`
}

// PagerDuty is an integration of Events API v2.
type PagerDuty struct {
	Key Secret `yaml:"key"` // routing key
	URL string `yaml:"url"` // "" = https://events.pagerduty.com
}

// Sort returns the name of the section that is set, as the policy file writes it; "" = none or several are set.
func (c Config) Sort() string {
	sort, n := "", 0
	for name, set := range map[string]bool{"sns": c.SNS != nil, "mail": c.Mail != nil, "webhook": c.Webhook != nil,
		"slack": c.Slack != nil, "teams": c.Teams != nil, "pagerduty": c.PagerDuty != nil} {
		if set {
			sort = name
			n++
		}
	}
	if n != 1 {
		return ""
	}
	return sort
}

// Pictured reports whether the channel takes [Message.Picture].
func (c Config) Pictured() bool { return c.Mail != nil || c.Webhook != nil }

// Location returns the zone of the channel's reader; without one of its own it is other, and with neither UTC.
func (c Config) Location(other *time.Location) (*time.Location, error) {
	switch {
	case c.Zone != "":
		zone, err := time.LoadLocation(c.Zone)
		if err != nil || c.Zone == "Local" {
			return nil, fmt.Errorf("channel %.60q: zone %.60q is not an IANA time zone, such as Europe/Berlin", c.Name, c.Zone)
		}
		return zone, nil
	case other != nil:
		return other, nil
	}
	return time.UTC, nil
}

// Check returns an error that names the field and the mend when the channel cannot be used. It reads no secret.
func (c Config) Check() error {
	if _, err := c.Location(nil); err != nil {
		return err
	}
	var err error
	switch c.Sort() {
	case "sns":
		err = fanwatch.CheckTopic(c.SNS.Topic)
	case "mail":
		err = c.Mail.check()
	case "webhook":
		err = errors.Join(c.Webhook.URL.check("url"), c.Webhook.Secret.check("secret"))
	case "slack":
		err = c.Slack.URL.check("url")
	case "teams":
		err = c.Teams.URL.check("url")
	case "pagerduty":
		if err = c.PagerDuty.Key.check("key"); err == nil && c.PagerDuty.URL != "" {
			_, err = address(c.PagerDuty.URL)
		}
	default:
		err = errors.New("give it exactly one of sns, mail, webhook, slack, teams, pagerduty")
	}
	if err != nil {
		return fmt.Errorf("channel %.60q: %s", c.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func (m Mail) check() error {
	if len(m.To) == 0 || len(m.To) > MaxMailboxes {
		return fmt.Errorf("to names %d addresses, want 1 to %d", len(m.To), MaxMailboxes)
	}
	for _, a := range append([]string{m.From}, m.To...) {
		if parsed, err := mail.ParseAddress(a); err != nil || strings.ContainsAny(parsed.Address, " \r\n<>") {
			return fmt.Errorf("%.120q is no mail address: write from and to as ops@example.com", a)
		}
	}
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("server %.120q: write host:port, such as smtp.example.com:587", m.Server)
	}
	switch m.TLS {
	case "", "starttls", "tls":
	case "none":
		if !loopback(host) {
			return fmt.Errorf("tls: none is for a server on this machine: use starttls or tls with %.120s", host)
		}
		if m.User != "" {
			return errors.New("user needs tls: a password is not sent without")
		}
	default:
		return fmt.Errorf("tls %.20q: use starttls, tls or none", m.TLS)
	}
	if m.User != "" {
		return m.Password.check("password")
	}
	return nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// address parses the URL of a receiver. Its errors hold nothing of the text, which may be a secret.
func address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return nil, errors.New("the url is not valid: write https://host/path")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("the url is http: use https, for http is for this machine alone")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the url is neither https nor http: write https://host/path")
	}
	return u, nil
}

// Secret is a text that is kept out of logs, histories and the policy file: it stands there as env:NAME or file:PATH,
// and is read when it is used.
type Secret string

const maxSecret = 64 << 10 // bytes of a file

// check returns an error that names the field when the secret is not a reference. It shows nothing of the text, which
// may be the secret itself.
func (s Secret) check(field string) error {
	_, env := strings.CutPrefix(string(s), "env:")
	_, file := strings.CutPrefix(string(s), "file:")
	switch {
	case s == "":
		return fmt.Errorf("%s is missing: write env:NAME or file:PATH", field)
	case !env && !file || len(s) < len("env:x"):
		return fmt.Errorf("%s must not stand in the file itself: write env:NAME or file:PATH", field)
	}
	return nil
}

// Read returns the secret, without white space at its ends. Its errors name where it should be and hold nothing of it.
func (s Secret) Read() (string, error) {
	if err := s.check("the secret"); err != nil {
		return "", err
	}
	from, name, _ := strings.Cut(string(s), ":")
	text := os.Getenv(name)
	if from == "file" {
		info, err := os.Stat(name)
		if err == nil && info.Size() > maxSecret {
			return "", fmt.Errorf("the secret in file %s has more than %d bytes", name, maxSecret)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("the secret cannot be read: %w", err)
		}
		text = string(b)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("the secret %s is empty or not set", s)
	}
	return text, nil
}

// String returns where the secret is; of a text that is no reference nothing is shown.
func (s Secret) String() string {
	if s.check("") != nil {
		return "(secret)"
	}
	return string(s)
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }
