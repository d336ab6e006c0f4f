package detect

import (
	"errors"
	"fmt"
	"math"

	"fanwatch"
)

// ErrDiverged says that the replay of a row gave another score than the row holds: the snapshot does not belong to the
// rows, or this program scores differently from the one that landed them.
var ErrDiverged = errors.New("replay does not give the scores that were landed")

// Replay applies all rows that Feed returned, in their order. The error is for the first row that gives another score
// than it holds, or whose fan is not known; it wraps [ErrDiverged].
func (m *Models) Replay(rows []fanwatch.Row) error {
	var first error
	for i := range rows {
		if err := m.replay(rows[i]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (m *Models) replay(row fanwatch.Row) error {
	if row.Kind == fanwatch.RowConfigured {
		rec, err := fanwatch.DecodeRecord(row.Payload)
		if err != nil || rec.Device == nil {
			err = errors.Join(ErrDiverged, err)
			return fmt.Errorf("replay %s: the configuration cannot be read: %w", row.Position, err)
		}
		m.configure(*rec.Device, row)
		return nil
	}
	if row.Kind == fanwatch.RowLabelled {
		rec, err := fanwatch.DecodeRecord(row.Payload)
		if err != nil || rec.Label == nil {
			err = errors.Join(ErrDiverged, err)
			return fmt.Errorf("replay %s: the label cannot be read: %w", row.Position, err)
		}
		m.label(*rec.Label, row)
		return nil
	}
	if row.Kind == fanwatch.RowPaused {
		rec, err := fanwatch.DecodeRecord(row.Payload)
		if err != nil || rec.Pause == nil {
			err = errors.Join(ErrDiverged, err)
			return fmt.Errorf("replay %s: the pause cannot be read: %w", row.Position, err)
		}
		m.pause(*rec.Pause, row)
		return nil
	}
	if row.Kind == fanwatch.RowQuarantined {
		m.quota.keep(row.Client, row.Arrived)
	}
	f := m.fans[row.Fan]
	if f == nil {
		if row.Kind == fanwatch.RowQuarantined {
			return nil
		}
		return fmt.Errorf("replay %s: fan %s is unknown: %w", row.Position, row.Fan, ErrDiverged)
	}
	landed := row
	m.apply(f, &row)
	if math.Float64bits(row.Score) != math.Float64bits(landed.Score) || row.Anomaly != landed.Anomaly ||
		row.Judged != landed.Judged {
		return fmt.Errorf("replay %s of %s: score %v %q %v, landed %v %q %v: %w", row.Position, row.ReadingID,
			row.Score, row.Anomaly, row.Judged, landed.Score, landed.Anomaly, landed.Judged, ErrDiverged)
	}
	return nil
}
