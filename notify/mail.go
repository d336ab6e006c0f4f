package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"os"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"fanwatch"
)

// mailbox is addresses to which a server takes mail by SMTP.
type mailbox struct {
	opened
	Mail
}

// Send implements Channel. Each address gets a mail of its own, so that one that is refused does not keep the others
// from theirs; with any of them taken and the others refused for good, the message counts as taken and the Receipt says
// which were refused. When a server fails for a time the next try sends again to all, with the same Message-ID.
func (b mailbox) Send(ctx context.Context, m Message) (Receipt, error) {
	host, port, err := net.SplitHostPort(b.Server)
	if err != nil {
		return Receipt{}, &Failure{text: "mail: " + err.Error(), permanent: true}
	}
	channel := "mail by " + name(b.Server)
	password := ""
	if b.User != "" {
		if password, err = b.Password.Read(); err != nil {
			return Receipt{}, unreadable(channel, err)
		}
	}
	client, err := b.client(host, port, password)
	if err != nil {
		return Receipt{}, &Failure{text: fmt.Sprintf("%s: %s", channel, hide(err.Error(), password)), permanent: true}
	}
	r := Render(m, b.zone)
	mails := make([]*mail.Msg, len(b.To))
	for i, to := range b.To {
		if mails[i], err = b.compose(m, r, to); err != nil {
			return Receipt{}, &Failure{text: fmt.Sprintf("%s: %v", channel, err), permanent: true}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.Try)
	defer cancel()
	err = client.DialAndSendWithContext(ctx, mails...)
	return b.outcome(channel, mails, err, password)
}

// outcome looks at each mail: an error after a server has taken it, such as of the connection's end, is none.
func (b mailbox) outcome(channel string, mails []*mail.Msg, err error, password string) (Receipt, error) {
	var taken Receipt
	var refusals []string
	var worst *Failure
	for i, m := range mails {
		if m.IsDelivered() {
			taken.ID = strings.Trim(m.GetMessageID(), "<>")
			taken.Detail = fanwatch.Legible(m.ServerResponse(), maxAnswer)
			continue
		}
		why := m.SendError()
		if why == nil {
			why = err
		}
		if why == nil {
			why = errors.New("the server did not say that it took it")
		}
		f := smtpFailure(fmt.Sprintf("%s to %s", channel, name(b.To[i])), why, password)
		refusals = append(refusals, f.text)
		if worst == nil || worst.permanent && !f.permanent {
			worst = f
		}
	}
	switch {
	case worst == nil:
		return taken, nil
	case worst.permanent && taken.ID != "":
		taken.Detail = fanwatch.Legible(taken.Detail+"; but "+strings.Join(refusals, "; "), 2*maxAnswer)
		return taken, nil
	}
	return Receipt{}, worst
}

// smtpFailure returns the Failure of one mail: a status of 5xx is permanent.
func smtpFailure(channel string, err error, password string) *Failure {
	var send *mail.SendError
	code := 0
	var proto *textproto.Error
	switch {
	case errors.As(err, &send):
		code = send.ErrorCode()
	case errors.As(err, &proto):
		code = proto.Code
	}
	f := failed(channel, err, password)
	if code >= 500 || strings.Contains(err.Error(), "does not support") { // STARTTLS, or a way to authenticate
		f.permanent = true
	}
	return f
}

func (b mailbox) client(host, port, password string) (*mail.Client, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %.20q is no number", port)
	}
	self, err := os.Hostname()
	if err != nil || self == "" {
		self = "localhost"
	}
	o := []mail.Option{mail.WithPort(int(n)), mail.WithHELO(self), mail.WithTimeout(b.Try / 3), // dial, greeting, mails
		mail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: b.Roots, MinVersion: tls.VersionTLS12})}
	switch cmp.Or(b.TLS, "starttls") {
	case "tls":
		o = append(o, mail.WithSSL())
	case "none":
		o = append(o, mail.WithTLSPolicy(mail.NoTLS))
	default:
		o = append(o, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if b.User != "" {
		o = append(o, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(b.User), mail.WithPassword(password))
	}
	return mail.NewClient(host, o...)
}

// compose makes the mail to one address. Message-ID is made of the idempotency key, so that a mailbox can tell copies;
// References names the alert, so that its mails are one thread.
func (b mailbox) compose(m Message, r Rendered, to string) (*mail.Msg, error) {
	out := mail.NewMsg()
	if err := out.From(b.From); err != nil {
		return nil, err
	}
	if err := out.To(to); err != nil {
		return nil, err
	}
	from, err := netmail.ParseAddress(b.From)
	if err != nil {
		return nil, err
	}
	domain := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	out.Subject(r.Subject)
	out.SetMessageIDWithValue(messageID(m.Key) + "@" + domain)
	if m.Alert.ID != "" {
		thread := "<fw_" + digest(m.Alert.ID) + "@" + domain + ">"
		out.SetGenHeader(mail.HeaderReferences, thread)
		out.SetGenHeader(mail.HeaderInReplyTo, thread)
	}
	out.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answer by a machine
	out.SetGenHeader("X-Auto-Response-Suppress", "All")
	if m.Alert.Weighed() == fanwatch.SeverityCritical && m.Event != fanwatch.EventOver {
		out.SetGenHeader("X-Priority", "1")
	}
	out.SetUserAgent("fanwatch")
	out.SetDateWithValue(b.Now())
	out.SetBodyString(mail.TypeTextPlain, r.Text)
	out.AddAlternativeString(mail.TypeTextHTML, r.HTML)
	if m.Picture != nil {
		err := out.EmbedReader(pictureID, bytes.NewReader(m.Picture), mail.WithFileContentID(pictureID),
			mail.WithFileContentType("image/png"))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
