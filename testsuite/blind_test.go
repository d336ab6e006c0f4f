package testsuite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanwatch"
)

// blindCell is one fault of one part, while a fan stalls.
type blindCell struct {
	part, fault string
	always      bool // also in the short run
	on, off     func(*blindRun)
}

// blindRun is one cell as it runs.
type blindRun struct {
	*blindRig
	fan   *rigPublisher
	other *rigPublisher // a second publisher with the fan's identity
}

func proxied(part string, of func(*blindRig) *proxy, always ...mode) []blindCell {
	var out []blindCell
	for _, m := range []mode{killed, hanging, refusing, slow} {
		out = append(out, blindCell{part: part, fault: string(m), always: slices.Contains(always, m),
			on: func(r *blindRun) { of(r.blindRig).set(m) }, off: func(r *blindRun) { of(r.blindRig).set(fine) }})
	}
	return out
}

func process(kind string, always ...string) []blindCell {
	return []blindCell{
		{part: kind + " worker", fault: "killed", always: slices.Contains(always, "killed"),
			on: func(r *blindRun) { r.workers[kind].kill() }, off: func(r *blindRun) { r.workers[kind].start() }},
		{part: kind + " worker", fault: "hanging", always: slices.Contains(always, "hanging"),
			on:  func(r *blindRun) { r.workers[kind].signal(syscall.SIGSTOP) },
			off: func(r *blindRun) { r.workers[kind].signal(syscall.SIGCONT) }},
	}
}

func change(f, back func(*setting)) (on, off func(*blindRun)) {
	return func(r *blindRun) { r.fan.change(f) }, func(r *blindRun) { r.fan.change(back) }
}

// blindGroups are the cells, in groups that share a rig.
func blindGroups() map[string][]blindCell {
	publisher := func(part, fault string, always bool, f, back func(*setting)) blindCell {
		on, off := change(f, back)
		return blindCell{part: part, fault: fault, always: always, on: on, off: off}
	}
	return map[string][]blindCell{
		"storage": slices.Concat(proxied("S3", func(r *blindRig) *proxy { return r.s3 }, hanging), process("lake")),
		"stream": slices.Concat(proxied("Kinesis", func(r *blindRig) *proxy { return r.kinesis }),
			process("score", "killed")),
		"channel":  slices.Concat(proxied("SNS", func(r *blindRig) *proxy { return r.sns }, refusing), process("control")),
		"temporal": proxied("Temporal", func(r *blindRig) *proxy { return r.temporalProxy }),
		"device": slices.Concat(proxied("broker", func(r *blindRig) *proxy { return r.broker }), []blindCell{
			publisher("publisher", "killed", false, func(s *setting) { s.mute = true }, func(s *setting) { s.mute = false }),
			publisher("publisher", "its readings are refused", true, func(s *setting) { s.ahead = time.Hour },
				func(s *setting) { s.ahead = 0 }),
			publisher("publisher", "its spool drains for long", false, func(s *setting) {
				s.backlog, s.ahead = 5000,
					-time.Hour
			}, func(s *setting) { s.backlog, s.ahead = 0, 0 }),
			publisher("clock", "an hour back", false, func(s *setting) { s.ahead = -time.Hour },
				func(s *setting) { s.ahead = 0 }),
			{part: "publishers", fault: "two with one identity", always: true,
				on:  func(r *blindRun) { r.other = r.publisher(99) },
				off: func(r *blindRun) { r.other.end(); r.other = nil }},
		}),
		"legacy": {
			publisher("clock (2019 format)", "an hour back", true, func(s *setting) { s.ahead = -time.Hour },
				func(s *setting) { s.ahead = 0 }),
			publisher("clock (2019 format)", "an hour ahead", false, func(s *setting) { s.ahead = time.Hour },
				func(s *setting) { s.ahead = 0 }),
		},
	}
}

// blindResult is what came of a cell.
type blindResult struct {
	part, fault string
	who, what   string        // who was told first, and what
	after       time.Duration // since the fault
	lists       string        // what the lists say of the fan then
	stall       string        // when its own people were told of the fan
	ended       string        // when all alerts had ended
}

// blindWithin is how long it may take until people hear of it; the rig's watch is quicker than the default.
const blindWithin = 2 * time.Minute

