package lake

import (
	"context"

	"fanwatch"
	"fanwatch/lake/landing"
)

// ReadTable opens the table and never changes it: neither is it created nor does it gain columns. Without a table
// the error wraps ErrNoTable.
func ReadTable(ctx context.Context, cfg TableConfig) (*Table, error) {
	return openReadings(ctx, cfg, true)
}

// PlanCompaction plans for the readings alone; see [Tables.PlanCompaction].
func (t *Table) PlanCompaction(ctx context.Context, cfg CompactConfig) (CompactResult, error) {
	_, _, r, err := t.planCompaction(ctx, cfg, t.mergeDay)
	return r, err
}

// FanCount says what the table holds of one run of one fan.
type FanCount struct {
	Fan        string `json:"fan"`
	Run        string `json:"run"` // fanwatch.FormatRun; sixteen zeros: the legacy format
	Rows       int    `json:"rows"`
	Distinct   int    `json:"distinct"`   // sequence numbers
	Duplicates int    `json:"duplicates"` // Rows - Distinct: must be 0
}

// Counts counts the rows of the table's current snapshot by fan and run, in that order. It reads three
// columns of every data file.
func (t *Table) Counts(ctx context.Context) ([]FanCount, error) {
	tbl, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := t.readRuns(ctx, tbl)
	if err != nil {
		return nil, err
	}
	var counts []FanCount
	for _, key := range runs.sorted() {
		s := runs[key]
		counts = append(counts, FanCount{Fan: key.fan, Run: fanwatch.FormatRun(key.run), Rows: s.rows, Distinct: s.distinct(),
			Duplicates: s.rows - s.distinct()})
	}
	return counts, nil
}

// Reconcile is the function Reconcile of the readings.
func (t *Tables) Reconcile(ctx context.Context, logs []landing.Log) ([]Account, error) {
	return Reconcile(ctx, logs, t.Table)
}
