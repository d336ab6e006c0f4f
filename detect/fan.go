package detect

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"fanwatch"
	"fanwatch/rcf"
)

// The features that a forest sees of each reading, each as its distance from the fan's own usual in
// units of its usual spread.
const (
	featureRPM    = iota // RPM
	featureSpread        // logarithm of the spread of the last spreadOver RPMs: wobble that each RPM alone hides
	featureJitter        // logarithm of the period jitter within the reading: what a bearing does first
	features
)

const (
	spreadOver   = 8    // readings
	statsTau     = 2000 // readings over which a fan's usual values fade
	scoreTau     = 2000 // readings over which the usual score fades
	smoothOver   = 3    // scores whose mean is judged
	enterSigma   = 6.0  // the smoothed score must exceed the usual one by this many deviations ...
	enterMargin  = 2.4  // ... and by this much: 37,000 ordinary readings (TestFewFalseAlarms) came to 1.9
	limitsEnter  = 2    // readings in a row outside a hard limit
	leaveInARow  = 5    // readings in a row without trouble
	noSignalFor  = 5    // readings in a row without any edge since the publisher started
	usualAfter   = 30   // readings after which "half of its usual RPM" is a hard limit where none is set
	speedFloor   = 5e-3 // of the mean RPM: load and temperature move a fan by this much; it is no trouble
	spreadFloor  = 1e-3 // of the mean RPM: a fan steadier than this is not judged by smaller wobble
	jitterFloor  = 5e-3 // likewise of the period
	dutyStep     = 200  // hundredths of a percent: a change of the commanded duty cycle beyond it is a step
	dutyBin      = 50   // likewise: what is usual is kept for duty cycles that lie this close together
	settleOver   = 20   // readings that a rotor has to follow a step
	relearnOver  = 30   // readings at a duty cycle before the speed is held against what is usual there
	clampFeature = 50   // standard deviations; beyond it one is as odd as another
)

// notWatched is a pause after which a fan's speed may be another: twice the longest interval between readings.
const notWatched = 2 * time.Minute

// fan is the model of one fan. Its exported fields are the snapshot.
type fan struct {
	device fanwatch.Device
	zone   *time.Location
	forest *rcf.Forest
	seen   seen
	last   fanwatch.Observation // the state at the newest scored reading
	st     state
}

// state is all that scoring carries from reading to reading besides the forest.
type state struct {
	N        int                 `json:"n"`       // readings scored
	Learned  int                 `json:"learned"` // readings that the forest was fed
	Stats    [features]running   `json:"stats"`
	Raw      [features]float64   `json:"raw"`  // of the newest reading, before scaling
	RPMs     [spreadOver]float64 `json:"rpms"` // ring
	Scores   [smoothOver]float64 `json:"scores"`
	Usual    running             `json:"usual"` // of the score
	Under    int                 `json:"under"` // readings in a row below, above, without signal
	Over     int                 `json:"over"`
	Absent   int                 `json:"absent"`
	Fine     int                 `json:"fine"`    // readings in a row without trouble
	Trouble  int                 `json:"trouble"` // readings since trouble began, 0 while well
	Current  fanwatch.Anomaly    `json:"current"`
	LastTime int64               `json:"last_time"`            // of the demo's readings, Unix microseconds
	Run      uint64              `json:"run,string,omitempty"` // of the newest reading scored
	Seq      uint64              `json:"seq,string,omitempty"`

	// Of fans whose PWM duty cycle is known; Stats[featureRPM] is what is usual at Duty.
	Duty   fanwatch.Duty             `json:"duty,omitempty"`   // at the last step
	Settle int                       `json:"settle,omitempty"` // readings until the rotor has followed it
	Usuals map[fanwatch.Duty]running `json:"usuals,omitempty"` // usual RPM at the duty cycles before, by dutyBin
}

// running is a mean and variance that counts every value alike at first and fades over tau later.
type running struct {
	N    float64 `json:"n"`
	Mean float64 `json:"mean"`
	Var  float64 `json:"var"`
}

func (r *running) add(x float64, tau float64) {
	r.N = min(r.N+1, tau)
	alpha := 1 / r.N
	d := x - r.Mean
	r.Mean += float64(alpha * d)
	r.Var = float64((1 - alpha) * (r.Var + float64(alpha*float64(d*d))))
}

func (r *running) sd() float64 { return math.Sqrt(r.Var) }

