package trial

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanwatch"
	"fanwatch/testsuite/worlds"
)

// Config says what is tried.
type Config struct {
	Judges    []string       // names of JudgeNames; none = all
	First     uint64         // first seed
	Seeds     int            // of each world and fault
	PeerSeeds int            // of those, on how many the judges beside the project's run
	Span      time.Duration  // of healthy worlds; 0 = their own Days
	Interval  time.Duration  // between two readings, whole seconds; 0 = the worlds' own
	Only      *regexp.Regexp // names of worlds and faults; nil = all
	History   time.Duration  // before faults that come after days; 0 = their own, 30 to 98 h
	Worlds    bool           // try healthy worlds
	Faults    bool           // try faults
	// Forestless leaves the forest out of the project's judge: a third of the time, and no alert of kind unusual.
	Forestless bool
	Explain    io.Writer // where each false alert and each fault is told of; nil = not
	Progress   io.Writer // nil = none
}

// Project is the name of the project's own judge.
const Project = "fanwatch"

// JudgeNames returns the names of all judges, the project's first.
func JudgeNames() []string { return []string{Project, "landed", "score6", "bands", "chart"} }

// maker makes the judge of the fans of one world.
type maker func(devices []fanwatch.Device) (Judge, error)

// Results are what the judges made of the worlds.
type Results struct {
	Judges  []string // those that ran
	Skipped []string // one line for each that did not
	Healthy []Healthy
	Faulty  []Faulty
}

// Healthy is the outcome of one judge on all fans of a healthy world.
type Healthy struct {
	World  worlds.World
	Judge  string
	Fans   int
	Days   float64 // of all fans together
	Alerts int
	Pages  int
	Over   int // fans with more alerts than allowed
}

// Faulty is the outcome of one judge on all fans with a fault.
type Faulty struct {
	Fault  *worlds.Fault
	Judge  string
	Fans   int // in which the fault could be seen
	Hidden int // in which it lies below a step, the noise or the interval
	Found  int
	Late   int             // of Found, how many later than they are to be
	Delays []time.Duration // of those found, the shortest first
	Pages  []time.Duration // delays until a page, of those that paged, the shortest first
	Sizes  []float64       // the fault's factor when it was found, in the order of fans
	Kinds  map[string]int  // by kind and severity
	Before int             // alerts before the fault
	Days   float64         // before the fault, all fans together
	Chance float64         // how many fans would be found by the rate of alerts before the fault alone
	Missed []string        // worlds and seeds
}

