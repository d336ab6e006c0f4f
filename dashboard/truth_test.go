package dashboard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/health"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/operator"
)

// probe asks for a probe's answer.
func probe(t *testing.T, url string) (status int, why map[string]string) {
	t.Helper()
	var v struct {
		Status string
		Checks []health.Result
	}
	status, why = getJSON(t, url, &v), map[string]string{}
	for _, c := range v.Checks {
		why[c.Name] = c.Why
	}
	if (status == 200) != (v.Status == "ok") {
		t.Errorf("%s: %d and %q", url, status, v.Status)
	}
	return status, why
}

// TestHealthSaysWhatIsWrong: the answer was a constant.
func TestHealthSaysWhatIsWrong(t *testing.T) {
	p, clock := newPlant(status("fan-01", fanwatch.KindNone)), &hands{t: noon}
	s, u := open(t, Config{Operator: p, Now: clock.now})
	want := func(what string, healthy, ready bool, check, why string) {
		t.Helper()
		clock.move(time.Second) // the operator is asked again
		for path, ok := range map[string]bool{"/healthz": healthy, "/readyz": ready} {
			code, whys := probe(t, u+path)
			if (code == 200) != ok || !ok && whys[check] != why {
				t.Errorf("%s: %s answers %d %q, want ok %v, %s: %s", what, path, code, whys, ok, check, why)
			}
		}
	}
	want("all is well", true, true, "", "")
	p.change(func() { p.unread = []string{"shard s-1 is not read: access denied"} })
	want("a shard is not read", false, true, "scorers", "shard s-1 is not read: access denied")
	a := alert("lake", fanwatch.AlertOpen, noon)
	a.Kind, a.Why = fanwatch.KindPipeline, "Nothing was committed for an hour."
	p.change(func() { p.unread, p.alerts[a.ID] = nil, a })
	want("an alert of the pipeline", false, true, "pipeline", "Nothing was committed for an hour. (alert "+a.ID+
		", since 2026-11-24T12:00:00Z)")
	a.State = fanwatch.AlertTerminated
	p.change(func() { p.alerts[a.ID] = a })
	want("it is over", true, true, "", "")
	p.change(func() { p.broken = errors.New("connection refused") })
	want("Temporal is away", false, false, "temporal", "fans: connection refused")
	p.change(func() { p.broken = nil })
	want("Temporal is back", true, true, "", "")

	store, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	shut := &shutStore{Store: store}
	shut.shut.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.Follow(ctx, shut, "fans", time.Millisecond)
	eventually(t, "the logs are asked for", func() bool { return shut.asked.Load() > 0 })
	clock.move(11 * time.Second)
	eventually(t, "the landing log is missed", func() bool { code, _ := probe(t, u+"/readyz"); return code == 503 })
	shut.shut.Store(false)
	eventually(t, "the landing log is read again", func() bool { code, _ := probe(t, u+"/readyz"); return code == 200 })
}

// shutStore is a store that can be shut.
type shutStore struct {
	objstore.Store
	shut  atomic.Bool
	asked atomic.Int32
}

func (s *shutStore) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	s.asked.Add(1)
	if s.shut.Load() {
		return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, errors.New("503 slow down")) }
	}
	return s.Store.List(ctx, prefix, after)
}

