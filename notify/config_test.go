package notify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAChannelThatCannotBeUsedSaysWhatToMend(t *testing.T) {
	good := Mail{To: []string{"ops@example.com"}, From: "fanwatch <fans@example.com>", Server: "smtp.example.com:587"}
	mail := func(change func(*Mail)) Config {
		m := good
		change(&m)
		return Config{Mail: &m}
	}
	for want, c := range map[string]Config{
		"exactly one":            {},
		"exactly one of":         {SNS: &SNS{Topic: "a"}, Slack: &Slack{URL: "env:X"}},
		"IANA":                   {SNS: &SNS{Topic: "a"}, Zone: "Mars/Base"},
		"FIFO":                   {SNS: &SNS{Topic: "a.fifo"}},
		"url is missing":         {Slack: &Slack{}},
		"url must not stand":     {Teams: &Teams{URL: "https://verysecret.example"}},
		"secret must not stand":  {Webhook: &Webhook{URL: "env:X", Secret: "whsec_verysecret"}},
		"key must not stand":     {PagerDuty: &PagerDuty{Key: "verysecret"}},
		"for this machine alone": {PagerDuty: &PagerDuty{Key: "env:X", URL: "http://events.example.com"}},
		"0 addresses":            mail(func(m *Mail) { m.To = nil }),
		"no mail address":        mail(func(m *Mail) { m.To = []string{"ops@example.com\r\nBcc: x@example.com"} }),
		"host:port":              mail(func(m *Mail) { m.Server = "smtp.example.com" }),
		"none is for a server":   mail(func(m *Mail) { m.TLS = "none" }),
		"use starttls":           mail(func(m *Mail) { m.TLS = "ssl3" }),
		"password is missing":    mail(func(m *Mail) { m.User = "fans" }),
	} {
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("want %q: %v", want, err)
		}
		if _, err := Open(c, Deps{}); err == nil {
			t.Errorf("%q opens", want)
		}
	}
	if err := (Config{Mail: &good}).Check(); err != nil {
		t.Error(err)
	}
}

func TestASecretIsReadWhereItIsAndIsNeverPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("  verysecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FW_TEST_SECRET", "verysecret")
	for _, s := range []Secret{Secret("file:" + file), "env:FW_TEST_SECRET"} {
		if text, err := s.Read(); err != nil || text != "verysecret" {
			t.Errorf("%q, %v", text, err)
		}
	}
	for _, s := range []Secret{"", "env:FW_TEST_NOT_SET", "file:/does/not/exist", "verysecret", "https://verysecret"} {
		text, err := s.Read()
		shown := fmt.Sprintf("%s %v %+v %#v %v", s, s, struct{ S Secret }{s}, s, err)
		if err == nil || text != "" || strings.Contains(shown, "verysecret") {
			t.Errorf("%s: %q", shown, text)
		}
	}
}
