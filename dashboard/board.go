package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"fanwatch"
	"fanwatch/operator"
)

// board is all that the dashboard knows, with a version that counts its changes: a browser that has
// seen version k is told what changed after k, however slow it is, and nothing is queued for it.
type board struct {
	now fanwatch.Clock

	mu       sync.Mutex
	version  uint64
	fans     map[string]*fan
	removed  map[string]uint64 // fans that were taken away, and at which version
	floor    uint64            // before this version, removed is not complete
	refused  []refusal         // newest last
	alerts   []byte            // JSON array
	changed  uint64            // version at which alerts or refused last changed
	trouble  string            // why the Operator's part is old; "" when it is fresh
	asked    time.Time         // when the Operator last answered
	judged   Judged            // zero while the scorers cannot be asked
	pipeline []string          // the open alerts of the pipeline, a sentence each
	logs     string            // why the readings are old; "" when they are fresh

	maintenances []fanwatch.MaintenanceStatus // that run or are planned
	maintenance  []byte                       // the same as a JSON array
	maintained   uint64                       // version at which they last changed
}

// Bounds of memory: fans that never registered (any name may arrive), remembered departures, refusals.
const (
	maxFans       = 50_000
	maxRemoved    = 1000
	maxRefused    = 500
	maxRefusedFan = 20
	maxPayload    = 1024
)

type fan struct {
	status *fanwatch.FanStatus // nil when only readings speak of it
	stray  bool                // the Operator was asked for it by name and knows no workflow
	view   fanView
	told   uint64 // version at which view last changed
	ring   ring
	last   sample // the newest that is not late; its t is 0 before the first
	read   uint64 // version at which last changed
	pos    fanwatch.Position
}

// fanView is a fan's line in the fleet. It is comparable, and so can tell a change.
type fanView struct {
	Name  string         `json:"name"`
	Site  string         `json:"site,omitempty"`
	Phase fanwatch.Phase `json:"phase,omitempty"` // "" when no workflow knows the fan
	State string         `json:"state,omitempty"` // operator.State; "" when no workflow knows the fan
	Kind  fanwatch.Kind  `json:"kind,omitempty"`
	// of Kind; "" without trouble
	Severity fanwatch.Severity `json:"severity,omitempty"`
	// kind:severity of each family in trouble, by spaces, the gravest first
	Troubles string  `json:"troubles,omitempty"`
	Since    int64   `json:"since,omitempty"` // Unix milliseconds, as every time here
	Why      string  `json:"why,omitempty"`
	Alert    string  `json:"alert,omitempty"`
	MinRPM   float64 `json:"min_rpm,omitempty"`
	MaxRPM   float64 `json:"max_rpm,omitempty"`
	// number of suggestions that no person has answered
	Suggested int `json:"suggested,omitempty"`
	// the maintenance that it is under, or else the one that is planned next; "" = none
	Quiet      string `json:"quiet,omitempty"` // maintenance, muted or planned
	QuietFrom  int64  `json:"quiet_from,omitempty"`
	QuietUntil int64  `json:"quiet_until,omitempty"`
	QuietWhy   string `json:"quiet_why,omitempty"`

	Silence  int64   `json:"silence,omitempty"`   // milliseconds after which it counts as silent; 0 = never
	Known    int64   `json:"known,omitempty"`     // of the reading at which its state last changed; 0 = none
	KnownRPM float64 `json:"known_rpm,omitempty"` // and its RPM
	// whether its readings are judged; "" = the scorers cannot be asked
	Judging operator.Judging `json:"judging,omitempty"`
	// when one was; with "now" only where it is asked for, see dated
	Judged   int64  `json:"judged_at,omitempty"`
	Unjudged int64  `json:"unjudged_since,omitempty"`
	Blind    string `json:"unjudged_why,omitempty"`
	Shard    string `json:"shard,omitempty"`
}

// refusal is a quarantined message.
type refusal struct {
	Fan     string `json:"fan,omitempty"`
	Client  string `json:"client,omitempty"`
	At      int64  `json:"at"`
	Reason  string `json:"reason"`
	Payload string `json:"payload,omitempty"`
	Cut     bool   `json:"cut,omitempty"` // the payload was longer
}

