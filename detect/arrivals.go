package detect

import (
	"strings"
	"time"

	"fanwatch"
)

// Arrivals is what came of a fan's readings, as far as it says why none is judged. Times are arrivals.
type Arrivals struct {
	// the configuration that made it active; zero: read by an older program
	Since   time.Time         `json:"since,omitzero"`
	Judged  time.Time         `json:"judged,omitzero"` // the newest reading that was judged; zero: none was
	Newest  fanwatch.Position `json:"newest,omitzero"` // the newest row of any kind
	Refused Unjudged          `json:"refused,omitzero"`
	Old     Unjudged          `json:"old,omitzero"` // readings that came after newer ones of their run or clock
}

// Unjudged counts readings that came since the newest that was judged, and were not judged themselves.
type Unjudged struct {
	N     int           `json:"n"`
	First time.Time     `json:"first"` // arrivals
	Last  time.Time     `json:"last"`
	Why   string        `json:"why,omitempty"` // Refused: of the newest, at most maxWhy bytes
	Age   time.Duration `json:"age,omitempty"` // Old: of the newest, from its measurement to its arrival
}

const maxWhy = 200 // bytes

// take counts a row that stands for n readings.
func (u *Unjudged) take(n int, arrived time.Time) {
	if u.N == 0 {
		u.First = arrived
	}
	u.N += n
	u.Last = arrived
}

// hear takes note of a row.
func (h *Arrivals) hear(row *fanwatch.Row) {
	h.Newest = row.Position
	switch row.Kind {
	case fanwatch.RowScored:
		h.Judged, h.Refused, h.Old = row.Arrived, Unjudged{}, Unjudged{}
	case fanwatch.RowLate:
		h.Old.take(1, row.Arrived)
		h.Old.Age = row.Arrived.Sub(row.Time)
	case fanwatch.RowQuarantined:
		h.Refused.take(max(1, int(row.Refused)), row.Arrived)
		h.Refused.Why = clip(row.Reason, maxWhy)
	}
}

// clip returns at most n bytes of s, whole characters and valid UTF-8.
func clip(s string, n int) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
