package notify

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
	To       []string `yaml:"to"`
	From     string   `yaml:"from"`
	Server   string   `yaml:"server"`   // host:port
	TLS      string   `yaml:"tls"`      // starttls, tls or none; "" = starttls. none is for loopback alone
	User     string   `yaml:"user"`     // "" = no authentication
	Password Secret   `yaml:"password"` // of User
}

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

// Secret is a text that is kept out of logs, histories and the policy file: it stands there as env:NAME or file:PATH,
// and is read when it is used.
type Secret string
