package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/operator"
)

// How long the Operator may take, how old the resolved alerts may get, and how many of them are shown; how many fans
// that are in no list are asked for at one poll, and how long all of them may take.
const (
	askFor         = 10 * time.Second
	endedFor       = 15 * time.Second
	maxEnded       = 200
	maxDoubtful    = 20
	askDoubtfulFor = 2 * time.Second
	judgeEvery     = 3 * time.Second  // the scorers are asked
	judgeFor       = 3 * time.Second  // their answer is waited for
	judgedHolds    = 10 * time.Second // their last answer stands while there is no newer one
	maintainEvery  = 5 * time.Second  // the maintenances are asked for
)

// poller asks the Operator on behalf of all browsers, one question at a time and gap apart.
type poller struct {
	op    Operator
	board *board
	now   fanwatch.Clock
	log   *slog.Logger
	life  context.Context
	gap   time.Duration

	mu      sync.Mutex
	running chan struct{} // closed when the question under way is answered; nil when none is
	asked   time.Time     // when the last was answered

	// Used by the question under way alone.
	judgedAt time.Time // when the scorers were last asked, and when they last answered
	readAt   time.Time
	plansAt  time.Time // when the maintenances were last asked for
	ended    []fanwatch.Alert
	endedAt  time.Time
	open     map[string]bool
	failed   string
	labels   map[string]fanwatch.Label // the newest of each alert, as the fans show them
}

// fresh asks the Operator unless its last answer is younger than gap, and gives a channel that is
// closed once the board holds an answer (or the failure to get one).
func (p *poller) fresh() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return p.running
	}
	done := make(chan struct{})
	if d := p.now().Sub(p.asked); d >= 0 && d < p.gap || p.life.Err() != nil {
		close(done)
		return done
	}
	p.running = done
	go func() {
		defer close(done)
		p.ask()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running, p.asked = nil, p.now()
	}()
	return done
}

func (p *poller) ask() {
	ctx, cancel := context.WithTimeout(p.life, askFor)
	defer cancel()
	err := p.fans(ctx)
	if err == nil {
		err = p.alerts(ctx)
	}
	if p.life.Err() != nil {
		return
	}
	why := ""
	if err != nil {
		why = oneLine(err)
	}
	if why != "" && p.failed == "" {
		p.log.Warn("dashboard: the operator does not answer; showing what was known before", "err", why)
	} else if why == "" && p.failed != "" {
		p.log.Info("dashboard: the operator answers again")
	}
	p.failed = why
	p.board.setTrouble(why)
}

func (p *poller) fans(ctx context.Context) error {
	fans, err := p.op.Fans(ctx)
	if err != nil {
		return fmt.Errorf("fans: %w", err)
	}
	p.labels = map[string]fanwatch.Label{}
	for _, f := range fans {
		for _, l := range f.Labels {
			p.labels[l.Alert] = l
		}
	}
	p.judge(ctx, fans)
	p.maintain(ctx)
	p.board.setFans(append(fans, p.retired(ctx, fans)...))
	return nil
}

// judge asks what the scorers say. A failure leaves the fans' states to be read; what was said before holds for a
// while.
func (p *poller) judge(ctx context.Context, fans []fanwatch.FanStatus) {
	now := p.now()
	if d := now.Sub(p.judgedAt); d >= 0 && d < judgeEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, judgeFor)
	defer cancel()
	j, err := p.op.Judged(ctx, now, fans)
	p.judgedAt = now
	switch {
	case err == nil:
		p.readAt = now
		p.board.setJudged(j)
	case now.Sub(p.readAt).Abs() > judgedHolds:
		p.board.setJudged(Judged{})
	}
	if err != nil {
		p.log.Debug("dashboard: the scorers cannot be asked", "err", err)
	}
}

// maintain asks for the maintenances. After a failure those of before stand.
func (p *poller) maintain(ctx context.Context) {
	now := p.now()
	if d := now.Sub(p.plansAt); d >= 0 && d < maintainEvery {
		return
	}
	p.plansAt = now
	list, err := p.op.Maintenances(ctx, false, now)
	if err != nil {
		p.log.Debug("dashboard: the maintenances cannot be listed", "err", err)
		return
	}
	p.board.setMaintenances(list)
}

// retired returns the fans that have left the list because they are retired. Asking for one takes a worker, unlike the
// list: without one they stay in doubt until the next poll.
func (p *poller) retired(ctx context.Context, list []fanwatch.FanStatus) (found []fanwatch.FanStatus) {
	ctx, cancel := context.WithTimeout(ctx, askDoubtfulFor)
	defer cancel()
	for _, name := range p.board.doubtful(list, maxDoubtful) {
		st, err := p.op.Fan(ctx, name)
		switch {
		case errors.Is(err, operator.ErrUnknown):
			p.board.setStray(name)
		case err != nil:
			p.log.Debug("dashboard: a fan that is in no list cannot be asked for", "fan", name, "err", err)
			return found
		case st.Phase == fanwatch.PhaseRetired:
			found = append(found, st)
		}
	}
	return found
}

// alerts asks for the resolved alerts too when an open one has vanished (it was resolved) or they are
// old: there may be many of them.
func (p *poller) alerts(ctx context.Context) error {
	ended := p.endedAt.IsZero() || p.now().Sub(p.endedAt).Abs() > endedFor
	list, err := p.op.Alerts(ctx, ended)
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	if !ended && p.vanished(list) {
		ended = true
		if list, err = p.op.Alerts(ctx, true); err != nil {
			return fmt.Errorf("alerts: %w", err)
		}
	}
	if ended {
		p.ended, p.endedAt = nil, p.now()
		for _, a := range list {
			if over(a) {
				p.ended = append(p.ended, a)
			}
		}
		slices.SortFunc(p.ended, func(a, b fanwatch.Alert) int {
			return cmp.Or(b.EndedAt.Compare(a.EndedAt),
				cmp.Compare(a.ID, b.ID))
		})
		p.ended = p.ended[:min(len(p.ended), maxEnded)]
	}
	open := slices.DeleteFunc(slices.Clone(list), over)
	slices.SortFunc(open, func(a, b fanwatch.Alert) int {
		return cmp.Or(cmp.Compare(b.Weighed().Weight(), a.Weighed().Weight()), b.Opened.Compare(a.Opened),
			cmp.Compare(a.ID, b.ID))
	})
	p.open = map[string]bool{}
	for _, a := range open {
		p.open[a.ID] = true
	}
	all := append(append([]fanwatch.Alert{}, open...), p.ended...) // never null
	for i := range all {
		all[i] = all[i].Labelled(p.labels[all[i].ID]) // the list of those that are over is older than this
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	p.board.setAlerts(b)
	p.board.setPipeline(open)
	return nil
}

// vanished reports whether an alert that was open is not in list any more.
func (p *poller) vanished(list []fanwatch.Alert) bool {
	n := 0
	for _, a := range list {
		if p.open[a.ID] && !over(a) {
			n++
		}
	}
	return n < len(p.open)
}

// over reports whether nothing more will come of the alert.
func over(a fanwatch.Alert) bool {
	return a.State == fanwatch.AlertResolved || a.State == fanwatch.AlertTerminated
}

// oneLine returns an error as one line of at most 300 bytes.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(fanwatch.OneLine(err.Error())), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
