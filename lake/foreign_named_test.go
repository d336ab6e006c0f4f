package lake_test

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go"

	"fanwatch"
)

// noted is a reading as another program writes it that added a column of its own.
type noted struct {
	Time    int64   `parquet:"time,id(1),timestamp(microsecond)"`
	Fan     string  `parquet:"fan_id,id(2)"`
	Run     int64   `parquet:"run,id(3)"`
	Seq     int64   `parquet:"seq,id(4)"`
	RPM     float64 `parquet:"rpm,id(5)"`
	Hz      float64 `parquet:"hz,id(6)"`
	Jitter  float64 `parquet:"jitter,id(7)"`
	Score   float64 `parquet:"score,id(8)"`
	State   string  `parquet:"state,id(9)"`
	Anomaly *string `parquet:"anomaly,id(10),optional"`
	Late    bool    `parquet:"late,id(11)"`
	Edges   int64   `parquet:"edges,id(12)"`
	Glitch  int64   `parquet:"glitch,id(13)"`
	Lost    int64   `parquet:"lost,id(14)"`
	Unsynch bool    `parquet:"unsynch,id(15)"`
	Arrived int64   `parquet:"arrived,id(16),timestamp(microsecond)"`
	Shard   string  `parquet:"shard,id(17)"`
	Note    *string `parquet:"note,id(24),optional"`
}

// withNote writes rows as that program does, each with the note.
func withNote(t *testing.T, rows []fanwatch.Row, note *string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[noted](&buf, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("another", "1",
		"x"))
	for _, r := range rows {
		n := noted{Time: r.Time.UnixMicro(), Fan: r.Fan, Run: int64(r.Run), Seq: int64(r.Seq), RPM: r.RPM, Hz: r.Hz,
			Jitter: r.Jitter, Score: r.Score, State: string(r.State),
			Edges: int64(r.Edges), Arrived: r.Arrived.UnixMicro(), Shard: r.Position.Shard, Note: note}
		if _, err := w.Write([]noted{n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
