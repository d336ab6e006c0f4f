package detect

import (
	"fmt"
	"time"
)

const (
	payloadsPerMinute = 60   // payloads of refused records that are kept of one client, per minute of arrival
	clientsPerMinute  = 1000 // clients that have a count of their own; the others share one
)

// quota bounds the payloads of refused records that are kept of one client. Rows without payload keep reason and
// counts. It depends on the rows alone, so that a replay gives the same.
type quota struct {
	Minute int64          `json:"minute"`         // of the newest arrival, since 1970
	Kept   map[string]int `json:"kept,omitempty"` // payloads of that minute, by client
}

// overQuota ends the reason of a row whose payload is not kept.
var overQuota = fmt.Sprintf(" (more than %d refused messages of this client in a minute: the message is not kept)",
	payloadsPerMinute)

// keep counts one payload of the client and reports whether it is kept.
func (q *quota) keep(client string, arrived time.Time) bool {
	if minute := arrived.Unix() / 60; minute > q.Minute || q.Kept == nil {
		q.Minute, q.Kept = max(minute, q.Minute), make(map[string]int)
	}
	if _, known := q.Kept[client]; !known && len(q.Kept) >= clientsPerMinute {
		client = ""
	}
	if q.Kept[client] >= payloadsPerMinute {
		return false
	}
	q.Kept[client]++
	return true
}