func newFan(d fanwatch.Device, cfg Config) *fan {
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.Fan)) // a hash never fails
	forest, err := rcf.New(rcf.Config{Dimensions: features, Shingle: 1, Trees: cfg.Trees, SampleSize: cfg.SampleSize,
		OutputAfter: 32, Seed: cfg.Seed ^ h.Sum64()})
	if err != nil {
		panic("detect: " + err.Error()) // Config is the program's own, never input
	}
	f := &fan{forest: forest}
	f.setDevice(d)
	return f
}

func (f *fan) setDevice(d fanwatch.Device) {
	f.device = d
	f.zone = time.UTC
	if loc, err := d.Location(); err == nil {
		f.zone = loc
	}
}

// date completes the reading's time and, in the demo's format, its identity; it gives a reason when
// that cannot be done.
func (f *fan) date(r *fanwatch.RecordReading, arrived time.Time) (reason string) {
	switch {
	case r.Legacy != "":
		t, err := fanwatch.ParseTime(r.Legacy, f.zone, arrived)
		if err != nil {
			return err.Error()
		}
		r.Time, r.Seq = t, uint64(t.UnixMicro())
	case r.Unsynch:
		r.Time = arrived.Add(-r.Age).Truncate(time.Microsecond)
	}
	return ""
}

func (f *fan) refuse(r fanwatch.Reading, arrived time.Time) string {
	if err := r.Check(); err != nil {
		return err.Error()
	}
	switch {
	case r.Seq == 0:
		return "sequence number 0: a publisher counts from 1"
	case r.Seq > math.MaxInt64:
		return "sequence number beyond 63 bits"
	case r.Time.After(arrived.Add(fanwatch.MaxAhead)):
		return fmt.Sprintf("time %s is %s ahead of its arrival: set the publisher's clock", r.Time.Format(time.RFC3339), r.Time.Sub(arrived).Round(time.Second))
	case r.Time.Before(arrived.Add(-maxAge)):
		return fmt.Sprintf("time %s is more than a year before its arrival: set the publisher's clock", r.Time.Format(time.RFC3339))
	case r.Run != 0 && f.seen.full(r.Run):
		return "this run has more gaps in its sequence numbers than can be remembered: restart the publisher"
	}
	return ""
}

// kindOf tells late readings from the others without trusting a device's clock: within the current run
// the sequence number counts, and an earlier run is late altogether. The demo's readings have their
// time only.
func (f *fan) kindOf(id fanwatch.ReadingID) fanwatch.RowKind {
	late := false
	switch {
	case id.Run == 0:
		late = int64(id.Seq) <= f.st.LastTime
	case f.seen.run(id.Run) == nil:
	case id.Run != f.seen.current():
		late = true
	default:
		late = id.Seq < f.seen.top()
	}
	if late {
		return fanwatch.Late
	}
	return fanwatch.Scored
}

// score judges one reading, sets the row's Score and Anomaly, and gives an observation when the fan's
// state changed.
func (f *fan) score(cfg Config, row *fanwatch.Row) *fanwatch.Observation {
	s := &f.st
	if row.Run == 0 {
		s.LastTime = int64(row.Seq)
	}
	f.resume(row.Reading)
	s.command(row.PWM)
	point := f.features(row.Reading)
	score, err := f.forest.Score(point[:])
	if err != nil {
		score = 0 // features are finite by construction; a forest that refuses them has nothing to say
	}
	row.Score = score
	s.Scores[s.N%smoothOver] = score
	s.N++

	found := f.hard(row.Reading)
	smooth := mean(s.Scores[:])
	if found.Kind == fanwatch.Well {
		found = f.unusual(cfg, row.Reading, point[:], smooth)
	}
	found.Score = score
	f.learn(cfg, point[:], score, found.Kind != fanwatch.Well)

	changed := f.turn(found)
	row.Anomaly = s.Current.Kind
	f.last = fanwatch.Observation{V: fanwatch.ObservationVersion, Fan: f.device.Fan, Position: row.Position, Time: row.Time, RPM: row.RPM, Anomaly: s.Current}
	if !changed {
		return nil
	}
	o := f.last
	return &o
}

// resume begins the spread anew where the fan was not watched for a while: its publisher was started again, more readings were
// dropped than the spread is taken over, or the machine slept. Load and temperature moved the speed meanwhile, and the step from
// then to now is no wobble. Whether the speed itself is usual is judged as ever.
func (f *fan) resume(r fanwatch.Reading) {
	s := &f.st
	dropped := r.Run != 0 && r.Seq > s.Seq+spreadOver // without a run the number is a time
	if r.Run != s.Run || dropped || r.Time.Sub(f.last.Time) > notWatched {
		for i := range s.RPMs {
			s.RPMs[i] = r.RPM
		}
	}
	s.Run, s.Seq = r.Run, r.Seq
}

