package detect

import (
	"strings"
	"time"

	"fanwatch"
)

// Arrivals says when readings of a fan arrived, and why those that arrive are not judged. All times are arrivals.
type Arrivals struct {
	// Since is the arrival of the configuration that made the fan active; zero: an earlier program read it.
	Since   time.Time         `json:"since,omitzero"`
	Judged  time.Time         `json:"judged,omitzero"`  // of the newest judged reading; zero: there is none
	Newest  fanwatch.Position `json:"newest,omitzero"`  // of the newest row of any kind
	Refused Unjudged          `json:"refused,omitzero"` // readings that were refused
	Old     Unjudged          `json:"old,omitzero"`     // readings that came after newer ones of their run or clock
}

// Unjudged counts readings that arrived after the newest judged one and were not judged.
type Unjudged struct {
	N     int           `json:"n"`
	First time.Time     `json:"first"`         // arrival of the first
	Last  time.Time     `json:"last"`          // arrival of the newest
	Why   string        `json:"why,omitempty"` // of refused ones: the newest one's reason, at most 200 bytes
	Age   time.Duration `json:"age,omitempty"` // of old ones: the newest one's time from measurement to arrival
}

const maxWhy = 200 // bytes of Unjudged.Why

// add counts a row that stands for n readings.
func (u *Unjudged) add(n int, arrived time.Time) {
	if u.N == 0 {
		u.First = arrived
	}
	u.N += n
	u.Last = arrived
}

// note records the arrival of a row.
func (h *Arrivals) note(row *fanwatch.Row) {
	h.Newest = row.Position
	switch row.Kind {
	case fanwatch.RowScored:
		h.Judged, h.Refused, h.Old = row.Arrived, Unjudged{}, Unjudged{}
	case fanwatch.RowLate:
		h.Old.add(1, row.Arrived)
		h.Old.Age = row.Arrived.Sub(row.Time)
	case fanwatch.RowQuarantined:
		h.Refused.add(max(1, int(row.Refused)), row.Arrived)
		h.Refused.Why = clip(row.Reason, maxWhy)
	}
}

// clip returns s as valid UTF-8, cut to at most n bytes of whole characters.
func clip(s string, n int) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
