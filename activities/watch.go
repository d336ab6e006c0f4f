package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"fanwatch"
)

// Finding is a part of fanwatch that does not do its work.
type Finding struct {
	Part string `json:"part"` // such as scorer; it names the alert
	Why  string `json:"why"`  // sentences with the reason and the mend
}

// Inspector looks at every part of fanwatch and returns those that do not do their work.
type Inspector interface {
	Inspect(ctx context.Context, stream string) ([]Finding, error)
	// Running reports whether the alert's workflow runs.
	Running(ctx context.Context, alert string) (bool, error)
}

// WatchInput names the stream whose scoring is watched, and the alerts that are open.
type WatchInput struct {
	Stream string            `json:"stream"`
	Open   map[string]string `json:"open,omitempty"` // ID of the open alert by part
	For    time.Duration     `json:"for"`            // how long one activity watches; 0 = 1 h
}

// WatchResult is what changed; both fields are empty when the activity's time is over.
type WatchResult struct {
	Failed []Finding `json:"failed,omitempty"` // parts that fail and have no open alert
	Over   []string  `json:"over,omitempty"`   // parts that have an open alert and work again
}

// Watcher watches the parts of fanwatch. It depends on Temporal alone.
type Watcher struct {
	System Inspector
	Topics func(context.Context) ([]Finding, error) // checks the topics of the policies; nil = they are not checked
	// HeartbeatURL is called every Config.Heartbeat while no part fails; "" = none. It may hold a secret.
	HeartbeatURL string
	HTTP         *http.Client
	Config       WatchConfig
	Now          fanwatch.Clock
	Log          *slog.Logger
}

// WatchConfig sets how often the Watcher looks and how long trouble must last.
type WatchConfig struct {
	Every     time.Duration // time between two looks; 0 = 10 s
	After     time.Duration // time that trouble lasts before it is an alert; 0 = 30 s. It exceeds a worker's restart.
	Clear     time.Duration // time without trouble after which it is over; 0 = 30 s
	Heartbeat time.Duration // time between two calls of the heartbeat URL; 0 = 1 min
	Topics    time.Duration // time between two checks of the topics; 0 = 10 min
}

func (c WatchConfig) withDefaults() WatchConfig {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&c.Every, 10*time.Second)
	def(&c.After, 30*time.Second)
	def(&c.Clear, 30*time.Second)
	def(&c.Heartbeat, time.Minute)
	def(&c.Topics, 10*time.Minute)
	return c
}

// watching is one call of Watch.
type watching struct {
	*Watcher
	cfg     WatchConfig
	in      WatchInput
	since   map[string]time.Time // when each part was first seen to fail, without a break of Clear
	seen    map[string]time.Time // when each part was last seen to fail
	called  time.Time            // when the heartbeat URL was last called
	looked  time.Time            // when the topics were last checked
	topics  []Finding            // of the newest check of the topics
	found   []Finding            // of the newest look
	started time.Time
}

// Watch looks until a part without an open alert fails, one with an open alert works again, or in.For is over. Running
// it again begins without what the earlier call saw, so that trouble must last anew.
func (w *Watcher) Watch(ctx context.Context, in WatchInput) (WatchResult, error) {
	defer heartbeats(ctx)()
	s := &watching{Watcher: w, cfg: w.Config.withDefaults(), in: in, since: map[string]time.Time{},
		seen: map[string]time.Time{}, started: w.Now()}
	if s.in.For == 0 {
		s.in.For = time.Hour
	}
	for part := range in.Open {
		s.since[part], s.seen[part] = s.started, s.started
	}
	for {
		s.look(ctx)
		if r := s.changes(ctx); len(r.Failed)+len(r.Over) > 0 || w.Now().Sub(s.started) >= s.in.For {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return WatchResult{}, ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			return WatchResult{}, errStopping
		case <-time.After(s.cfg.Every):
		}
	}
}

// PartPaging is the part that delivers notifications.
const PartPaging = "paging"

const partWatcher = "watcher" // the inspection itself

// look inspects once, records since when each part fails, and calls the heartbeat URL when none does.
func (s *watching) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	found, err := s.System.Inspect(limited, s.in.Stream)
	if err != nil {
		found = append(found, Finding{partWatcher, "The state of fanwatch cannot be looked at: " +
			fanwatch.OneLine(err.Error()) + "."})
	}
	now := s.Now()
	if s.Topics != nil && s.topicsDue(now) {
		if s.topics, err = s.Topics(limited); err != nil {
			s.topics = []Finding{{PartPaging, "The topics of the policies cannot be looked at: " +
				fanwatch.OneLine(err.Error()) + "."}}
		}
		s.looked = now
	}
	found = append(found, s.topics...)
	found = joined(found)
	s.found = found
	for _, f := range found {
		if _, known := s.since[f.Part]; !known {
			s.since[f.Part] = now
		}
		s.seen[f.Part] = now
	}
	for part, at := range s.seen {
		if now.Sub(at) >= s.cfg.Clear && s.in.Open[part] == "" {
			delete(s.since, part)
			delete(s.seen, part)
		}
	}
	if len(found) == 0 && len(s.in.Open) == 0 && now.Sub(s.called) >= s.cfg.Heartbeat {
		s.called = now
		s.heartbeat(ctx)
	}
}

// topicsDue reports whether the topics are to be checked; while some are in trouble they are checked more often.
func (s *watching) topicsDue(now time.Time) bool {
	every := s.cfg.Topics
	if len(s.topics) > 0 {
		every = min(every, s.cfg.Clear/2)
	}
	return s.looked.IsZero() || now.Sub(s.looked) >= every
}

// joined returns one finding for each part, in the order of the parts' first findings.
func joined(found []Finding) []Finding {
	var out []Finding
	for _, f := range found {
		if i := slices.IndexFunc(out, func(o Finding) bool { return o.Part == f.Part }); i >= 0 {
			out[i].Why += " " + f.Why
		} else {
			out = append(out, f)
		}
	}
	return out
}

// heartbeat calls the heartbeat URL. A call that fails is logged and not repeated before the next is due.
func (s *watching) heartbeat(ctx context.Context) {
	if s.HeartbeatURL == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.call(ctx); err != nil {
		s.Log.Warn("the heartbeat URL does not answer as it should", "err", err)
	}
}

// call sends the request. Its error does not hold the URL, which may hold a secret.
func (s *watching) call(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.HeartbeatURL, nil)
	if err != nil {
		return fmt.Errorf("the heartbeat URL cannot be read")
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("no answer within 10 s")
		}
		return fmt.Errorf("%s cannot be reached", req.URL.Host)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // so that the connection can be used again
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	}
	return nil
}

// changes compares what was seen with the open alerts.
func (s *watching) changes(ctx context.Context) WatchResult {
	var r WatchResult
	now := s.Now()
	for part, id := range s.in.Open {
		if now.Sub(s.seen[part]) >= s.cfg.Clear {
			r.Over = append(r.Over, part)
		} else if running, err := s.System.Running(ctx, id); err == nil && !running {
			delete(s.in.Open, part) // the alert was ended by other means
		}
	}
	for _, f := range s.found {
		if s.in.Open[f.Part] == "" && now.Sub(s.since[f.Part]) >= s.cfg.After {
			r.Failed = append(r.Failed, f)
		}
	}
	slices.Sort(r.Over)
	return r
}

// CheckHeartbeatURL returns an error, which does not hold the text, when it is neither "" nor an http or https URL.
func CheckHeartbeatURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("the heartbeat URL is none: write it as https://HOST/PATH")
	}
	return nil
}