// command takes note of the duty cycle that the fan is told. After a step neither the speed nor its wobble
// says anything until the rotor has followed; then the speed is held against what is usual at this duty
// cycle, which at a new one has to be learned first. What wears (the jitter) stays usual throughout, and
// the hard limits stay in force.
func (s *state) command(d fanwatch.Duty) {
	switch {
	case d == 0:
		return
	case s.Duty == 0:
		s.Duty = d
		return
	case max(d, s.Duty)-min(d, s.Duty) <= dutyStep:
		return
	}
	if s.Usuals == nil {
		s.Usuals = make(map[fanwatch.Duty]running)
	}
	s.Usuals[s.Duty/dutyBin] = s.Stats[featureRPM]
	s.Stats[featureRPM] = s.Usuals[d/dutyBin]
	s.Duty, s.Settle = d, settleOver
}

// relearning tells whether the usual speed at this duty cycle is not known yet.
func (s *state) relearning() bool { return s.Usuals != nil && s.Stats[featureRPM].N < relearnOver }

// features makes the forest's point of a reading: numbers of about one, whatever the fan.
func (f *fan) features(r fanwatch.Reading) [features]float64 {
	s := &f.st
	s.RPMs[s.N%spreadOver] = r.RPM
	recent := s.RPMs[:min(s.N+1, spreadOver)]
	m := mean(recent)
	var sq float64
	for _, x := range recent {
		sq += float64((x - m) * (x - m))
	}
	usual := max(s.Stats[featureRPM].Mean, 1)
	if s.Stats[featureRPM].N == 0 {
		usual = max(m, 1)
	}
	spread := math.Sqrt(sq/float64(len(recent))) / usual
	raw := [features]float64{r.RPM, rcf.Log(spread + spreadFloor), rcf.Log(min(r.Jitter, 10) + jitterFloor)}
	floors := [features]float64{float64(speedFloor * usual), 0.2, 0.2}
	var point [features]float64
	for i, x := range raw {
		st := &s.Stats[i]
		if st.N == 0 || i == featureRPM && s.relearning() {
			continue // the first readings are the usual
		}
		z := (x - st.Mean) / max(st.sd(), floors[i])
		lowest := -1.0 // less wobble and less jitter than usual is no trouble
		if i == featureRPM {
			lowest = -clampFeature
		}
		point[i] = max(lowest, min(clampFeature, z))
	}
	s.Raw = raw // for learn, which alone decides whether these count as usual
	return point
}

// learn feeds the forest and the usual values, unless the fan is in trouble: a fault must not become
// usual while somebody is on the way. After cfg.Learn readings it does, because by then it is.
func (f *fan) learn(cfg Config, point []float64, score float64, trouble bool) {
	s := &f.st
	if s.Current.Kind != fanwatch.Well {
		s.Trouble++
	} else {
		s.Trouble = 0
	}
	if s.Settle > 0 {
		s.Settle--
		return
	}
	suspect := trouble || s.Current.Kind != fanwatch.Well || s.Under+s.Over+s.Absent > 0 || s.odd(cfg, score)
	if suspect && s.Trouble < cfg.Learn {
		return
	}
	for i, x := range s.Raw {
		s.Stats[i].add(x, statsTau)
	}
	if err := f.forest.Update(point); err != nil {
		return
	}
	s.Learned++
	if score > 0 {
		s.Usual.add(score, scoreTau)
	}
}

// odd tells whether one score, not smoothed, is beyond the bar. A single such reading raises no alert, but
// the first readings of a fault must not raise the bar for those that follow.
func (s *state) odd(cfg Config, score float64) bool {
	return s.Learned >= cfg.Warmup && score > s.bar()
}

// bar is what a smoothed score must exceed to be trouble.
func (s *state) bar() float64 {
	return s.Usual.Mean + max(float64(enterSigma*s.Usual.sd()), enterMargin)
}