// TestARestartForgetsNeitherReadingsNorRefusals: the landing log of the last quarter of an hour is read, from before
// the newest snapshot too, and what is from before that is not denied.
func TestARestartForgetsNeitherReadingsNorRefusals(t *testing.T) {
	store, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := landing.Log{Store: store, Stream: "fans", Shard: "s"}
	now := time.Now().Truncate(time.Second)
	segment := func(n int, r fanwatch.Row) {
		t.Helper()
		r.Position.Sequence, r.Arrived = fanwatch.SequenceNumber(fmt.Sprint(n+1)), now
		h := landing.Header{After: fanwatch.SequenceNumber(fmt.Sprint(n)), Last: r.Position.Sequence,
			Writer: landing.Token{Scheduled: 1, Attempt: 1, Run: "a"}}
		if n == 0 {
			h.After = "0"
		}
		if err := l.Append(t.Context(), landing.Segment{Header: h, Rows: []fanwatch.Row{r}}); err != nil {
			t.Fatal(err)
		}
	}
	silent := row("fan-01", 1, 1801)
	silent.Time = now.Add(-time.Minute)
	segment(0, silent)
	segment(1, fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-01"}}, Reason: "RPM is missing",
		Payload: []byte("{}")})
	if err := l.PutSnapshot(t.Context(), "2", []byte("models")); err != nil {
		t.Fatal(err)
	}
	st := status("fan-01", fanwatch.KindSilent)
	st.Last.V, st.Last.RPM, st.Last.Time = 1, 1801, now.Add(-time.Minute)
	s, u := open(t, Config{Operator: newPlant(st), Now: time.Now})
	var before struct {
		Fan     fanView
		Unknown string `json:"refused_unknown"`
	}
	if getJSON(t, u+"/api/fans/fan-01", &before); before.Fan.KnownRPM != 1801 ||
		before.Fan.Known != now.Add(-time.Minute).UnixMilli() || before.Unknown == "" {
		t.Errorf("before the log is read: %+v", before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.Follow(ctx, store, "fans", 10*time.Millisecond)
	var all struct {
		Refused []refusal
		Since   int64  `json:"refused_since"`
		Unknown string `json:"refused_unknown"`
	}
	eventually(t, "the log is read", func() bool {
		all.Unknown = "" // which an answer leaves out
		getJSON(t, u+"/api/refused", &all)
		return all.Unknown == "" && len(all.Refused) > 0
	})
	if len(all.Refused) != 1 || all.Since != 0 {
		t.Errorf("%+v", all)
	}
	var c chart
	if getJSON(t, u+"/api/fans/fan-01/readings", &c); len(c.RPM) != 1 {
		t.Errorf("readings: %+v", c)
	}
}

// TestTheAPITellsWhatIsJudged covers a fan that is judged, one that is not, one whose shard is not read, and scorers
// that cannot be asked.
func TestTheAPITellsWhatIsJudged(t *testing.T) {
	clock := &hands{t: noon}
	p := newPlant(status("fan-01", fanwatch.KindNone), status("fan-02", fanwatch.KindNone),
		status("fan-03", fanwatch.KindNone))
	p.judged = map[string]operator.Judgement{
		"fan-02": {Judging: operator.JudgingStopped, Shard: "s", At: noon.Add(-44 * time.Second),
			Since: noon.Add(-44 * time.Second)},
		"fan-03": {Judging: operator.JudgingUnread, Shard: "s", Since: noon.Add(-time.Minute),
			Why: "shard s is not read: access denied"},
	}
	_, u := open(t, Config{Operator: p, Now: clock.now})
	for name, want := range map[string]fanView{
		"fan-01": {State: "normal", Judging: operator.JudgingNow, Judged: noon.Add(-time.Second).UnixMilli(), Shard: "s"},
		"fan-02": {State: operator.NotJudged, Judging: operator.JudgingStopped,
			Judged: noon.Add(-44 * time.Second).UnixMilli(), Unjudged: noon.Add(-44 * time.Second).UnixMilli(), Shard: "s"},
		"fan-03": {State: operator.NotJudged, Judging: operator.JudgingUnread, Unjudged: noon.Add(-time.Minute).UnixMilli(),
			Blind: "shard s is not read: access denied", Shard: "s"},
	} {
		var all update
		var one struct{ Fan fanView }
		getJSON(t, u+"/api/fans", &all)
		getJSON(t, u+"/api/fans/"+name, &one)
		for where, got := range map[string]*fanView{"the fleet": all.fan(name), "the fan": &one.Fan} {
			if g := (fanView{State: got.State, Judging: got.Judging, Judged: got.Judged, Unjudged: got.Unjudged,
				Blind: got.Blind, Shard: got.Shard}); g != want {
				t.Errorf("%s in %s: %+v, want %+v", name, where, g, want)
			}
		}
	}
}

// TestAnUnknownKindIsNotWell: a newer scorer's kind must not pass for none.
func TestAnUnknownKindIsNotNormal(t *testing.T) {
	for kind, want := range map[fanwatch.Kind]fanwatch.Kind{fanwatch.KindFrozen: fanwatch.KindFrozen,
		fanwatch.KindPublishers: fanwatch.KindPublishers, "melted": unknownKind, fanwatch.KindNone: fanwatch.KindNone} {
		r := row("fan-01", 1, 1)
		r.Anomaly = kind
		if s, _ := sampled(r); kinds[s.kind] != want {
			t.Errorf("%q is kept as %q, want %q", kind, kinds[s.kind], want)
		}
	}
}

// TestWhileNothingChangesTheStreamIsQuiet: that all fans are judged now is no news at each poll.
func TestWhileNothingChangesTheStreamIsQuiet(t *testing.T) {
	clock := &hands{t: noon}
	s, u := open(t, Config{Operator: newPlant(status("fan-01", fanwatch.KindNone)), Now: clock.now})
	getJSON(t, u+"/api/fans", nil)
	_, version, _ := s.board.since(0)
	for range 5 {
		clock.move(judgeEvery)
		getJSON(t, u+"/api/fans", nil)
	}
	if _, after, _ := s.board.since(0); after != version {
		t.Errorf("%d changes in 15 s of nothing", after-version)
	}
}