// update is what a browser is told: everything (Whole), or what changed since it was last told.
type update struct {
	At      int64     `json:"at"` // the server's clock
	Whole   bool      `json:"whole,omitempty"`
	Fans    []fanView `json:"fans,omitempty"`
	Removed []string  `json:"gone,omitempty"`
	Latest  latest    `json:"latest"`
	Alerts  uint64    `json:"alerts"`            // changes when /api/alerts or /api/refused has news
	Trouble string    `json:"trouble,omitempty"` // why fans and alerts are as old as Asked
	Asked   int64     `json:"asked,omitempty"`
	Logs    string    `json:"logs,omitempty"` // why readings and refused messages are old
	// all that run or are planned, where they changed
	Maintenances json.RawMessage `json:"maintenances,omitempty"`
}

// latest holds the newest reading of each fan that has a newer one, by columns.
type latest struct {
	Name  []string         `json:"name,omitempty"`
	T     []int64          `json:"t,omitempty"`
	RPM   []float32        `json:"rpm,omitempty"`
	Score []float32        `json:"score,omitempty"`
	Kind  []fanwatch.Kind  `json:"kind,omitempty"`
	Rotor []fanwatch.State `json:"rotor,omitempty"`
}

func newBoard(now fanwatch.Clock) *board {
	// The version starts at the clock, so that a browser's number from before a restart is not mistaken
	// for one of this run.
	v := uint64(max(now().UnixMilli(), 0)) << 10
	return &board{now: now, version: v, floor: v, changed: v, fans: map[string]*fan{}, removed: map[string]uint64{},
		alerts: []byte("[]")}
}

// since returns what changed after version k (0 or one that is unknown: everything) and the version that
// this makes it; the bool is false when nothing did.
func (b *board) since(k uint64) (update, uint64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k == b.version {
		return update{}, k, false
	}
	u := update{At: b.now().UnixMilli(), Alerts: b.changed, Trouble: b.trouble, Logs: b.logs}
	if !b.asked.IsZero() {
		u.Asked = b.asked.UnixMilli()
	}
	if k < b.floor || k > b.version {
		k, u.Whole = 0, true
	}
	if b.maintained > k {
		u.Maintenances = b.maintenance
	}
	for name, f := range b.fans {
		if f.told > k {
			u.Fans = append(u.Fans, f.view)
		}
		if f.read > k {
			u.Latest.add(name, f.last)
		}
	}
	for name, v := range b.removed {
		if v > k && !u.Whole {
			u.Removed = append(u.Removed, name)
		}
	}
	return u, b.version, true
}

func (l *latest) add(name string, s sample) {
	l.Name = append(l.Name, name)
	l.T = append(l.T, s.t)
	l.RPM = append(l.RPM, s.rpm)
	l.Score = append(l.Score, s.score)
	l.Kind = append(l.Kind, kinds[s.kind])
	l.Rotor = append(l.Rotor, rotors[s.rotor])
}

func (b *board) publish(rows []fanwatch.Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(func() (changed bool) {
		for i := range rows {
			switch rows[i].Kind {
			case fanwatch.RowScored, fanwatch.RowLate:
				changed = b.reading(&rows[i]) || changed
			case fanwatch.RowQuarantined:
				b.refuse(&rows[i])
				changed = true
			}
		}
		return changed
	})
}

// change runs f under a new version, and takes the version back when f says that nothing changed.
func (b *board) change(f func() bool) {
	b.version++
	if !f() {
		b.version--
	}
}

// reading takes a row, and says whether a browser must hear of it.
func (b *board) reading(r *fanwatch.Row) bool {
	s, ok := sampled(*r)
	if !ok || fanwatch.CheckFan(r.Fan) != nil {
		return false
	}
	f := b.fan(r.Fan)
	if f == nil {
		return false
	}
	if r.Position.Sequence != "" {
		if f.pos.Sequence != "" && r.Position.Compare(f.pos) <= 0 {
			return false
		}
		f.pos = r.Position
	}
	f.ring.add(s, allowance(len(b.fans)))
	if s.late {
		return f.told == b.version
	}
	f.last, f.read = s, b.version
	if f.status == nil && f.view.Kind != kinds[s.kind] {
		f.view.Kind, f.view.Since, f.told = kinds[s.kind], s.t, b.version
	}
	return true
}

