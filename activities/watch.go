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

// Finding is a part of fanwatch that does not do its work, and how to mend it, in one sentence.
type Finding struct {
	Part string `json:"part"` // such as scorer; it names the alert
	Why  string `json:"why"`
}

// Inspector looks at every part of fanwatch and answers what is wrong now.
type Inspector interface {
	Inspect(ctx context.Context, stream string) ([]Finding, error)
	// Running reports whether the alert's workflow runs.
	Running(ctx context.Context, alert string) (bool, error)
}

// WatchInput names the stream whose scoring is watched, and the alerts that are open.
type WatchInput struct {
	Stream string            `json:"stream"`
	Open   map[string]string `json:"open,omitempty"` // part -> ID of its alert
	For    time.Duration     `json:"for"`            // how long one activity watches; 0 = 1 h
}

// WatchResult is what changed: the activity ends when a part fails or works again.
type WatchResult struct {
	Failed []Finding `json:"failed,omitempty"` // parts that fail and have no open alert
	Over   []string  `json:"over,omitempty"`   // parts that have an open alert and work again
}

// Watcher watches the parts of fanwatch that judge fans and tell people. It hangs on Temporal alone.
type Watcher struct {
	System Inspector
	Topics func(context.Context) ([]Finding, error) // looks at the topics of the policies; nil = it is not done
	// called each minute while all is well; "" = none. It may be a secret.
	HeartbeatURL string
	HTTP         *http.Client
	Config       WatchConfig
	Now          fanwatch.Clock
	Log          *slog.Logger
}

// WatchConfig says how often the Watcher looks and how long trouble must last. Zero values mean the defaults.
type WatchConfig struct {
	Every time.Duration // between two looks; 0 = 10 s
	// trouble that lasts this long is an alert; 0 = 30 s. Shorter: a worker's restart wakes people.
	After     time.Duration
	Clear     time.Duration // trouble that was not seen for this long is over; 0 = 30 s
	Heartbeat time.Duration // between two calls of the heartbeat URL; 0 = 1 min
	Topics    time.Duration // between two looks at the topics; 0 = 10 min
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

// watching is one run of the activity.
type watching struct {
	*Watcher
	cfg     WatchConfig
	in      WatchInput
	since   map[string]time.Time // when each part was first seen to fail, without a break of Clear
	seen    map[string]time.Time // when it was last seen to fail
	beaten  time.Time            // when the heartbeat URL was last called
	looked  time.Time            // at the topics
	topics  []Finding
	found   []Finding // by the newest look
	started time.Time
}

// Watch looks until a part fails that has no alert, or one works again that has, or in.For is over. What it has
// seen before a restart is forgotten: then trouble must last anew.
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

// The Watcher's own parts.
const (
	partWatcher = "watcher"
	PartPaging  = "paging" // notifications that cannot be delivered
)

// look inspects once, remembers since when each part fails, and calls the heartbeat URL where nothing does.
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
	if len(found) == 0 && len(s.in.Open) == 0 && now.Sub(s.beaten) >= s.cfg.Heartbeat {
		s.beaten = now
		s.heartbeat(ctx)
	}
}

// topicsDue reports whether it is time to look at the topics: those in trouble are looked at sooner, for they may be
// mended.
func (s *watching) topicsDue(now time.Time) bool {
	every := s.cfg.Topics
	if len(s.topics) > 0 {
		every = min(every, s.cfg.Clear/2)
	}
	return s.looked.IsZero() || now.Sub(s.looked) >= every
}

// joined returns one finding for each part, in the order of the first of each.
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

// heartbeat tells an outside service that all is well. What fails is not tried again before its next time: the outside
// service notices by itself, that is what it is for.
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

// call keeps the URL out of its error: services put their secret there.
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

// changes holds what was seen against the open alerts.
func (s *watching) changes(ctx context.Context) WatchResult {
	var r WatchResult
	now := s.Now()
	for part, id := range s.in.Open {
		if now.Sub(s.seen[part]) >= s.cfg.Clear {
			r.Over = append(r.Over, part)
		} else if running, err := s.System.Running(ctx, id); err == nil && !running {
			delete(s.in.Open, part) // it was ended by other means while the part fails
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

// CheckHeartbeatURL says what keeps a URL from being called, without the URL, or nil.
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
