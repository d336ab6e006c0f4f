package lake

import (
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"

	"fanwatch/lake/rowfile"
)

// boundedColumns are the field IDs of time, fan_id, rpm and score: their bounds stand in the table's manifests, and by
// them readers skip whole files.
var boundedColumns = []int{1, 2, 5, 8}

// describe returns Iceberg's entry for a file of readings. Parquet's PLAIN encoding of one value is Iceberg's (Iceberg
// spec, "Binary single-value serialization").
func describe(f *rowfile.File, spec iceberg.PartitionSpec, sortOrder int, path string) (iceberg.DataFile, error) {
	b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, path, iceberg.ParquetFile,
		map[int]any{partitionField: iceberg.Date(f.Day)},
		map[int]string{partitionField: "date"}, nil, int64(f.Rows), f.Size)
	if err != nil {
		return nil, fmt.Errorf("table: %s: %w", path, err)
	}
	values, nulls := make(map[int]int64), make(map[int]int64)
	lo, hi := make(map[int][]byte), make(map[int][]byte)
	for _, s := range f.Columns() {
		values[s.ID], nulls[s.ID] = int64(f.Rows), s.Nulls
		if s.Lo != nil && slices.Contains(boundedColumns, s.ID) {
			lo[s.ID], hi[s.ID] = s.Lo, s.Hi
		}
	}
	b = b.ValueCounts(values).NullValueCounts(nulls).LowerBoundValues(lo).UpperBoundValues(hi)
	return b.SortOrderID(sortOrder).Build(), nil
}
