package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fanwatch"
)

// Failure is why a channel did not take a message. Its text is one line and holds no secret.
type Failure struct {
	text      string
	permanent bool
	after     time.Duration
}

// Error returns the channel, the reason and the mend.
func (f *Failure) Error() string { return f.text }

// Permanent reports whether no later try will succeed while the configuration stays.
func (f *Failure) Permanent() bool { return f.permanent }

// RetryAfter returns how long the receiver asks to wait before the next try, 0 to 2 min; 0 = it does not say.
func (f *Failure) RetryAfter() time.Duration { return f.after }

const (
	maxAnswer     = 200             // bytes of an answer in a Failure or a Receipt
	maxRetryAfter = 2 * time.Minute // a page must not wait longer for a receiver
)

// hide replaces secrets in a text that a receiver or a library wrote.
func hide(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) > 3 {
			text = strings.ReplaceAll(text, s, "(secret)")
		}
	}
	return text
}

// failed returns the Failure of a connection: what it was, without the URL, which may be a secret.
func failed(channel string, err error, secrets ...string) *Failure {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	f := &Failure{}
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		f.text = "it does not answer in time"
	case untrusted(err):
		f.permanent = true
		f.text = fmt.Sprintf("its TLS certificate is not accepted: %v", err)
	default:
		f.text = err.Error()
	}
	f.text = channel + ": " + fanwatch.Legible(hide(f.text, secrets...), 2*maxAnswer)
	return f
}

// untrusted reports whether an error is of a certificate that is not accepted, which stays so until it is replaced.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) ||
		errors.As(err, &invalid)
}

// refused returns the Failure of an HTTP answer.
func refused(channel string, r *http.Response, body string, now time.Time) *Failure {
	f := &Failure{text: fmt.Sprintf("%s: it answers %d %s", channel, r.StatusCode, http.StatusText(r.StatusCode))}
	switch code := r.StatusCode; {
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		f.after = retryAfter(r.Header.Get("Retry-After"), now)
	case code >= 300 && code < 400:
		f.permanent = true
		f.text += ", a redirect, which is not followed: give the address itself"
	default:
		f.permanent = true
	}
	if body != "" {
		f.text += ": " + body
	}
	return f
}

// retryAfter reads the header of that name: seconds, or a date.
// https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
func retryAfter(text string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(0, wait), maxRetryAfter)
}
