package dashboard

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/operator"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// plant is an Operator that holds its fans and alerts in memory and obeys the rules of the real one.
type plant struct {
	mu     sync.Mutex
	fans   map[string]fanwatch.FanStatus
	alerts map[string]fanwatch.Alert
	asked  int // how often Fans was called
	full   int // how often Alerts was called with includeEnded
	broken error
	acked  []string
	judged map[string]operator.Judgement // of the others a reading was judged just now
	unread []string
}

func newPlant(fans ...fanwatch.FanStatus) *plant {
	p := &plant{fans: map[string]fanwatch.FanStatus{}, alerts: map[string]fanwatch.Alert{}}
	for _, f := range fans {
		p.fans[f.Device.Fan] = f
	}
	return p
}

func (p *plant) Fans(context.Context) ([]fanwatch.FanStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	var list []fanwatch.FanStatus
	for _, f := range p.fans {
		if f.Phase != fanwatch.PhaseRetired { // its workflow is closed
			list = append(list, f)
		}
	}
	return list, p.broken
}

func (p *plant) Fan(_ context.Context, name string) (fanwatch.FanStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.fans[name]; ok || p.broken != nil {
		return f, p.broken
	}
	return fanwatch.FanStatus{}, fmt.Errorf("fan %s: %w", name, operator.ErrUnknown)
}

func (p *plant) Alerts(_ context.Context, includeEnded bool) ([]fanwatch.Alert, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if includeEnded {
		p.full++
	}
	var list []fanwatch.Alert
	for _, a := range p.alerts {
		if includeEnded || !over(a) {
			list = append(list, a)
		}
	}
	return list, p.broken
}

func (p *plant) Judged(_ context.Context, now time.Time, _ []fanwatch.FanStatus) (Judged, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := maps.Clone(p.judged)
	return Judged{Unread: p.unread, Of: func(d fanwatch.Device) operator.Judgement {
		if j, ok := of[d.Fan]; ok {
			return j
		}
		return operator.Judgement{Judging: operator.JudgingNow, At: now.Add(-time.Second), Shard: "s"}
	}}, p.broken
}

func (p *plant) Acknowledge(_ context.Context, id string, k fanwatch.Acknowledgement) (fanwatch.Alert, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.alerts[id]
	switch {
	case p.broken != nil:
		return a, p.broken
	case !ok:
		return a, fmt.Errorf("acknowledge %s: %w", id, operator.ErrUnknown)
	case a.State == fanwatch.AlertResolved && k.Verdict != "": // its fan's workflow keeps it
		st := p.fans[a.Fan]
		l := fanwatch.LabelOf(a, k)
		l.At = time.Now()
		st.Labels = append(st.Labels, l)
		p.fans[a.Fan] = st
		return a, nil
	case a.State == fanwatch.AlertResolved:
		return a, fmt.Errorf("acknowledge %s: %w", id, operator.ErrEnded)
	}
	a.State, a.AckedBy, a.Note, a.AckedAt = fanwatch.AlertAcknowledged, k.By, k.Note, a.Opened.Add(time.Minute)
	p.alerts[id] = a
	p.acked = append(p.acked, fmt.Sprintf("%s by %s: %s", id, k.By, k.Note))
	return a, nil
}

func (p *plant) Answer(_ context.Context, fan string, a fanwatch.SuggestionAnswer) (fanwatch.Device, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, ok := p.fans[fan]
	if p.broken != nil || !ok {
		return fanwatch.Device{}, cmp.Or(p.broken, fmt.Errorf("fan %s: %w", fan, operator.ErrUnknown))
	}
	all, err := a.Of(fan, st.Suggestions)
	if err != nil {
		return fanwatch.Device{}, fmt.Errorf("%w: %w", operator.ErrUnknown, err)
	}
	for _, s := range all {
		if a.Accept {
			st.Device = s.Change.Apply(st.Device)
		}
	}
	st.Suggestions = nil
	p.fans[fan] = st
	p.acked = append(p.acked, fmt.Sprintf("%s %s: %t", fan, all[0].Kind, a.Accept))
	return st.Device, nil
}

func (p *plant) Alert(_ context.Context, id string) (fanwatch.Alert, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.alerts[id]
	if p.broken != nil || !ok {
		return a, cmp.Or(p.broken, fmt.Errorf("alert %s: %w", id, operator.ErrUnknown))
	}
	return a, nil
}

