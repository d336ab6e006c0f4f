package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"fanwatch"
)

// authority makes a certificate of 127.0.0.1 and the pool that trusts it.
func authority(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// mailServer takes mail by SMTP and keeps it.
type mailServer struct {
	address string
	refuse  map[string]*smtp.SMTPError // by recipient
	data    *smtp.SMTPError            // answer to every mail
	login   *smtp.SMTPError            // answer to every login

	mu    sync.Mutex
	mails []string
	to    []string
	users []string
	plain bool // a mail came without TLS
}

type mailSession struct {
	s    *mailServer
	conn *smtp.Conn
	to   string
}

func (s *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &mailSession{s: s, conn: c}, nil
}

func (m *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (m *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if m.s.login != nil {
			return m.s.login
		}
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		m.s.users = append(m.s.users, user+":"+password)
		return nil
	}), nil
}

func (m *mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.to = to
	if err := m.s.refuse[to]; err != nil {
		return err
	}
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if m.s.data != nil {
		return m.s.data
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	_, secure := m.conn.TLSConnectionState()
	m.s.mails, m.s.to, m.s.plain = append(m.s.mails, string(b)), append(m.s.to, m.to), m.s.plain || !secure
	return nil
}

func (m *mailSession) Reset()        {}
func (m *mailSession) Logout() error { return nil }

// startMail serves SMTP on loopback: with config with STARTTLS or, implicit, with TLS from the beginning.
func startMail(t *testing.T, s *mailServer, config *tls.Config, implicit bool) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(s)
	server.Domain, server.TLSConfig, server.AllowInsecureAuth = "localhost", config, true
	server.ErrorLog = log.New(io.Discard, "", 0)
	s.address = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, config)
		server.TLSConfig = nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends by Close
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return s
}