// TestBlind is the table of docs/failures.md: whatever part fails, and however, while a fan stands still, people are
// told, no list says that the fan is normal, and it ends. A few cells run always, all with FANWATCH_LONG=1;
// FANWATCH_FAILURES names the file that the table goes to.
func TestBlind(t *testing.T) {
	var mu sync.Mutex
	var results []blindResult
	t.Run("groups", func(t *testing.T) {
		for name, cells := range blindGroups() {
			if os.Getenv("FANWATCH_LONG") == "" {
				cells = slices.DeleteFunc(cells, func(c blindCell) bool { return !c.always })
			}
			if len(cells) == 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel() // it mostly waits
				rig := newBlindRig(t)
				for i, c := range cells {
					t.Run(c.part+" "+c.fault, func(t *testing.T) {
						rig.t = t
						res := rig.cell(t, c, uint64(i+1), name == "legacy")
						mu.Lock()
						defer mu.Unlock()
						results = append(results, res)
					})
				}
			})
		}
	})
	text := blindTable(results)
	t.Log("\n" + text)
	if file := os.Getenv("FANWATCH_FAILURES"); file != "" && !t.Failed() {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(blindPage(text)),
			0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// cell runs one cell on a system that is well, and leaves it so.
func (r *blindRig) cell(t *testing.T, c blindCell, n uint64, legacy bool) blindResult {
	run := &blindRun{blindRig: r, fan: r.publisher(n)}
	defer run.fan.end()
	run.fan.change(func(s *setting) { s.legacy = legacy })
	r.allNormal(t, "before the fault")
	before, err := r.messages()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.on(run)
	run.fan.change(func(s *setting) { s.stalled = true })

	res := blindResult{part: c.part, fault: c.fault}
	own := false // whether the fan's own people were told
	for end := began.Add(blindWithin); res.who == ""; time.Sleep(200 * time.Millisecond) {
		now, _ := r.messages() // the inbox is not among what fails
		for _, m := range now[min(len(before), len(now)):] {
			res.who, res.what, own = m.to, sentence(m), own || m.fan == "blind"
			break
		}
		if res.who == "" && r.beats.missing() >= heartbeatMissed {
			res.who, res.what = "outside service", "the heartbeat is missing"
		}
		if time.Now().After(end) {
			t.Errorf("%s %s: nobody was told within %s\n%s", c.part, c.fault, blindWithin, r.tail())
			res.who = "NOBODY"
		}
	}
	res.after = time.Since(began).Round(time.Second)
	res.lists = r.lists(t)
	c.off(run)
	for end := time.Now().Add(blindWithin); !own; time.Sleep(200 * time.Millisecond) {
		now, _ := r.messages()
		own = slices.ContainsFunc(now[min(len(before), len(now)):], func(m message) bool { return m.fan == "blind" })
		if !own && time.Now().After(end) {
			t.Errorf("%s %s: the fan's own people were not told within %s of the mend\n%s", c.part, c.fault, blindWithin,
				r.tail())
			break
		}
	}
	res.stall = time.Since(began).Round(time.Second).String()
	run.fan.change(func(s *setting) { s.stalled = false })
	mended := time.Now()
	r.allNormal(t, "after the mend")
	res.ended = time.Since(mended).Round(time.Second).String()
	return res
}

// listedFan is a fan as fanwatch fans --json lists it.
type listedFan struct {
	fanwatch.FanStatus
	State   string `json:"state"`
	Judging string `json:"judging"`
}

// allNormal waits until the fan is normal and judged, no alert is open and the heartbeat comes.
func (r *blindRig) allNormal(t *testing.T, when string) {
	t.Helper()
	r.until(3*time.Minute, "all is well "+when, func() (bool, string) {
		alerts := ask[[]fanwatch.Alert](r.system, "alerts")
		fans := ask[[]listedFan](r.system, "fans")
		for _, f := range fans {
			if f.Device.Fan == "blind" && f.Last.Position.Sequence != "" && f.State == "normal" && f.Judging == "now" &&
				len(alerts) == 0 && r.beats.missing() < heartbeatMissed/2 {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v %+v, heartbeat %s ago\n%s", fans, alerts, r.beats.missing(), r.tail())
	})
}

// listWithin is how much later than people the lists may know of it: Temporal's lists lag behind its workflows.
const listWithin = 5 * time.Second

// lists gives what fanwatch fans says of the fan; it must not be normal.
func (r *blindRig) lists(t *testing.T) string {
	for end := time.Now().Add(listWithin); ; time.Sleep(200 * time.Millisecond) {
		said := r.listed()
		if !strings.HasPrefix(said, "normal ") {
			return said
		}
		if time.Now().After(end) {
			t.Errorf("the list says %q of a fan that stands still", said)
			return said
		}
	}
}

// listed gives the fan's row of fanwatch fans without its name.
func (r *blindRig) listed() string {
	out, err := r.cli("fans")
	if err != nil {
		return "no answer"
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "blind" {
			return strings.Join(f[1:], " ")
		}
	}
	return "not there"
}

// sentence gives the first line of a message, or its subject.
func sentence(m message) string {
	first, _, _ := strings.Cut(m.body, "\n")
	if first == "" {
		first = m.subject
	}
	if len(first) > 160 {
		first = first[:157] + "..."
	}
	return first
}

func blindTable(rows []blindResult) string {
	slices.SortFunc(rows, func(a, b blindResult) int { return strings.Compare(a.part+a.fault, b.part+b.fault) })
	var out strings.Builder
	out.WriteString("| part | how it fails | told first | what | after | the list says | the fan's people hear " +
		"after | ended after |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		clean := func(s string) string { return strings.ReplaceAll(s, "|", "/") }
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.part, r.fault, r.who, clean(r.what), r.after,
			clean(r.lists), r.stall, r.ended)
	}
	return out.String()
}

func blindPage(table string) string {
	b, err := os.ReadFile(filepath.Join("testdata", "failures.md"))
	if err != nil {
		return table
	}
	return strings.Replace(string(b), "TABLE\n", table, 1)
}
