package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// webhook is an address that takes documents.
type webhook struct {
	opened
	Webhook
}

const (
	maxPicture = 200 << 10 // bytes of base64 of a picture in a document
	minKey     = 24        // bytes of a key, by the specification of Standard Webhooks
)

// Send implements Channel. The receiver tells copies by webhook-id, which is made of the idempotency key.
func (w webhook) Send(ctx context.Context, m Message) (Receipt, error) {
	const channel = "webhook"
	to, err := w.read(channel, w.URL)
	if err != nil {
		return Receipt{}, err
	}
	secret, err := w.Secret.Read()
	if err != nil {
		return Receipt{}, unreadable(channel, err)
	}
	key, err := signingKey(secret)
	if err != nil {
		return Receipt{}, &Failure{text: fmt.Sprintf("%s: secret %s: %v", channel, w.Secret, err), permanent: true}
	}
	d := Render(m, w.zone).Document
	if base64.StdEncoding.EncodedLen(len(m.Picture)) <= maxPicture {
		d.Picture = m.Picture
	}
	body, err := json.Marshal(d)
	if err != nil {
		return Receipt{}, &Failure{text: channel + ": the message has no JSON: " + err.Error(), permanent: true}
	}
	id, at := messageID(m.Key), w.Now()
	answer, err := w.post(ctx, channel, to, body, http.Header{
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {sign(key, id, at, body)},
	}, secret)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: id, Detail: status(answer)}, nil
}

// signingKey returns the key of a secret: base64 behind whsec_, or else its bytes.
func signingKey(secret string) ([]byte, error) {
	key := []byte(secret)
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("what follows whsec_ is not base64")
		}
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("it has %d bytes: take %d or more, of a random source", len(key), minKey)
	}
	return key, nil
}

// sign returns the header webhook-signature.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// messageID returns a name of the key that every header takes: the key itself may hold what a person wrote.
func messageID(key string) string { return "fw_" + digest(key) }

// digest returns 128 bits of the text's SHA-256, in hexadecimal.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x", sum[:16])
}
