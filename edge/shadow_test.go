package edge

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanwatch"
)

// shadowed is a shadow without a connection: take is what the service's answer would call.
type shadowed struct {
	*shadow
	now     atomic.Pointer[Settings]
	changes int
}

func openShadow(dir string) *shadowed {
	c := Config{Fan: "fan-01", Dir: dir, Shadow: "fanwatch", Interval: time.Second, Log: slog.New(slog.DiscardHandler)}
	c.fill()
	s := &shadowed{}
	base := c.settings()
	s.now.Store(&base)
	s.shadow = newShadow(c, &s.now, func() { s.changes++ })
	return s
}

// say has the service answer a get with desired ("" = none) and what was reported so far, and gives what
// is reported afterwards and whether an update was asked for.
func (s *shadowed) say(t testing.TB, desired string, reported map[string]json.RawMessage,
	version int64) (after map[string]json.RawMessage, updated bool) {
	t.Helper()
	state := map[string]any{}
	if desired != "" {
		state["desired"] = json.RawMessage(desired)
	}
	if len(reported) > 0 {
		state["reported"] = reported
	}
	payload, err := json.Marshal(map[string]any{"state": state, "version": version})
	if err != nil {
		t.Fatal(err)
	}
	update, err := s.take(payload)
	if err != nil {
		t.Fatal(err)
	}
	return applied(t, reported, update), update != nil
}

// applied does to reported what the service does with an update: null removes.
func applied(t testing.TB, reported map[string]json.RawMessage, update []byte) map[string]json.RawMessage {
	t.Helper()
	after := map[string]json.RawMessage{}
	for k, v := range reported {
		after[k] = v
	}
	if update == nil {
		return after
	}
	var u struct {
		State struct{ Reported map[string]json.RawMessage }
	}
	if err := json.Unmarshal(update, &u); err != nil {
		t.Fatal(err)
	}
	for k, v := range u.State.Reported {
		if after[k] = v; string(v) == "null" {
			delete(after, k)
		}
	}
	return after
}

