package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"fanwatch/answer"
	"fanwatch/dashboard"
	"fanwatch/notify"
)

// answerOptions are the flags of fanwatch worker for answers from outside.
type answerOptions struct {
	listen, publicURL, keys, pagerDuty, slack string
}

func (o *answerOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "answers", "", "address, such as 127.0.0.1:8090, that serves answers to alerts alone (signed "+
		"links, webhooks), for a proxy or a load balancer to publish; empty: none")
	f.StringVar(&o.publicURL, "public-url", "", "base URL, such as https://fans.example.org, by which people reach "+
		"--answers: messages link to it; empty: they have no link to answer by")
	f.StringVar(&o.keys, "answer-keys", "",
		"keys of the links, which all workers share: env:NAME or file:PATH of 1 to 4 "+
			"secrets of 32 bytes or more, of which the first signs, or a directory that workers of one machine share")
	f.StringVar(&o.pagerDuty, "pagerduty-secret", "", "env:NAME or file:PATH of the signing secret of a webhook "+
		"subscription of PagerDuty, which answers alerts by /hooks/pagerduty; empty: none")
	f.StringVar(&o.slack, "slack-secret", "", "env:NAME or file:PATH of the signing secret of a Slack app, whose buttons "+
		"answer alerts by /hooks/slack; empty: none")
}

// open returns the keys, nil where there are none.
func (o *answerOptions) open() (*answer.Keys, error) {
	if o.keys == "" {
		if o.listen != "" || o.publicURL != "" {
			return nil, fmt.Errorf("--answer-keys is missing: --answers and --public-url need it (%w)", errUsage)
		}
		return nil, nil
	}
	k, err := answer.OpenKeys(o.keys, nil)
	if err != nil {
		return nil, fmt.Errorf("--answer-keys: %w", err)
	}
	return k, nil
}

// serve takes answers at the address until stop is called.
func (o *answerOptions) serve(ctx context.Context, op dashboard.Answerer, keys *answer.Keys, log *slog.Logger) (
	stop func(), err error) {
	if o.listen == "" {
		return func() {}, nil
	}
	h, err := dashboard.NewAnswers(dashboard.AnswersConfig{Operator: op, Keys: keys, PublicURL: o.publicURL,
		PagerDuty: notify.Secret(o.pagerDuty), Slack: notify.Secret(o.slack), Log: log})
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, fmt.Errorf("--answers: %w: give another address", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	go func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("answers ended", "err", err)
		}
	}()
	return func() { _ = srv.Close() }, nil // requests are short
}
