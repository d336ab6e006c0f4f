package sns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// delivery is a message on its way to an HTTP(S) endpoint or to the mail
// relay. It is queued on disk until it is delivered or given up.
type delivery struct {
	ID        uint64    `json:"id"`
	Mail      bool      `json:"mail,omitempty"`
	Type      string    `json:"type,omitempty"` // Notification or SubscriptionConfirmation
	MessageID string    `json:"message_id"`
	Topic     string    `json:"topic"`
	Time      time.Time `json:"time"`
	Body      string    `json:"body"`
	// Of an HTTP(S) delivery:
	Subscription string `json:"subscription,omitempty"`
	URL          string `json:"url,omitempty"`
	Raw          bool   `json:"raw,omitempty"`
	// Of mail; Sender is the name in From.
	To      string `json:"to,omitempty"`
	Sender  string `json:"sender,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// slotsPerTarget bounds how many attempts one endpoint sees at a time, so that
// a slow one holds nobody else up.
const slotsPerTarget = 4

// errPermanent marks a refusal that no repetition mends.
var errPermanent = errors.New("refused for good")

// start runs a delivery beside the caller, who holds the mutex (or is New).
func (s *Server) start(d delivery) {
	target := d.URL
	if d.Mail {
		target = "mail:"
	}
	slot, ok := s.slots[target]
	if !ok {
		slot = make(chan struct{}, slotsPerTarget)
		s.slots[target] = slot
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.deliver(d, slot)
	}()
}

// deliver repeats a delivery with growing pauses until it is through, its
// subscription is gone, or Retry says that it is enough. At Close it stays queued.
func (s *Server) deliver(d delivery, slot chan struct{}) {
	pause := s.cfg.Retry.First
	for attempt := 1; s.wanted(d); attempt++ {
		select {
		case slot <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		err := s.attempt(d)
		<-slot
		if err == nil {
			break
		}
		if s.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errPermanent) || attempt >= s.cfg.Retry.Attempts || s.cfg.Now().Sub(d.Time) > s.cfg.Retry.MaxAge {
			s.cfg.Log.Warn("sns: a message was given up", "message", d.MessageID, "to", d.target(), "attempts", attempt, "err", err)
			break
		}
		s.cfg.Log.Info("sns: a delivery failed and is repeated", "message", d.MessageID, "to", d.target(), "in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		pause = min(2*pause, s.cfg.Retry.Longest)
	}
	s.finish(d)
}

// wanted says whether the subscription still waits for this message.
func (s *Server) wanted(d delivery) bool {
	if d.Mail {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, exists := s.topics.subscriptions[d.Subscription]
	return exists && sub.Confirmed == (d.Type == "Notification")
}

// finish needs no sync: a delivery repeated after a power cut is within
// "at least once".
func (s *Server) finish(d delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := record{Done: []uint64{d.ID}}
	if err := s.journal.append(r, false); err != nil {
		s.cfg.Log.Warn("sns: a delivery is over but will be repeated after a restart", "message", d.MessageID, "err", err)
	}
	s.apply(r)
}

func (s *Server) attempt(d delivery) error {
	if d.Mail {
		ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
		defer cancel()
		return s.cfg.SMTP.send(ctx, d)
	}
	return s.postOnce(d)
}

// postOnce posts with the headers of
// https://docs.aws.amazon.com/sns/latest/dg/http-header.html
// 2xx is delivered; 4xx except 429 is final, all else is repeated.
func (s *Server) postOnce(d delivery) error {
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, d.URL, strings.NewReader(d.Body))
	if err != nil {
		return errors.Join(errPermanent, err)
	}
	r.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	r.Header.Set("User-Agent", "Amazon Simple Notification Service Agent")
	r.Header.Set("x-amz-sns-message-type", d.Type)
	r.Header.Set("x-amz-sns-message-id", d.MessageID)
	r.Header.Set("x-amz-sns-topic-arn", d.Topic)
	if d.Type == "Notification" {
		r.Header.Set("x-amz-sns-subscription-arn", d.Subscription)
	}
	if d.Raw {
		r.Header.Set("x-amz-sns-rawdelivery", "true")
	}
	answer, err := s.cfg.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests:
		return fmt.Errorf("%w: the endpoint answered %s", errPermanent, answer.Status)
	default:
		return fmt.Errorf("the endpoint answered %s", answer.Status)
	}
}

// target is a delivery's address for the log, without a password.
func (d delivery) target() string {
	if d.Mail {
		return d.To
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		return "?"
	}
	return u.Redacted()
}