func TestShadowChangesRefusesAndRemembers(t *testing.T) {
	dir := t.TempDir()
	s := openShadow(dir)
	base := *s.now.Load()
	first, updated := s.say(t, "", nil, 0)
	if !updated || string(first["interval"]) != `"1s"` || string(first["v"]) != "1" || first["error"] != nil ||
		first["revision"] != nil {
		t.Fatalf("first report %s", first)
	}
	if _, again := s.say(t, "", first, 1); again {
		t.Error("the same is reported again")
	}

	// Accepted: in the words of the desired state, so that no delta remains.
	good, updated := s.say(t, `{"interval":"60s","live":true,"min_rpm":300.0}`, first, 2)
	want := base
	want.Interval, want.Live, want.MinRPM = fanwatch.Duration(time.Minute), true, 300
	if got := *s.now.Load(); got != want || !updated || s.changes != 1 || string(good["interval"]) != `"60s"` ||
		string(good["min_rpm"]) != "300.0" || string(good["revision"]) != "2" {
		t.Errorf("settings %+v, reported %s", got, good)
	}
	if got := *s.now.Load(); got.interval() != time.Second || got.flushEvery() != 0 {
		t.Errorf("live: every %s, flushed after %s", got.interval(), got.flushEvery())
	}
	if _, again := s.say(t, `{"live":true, "min_rpm":3e2, "interval":"60s"}`, good, 3); again || s.changes != 1 {
		t.Error("the same desired state, written differently, was taken for another")
	}

	// Refused: the reason is reported, the old settings stay, also over a restart.
	bad, updated := s.say(t, `{"interval":"1ms","live":true,"min_rpm":300}`, good, 4)
	if got := *s.now.Load(); got != want || !updated || !strings.Contains(string(bad["error"]),
		"interval 1ms is under 100ms") || string(bad["interval"]) != `"60s"` {
		t.Errorf("refused: settings %+v, reported %s", got, bad)
	}
	if _, again := s.say(t, `{"interval":"1ms","live":true,"min_rpm":300}`, bad, 5); again {
		t.Error("a refusal is reported in a circle")
	}
	s = openShadow(dir)
	if got := *s.now.Load(); got != want {
		t.Errorf("after a restart: %+v", got)
	}

	// Desired wins when the connection is back, and without any the configuration does.
	mended, updated := s.say(t, `{"batch":5}`, bad, 6)
	want = base
	want.Batch = 5
	if got := *s.now.Load(); got != want || !updated || mended["error"] != nil || string(mended["live"]) != "false" {
		t.Errorf("mended: settings %+v, reported %s", got, mended)
	}
	if _, updated = s.say(t, "", mended, 7); !updated || *s.now.Load() != base {
		t.Errorf("without desired: settings %+v", *s.now.Load())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestShadowNamesWhatItRefuses(t *testing.T) {
	s := openShadow("")
	for desired, want := range map[string]string{
		`{"intervall":"1s"}`:            `"intervall" is no setting: there are batch, flush_every, interval`,
		`{"INTERVAL":"1s"}`:             `"INTERVAL" is no setting`,
		`{"interval":1}`:                "interval holds 1: want a duration in quotes",
		`{"interval":"3 weeks"}`:        "number and a unit",
		`{"interval":"2m"}`:             "over a minute",
		`{"flush_every":"-1s"}`:         "flush_every -1s is outside",
		`{"batch":0}`:                   "batch of 0 is outside 1..500",
		`{"batch":"10"}`:                "batch holds \"10\": want a number",
		`{"batch":1.5}`:                 "batch holds 1.5: want a whole number",
		`{"batch":1e99}`:                "is outside 1..500",
		`{"jump":0}`:                    "jump 0 is outside",
		`{"min_rpm":-1}`:                "min_rpm -1",
		`{"min_rpm":900,"max_rpm":900}`: "min_rpm 900 is not below max_rpm 900",
		`{"max_rpm":50}`:                "min_rpm 60, the default, is not below max_rpm 50",
		`{"live":"yes"}`:                "live holds \"yes\": want true or false",
		`{"live":null}`:                 "live is null",
		`{"v":2}`:                       "v is 2, this program knows 1",
		`[1]`:                           "is not a JSON object",
		`{"flush_every":"16s"}`: "flush_every 16s is over half of the 30s after which people are told that " +
			"the fan is silent: at most 15s",
		`{"interval":"20s"}`: "interval 20s is over half of the 30s",
	} {
		before := *s.now.Load()
		if s.judge(json.RawMessage(desired), 1); !strings.Contains(s.refusal, want) || *s.now.Load() != before {
			t.Errorf("%s: %q, want %q", desired, s.refusal, want)
		}
	}
}

// TestOneBadSettingDoesNotRefuseTheOthers: each is reported with its reason, what was right holds, and what was
// refused keeps the value that held last.
func TestOneBadSettingDoesNotRefuseTheOthers(t *testing.T) {
	dir := t.TempDir()
	s := openShadow(dir)
	want := *s.now.Load()
	want.Live, want.Batch = true, 7
	reported, _ := s.say(t, `{"welcome":"aws-iot","live":true,"batch":7.0,"interval":"1ms","jump":"x"}`, nil, 1)
	if got := *s.now.Load(); got != want {
		t.Errorf("settings %+v, want %+v", got, want)
	}
	for _, reason := range []string{`\"welcome\" is no setting`, "interval 1ms is under 100ms",
		`jump holds \"x\": want a number`} {
		if !strings.Contains(string(reported["error"]), reason) {
			t.Errorf("reported %s, want %s", reported["error"], reason)
		}
	}
	if string(reported["batch"]) != "7.0" || string(reported["live"]) != "true" || reported["welcome"] != nil {
		t.Errorf("reported %s", reported)
	}
	if again := openShadow(dir); *again.now.Load() != want {
		t.Errorf("after a restart: %+v", *again.now.Load())
	}

	// The value of before stays for what is refused, and goes with its field.
	want.MinRPM, want.MaxRPM = 100, 200
	s.say(t, `{"live":true,"batch":7,"min_rpm":100,"max_rpm":200}`, reported, 2)
	reported, _ = s.say(t, `{"live":true,"batch":0,"min_rpm":300,"max_rpm":200}`, reported, 3)
	if got := *s.now.Load(); got != want || !strings.Contains(string(reported["error"]), "batch of 0") ||
		!strings.Contains(string(reported["error"]), "min_rpm 300 is not below max_rpm 200") {
		t.Errorf("settings %+v, want %+v; error %s", got, want, reported["error"])
	}
	s.say(t, `{"live":true}`, reported, 4)
	want = s.base
	want.Live = true
	if got := *s.now.Load(); got != want {
		t.Errorf("settings %+v, want %+v", got, want)
	}
	// Of another version nothing is taken.
	s.say(t, `{"v":2,"batch":3}`, reported, 5)
	if got := *s.now.Load(); got != want || !strings.Contains(s.refusal, "v is 2") {
		t.Errorf("settings %+v, %s", got, s.refusal)
	}
	many, _ := s.say(t, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}`, nil, 6)
	if !strings.Contains(string(many["error"]), "and 2 more") {
		t.Errorf("error %s", many["error"])
	}
}

// TestAShadowDoesNotMakeAFanSilent: what it sets has the publisher speak twice in the time after which people are
// told; the configuration knows that time, and may do otherwise.
func TestAShadowDoesNotMakeAFanSilent(t *testing.T) {
	for _, x := range []struct {
		silence time.Duration
		desired string
		holds   bool
	}{
		{0, `{"flush_every":"15s"}`, true},
		{0, `{"flush_every":"15001ms"}`, false},
		{0, `{"interval":"1m"}`, false},
		{0, `{"interval":"1m","live":true}`, true},
		{time.Hour, `{"flush_every":"30m"}`, true},
		{time.Hour, `{"flush_every":"31m"}`, false},
		{10 * time.Second, `{"flush_every":"10s"}`, false},
		{-1, `{"flush_every":"24h"}`, true},
	} {
		s := openShadow("")
		s.silence = fanwatch.Device{Silence: fanwatch.Duration(x.silence)}.SilenceAfter()
		if s.say(t, x.desired, nil, 1); (s.refusal == "") != x.holds {
			t.Errorf("%s with a silence of %s: %q", x.desired, x.silence, s.refusal)
		}
	}
	s := openShadow("")
	s.base.FlushEvery = fanwatch.Duration(time.Hour) // of the configuration
	if s.say(t, `{"batch":3}`, nil, 1); s.refusal != "" {
		t.Errorf("another setting is refused for it: %s", s.refusal)
	}
}

// TestShadowThatWasKeptMayBeDamaged: the configuration holds then, and the program starts.
func TestShadowThatWasKeptMayBeDamaged(t *testing.T) {
	for _, text := range []string{"", "{", `{"v":9,"desired":{"batch":5}}`, `{"v":1,"desired":{"batch":-5}}`, `{"v":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "shadow.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := openShadow(dir)
		if *s.now.Load() != s.base || s.judged != nil {
			t.Errorf("%q: %+v", text, *s.now.Load())
		}
		s.say(t, `{"batch":5}`, nil, 1)
		if s = openShadow(dir); s.now.Load().Batch != 5 {
			t.Errorf("%q stands in the way", text)
		}
	}
}

// TestReadingsFollowTheSettings: interval and limits are taken up between two windows.
func TestReadingsFollowTheSettings(t *testing.T) {
	clock := SimulatedClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sim, _ := NewSim(SimConfig{RPM: 1800, Wander: -1}, clock.Boot())
	c := Config{Fan: "fan-01", Source: sim, Clock: clock}
	c.fill()
	slow, live, strict := c.settings(), c.settings(), c.settings()
	slow.Interval, live.Interval, live.Live = fanwatch.Duration(10*time.Second), fanwatch.Duration(10*time.Second), true
	strict.MinRPM = 4000 // slower is standing still now
	now, stop := &slow, os.ErrClosed
	var at []time.Duration
	err := measure(t.Context(), c, func() *Settings { return now }, func(r Record) error {
		at = append(at, r.Boot-time.Minute)
		switch len(at) {
		case 2:
			now = &live
		case 4:
			now = &strict
		case 6:
			if r.State == fanwatch.StateRunning {
				t.Errorf("1800 RPM with min_rpm 4000: %+v", r)
			}
			return stop
		}
		return nil
	})
	want := []time.Duration{10, 20, 21, 22, 23, 24}
	for i := range want {
		want[i] *= time.Second
	}
	if err != stop || !reflect.DeepEqual(at, want) {
		t.Errorf("readings at %v (%v), want %v", at, err, want)
	}
}

// TestLiveModeSetsInWithinASecond: also while a long interval is slept through.
func TestLiveModeSetsInWithinASecond(t *testing.T) {
	clock := SimulatedClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	sim, _ := NewSim(SimConfig{}, clock.Boot())
	c := Config{Fan: "fan-01", Source: sim, Clock: clock}
	c.fill()
	set, stop := c.settings(), os.ErrClosed
	set.Interval = fanwatch.Duration(time.Minute)
	err := measure(t.Context(), c, func() *Settings {
		set.Live = clock.Boot() >= 70*time.Second // ten seconds after the start
		return &set
	}, func(r Record) error {
		if r.Boot < 70*time.Second || r.Boot > 71*time.Second {
			t.Errorf("the first reading after %s", r.Boot-time.Minute)
		}
		return stop
	})
	if err != stop {
		t.Error(err)
	}
}

// TestReadingsComeFirst: a broker that hangs up on whoever asks for a shadow, as AWS IoT does when the
// policy does not allow it, still gets every reading.
func TestReadingsComeFirst(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	b.mu.Lock()
	b.noShadow = true
	b.mu.Unlock()
	c := quick(b, t)
	c.Shadow = "fanwatch"
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 1})
	p, stop := publish(c, s)
	defer stop()
	until(t, "the publisher to do without", func() bool { return p.status().Connects > shadowFailures })
	fill(s, 1, 50)
	until(t, "the readings", func() bool { return s.Stats().Acked == 50 })
	if st := p.status(); !st.Connected {
		t.Errorf("%+v", st)
	}
}