// AnswerAlert obeys the rules of the Alert workflow: one answer for each token, none when it is over.
func (p *plant) AnswerAlert(_ context.Context, id string, in fanwatch.Answer) (fanwatch.Alert, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.alerts[id]
	if p.broken != nil || !ok {
		return a, cmp.Or(p.broken, fmt.Errorf("alert %s: %w", id, operator.ErrUnknown))
	}
	if in.Token != "" && slices.ContainsFunc(a.Answers, func(b fanwatch.Answer) bool { return b.Token == in.Token }) {
		return a, fmt.Errorf("%s: the link was %w", id, operator.ErrUsed)
	}
	if a.State == fanwatch.AlertResolved {
		return a, fmt.Errorf("answer %s: %w", id, operator.ErrEnded)
	}
	in.At = a.Opened.Add(time.Minute)
	a.Answers = append(slices.Clone(a.Answers), in)
	switch in.Action {
	case fanwatch.ActionAcknowledge, fanwatch.ActionSnooze, fanwatch.ActionHand:
		a.State, a.AckedBy, a.Note, a.AckedAt, a.SnoozedUntil = fanwatch.AlertAcknowledged, cmp.Or(in.To, in.By), in.Note,
			in.At, in.Until
	case fanwatch.ActionUnacknowledge:
		a.State, a.AckedBy, a.AckedAt = fanwatch.AlertOpen, "", time.Time{}
	case fanwatch.ActionResolve:
		a.State, a.EndedBy, a.EndedAt, a.Note = fanwatch.AlertResolved, in.By, in.At, in.Note
	case fanwatch.ActionNote:
		a.Note = in.Note
	}
	p.alerts[id] = a
	p.acked = append(p.acked, fmt.Sprintf("%s %s by %s from %s: %s", in.Action, id, in.By, in.From, in.Note))
	return a, nil
}

// change runs f on the plant.
func (p *plant) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// times tells how often Fans was called, and Alerts for the resolved ones.
func (p *plant) times() (asked, full int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, p.full
}

func status(name string, kind fanwatch.Kind) fanwatch.FanStatus {
	return fanwatch.FanStatus{
		V: fanwatch.FanStatusVersion, Phase: fanwatch.PhaseActive, Since: noon.Add(-time.Minute),
		Device: fanwatch.Device{V: fanwatch.DeviceVersion, Revision: 1, Fan: name, Site: "Hall 3",
			Limits: fanwatch.Limits{MinRPM: 1200, MaxRPM: 2400}},
		Last: fanwatch.Observation{Fan: name, Anomaly: fanwatch.Anomaly{Kind: kind}},
	}
}

func alert(fan string, state fanwatch.AlertState, opened time.Time) fanwatch.Alert {
	return fanwatch.Alert{
		V: fanwatch.AlertVersion, ID: fmt.Sprintf("alert/%s/stall/%d", fan, opened.Unix()), Fan: fan,
		Kind: fanwatch.KindStall, Opened: opened,
		Why: "The rotor of " + fan + " has stopped: no pulse for 3 s.", State: state, Step: 1, Steps: 2,
		Sent: []fanwatch.Notice{{Key: "k1", Step: 1, To: "arn:aws:sns:eu-west-1:000000000000:first-line", At: opened}},
	}
}

// row is the n-th reading of a fan, a second after the one before.
func row(fan string, n int, rpm float64) fanwatch.Row {
	return fanwatch.Row{
		Kind: fanwatch.RowScored, Score: 0.5,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan, Run: 1, Seq: uint64(n)},
			Time: noon.Add(time.Duration(n) * time.Second), RPM: rpm, State: fanwatch.StateRunning},
		Position: fanwatch.Position{Shard: "s", Sequence: fanwatch.SequenceNumber(fmt.Sprint(1000 + n))},
	}
}

// hands is a clock that stands still until it is moved.
type hands struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hands) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hands) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

// open makes a server that listens; cfg.Now is a clock at noon unless given.
func open(t *testing.T, cfg Config, adjust ...func(*Server)) (*Server, string) {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = (&hands{t: noon}).now
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range adjust {
		f(s)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	t.Cleanup(s.Close)
	return s, web.URL
}

// getJSON asks for path and decodes the answer into v, which may be nil.
func getJSON(t *testing.T, url string, v any) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("GET %s: %v in %.300s", url, err, b)
		}
	}
	return resp.StatusCode
}

// watcher is a browser on the event stream.
type watcher struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
	id    string // of the last event
	beats int
}

func watch(t *testing.T, url, lastID string) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream answers %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 16<<20)
	return &watcher{t: t, body: resp.Body, lines: sc}
}

// next gives the next update; ok is false when the stream has ended.
func (w *watcher) next() (u update, ok bool) {
	w.t.Helper()
	name := ""
	for w.lines.Scan() {
		line := w.lines.Text()
		if id, found := strings.CutPrefix(line, "id: "); found {
			w.id = id
		}
		if n, found := strings.CutPrefix(line, "event: "); found {
			name = n
			if name == "beat" {
				w.beats++
			}
		}
		if data, found := strings.CutPrefix(line, "data: "); found && name == "update" {
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				w.t.Fatal(err)
			}
			return u, true
		}
	}
	return update{}, false
}

// until reads updates up to one that has what is wanted.
func (w *watcher) until(what string, has func(update) bool) update {
	w.t.Helper()
	for {
		u, ok := w.next()
		if !ok {
			w.t.Fatalf("the stream ended before it told of %s", what)
		}
		if has(u) {
			return u
		}
	}
}

func (u update) fan(name string) *fanView {
	for i := range u.Fans {
		if u.Fans[i].Name == name {
			return &u.Fans[i]
		}
	}
	return nil
}

// rpm gives a fan's newest RPM, NaN when the update does not tell it.
func (u update) rpm(name string) float64 {
	if i := slices.Index(u.Latest.Name, name); i >= 0 {
		return float64(u.Latest.RPM[i])
	}
	return math.NaN()
}

// eventually polls until ok or the deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
