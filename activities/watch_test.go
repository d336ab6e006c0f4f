package activities

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
)

// parts is a fanwatch whose parts fail as a test says.
type parts struct {
	mu      sync.Mutex
	broken  map[string]bool
	looks   int
	script  func(look int, p *parts)
	err     error
	stopped map[string]bool // alerts that do not run any more
}

func (p *parts) Inspect(context.Context, string) ([]Finding, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	if p.script != nil {
		p.script(p.looks, p)
	}
	var out []Finding
	for part, broken := range p.broken {
		if broken {
			out = append(out, Finding{part, part + " is broken."})
		}
	}
	return out, p.err
}

func (p *parts) Running(_ context.Context, id string) (bool, error) { return !p.stopped[id], nil }

// watcherOf gives a Watcher whose clock moves by ten seconds with each look.
func watcherOf(p *parts) *Watcher {
	clock := time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	return &Watcher{System: p, HTTP: http.DefaultClient, Log: slog.New(slog.DiscardHandler),
		Config: WatchConfig{Every: time.Nanosecond},
		Now:    func() time.Time { return clock.Add(time.Duration(p.looks) * 10 * time.Second) }}
}

func watchOnce(t *testing.T, w *Watcher, in WatchInput) (WatchResult, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(w)
	v, err := env.ExecuteActivity(w.Watch, in)
	var r WatchResult
	if err == nil {
		err = v.Get(&r)
	}
	return r, err
}

// quiet drops what the SDK logs.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func TestTroubleThatLastsIsToldAndABlinkIsNot(t *testing.T) {
	p := &parts{broken: map[string]bool{}, script: func(look int, p *parts) {
		p.broken["scorer"] = look == 2 || look >= 10 // a worker that is started again, and one that is not
	}}
	r, err := watchOnce(t, watcherOf(p), WatchInput{})
	if err != nil || len(r.Failed) != 1 || r.Failed[0].Part != "scorer" || len(r.Over) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if p.looks != 13 { // 30 s after look 10
		t.Errorf("told at look %d, want 13", p.looks)
	}
}

func TestTroubleThatIsOverIsToldOnlyWhenThatLasts(t *testing.T) {
	p := &parts{broken: map[string]bool{}, script: func(look int, p *parts) { p.broken["lake"] = look == 3 }}
	r, err := watchOnce(t, watcherOf(p), WatchInput{Open: map[string]string{"lake": "alert/lake"}})
	if err != nil || len(r.Over) != 1 || len(r.Failed) != 0 || p.looks != 6 {
		t.Errorf("%+v, %v after %d looks, want the end 30 s after look 3", r, err, p.looks)
	}
}

func TestAnAlertThatWasEndedByHandIsOpenedAgainWhileThePartFails(t *testing.T) {
	p := &parts{broken: map[string]bool{"lake": true}, stopped: map[string]bool{"alert/lake": true}}
	r, err := watchOnce(t, watcherOf(p), WatchInput{Open: map[string]string{"lake": "alert/lake"}})
	if err != nil || len(r.Failed) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestATopicThatIsMendedIsSeenSoon: topics that are well are looked at every ten minutes.
func TestATopicThatIsMendedIsSeenSoon(t *testing.T) {
	p := &parts{}
	w := watcherOf(p)
	asked := 0
	w.Topics = func(context.Context) ([]Finding, error) {
		asked++
		switch {
		case asked <= 4:
			return []Finding{{PartPaging, "Topic on-call does not exist."}}, nil
		case asked == 5:
			return nil, errors.New("no answer")
		}
		return nil, nil
	}
	r, err := watchOnce(t, w, WatchInput{Open: map[string]string{PartPaging: "alert/paging"}})
	if err != nil || len(r.Over) != 1 || asked != 6 || p.looks > 20 {
		t.Errorf("%+v, %v: asked %d times in %d looks", r, err, asked, p.looks)
	}
}

func TestALookThatFailsIsTroubleOfItsOwn(t *testing.T) {
	p := &parts{err: errors.New("no answer")}
	r, err := watchOnce(t, watcherOf(p), WatchInput{})
	if err != nil || len(r.Failed) != 1 || r.Failed[0].Part != partWatcher || !strings.Contains(r.Failed[0].Why,
		"no answer") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTheHeartbeatStopsWithTheFirstTrouble: an outside service hears of trouble by hearing nothing.
func TestTheHeartbeatStopsWithTheFirstTrouble(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer srv.Close()
	// three minutes
	p := &parts{broken: map[string]bool{}, script: func(look int, p *parts) { p.broken["scorer"] = look > 18 }}
	w := watcherOf(p)
	w.HeartbeatURL = srv.URL + "/secret"
	if _, err := watchOnce(t, w, WatchInput{}); err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls in the three minutes in which all was well, want 3", n)
	}
}

// TestTheHeartbeatURLStaysOutOfErrors: services put their secret there.
func TestTheHeartbeatURLStaysOutOfErrors(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no",
			http.StatusTeapot)
	}))
	w := watcherOf(&parts{})
	for _, url := range []string{srv.URL + "/s3cret", "http://127.0.0.1:1/s3cret", "http://127.0.0.1:bad/s3cret"} {
		w.HeartbeatURL = url
		s := &watching{Watcher: w}
		if err := s.call(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	srv.Close()
	for _, url := range []string{"s3cret", "ftp://host/s3cret", "https:///s3cret"} {
		if err := CheckHeartbeatURL(url); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