// TestShadowBesideTheWindow changes the settings all the time while readings are published, PUBACKs are lost
// and the broker is killed: none is lost, none comes out of order.
func TestShadowBesideTheWindow(t *testing.T) {
	b := newBroker(t, newAuthority(t, "fan-01"))
	lossy := rand.New(rand.NewPCG(1, 1))
	b.judge(func() verdict {
		if lossy.IntN(80) == 0 {
			return hangUp
		}
		return acknowledge
	})
	version := 0 // of the document, guarded by b.mu
	b.mu.Lock()
	b.shadow = func() []byte {
		b.mu.Lock()
		defer b.mu.Unlock()
		version++
		return fmt.Appendf(nil, `{"state":{"desired":{"batch":%d,"live":%t}},"version":%d}`, 1+version%10, version%2 == 0,
			version)
	}
	b.mu.Unlock()
	c := quick(b, t)
	c.Shadow = "fanwatch"
	s := open(t, SpoolConfig{Dir: t.TempDir(), Run: 1})
	p, stop := publish(c, s)
	until(t, "the first settings", func() bool { return p.now.Load().Batch == 2 })
	const n = 1000
	for seq := uint64(1); seq <= n; seq++ {
		s.Append(record(seq))
		switch {
		case seq%400 == 0:
			b.kill()
			b.start(t)
		case seq%10 == 0:
			b.mu.Lock()
			server := b.server
			b.mu.Unlock()
			if err := server.Publish("$aws/things/fan-01/shadow/name/fanwatch/update/delta", []byte("{}"), false,
				1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	b.judge(nil)
	until(t, "the readings", func() bool { return s.Stats().Acked == n })
	stop()
	got, again := b.got()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !reflect.DeepEqual(seqs(got), span(1, n)) || version < 10 {
		t.Errorf("%d readings arrived of %d, or out of order; %d documents", len(got), n, version)
	}
	t.Logf("%d documents, %d readings came again, %d connects", version, again, p.status().Connects)
}

// FuzzShadow lets the service say anything. Whatever it says, the settings that hold are valid, and what is
// reported settles: asked again, the shadow has nothing more to say.
func FuzzShadow(f *testing.F) {
	for _, s := range []string{`{}`, `{"state":{}}`, `null`, `{"state":{"desired":{"live":true}},"version":3}`,
		`{"state":{"desired":{"interval":"1ms"},"reported":{"interval":"1s","x":{"y":[1]}}},"version":-1}`,
		`{"state":{"desired":{"v":1,"batch":5,"jump":0.5,"min_rpm":1e3,"max_rpm":2e3,"flush_every":"0s",
			"interval":"100ms"}}}`,
		`{"state":{"desired":null,"reported":{"error":"x"}}}`, `{"state":{"desired":{"error":"x","revision":7}}}`,
		`{"state":{"desired":[]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := openShadow("")
		update, err := s.take(payload)
		if err := s.now.Load().Check(); err != nil {
			t.Fatalf("settings that do not hold: %v", err)
		}
		if err != nil || update == nil {
			return
		}
		var d document
		if err := json.Unmarshal(payload, &d); err != nil && len(payload) > 0 {
			t.Fatalf("taken: %v", err)
		}
		d.State.Reported = applied(t, d.State.Reported, update)
		if len(d.State.Desired) == 0 {
			d.State.Desired = json.RawMessage("null")
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if more, err := s.take(again); err != nil || more != nil {
			t.Fatalf("%s\nis followed by %s (%v)", update, more, err)
		}
	})
}
