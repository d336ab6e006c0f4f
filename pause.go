package fanwatch

import (
	"encoding/json"
	"fmt"
	"time"
)

// PauseVersion is the version of Pause that this program writes.
const PauseVersion = 1

// Pause is a time of one maintenance: readings of it are judged, and the fan's models do not learn from them. It goes
// over the stream like a Device, so that it takes effect at the same place in every replay.
type Pause struct {
	V           int       `json:"v"`
	Fan         string    `json:"fan"`
	Maintenance string    `json:"maintenance"` // ID of the maintenance
	From        time.Time `json:"from"`        // by the times of the readings
	To          time.Time `json:"to"`          // its readings are before; From = there is no such time after all
	At          time.Time `json:"at"`          // by the workflow's clock; of one From the newest holds
}

// Check returns an error that names the field and the mend when the pause cannot be used.
func (p Pause) Check() error {
	switch {
	case p.V != PauseVersion:
		return fmt.Errorf("pause of %.120q: version %d is unknown, this program knows %d", p.Fan, p.V, PauseVersion)
	case p.Maintenance == "" || len(p.Maintenance) > 200:
		return fmt.Errorf("pause of %.120q: maintenance %.40q is no ID: give one of 1 to 200 bytes", p.Fan, p.Maintenance)
	case p.From.IsZero() || p.To.Before(p.From) || p.At.IsZero():
		return fmt.Errorf("pause of %.120q: from %s to %s, as of %s, is no time", p.Fan, p.From.Format(time.RFC3339),
			p.To.Format(time.RFC3339), p.At.Format(time.RFC3339))
	}
	return CheckFan(p.Fan)
}

// EncodePause returns the record by which the control plane tells the scorers of p.
func EncodePause(p Pause) ([]byte, error) {
	return json.Marshal(struct {
		V     int   `json:"v"`
		Pause Pause `json:"pause"`
	}{BatchVersion, p})
}