// fan returns the fan of that name, made when it is new; nil when there is no room for more.
func (b *board) fan(name string) *fan {
	f := b.fans[name]
	if f == nil {
		if len(b.fans) >= maxFans {
			return nil
		}
		f = &fan{view: fanView{Name: name}, told: b.version}
		b.fans[name] = f
		delete(b.removed, name)
	}
	return f
}

func (b *board) refuse(r *fanwatch.Row) {
	n, oldest := 0, 0
	for i := len(b.refused) - 1; i >= 0; i-- { // a noisy publisher displaces its own messages first
		if b.refused[i].Fan == r.Fan && b.refused[i].Client == r.Client {
			n, oldest = n+1, i
		}
	}
	if n >= maxRefusedFan || len(b.refused) >= maxRefused {
		if n < maxRefusedFan {
			oldest = 0
		}
		b.refused = slices.Delete(b.refused, oldest, oldest+1)
	}
	p := r.Payload[:min(len(r.Payload), maxPayload)]
	b.refused = append(b.refused, refusal{Fan: r.Fan, Client: r.Client, At: r.Arrived.UnixMilli(), Reason: r.Reason,
		Payload: readable(p), Cut: len(p) < len(r.Payload)})
	b.changed = b.version
}

// doubtful returns at most n fans of which list, the Operator's answer, says nothing and that may be retired.
func (b *board) doubtful(list []fanwatch.FanStatus, n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := names(list)
	var doubt []string
	for name, f := range b.fans {
		if len(doubt) < n && !known[name] && !f.stray && !f.retired() {
			doubt = append(doubt, name)
		}
	}
	return doubt
}

// setStray notes that no workflow knows the fan.
func (b *board) setStray(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.fans[name]; f != nil {
		f.stray = true
	}
}

func (f *fan) retired() bool { return f.status != nil && f.status.Phase == fanwatch.PhaseRetired }

func names(list []fanwatch.FanStatus) map[string]bool {
	known := make(map[string]bool, len(list))
	for i := range list {
		known[list[i].Device.Fan] = true
	}
	return known
}

// setFans takes the Operator's answer. Fans that it no longer names are gone, but for those that are known to be
// retired: their last readings, which may still come, must not pass for those of a fan without a workflow.
func (b *board) setFans(list []fanwatch.FanStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(func() (changed bool) {
		known := names(list)
		for i := range list {
			st := &list[i]
			f := b.fan(st.Device.Fan)
			if f == nil {
				continue
			}
			f.status, f.stray = st, false
			if v := b.view(st); v != f.view {
				f.view, f.told = v, b.version
			}
			changed = changed || f.told == b.version
		}
		for name, f := range b.fans {
			if f.status != nil && !known[name] && !f.retired() {
				delete(b.fans, name)
				b.removed[name] = b.version
				changed = true
			}
		}
		if len(b.removed) > maxRemoved {
			clear(b.removed)
			b.floor = b.version
		}
		return changed
	})
}

// view makes a fan's line. What is judged now has no time in it, which would change each line at each poll.
func (b *board) view(st *fanwatch.FanStatus) fanView {
	v := fanView{
		Name: st.Device.Fan, Site: st.Device.Site, Phase: st.Phase, Kind: st.Last.Anomaly.Kind, Since: millis(st.Since),
		Why:   st.Last.Anomaly.Why,
		Alert: st.Alert, MinRPM: st.Device.Limits.MinRPM, MaxRPM: st.Device.Limits.MaxRPM,
		Silence: st.Device.SilenceAfter().Milliseconds(), Suggested: len(st.Suggestions),
	}
	if st.Last.V != 0 && !math.IsNaN(st.Last.RPM) && !math.IsInf(st.Last.RPM, 0) {
		v.Known, v.KnownRPM = millis(st.Last.Time), st.Last.RPM
	}
	for i, t := range st.Troubles() {
		if i == 0 {
			v.Severity = t.Last.Anomaly.Weighed()
		} else {
			v.Troubles += " "
		}
		v.Troubles += fmt.Sprintf("%s:%s", t.Last.Anomaly.Kind, t.Last.Anomaly.Weighed())
	}
	j := operator.Judgement{Judging: operator.JudgingUnknown}
	if b.judged.Of != nil {
		j = b.judged.Of(st.Device)
		v.Judging, v.Unjudged, v.Blind, v.Shard = j.Judging, millis(j.Since), j.Why, j.Shard
		if j.Judging != operator.JudgingNow {
			v.Judged = millis(j.At)
		}
	}
	v.State = operator.State(*st, j, b.now())
	b.quiet(&v)
	return v
}

