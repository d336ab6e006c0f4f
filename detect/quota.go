package detect

import (
	"fmt"
	"time"
)

const (
	payloadsPerMinute = 60   // payloads of refused records that are kept of one client, per minute of arrival
	clientsPerMinute  = 1000 // clients that are counted apart; the others share one count
)

// quota bounds what one client has a shard keep of refused records: each of them stays a row with its reason and its
// counts, and the payloads are kept of the first in each minute. It follows the rows alone, so that a replay comes
// to the same.
type quota struct {
	Minute int64          `json:"minute"` // since 1970, of the newest arrival
	Kept   map[string]int `json:"kept,omitempty"`
}

// overQuota is what is added to the reason of a row whose payload is not kept.
var overQuota = fmt.Sprintf(" (more than %d refused messages of this client in a minute: the message is not kept)",
	payloadsPerMinute)

// keep counts one payload of the client and tells whether it may be kept.
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
