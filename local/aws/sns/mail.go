package sns

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"time"
)

// send hands one message to the relay (RFC 5321). A 5xx reply is final.
func (c SMTP) send(ctx context.Context, d delivery) error {
	text, err := c.compose(d)
	if err != nil {
		return errors.Join(errPermanent, err)
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("%w: SMTP address %q is not host:port: %w", errPermanent, c.Addr, err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The protocol below knows no context: a cancelled one closes the line.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if offered, _ := client.Extension("STARTTLS"); offered && !loopback(host) {
		if err := client.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	return finalIf5xx(talk(client, c.From, d.To, text))
}

func talk(client *smtp.Client, from, to string, text []byte) error {
	if err := client.Mail(from); err != nil {
		return err
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	client.Quit() // the message is accepted: a failing goodbye changes nothing
	return nil
}

// compose writes RFC 5322 text; addresses and subject were checked when they
// came in, and are encoded again here so that no header can be smuggled in.
func (c SMTP) compose(d delivery) ([]byte, error) {
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("SMTP sender %q: %w", c.From, err)
	}
	if d.Sender != "" {
		from.Name = d.Sender
	}
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", from.String()},
		{"To", (&mail.Address{Address: d.To}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", d.Subject)},
		{"Date", d.Time.Format(time.RFC1123Z)},
		{"Message-ID", "<" + d.MessageID + "@sns.fanwatch.invalid>"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(d.Body)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil { // writes the last line
		return nil, err
	}
	return b.Bytes(), nil
}

func finalIf5xx(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code >= 500 {
		return fmt.Errorf("%w: %w", errPermanent, err)
	}
	return err
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
