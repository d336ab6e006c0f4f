package fanwatch

import "time"

// MaintenanceVersion is the version of Maintenance that this program writes.
const MaintenanceVersion = 1

// Maintenance is a time in which fans are worked on, or muted: nothing notifies of them, and their models do not learn.
// What comes up is summed up at its end.
type Maintenance struct {
	V      int       `json:"v"`
	ID     string    `json:"id"`               // maintenance/<name>
	Fan    string    `json:"fan,omitempty"`    // "" = every fan of the site
	Site   string    `json:"site,omitempty"`   // "" = every site; "Hall A" covers "Hall A, rack 3" as well
	From   time.Time `json:"from"`             // of the first
	For    Duration  `json:"for"`              // at least 1 min
	Repeat string    `json:"repeat,omitempty"` // RRULE of RFC 5545 without DTSTART; "" = once
	Zone   string    `json:"zone,omitempty"`   // IANA zone in which Repeat counts; "" = UTC
	By     string    `json:"by"`
	Why    string    `json:"why,omitempty"`
	Mute   bool      `json:"mute,omitempty"` // models go on learning
}