// quiet sets which maintenance a fan is under, or which is next: of those that run the one that ends last.
func (b *board) quiet(v *fanView) {
	for i := range b.maintenances {
		s := b.maintenances[i].At(b.now())
		word := "planned"
		switch {
		case !s.Covers(v.Name, v.Site) || s.State != fanwatch.MaintenanceRunning && s.State != fanwatch.MaintenancePlanned:
			continue
		case s.State == fanwatch.MaintenanceRunning && s.Mute:
			word = "muted"
		case s.State == fanwatch.MaintenanceRunning:
			word = "maintenance"
		}
		runs, before := word != "planned", v.Quiet != "" && v.Quiet != "planned"
		if v.Quiet == "" || runs && !before || runs && millis(s.Until) > v.QuietUntil ||
			!runs && !before && millis(s.Begin) < v.QuietFrom {
			v.Quiet, v.QuietFrom, v.QuietUntil = word, millis(s.Begin), millis(s.Until)
			v.QuietWhy = fanwatch.Legible(s.Of()+", by "+s.By+": "+s.Why, 300)
		}
	}
}

// setMaintenances takes the maintenances that run or are planned, for the next setFans.
func (b *board) setMaintenances(list []fanwatch.MaintenanceStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, err := json.Marshal(append([]fanwatch.MaintenanceStatus{}, list...))
	b.maintenances = list
	if err == nil && string(data) != string(b.maintenance) {
		b.version++
		b.maintenance, b.maintained = data, b.version
	}
}

// viewOf makes the line of a fan that the board may not know.
func (b *board) viewOf(st *fanwatch.FanStatus) fanView {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view(st)
}

// dated puts to the lines of fans that are judged now when that was.
func (b *board) dated(views []fanView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range views {
		v := &views[i]
		if f := b.fans[v.Name]; v.Judging == operator.JudgingNow && b.judged.Of != nil && f != nil && f.status != nil {
			v.Judged = millis(b.judged.Of(f.status.Device).At)
		}
	}
}

// setJudged takes what the scorers say, for the next setFans. A zero Judged says that they cannot be asked.
func (b *board) setJudged(j Judged) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged = j
}

// setLogs notes why the readings are old; "" is well.
func (b *board) setLogs(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why != b.logs {
		b.version++
		b.logs = why
	}
}

// setAlerts takes the alerts as JSON.
func (b *board) setAlerts(list []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if string(list) != string(b.alerts) {
		b.version++
		b.alerts, b.changed = list, b.version
	}
}

// setTrouble notes how the last question to the Operator ended; "" is well.
func (b *board) setTrouble(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why == "" {
		b.asked = b.now()
	}
	if why != b.trouble {
		b.version++
		b.trouble = why
	}
}

// alertList returns the alerts as JSON, and why they may be old.
func (b *board) alertList() (list []byte, trouble string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.alerts, b.trouble
}

// status returns what is known of one fan; ok is false when nothing is.
func (b *board) status(name string) (st *fanwatch.FanStatus, v fanView, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fans[name]
	if f == nil {
		return nil, fanView{}, false
	}
	return f.status, f.view, true
}

// readings returns a fan's samples of the last d before its newest, in order of time.
func (b *board) readings(name string, d time.Duration) ([]sample, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fans[name]
	if f == nil {
		return nil, false
	}
	return f.ring.since(d.Milliseconds()), true
}

// refusals returns the quarantined messages, newest first: of one fan, or with "" all.
func (b *board) refusals(fan string) []refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []refusal{}
	for _, r := range slices.Backward(b.refused) {
		if fan == "" || r.Fan == fan {
			list = append(list, r)
		}
	}
	return list
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// readable returns bytes as text in which everything that is not printable is escaped.
func readable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&s, `\x%02x`, b[0])
		case r == '\n' || unicode.IsPrint(r):
			s.WriteRune(r)
		default:
			s.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		b = b[n:]
	}
	return s.String()
}