// hard applies the rules that need no learning.
func (f *fan) hard(r fanwatch.Reading) fanwatch.Anomaly {
	s, d := &f.st, f.device
	lowest, what := d.Limits.MinRPM, "the limit"
	if lowest == 0 && s.Stats[featureRPM].N >= usualAfter && s.Settle == 0 {
		lowest, what = s.Stats[featureRPM].Mean/2, "half of its usual speed"
	}
	count(&s.Under, r.State != fanwatch.NoSignal && r.RPM < lowest)
	count(&s.Over, d.Limits.MaxRPM > 0 && r.RPM > d.Limits.MaxRPM)
	count(&s.Absent, r.State == fanwatch.NoSignal)
	switch {
	case r.State == fanwatch.Stalled:
		return fanwatch.Anomaly{Kind: fanwatch.Stall, Why: fmt.Sprintf("%s has stopped: 0 RPM where %.0f RPM is usual.", d.Fan, s.Stats[featureRPM].Mean)}
	case s.Absent >= noSignalFor:
		return fanwatch.Anomaly{Kind: fanwatch.Stall, Why: fmt.Sprintf("%s gives no tacho pulse: it does not turn or its tacho wire is off.", d.Fan)}
	case s.Under >= limitsEnter:
		return fanwatch.Anomaly{Kind: fanwatch.Underspeed, Threshold: lowest, Why: fmt.Sprintf("%s turns too slowly: %.0f RPM, below %s of %.0f RPM.", d.Fan, r.RPM, what, lowest)}
	case s.Over >= limitsEnter:
		return fanwatch.Anomaly{Kind: fanwatch.Overspeed, Threshold: d.Limits.MaxRPM, Why: fmt.Sprintf("%s turns too fast: %.0f RPM, above the limit of %.0f RPM.", d.Fan, r.RPM, d.Limits.MaxRPM)}
	}
	return fanwatch.Anomaly{}
}

func count(n *int, yes bool) {
	if yes {
		*n++
	} else {
		*n = 0
	}
}

// unusual asks the forest. A score that hovers about the bar does not open and close alerts, because one
// reading above it begins trouble and only leaveInARow below it end it.
func (f *fan) unusual(cfg Config, r fanwatch.Reading, point []float64, smooth float64) fanwatch.Anomaly {
	s := &f.st
	switch {
	case s.Learned < cfg.Warmup:
		return fanwatch.Anomaly{}
	case s.Settle > 0 && s.Current.Kind == fanwatch.Unusual:
		return s.Current // a step neither begins trouble nor ends it
	case s.Settle > 0:
		return fanwatch.Anomaly{}
	}
	bar := s.bar()
	if smooth <= bar {
		return fanwatch.Anomaly{}
	}
	return fanwatch.Anomaly{Kind: fanwatch.Unusual, Threshold: bar, Why: f.explain(r, point, smooth)}
}

// explain names the feature that contributes most to the score.
func (f *fan) explain(r fanwatch.Reading, point []float64, smooth float64) string {
	s := &f.st
	most := featureRPM
	if a, err := f.forest.Attribute(point); err == nil {
		for i := range features {
			if a.High[i]+a.Low[i] > a.High[most]+a.Low[most] {
				most = i
			}
		}
	}
	what := fmt.Sprintf("its speed, %.0f RPM, is not its usual %.0f RPM", r.RPM, s.Stats[featureRPM].Mean)
	if duty, known := s.Duty.Fraction(); known {
		what += fmt.Sprintf(" at %.0f %% PWM", 100*duty)
	}
	switch most {
	case featureSpread:
		what = fmt.Sprintf("its speed wobbles (by %.1f %%, usually %.1f %%)", 100*(math.Exp(s.Raw[most])-spreadFloor), 100*max(0, math.Exp(s.Stats[most].Mean)-spreadFloor))
	case featureJitter:
		what = fmt.Sprintf("its pulses jitter (by %.1f %%, usually %.1f %%), as with a worn bearing", 100*r.Jitter, 100*max(0, math.Exp(s.Stats[most].Mean)-jitterFloor))
	}
	return fmt.Sprintf("%s behaves unusually within its limits: %s (score %.2f, usually %.2f).", f.device.Fan, what, smooth, s.Usual.Mean)
}

// turn moves the fan's state: into trouble at once, from one kind to another only upwards in gravity,
// out of it after leaveInARow readings without any.
func (f *fan) turn(found fanwatch.Anomaly) (changed bool) {
	s := &f.st
	count(&s.Fine, found.Kind == fanwatch.Well)
	switch {
	case found.Kind == s.Current.Kind:
		return false
	case found.Kind == fanwatch.Well:
		if s.Fine < leaveInARow {
			return false
		}
		s.Current = fanwatch.Anomaly{Score: found.Score, Why: fmt.Sprintf("%s is well again.", f.device.Fan)}
		return true
	case s.Current.Kind != fanwatch.Well && found.Kind.Gravity() <= s.Current.Kind.Gravity():
		return false
	}
	s.Current = found
	return true
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