func openMail(t *testing.T, m Mail, d Deps) Channel {
	t.Helper()
	if m.From == "" {
		m.From = "fanwatch <fans@example.com>"
	}
	if m.To == nil {
		m.To = []string{"ops@example.com"}
	}
	c, err := Open(Config{Name: "ops-mail", Zone: "Europe/Berlin", Mail: &m}, d)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAMailIsSentByTLSAndIsOneThreadPerAlert(t *testing.T) {
	cert, roots := authority(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	t.Setenv("FW_MAIL_PASSWORD", "verysecret")
	for _, mode := range []string{"starttls", "tls"} {
		s := startMail(t, &mailServer{}, config, mode == "tls")
		c := openMail(t, Mail{Server: s.address, TLS: mode, User: "fans", Password: "env:FW_MAIL_PASSWORD"},
			Deps{Roots: roots})
		page, over := messages()["page"], messages()["over"]
		page.Picture, over.Key = []byte("\x89PNG"), "alert/fan-07#over/ops-mail"
		for _, m := range []Message{page, page, over} {
			receipt, err := c.Send(t.Context(), m)
			if err != nil || receipt.ID == "" || !strings.Contains(receipt.Detail, "OK") {
				t.Fatalf("%s: %+v, %v", mode, receipt, err)
			}
		}
		if len(s.mails) != 3 || s.plain || len(s.users) != 3 || s.users[0] != "fans:verysecret" {
			t.Fatalf("%s: %d mails, plain %t, %q", mode, len(s.mails), s.plain, s.users)
		}
		var read [3]*mail.Message
		for i, text := range s.mails {
			m, err := mail.ReadMessage(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			read[i] = m
		}
		id, thread := func(i int) string { return read[i].Header.Get("Message-ID") }, read[0].Header.Get("References")
		if id(0) != id(1) || id(0) == id(2) || thread == "" || read[2].Header.Get("References") != thread ||
			read[2].Header.Get("In-Reply-To") != thread || read[0].Header.Get("Auto-Submitted") != "auto-generated" {
			t.Errorf("%s: %v\n%v", mode, read[0].Header, read[2].Header)
		}
		if to := read[0].Header.Get("To"); to != "<ops@example.com>" {
			t.Errorf("%s: To: %s", mode, to)
		}
		checkParts(t, read[0])
	}
}

// checkParts looks for the text, the HTML and the picture that the HTML shows.
func checkParts(t *testing.T, m *mail.Message) {
	t.Helper()
	found := map[string]string{}
	var walk func(kind string, body io.Reader, id string)
	walk = func(kind string, body io.Reader, id string) {
		media, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(media, "multipart/") {
			b, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			found[media] = id + string(b)
			return
		}
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			walk(p.Header.Get("Content-Type"), p, p.Header.Get("Content-ID"))
		}
	}
	walk(m.Header.Get("Content-Type"), m.Body, "")
	if !strings.HasPrefix(found["text/plain"], stall().Why) || !strings.Contains(found["text/html"], "cid:"+pictureID) ||
		!strings.Contains(found["image/png"], "<"+pictureID+">") {
		t.Errorf("%q", found)
	}
}

func TestASubjectOfADeviceAddsNoHeader(t *testing.T) {
	cert, roots := authority(t)
	s := startMail(t, &mailServer{}, &tls.Config{Certificates: []tls.Certificate{cert}}, false)
	c := openMail(t, Mail{Server: s.address}, Deps{Roots: roots})
	for _, text := range hostile {
		if _, err := c.Send(t.Context(), hostileMessage(fanwatch.EventPage, text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range s.mails {
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil || m.Header.Get("Bcc") != "" || len(m.Header["Subject"]) != 1 {
			t.Errorf("%v %v", err, m.Header)
		}
	}
}

func TestAServerWithoutTLSGetsNoMail(t *testing.T) {
	_, roots := authority(t)
	s := startMail(t, &mailServer{}, nil, false)
	_, err := openMail(t, Mail{Server: s.address}, Deps{Roots: roots}).Send(t.Context(), messages()["page"])
	var f *Failure
	if !errors.As(err, &f) || !f.Permanent() || len(s.mails) > 0 {
		t.Errorf("%v, %d mails", err, len(s.mails))
	}
	if _, err := openMail(t, Mail{Server: s.address, TLS: "none"}, Deps{}).Send(t.Context(),
		messages()["page"]); err != nil || len(s.mails) != 1 {
		t.Errorf("tls: none on loopback: %v", err)
	}
}

func TestAServerOfAnotherAuthorityGetsNoMail(t *testing.T) {
	cert, _ := authority(t)
	_, other := authority(t)
	for _, mode := range []string{"starttls", "tls"} {
		s := startMail(t, &mailServer{}, &tls.Config{Certificates: []tls.Certificate{cert}}, mode == "tls")
		_, err := openMail(t, Mail{Server: s.address, TLS: mode}, Deps{Roots: other}).Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || !f.Permanent() || !strings.Contains(err.Error(), "certificate") || len(s.mails) > 0 {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestWhatAMailServerRefusesSaysWhetherAnotherTryHelps(t *testing.T) {
	cert, roots := authority(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	t.Setenv("FW_MAIL_PASSWORD", "verysecret")
	for name, c := range map[string]struct {
		server    *mailServer
		permanent bool
		want      string
	}{
		"no such mailbox": {&mailServer{refuse: map[string]*smtp.SMTPError{"ops@example.com": {Code: 550,
			EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}}}, true, "no such user"},
		"mailbox busy": {&mailServer{refuse: map[string]*smtp.SMTPError{"ops@example.com": {Code: 450,
			EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "greylisted"}}}, false, "greylisted"},
		"mail refused": {&mailServer{data: &smtp.SMTPError{Code: 554, Message: "spam"}}, true, "spam"},
		"server full":  {&mailServer{data: &smtp.SMTPError{Code: 452, Message: "disk full"}}, false, "disk full"},
		"bad password": {&mailServer{login: &smtp.SMTPError{Code: 535, Message: "bad verysecret"}}, true, "535"},
		"login later":  {&mailServer{login: &smtp.SMTPError{Code: 454, Message: "later"}}, false, "454"},
	} {
		s := startMail(t, c.server, config, false)
		_, err := openMail(t, Mail{Server: s.address, User: "fans", Password: "env:FW_MAIL_PASSWORD"},
			Deps{Roots: roots}).Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || f.Permanent() != c.permanent || !strings.Contains(err.Error(), c.want) ||
			fanwatch.OneLine(err.Error()) != err.Error() {
			t.Errorf("%s: %v", name, err)
		}
		checkSecrets(t, name, fmt.Sprint(err))
	}
}

func TestAMailboxThatIsRefusedKeepsNoOtherFromItsMail(t *testing.T) {
	cert, roots := authority(t)
	s := startMail(t, &mailServer{refuse: map[string]*smtp.SMTPError{"gone@example.com": {Code: 550, Message: "gone"}}},
		&tls.Config{Certificates: []tls.Certificate{cert}}, false)
	c := openMail(t, Mail{Server: s.address, To: []string{"gone@example.com", "ops@example.com", "ada@example.com"}},
		Deps{Roots: roots})
	receipt, err := c.Send(t.Context(), messages()["page"])
	if err != nil || !strings.Contains(receipt.Detail, "gone@example.com") || len(s.to) != 2 {
		t.Errorf("%+v, %v, to %q", receipt, err, s.to)
	}
	s.refuse["ada@example.com"] = &smtp.SMTPError{Code: 451, Message: "later"}
	_, err = c.Send(t.Context(), messages()["page"])
	var f *Failure
	if !errors.As(err, &f) || f.Permanent() {
		t.Errorf("one of them may be taken later: %v", err)
	}
}

// TestAMailServerThatHangsIsGivenUp: before its greeting, and in the middle of the mail.
func TestAMailServerThatHangsIsGivenUp(t *testing.T) {
	cert, roots := authority(t)
	for _, greeting := range []string{"", "220 localhost ESMTP\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(greeting)) // the client may be gone
				go func() { _, _ = io.Copy(io.Discard, c) }()
			}
		}()
		c := openMail(t, Mail{Server: l.Addr().String()}, Deps{Roots: roots, Try: 600 * time.Millisecond})
		began := time.Now()
		_, err = c.Send(t.Context(), messages()["page"])
		var f *Failure
		if !errors.As(err, &f) || f.Permanent() || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%q: %v after %s", greeting, err, time.Since(began))
		}
	}
	s := startMail(t, &mailServer{}, &tls.Config{Certificates: []tls.Certificate{cert}}, false)
	_, err := openMail(t, Mail{Server: s.address}, Deps{Roots: roots}).Send(t.Context(), messages()["page"])
	if err != nil || len(s.mails) != 1 {
		t.Errorf("one that works: %v", err)
	}
}
