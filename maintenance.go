package fanwatch

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

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
	For    Duration  `json:"for"`              // 1 min to MaxMaintenance
	Repeat string    `json:"repeat,omitempty"` // RRULE of RFC 5545 without DTSTART; "" = once
	Zone   string    `json:"zone,omitempty"`   // IANA zone in which Repeat counts; "" = UTC
	By     string    `json:"by"`               // 1 to 100 bytes
	Why    string    `json:"why,omitempty"`    // at most 1000 bytes
	Mute   bool      `json:"mute,omitempty"`   // models go on learning
}

// MaxMaintenance is the longest For of a Maintenance.
const MaxMaintenance = 31 * 24 * time.Hour

// Check returns an error that names the field and the mend when the maintenance cannot be used. Repeat is checked by
// the reader of such rules, package activities.
func (m Maintenance) Check() error {
	switch {
	case m.V != MaintenanceVersion:
		return fmt.Errorf("maintenance %.80q: version %d is unknown, this program knows %d", m.ID, m.V, MaintenanceVersion)
	case !strings.HasPrefix(m.ID, "maintenance/") || len(m.ID) > 200:
		return fmt.Errorf("maintenance %.80q: its ID is not maintenance/ and a name of at most 188 bytes", m.ID)
	case m.Fan != "" && m.Site != "":
		return fmt.Errorf("maintenance of fan %.60q and site %.60q: name one of them", m.Fan, m.Site)
	case len(m.Site) > 200 || len(m.Why) > 1000:
		return fmt.Errorf("maintenance: site takes 200 bytes and why 1000, shorten them")
	case m.By == "" || len(m.By) > 100:
		return fmt.Errorf("maintenance by %.60q: name the person in 1 to 100 bytes", m.By)
	case OneLine(m.By) != m.By || OneLine(m.Site) != m.Site:
		return fmt.Errorf("maintenance by %.60q of site %.60q: write them in one line of printable text", m.By, m.Site)
	case time.Duration(m.For) < time.Minute || time.Duration(m.For) > MaxMaintenance:
		return fmt.Errorf("maintenance for %s: it takes 1m to %s", m.For, Duration(MaxMaintenance))
	case m.From.IsZero():
		return fmt.Errorf("maintenance without from: say when it begins")
	}
	if _, err := m.Location(); err != nil {
		return err
	}
	if m.Fan != "" {
		return CheckFan(m.Fan)
	}
	return nil
}

// Location returns the zone in which Repeat counts.
func (m Maintenance) Location() (*time.Location, error) {
	zone, err := time.LoadLocation(m.Zone)
	if err != nil || m.Zone == "Local" {
		return nil, fmt.Errorf("zone %.60q is not an IANA time zone, such as Europe/Berlin", m.Zone)
	}
	return zone, nil
}

// Covers reports whether the maintenance is of the fan, which stands at the site.
func (m Maintenance) Covers(fan, site string) bool {
	if m.Fan != "" {
		return m.Fan == fan
	}
	rest, within := strings.CutPrefix(site, m.Site)
	return within && (m.Site == "" || rest == "" || rest[0] == ',' || rest[0] == '/')
}

// CoversAlert reports whether the alert is of what is maintained. Trouble of fanwatch itself never is.
func (m Maintenance) CoversAlert(a Alert) bool {
	return a.Kind != KindPipeline && a.Kind != KindDifference && a.Fan != CanaryFan && m.Covers(a.Fan, a.Site)
}

// Of returns what is maintained, for people.
func (m Maintenance) Of() string {
	return cmp.Or(m.Fan, m.Site, "all fans")
}

// MaintenanceState is the stage of a maintenance.
type MaintenanceState string

// The states of a maintenance.
const (
	// MaintenancePlanned is the state before it begins, also for the next time.
	MaintenancePlanned MaintenanceState = "planned"
	// MaintenanceRunning is the state while it lasts.
	MaintenanceRunning MaintenanceState = "running"
	// MaintenanceOver is the state after the last time.
	MaintenanceOver MaintenanceState = "over"
	// MaintenanceCancelled is the state of one that was ended before it began, or whose workflow was ended from outside.
	MaintenanceCancelled MaintenanceState = "cancelled"
)

// MaintenanceStatus is a maintenance as its workflow shows it.
type MaintenanceStatus struct {
	Maintenance
	State   MaintenanceState `json:"state"`
	Begin   time.Time        `json:"begin"`              // of the time that runs or is next; of the last when all are over
	Until   time.Time        `json:"until"`              // its end
	Next    time.Time        `json:"next,omitzero"`      // begin of the time after it; zero: there is none
	Times   int              `json:"times,omitempty"`    // that are over
	Paused  int              `json:"paused,omitempty"`   // fans whose models were told not to learn at Begin
	EndedBy string           `json:"ended_by,omitempty"` // who ended the newest time early, or all that were planned
}

// At returns the status with the state that it has at t, which its workflow may not have written yet.
func (s MaintenanceStatus) At(t time.Time) MaintenanceStatus {
	if s.State == MaintenancePlanned || s.State == MaintenanceRunning {
		switch {
		case t.Before(s.Begin):
			s.State = MaintenancePlanned
		case t.Before(s.Until):
			s.State = MaintenanceRunning
		case s.Next.IsZero():
			s.State = MaintenanceOver
		default:
			s.State = MaintenancePlanned
		}
	}
	return s
}

// MaintenanceEnd asks to end a maintenance: the time that runs, or all when none runs.
type MaintenanceEnd struct {
	By  string `json:"by"`
	All bool   `json:"all,omitempty"` // also the times that are planned after the one that runs
}
