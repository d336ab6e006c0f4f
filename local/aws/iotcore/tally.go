package iotcore

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what a tally lets through and remembers.
const (
	tallyEvery     = time.Minute // of what is the same, one refusal is told at once and then one in this time
	tallyPerSource = 20          // kinds, clients and reasons of one certificate that are told apart; of none: together
	tallyTotal     = 2000        // of all certificates
)

// report is a refusal that is news, with what it came from and how many of the same it stands for besides itself.
type report struct {
	Refusal
	origin
	more int
}

// reason says the reason and how many refusals were held back for it.
func (f report) reason() string {
	if f.more == 0 {
		return f.Reason
	}
	return fmt.Sprintf("%s (and %d more in the last minute)", f.Reason, f.more)
}

// tally finds out what of the refusals is news. A client that is refused sends again, often at once and for ever, and
// may choose another client ID each time: what it says more than once a minute is counted, and beyond tallyPerSource
// of different things of one certificate all others are counted together. Not safe for concurrent use.
type tally struct {
	counted map[tallyKey]*counted
	sources map[string]int // how many of counted each certificate has
}

// tallyKey is what makes refusals the same; all empty but for the certificate: the others of this certificate.
type tallyKey struct{ certificate, kind, client, reason string }

type counted struct {
	since time.Time // when the last one was told
	held  int       // how many came since
	last  report    // of these
}

func newTally() *tally {
	return &tally{counted: map[tallyKey]*counted{}, sources: map[string]int{}}
}

// news counts a refusal and tells whether it is to be told now.
func (t *tally) news(f Refusal, of origin) bool {
	key := tallyKey{of.certificate, f.Kind, f.ClientID, f.Reason}
	if f.Kind == RefusedAction {
		key.reason = "" // it names the request
	}
	c, ok := t.counted[key]
	if !ok && (t.sources[of.certificate] >= tallyPerSource || len(t.counted) >= tallyTotal) {
		if len(t.counted) >= tallyTotal {
			of.certificate = "" // of all that there is no room for
		}
		key = tallyKey{certificate: of.certificate}
		c, ok = t.counted[key]
	}
	if !ok {
		t.counted[key] = &counted{since: f.Time}
		t.sources[key.certificate]++
		return true
	}
	c.held++
	c.last = report{Refusal: f, origin: of}
	return false
}

// due returns what was held back for tallyEvery by now, or all of it, and forgets what has come no more.
func (t *tally) due(now time.Time, all bool) []report {
	var out []report
	for key, c := range t.counted {
		if age := now.Sub(c.since); !all && age >= 0 && age < tallyEvery {
			continue
		}
		if c.held == 0 {
			delete(t.counted, key)
			if t.sources[key.certificate]--; t.sources[key.certificate] == 0 {
				delete(t.sources, key.certificate)
			}
			continue
		}
		c.last.more = c.held - 1
		out = append(out, c.last)
		*c = counted{since: now}
	}
	slices.SortFunc(out, func(a, b report) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ClientID+a.Reason, b.ClientID+b.Reason)
	})
	return out
}