// Run tries what config says, on all processors. Its results depend on nothing but config.
func Run(config Config) (*Results, error) {
	dir, err := os.MkdirTemp("", "fanwatch-worlds-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &run{Config: config}
	var program string
	for _, name := range JudgeNames() {
		if len(config.Judges) > 0 && !slices.Contains(config.Judges, name) {
			continue
		}
		if name == "landed" {
			r.tell("building the landed judge (commit %s)", landedCommit)
			if program, err = buildLanded(dir); err != nil {
				r.results.Skipped = append(r.results.Skipped, "landed: "+err.Error())
				continue
			}
		}
		r.results.Judges = append(r.results.Judges, name)
	}
	if len(r.results.Judges) == 0 {
		return nil, fmt.Errorf("no judge is left of %v: name some of %v", config.Judges, JudgeNames())
	}
	r.plan()
	if len(r.jobs) == 0 {
		return nil, fmt.Errorf("no world and no fault is named like that: list them with -list")
	}
	if err := r.work(program); err != nil {
		return nil, err
	}
	r.sum()
	return &r.results, nil
}

type run struct {
	Config
	results Results
	jobs    []job
}

// job is one seed of a world.
type job struct {
	world    worlds.World
	fault    *worlds.Fault
	seed     uint64
	judges   []string
	outcomes []outcome // in the order of judges
}

// outcome is what one judge made of a job.
type outcome struct {
	fans    int
	alerts  []*Alert
	days    float64   // of all fans together, with a fault until it is visible
	visible time.Time // of a fault
	limit   time.Duration
	hidden  string
	found   bool
	first   Change
	paged   bool
	page    Change  // first critical or warning
	factor  float64 // of the fault when it was found
}

// before reports whether an alert began before the fault.
func (o *outcome) before(a *Alert) bool {
	return o.visible.IsZero() || a.Begin.Before(o.visible)
}

// delay returns how long after the fault's first effect a change came. What the publisher's scheduler took is left out.
func (o *outcome) delay(c Change) time.Duration { return c.Time.Sub(o.visible).Round(time.Second) }

func (r *run) tell(format string, args ...any) {
	if r.Progress != nil {
		fmt.Fprintf(r.Progress, format+"\n", args...)
	}
}

func (r *run) named(name string) bool { return r.Only == nil || r.Only.MatchString(name) }

func (r *run) plan() {
	add := func(w worlds.World, f *worlds.Fault, n int) {
		judges := r.results.Judges
		if n >= r.PeerSeeds && r.PeerSeeds > 0 {
			judges = slices.DeleteFunc(slices.Clone(judges), func(name string) bool { return name != Project })
		}
		if len(judges) > 0 {
			r.jobs = append(r.jobs, job{world: w, fault: f, seed: r.First + uint64(n), judges: judges})
		}
	}
	for n := range r.Seeds {
		for _, w := range worlds.Worlds() {
			if r.Worlds && r.named(w.Name) {
				add(w, nil, n)
			}
		}
		for i := range worlds.Faults() {
			f := &worlds.Faults()[i]
			if !r.Faults || !r.named(f.Name) {
				continue
			}
			w, err := worlds.Find(f.Hosts[(int(r.First)+n+5*i)%len(f.Hosts)])
			if err != nil {
				panic("trial: fault " + f.Name + ": " + err.Error()) // the catalogue names its own worlds
			}
			add(w, f, n)
		}
	}
}

func (r *run) work(program string) error {
	var next, done atomic.Int64
	var days atomic.Int64 // thousandths
	var failed atomic.Pointer[error]
	began, told := time.Now(), time.Now()
	var telling sync.Mutex
	var workers sync.WaitGroup
	project := newProject
	if r.Forestless {
		project = newForestless
	}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			makers := map[string]maker{Project: project, "score6": peers(newScore6), "bands": peers(newBands),
				"chart": peers(newChart)}
			if program != "" {
				process, err := startLanded(program)
				if err != nil {
					failed.Store(&err)
					return
				}
				defer process.Close()
				makers["landed"] = process.judge
			}
			for failed.Load() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(r.jobs) {
					return
				}
				j := &r.jobs[n]
				if err := r.try(j, makers); err != nil {
					err = fmt.Errorf("%s seed %d: %w", j.world.Name, j.seed, err)
					failed.Store(&err)
					return
				}
				total := days.Add(int64(1000 * j.outcomes[0].days))
				count := done.Add(1)
				telling.Lock()
				if now := time.Now(); now.Sub(told) > 5*time.Second || int(count) == len(r.jobs) {
					told = now
					left := time.Duration(float64(now.Sub(began)) * float64(int64(len(r.jobs))-count) / float64(count))
					r.tell("%d of %d worlds, %.0f fan-days in %s, about %s left", count, len(r.jobs), float64(total)/1000,
						now.Sub(began).Round(time.Second), left.Round(time.Second))
				}
				telling.Unlock()
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// open returns the job's streams.
func (r *run) open(j *job) []*worlds.Stream {
	o := worlds.Options{Seed: j.seed, Span: r.Span, Interval: r.Interval}
	if j.fault != nil {
		o.Fault, o.Onset = j.fault, j.fault.Onset(j.seed)
		if r.History > 0 && j.fault.From > time.Hour {
			o.Onset = r.History
		}
		o.Span = o.Onset + j.fault.Watch + 30*time.Hour // some faults show no sooner than the next command
	}
	return j.world.Open(o)
}

// merged goes through the readings of streams in order of time, until the last or until do says no.
func merged(streams []*worlds.Stream, do func(s *worlds.Stream) (more bool, err error)) error {
	ready := make([]bool, len(streams))
	for i, s := range streams {
		ready[i] = s.Next()
	}
	for {
		first := -1
		for i, s := range streams {
			if ready[i] && (first < 0 || s.Reading.Time.Before(streams[first].Reading.Time)) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if more, err := do(streams[first]); !more || err != nil {
			return err
		}
		ready[first] = streams[first].Next()
	}
}

// try runs one world through its judges.
func (r *run) try(j *job, makers map[string]maker) error {
	streams := r.open(j)
	devices := make([]fanwatch.Device, len(streams))
	for i, s := range streams {
		devices[i] = s.Device()
	}
	judges := make([]Judge, len(j.judges))
	for i, name := range j.judges {
		var err error
		if judges[i], err = makers[name](devices); err != nil {
			return err
		}
		if listens, ok := judges[i].(interface{ Say(v fanwatch.Verdict) }); ok {
			listens.Say(j.world.Verdict)
		}
	}
	var first, last time.Time
	s := streams[0] // has the fault
	err := merged(streams, func(of *worlds.Stream) (bool, error) {
		last = of.Reading.Time
		if first.IsZero() {
			first = last
		}
		if j.fault != nil && !s.Visible.IsZero() && last.Sub(s.Visible) > j.fault.Watch {
			return false, nil
		}
		for i := range judges {
			if err := judges[i].Feed(&of.Reading); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, judge := range judges {
		changes, err := judge.Changes()
		if err != nil {
			return err
		}
		o := outcome{fans: len(streams), alerts: alerts(changes), visible: s.Visible}
		end := last
		if j.fault != nil && o.visible.IsZero() {
			o.hidden = "it never had an effect"
		} else if j.fault != nil {
			end, o.hidden, o.limit = o.visible, s.Hidden(), j.fault.Within+s.Slack()
			o.first, o.found = firstSince(o.alerts, devices[0].Fan, o.visible, fanwatch.SeverityInfo)
			o.page, o.paged = firstSince(o.alerts, devices[0].Fan, o.visible, fanwatch.SeverityWarning)
			o.found = o.found && o.hidden == ""
			o.factor = j.fault.SizeAfter(o.first.Time.Sub(o.visible))
		}
		o.days = max(0, end.Sub(first).Hours()) / 24 * float64(len(streams))
		j.outcomes = append(j.outcomes, o)
	}
	return nil
}

// sum adds up the outcomes by world, fault and judge, and explains them.
func (r *run) sum() {
	healthy, faulty := map[[2]string]*Healthy{}, map[[2]string]*Faulty{}
	for n := range r.jobs {
		j := &r.jobs[n]
		for i, name := range j.judges {
			o := &j.outcomes[i]
			if j.fault == nil {
				h := healthy[[2]string{j.world.Name, name}]
				if h == nil {
					h = &Healthy{World: j.world, Judge: name}
					healthy[[2]string{j.world.Name, name}] = h
				}
				h.add(o)
			} else {
				f := faulty[[2]string{j.fault.Name, name}]
				if f == nil {
					f = &Faulty{Fault: j.fault, Judge: name, Kinds: map[string]int{}}
					faulty[[2]string{j.fault.Name, name}] = f
				}
				f.add(j, o)
			}
			if r.Explain != nil {
				explain(r.Explain, j, name, o)
			}
		}
	}
	for _, name := range r.results.Judges {
		for _, w := range worlds.Worlds() {
			if h := healthy[[2]string{w.Name, name}]; h != nil {
				r.results.Healthy = append(r.results.Healthy, *h)
			}
		}
		for _, fault := range worlds.Faults() {
			if f := faulty[[2]string{fault.Name, name}]; f != nil {
				slices.Sort(f.Delays)
				slices.Sort(f.Pages)
				r.results.Faulty = append(r.results.Faulty, *f)
			}
		}
	}
}

func (h *Healthy) add(o *outcome) {
	h.Fans += o.fans
	h.Days += o.days
	h.Alerts += len(o.alerts)
	of := map[string]int{}
	for _, a := range o.alerts {
		of[a.Fan]++
		if a.Page() {
			h.Pages++
		}
	}
	for _, n := range of {
		if allowed := h.World.Regime.Allowed(); allowed > 0 && n > allowed {
			h.Over++
		}
	}
}

func (f *Faulty) add(j *job, o *outcome) {
	before := 0
	for _, a := range o.alerts {
		if o.before(a) {
			before++
		}
	}
	f.Before += before
	f.Days += o.days
	if o.hidden != "" {
		f.Hidden++
		return
	}
	f.Fans++
	f.Chance += 1 - math.Exp(-float64(before)/max(1./24, o.days)*j.fault.Watch.Hours()/24)
	if !o.found {
		f.Missed = append(f.Missed, fmt.Sprintf("%s/%d", j.world.Name, j.seed))
		return
	}
	delay := o.delay(o.first)
	f.Found++
	f.Delays, f.Sizes = append(f.Delays, delay), append(f.Sizes, o.factor)
	f.Kinds[fmt.Sprintf("%s/%s", o.first.Kind, o.first.Severity)]++
	if delay > o.limit {
		f.Late++
	}
	if o.paged {
		f.Pages = append(f.Pages, o.delay(o.page))
	}
}

// explain tells of a healthy fan's alerts, or of what was made of a fault.
func explain(to io.Writer, j *job, judge string, o *outcome) {
	const layout = "Mon 2006-01-02 15:04:05"
	for _, a := range o.alerts {
		if j.fault != nil && !o.before(a) {
			continue
		}
		end := "lasts"
		if !a.End.IsZero() {
			end = a.End.Sub(a.Begin).Round(time.Second).String()
		}
		kinds := string(a.risen[0].Kind)
		if len(a.risen) > 1 {
			kinds += ">" + string(a.Kind)
		}
		fmt.Fprintf(to, "false  %-9s %-20s  %s  %-10s %-10s %-8s %s\n", judge, a.Fan,
			a.Begin.Format(layout), kinds, cmp.Or(a.Severity, "-"), end, a.risen[0].Why)
	}
	if j.fault == nil {
		return
	}
	head := fmt.Sprintf("%-9s %-14s %5d  %s  %s", judge, j.world.Name, j.seed, o.visible.Format(layout), j.fault.Name)
	switch {
	case o.hidden != "":
		fmt.Fprintf(to, "hidden %s: %s\n", head, o.hidden)
	case !o.found:
		fmt.Fprintf(to, "MISSED %s\n", head)
	default:
		word := "found "
		delay := o.delay(o.first)
		if delay > o.limit {
			word = "LATE  "
		}
		fmt.Fprintf(to, "%s %s: %s, %s after %s (to be %s) at x%.2f: %s\n", word, head, o.first.Kind, o.first.Severity,
			delay.Round(time.Second), o.limit.Round(time.Second), o.factor, o.first.Why)
	}
}
