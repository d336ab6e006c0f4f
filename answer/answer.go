// Package answer makes and opens the signed links by which a person answers an alert from where its message is read.
//
// A link carries a token: what it is for, until when, a random ID by which an alert takes it once, and an HMAC-SHA256
// by a key that changes every 30 days. See [Keys].
package answer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// TokenVersion is the version of the tokens that this program writes and reads.
const TokenVersion = 1

const (
	linkLife    = 24 * time.Hour     // of a link whose Claim names no Expires
	maxLinkLife = 7 * 24 * time.Hour // longest life of a link
	maxToken    = 400                // characters of a token
	maxTo       = 64                 // bytes of Claim.To in a token
	idBytes     = 16
	fixedBytes  = 1 + 4 + 4 + idBytes + 1 // version, key, expiry, ID, action
)

var (
	// ErrWrong says that a token was not made by these keys, or that it was changed.
	ErrWrong = errors.New("the link is not one of this system")
	// ErrExpired says that a token is genuine and too old.
	ErrExpired = errors.New("the link is too old")
)

// Claim is what a link is for.
type Claim struct {
	Alert   string          // ID
	To      string          // person or channel that the link was sent to; a token keeps its first 64 bytes
	Action  fanwatch.Action // that the page proposes; "" = none in particular
	Expires time.Time       // to the second, at most 7 days ahead; zero: in 24 h
	ID      string          // 32 hexadecimal digits; "" = random ones
}

// actions are those that a token can name, by their number in it; a later program may append others.
var actions = []fanwatch.Action{"", fanwatch.ActionAcknowledge, fanwatch.ActionSnooze, fanwatch.ActionHand,
	fanwatch.ActionNote, fanwatch.ActionResolve, fanwatch.ActionUnacknowledge}

// Link returns a link for the claim below the base URL, such as https://fans.example.org.
func (k *Keys) Link(base string, c Claim) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("answer: base %.100q is not a URL such as https://fans.example.org", base)
	}
	token, err := k.sign(c)
	if err != nil {
		return "", fmt.Errorf("answer: link for %.120q: %w", c.Alert, err)
	}
	return strings.TrimRight(base, "/") + "/answer?t=" + token, nil
}

func (k *Keys) sign(c Claim) (string, error) {
	now := k.now()
	if c.Expires.IsZero() {
		c.Expires = now.Add(linkLife)
	}
	action := slices.Index(actions, c.Action)
	alert, isAlert := strings.CutPrefix(c.Alert, alertPrefix)
	switch {
	case !isAlert || alert == "" || len(alert) > 255:
		return "", errors.New("an alert's ID begins with alert/ and has at most 261 bytes")
	case action < 0:
		return "", fmt.Errorf("action %.40q is unknown", c.Action)
	case c.Expires.Before(now) || c.Expires.After(now.Add(maxLinkLife)):
		return "", fmt.Errorf("expires %s: want a time within %s from now", c.Expires.UTC().Format(time.RFC3339), maxLinkLife)
	}
	id := make([]byte, idBytes)
	if c.ID == "" {
		_, _ = rand.Read(id) // it never fails
	} else if n, err := hex.Decode(id, []byte(c.ID[:min(len(c.ID), 2*idBytes)])); err != nil || len(c.ID) != 2*idBytes ||
		n != idBytes {
		return "", fmt.Errorf("ID %.40q is not of 32 hexadecimal digits", c.ID)
	}
	number := periodOf(now)
	secrets, err := k.secrets(number, true)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, maxToken)
	b = append(b, TokenVersion)
	b = binary.BigEndian.AppendUint32(b, number)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Expires.Unix()))
	b = append(append(b, id...), byte(action), byte(len(alert)))
	b = append(append(b, alert...), fanwatch.Legible(c.To, maxTo)...)
	token := base64.RawURLEncoding.EncodeToString(append(b, mac(secrets[0], b)...))
	if len(token) > maxToken {
		return "", fmt.Errorf("its token has %d characters, at most %d are taken: the alert's ID is too long", len(token),
			maxToken)
	}
	return token, nil
}

const alertPrefix = "alert/"

// Open returns what a token is for. The error is ErrWrong, ErrExpired (with the claim), or says why no key could be
// read.
func (k *Keys) Open(token string) (Claim, error) {
	if len(token) > maxToken {
		return Claim{}, ErrWrong
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	// DecodeString passes over line ends.
	if err != nil || strings.ContainsAny(token, "\r\n") || len(b) < fixedBytes+1+sha256.Size || b[0] != TokenVersion {
		return Claim{}, ErrWrong
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	secrets, err := k.secrets(binary.BigEndian.Uint32(b[1:]), false)
	if err != nil {
		return Claim{}, fmt.Errorf("answer: %w", err)
	}
	if !slices.ContainsFunc(secrets, func(s []byte) bool { return hmac.Equal(mac(s, b), sum) }) {
		return Claim{}, ErrWrong
	}
	action, alert := int(b[fixedBytes-1]), b[fixedBytes+1:]
	length := int(b[fixedBytes])
	if action >= len(actions) || length > len(alert) { // signed so by a program that does not exist yet
		return Claim{}, ErrWrong
	}
	c := Claim{Alert: alertPrefix + string(alert[:length]), To: string(alert[length:]), Action: actions[action],
		Expires: time.Unix(int64(binary.BigEndian.Uint32(b[5:])), 0).UTC(), ID: hex.EncodeToString(b[9 : 9+idBytes])}
	if !k.now().Before(c.Expires) {
		return c, ErrExpired
	}
	return c, nil
}

// mac returns the signature of a token's bytes. The text keeps it apart from whatever else a key may sign.
func mac(secret, b []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(bytes.Join([][]byte{[]byte("fanwatch answer"), b}, []byte{0}))
	return h.Sum(nil)
}
