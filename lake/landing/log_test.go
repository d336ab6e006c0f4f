package landing_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
)

var (
	midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	older    = landing.Token{Scheduled: 100, Attempt: 1, Run: "a"}
	newer    = landing.Token{Scheduled: 200, Attempt: 1, Run: "a"}
)

func openDir(t testing.TB) *objstore.Dir {
	t.Helper()
	d, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openLog(t testing.TB) landing.Log {
	return landing.Log{Store: openDir(t), Stream: "readings", Shard: "shardId-000000000000"}
}

// window makes a segment of n readings of the run, seq from first on, one a second, spread over the
// sequence numbers (after, after+n].
func window(after int, fan string, run uint64, first, n int) landing.Segment {
	s := landing.Segment{Header: landing.Header{After: number(after), Last: number(after + n), Writer: older}}
	for i := range n {
		seq := uint64(first + i)
		s.Rows = append(s.Rows, fanwatch.Row{
			Kind: fanwatch.RowScored,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan, Run: run, Seq: seq},
				Time: midnight.Add(time.Duration(seq) * time.Second),
				RPM:  1800 + float64(seq%7), Hz: 60, Jitter: 0.01, Edges: 60, State: fanwatch.StateRunning},
			Position: fanwatch.Position{Sequence: number(after + i + 1)}, Arrived: midnight.Add(time.Duration(seq)*time.Second +
				40*time.Millisecond),
			Client: fan, Score: 0.5 + float64(seq%11)/16, Acked: seq - 1,
		})
	}
	return s
}

func number(n int) fanwatch.SequenceNumber { return fanwatch.SequenceNumber(fmt.Sprint(n)) }

func TestSegmentsFormAChainAndARepeatedAppendIsNoError(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	if _, err := log.Next(ctx, ""); !errors.Is(err, objstore.ErrNotFound) {
		t.Fatalf("empty log: %v", err)
	}
	first, second := window(0, "fan-1", 7, 1, 10), window(10, "fan-1", 7, 11, 10)
	second.End, second.Counts.Duplicates = true, 3
	for _, s := range []landing.Segment{first, second, first, second} { // the repeats are lost answers
		if err := log.Append(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	var got []landing.Segment
	if err := log.Walk(ctx, "0", func(s landing.Segment) error { got = append(got, s); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0].Rows) != 10 || got[1].Rows[9].Seq != 20 || !got[1].End || got[1].After != "10" {
		t.Fatalf("walked %+v", got)
	}
	want := landing.FanRun{Fan: "fan-1", Run: fanwatch.FormatRun(7), Landed: 10, First: 11, Last: 20, Acked: 19}
	if h := got[1].Header; h.Counts != (landing.Counts{Scored: 10, Duplicates: 3}) || len(h.Fans) != 1 ||
		h.Fans[0] != want {
		t.Fatalf("header %+v", h)
	}
	h, err := log.NextHeader(ctx, "10")
	if err != nil || !reflect.DeepEqual(h, got[1].Header) {
		t.Fatalf("NextHeader %+v, %v; want %+v", h, err, got[1].Header)
	}
}

func TestAWindowOfNothingMovesTheChain(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	empty := landing.Segment{Header: landing.Header{Last: "5", Writer: older, Counts: landing.Counts{Duplicates: 12}}}
	if err := log.Append(ctx, empty); err != nil {
		t.Fatal(err)
	}
	// the shard closed right behind it
	closed := landing.Segment{Header: landing.Header{After: "5", Last: "5", Writer: older, End: true}}
	if err := log.Append(ctx, closed); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := log.Walk(ctx, "", func(s landing.Segment) error { n++; return nil }); err != nil || n != 2 {
		t.Fatalf("%d segments, %v", n, err)
	}
}

func TestAnOlderAttemptChangesNoSegment(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	s := window(0, "fan-1", 7, 1, 10)
	s.Writer = newer
	if err := log.Append(ctx, s); err != nil {
		t.Fatal(err)
	}
	late := window(0, "fan-1", 7, 1, 4) // an older attempt wakes up with a shorter window
	var c *landing.Conflict
	if err := log.Append(ctx, late); !errors.As(err, &c) || !c.Newer() || c.Existing.Last != "10" {
		t.Fatalf("zombie: %v", err)
	}
	newest := late
	newest.Writer = landing.Token{Scheduled: 200, Attempt: 2, Run: "a"}
	if err := log.Append(ctx, newest); !errors.As(err, &c) || c.Newer() {
		t.Fatalf("newer attempt: %v", err)
	}
	same := late
	same.Writer = newer
	if err := log.Append(ctx, same); !errors.As(err, &c) || c.Newer() {
		t.Fatalf("own token, other window: %v", err)
	}
	kept, err := log.Next(ctx, "0")
	if err != nil || len(kept.Rows) != 10 {
		t.Fatalf("the segment changed: %d rows, %v", len(kept.Rows), err)
	}

	if err := log.Tombstone(ctx, kept.Header); err != nil {
		t.Fatal(err)
	}
	if err := log.Append(ctx, late); !errors.As(err, &c) || !c.Newer() {
		t.Fatalf("zombie at a tombstone: %v", err)
	}
	if err := log.Append(ctx, s); err != nil {
		t.Fatalf("own segment, by now a tombstone: %v", err)
	}
	grave, err := log.Next(ctx, "0")
	if err != nil || !grave.Tombstone || len(grave.Rows) != 0 || grave.Counts != kept.Counts ||
		!reflect.DeepEqual(grave.Fans, kept.Fans) {
		t.Fatalf("tombstone %+v, %v", grave, err)
	}
}

func TestOfRacingAppendsOneSucceeds(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	for round := range 20 {
		var wg sync.WaitGroup
		results := make([]error, 8)
		for i := range results {
			wg.Go(func() {
				s := window(round*100, "fan-1", 7, 1, 100)
				s.Rows = s.Rows[:1+i]
				s.Writer = landing.Token{Scheduled: int64(i), Attempt: 1, Run: "r"}
				results[i] = log.Append(ctx, s)
			})
		}
		wg.Wait()
		kept, err := log.Next(ctx, number(round*100))
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range results {
			won := kept.Writer.Scheduled == int64(i)
			var c *landing.Conflict
			if won != (err == nil) || !won && (!errors.As(err, &c) || c.Newer() != (kept.Writer.Scheduled > int64(i))) {
				t.Fatalf("round %d: writer %d won: %v, got %v", round, i, won, err)
			}
		}
	}
}

func TestOfTwoTokensExactlyOneIsNewer(t *testing.T) {
	ordered := []landing.Token{{}, {Scheduled: 1}, {Scheduled: 1, Run: "b"}, {Scheduled: 1, Attempt: 1, Run: "a"},
		{Scheduled: 2}}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.Newer(b) != (i > j) {
				t.Errorf("%+v newer than %+v: %v", a, b, a.Newer(b))
			}
		}
	}
}

func TestRowsComeBackBitByBit(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	rng := rand.New(rand.NewPCG(1, 2))
	s := landing.Segment{Header: landing.Header{Last: "1000", Writer: newer}}
	for i := range 3000 {
		s.Rows = append(s.Rows, anyRow(rng, i/3+1, i%3))
	}
	if err := log.Append(ctx, s); err != nil {
		t.Fatal(err)
	}
	got, err := log.Next(ctx, "")
	if err != nil || len(got.Rows) != len(s.Rows) {
		t.Fatalf("%d rows, %v", len(got.Rows), err)
	}
	for i, want := range s.Rows {
		want.Position.Shard = log.Shard
		have := got.Rows[i]
		for _, f := range [][2]*float64{{&have.RPM, &want.RPM}, {&have.Hz, &want.Hz}, {&have.Jitter, &want.Jitter},
			{&have.Score, &want.Score}, {&have.Judged.Expected, &want.Judged.Expected},
			{&have.Judged.Low, &want.Judged.Low}, {&have.Judged.High, &want.Judged.High}} {
			if math.Float64bits(*f[0]) != math.Float64bits(*f[1]) {
				t.Fatalf("row %d: bits %x, want %x", i, math.Float64bits(*f[0]), math.Float64bits(*f[1]))
			}
			*f[0], *f[1] = 0, 0
		}
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("row %d:\n%+v, want\n%+v", i, have, want)
		}
	}
}

// anyRow makes a row of any kind with any bits in its floats.
func anyRow(rng *rand.Rand, sequence, index int) fanwatch.Row {
	float := func() float64 {
		odd := []float64{0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0xfff8dead00beef00), math.Inf(1),
			math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64}
		if i := rng.IntN(12); i < len(odd) {
			return odd[i]
		}
		return math.Float64frombits(rng.Uint64())
	}
	r := fanwatch.Row{
		Kind: []fanwatch.RowKind{fanwatch.RowScored, fanwatch.RowLate, fanwatch.RowQuarantined,
			fanwatch.RowConfigured, fanwatch.RowLabelled, fanwatch.RowPaused}[rng.IntN(6)],
		Position: fanwatch.Position{Sequence: number(sequence), Index: index},
		Arrived:  time.UnixMicro(rng.Int64N(4e15)).UTC(), Client: fmt.Sprint("client ", rng.IntN(5)), Acked: rng.Uint64(),
		Dropped: rng.Uint64(),
		Anomaly: []fanwatch.Kind{fanwatch.KindNone, fanwatch.KindStall, fanwatch.KindUnusual}[rng.IntN(3)], Score: float(),
	}
	r.Fan = fmt.Sprint("fan-", rng.IntN(9))
	switch r.Kind {
	case fanwatch.RowScored, fanwatch.RowLate:
		r.Reading = fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: r.Fan, Run: rng.Uint64(), Seq: rng.Uint64()},
			Time: time.UnixMicro(rng.Int64N(4e15)).UTC(),
			RPM:  float(), Hz: float(), Jitter: float(), Edges: rng.Uint32(), Glitch: rng.Uint32(), Lost: rng.Uint32(),
			PWM: fanwatch.Duty(rng.UintN(3) * rng.UintN(5_001)), State: []fanwatch.State{fanwatch.StateRunning,
				fanwatch.StateNoSignal}[rng.IntN(2)], Unsynch: rng.IntN(2) == 0}
		r.Judged = fanwatch.Judged{Expected: float(), Low: float(), High: float(), Level: int32(rng.IntN(14)) - 1,
			Verdict: []string{"", "normal", "speed, jitter"}[rng.IntN(3)]}
	default:
		r.Reason = strings.Repeat("because \xff\x00", rng.IntN(3))
		r.Payload = make([]byte, 1+rng.IntN(300))
		for i := range r.Payload {
			r.Payload[i] = byte(rng.Uint32())
		}
	}
	return r
}

func TestASegmentThatIsNotValidIsRefused(t *testing.T) {
	log := openLog(t)
	for what, change := range map[string]func(*landing.Segment, *landing.Log){
		"goes backwards":     func(s *landing.Segment, _ *landing.Log) { s.Last = "0"; s.Rows = nil },
		"row before":         func(s *landing.Segment, _ *landing.Log) { s.Rows[0].Position.Sequence = "0" },
		"row behind":         func(s *landing.Segment, _ *landing.Log) { s.Rows[0].Position.Sequence = "11" },
		"other shard":        func(s *landing.Segment, _ *landing.Log) { s.Rows[3].Position.Shard = "x" },
		"nanoseconds":        func(s *landing.Segment, _ *landing.Log) { s.Rows[3].Time = midnight.Add(1) },
		"unknown kind":       func(s *landing.Segment, _ *landing.Log) { s.Rows[3].Kind = "new" },
		"shard with a slash": func(_ *landing.Segment, l *landing.Log) { l.Shard = "../x" },
		"no stream":          func(_ *landing.Segment, l *landing.Log) { l.Stream = "" },
	} {
		s, l := window(0, "fan-1", 7, 1, 10), log
		change(&s, &l)
		if err := l.Append(t.Context(), s); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestAMovedSegmentIsAnError(t *testing.T) {
	ctx, log := t.Context(), openLog(t)
	if err := log.Append(ctx, window(0, "fan-1", 7, 1, 10)); err != nil {
		t.Fatal(err)
	}
	key := "landing/stream=readings/shard=shardId-000000000000/after=" + number(0).Pad() + ".parquet"
	data, err := log.Store.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Store.Put(ctx, strings.Replace(key, number(0).Pad(), number(10).Pad(), 1), data, true); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Next(ctx, "10"); err == nil || !strings.Contains(err.Error(), "moved") {
		t.Fatalf("got %v", err)
	}
}

// TestSegmentOfVersion1IsRead reads what fanwatch landed before it knew of duty cycles.
func TestSegmentOfVersion1IsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/segment-v1.parquet")
	if err != nil {
		t.Fatal(err)
	}
	got, err := landing.DecodeSegment(data)
	if err != nil {
		t.Fatal(err)
	}
	want := window(0, "fan-1", 7, 1, 20)
	want.Rows[3].Payload = []byte("why")
	for i := range want.Rows {
		want.Rows[i].Position.Shard = got.Shard
	}
	if !reflect.DeepEqual(got.Rows, want.Rows) {
		t.Errorf("got %+v", got.Rows)
	}
	if h, err := landing.DecodeHeader(data); err != nil || !reflect.DeepEqual(h, got.Header) || h.Counts.Scored != 20 {
		t.Errorf("header %+v: %v", h, err)
	}
}

func FuzzDecodeSegment(f *testing.F) {
	if data, err := os.ReadFile("testdata/segment-v1.parquet"); err == nil {
		f.Add(data)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 3 {
		s := landing.Segment{Header: landing.Header{Stream: "s", Shard: "h", After: "0", Last: "100"}}
		for i := range n * 10 {
			s.Rows = append(s.Rows, anyRow(rng, i+1, 0))
		}
		data, err := landing.EncodeSegment(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		for range 20 {
			bad := append([]byte(nil), data...)
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			f.Add(bad)
		}
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := landing.DecodeSegment(data)
		h, herr := landing.DecodeHeader(data)
		if err != nil {
			return
		}
		if herr != nil || !reflect.DeepEqual(h, s.Header) {
			t.Fatalf("header read alone: %+v, %v; want %+v", h, herr, s.Header)
		}
		again, err := landing.EncodeSegment(&s)
		if err != nil {
			t.Fatalf("a decoded segment does not encode: %v", err)
		}
		if _, err := landing.DecodeSegment(again); err != nil {
			t.Fatalf("nor decode again: %v", err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	ctx := context.Background()
	log := openLog(b)
	const n = 60_000
	for i := 0; b.Loop(); i++ {
		if err := log.Append(ctx, window(i*n, "fan-1", 7, i*n+1, n)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// TestSegmentOfVersion2IsRead reads what fanwatch landed before a row could stand for several refused readings.
func TestSegmentOfVersion2IsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/segment-v2.parquet")
	if err != nil {
		t.Fatal(err)
	}
	got, err := landing.DecodeSegment(data)
	if err != nil {
		t.Fatal(err)
	}
	duty, known := got.Rows[2].PWM.Fraction()
	if r := got.Rows[3]; len(got.Rows) != 20 || r.Refused != 0 || string(r.Payload) != "why" || r.Acked != 600 ||
		duty != 0.5 || !known || got.Fans[0].Quarantined != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestAFooterCountsRefusedReadings: a row stands for all readings of its record.
func TestAFooterCountsRefusedReadings(t *testing.T) {
	log := openLog(t)
	s := window(0, "fan-1", 7, 1, 10)
	s.Rows[3] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-1"}}, Position: s.Rows[3].Position,
		Arrived: s.Rows[3].Arrived, Reason: "fan fan-1 is retired", Refused: 60}
	s.Rows[4] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
		Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-1"}}, Position: s.Rows[4].Position,
		Arrived: s.Rows[4].Arrived, Reason: "RPM is missing"}
	if err := log.Append(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := log.Next(t.Context(), "0")
	if err != nil || got.Fans[0].Quarantined != 2 || got.Fans[0].Refused != 61 || got.Rows[3].Refused != 60 ||
		got.Counts.Quarantined != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestNamesThatDevicesMakeUpDoNotFillFooters: of fans of which everything was refused, only those with most stand
// there by name.
func TestNamesThatDevicesMakeUpDoNotFillFooters(t *testing.T) {
	log := openLog(t)
	s := window(0, "fan-1", 7, 1, 5000)
	refuse := func(i int, fan, reason string) {
		s.Rows[i] = fanwatch.Row{Kind: fanwatch.RowQuarantined,
			Reading: fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: fan}}, Position: s.Rows[i].Position,
			Arrived: s.Rows[i].Arrived, Reason: reason}
	}
	for i := range 2000 {
		name := fmt.Sprint("bogus-", i)
		refuse(i, name, "fan "+name+" is unknown: provision it first")
		refuse(2000+i, fmt.Sprint("junk-", i), "RPM is missing")
	}
	refuse(4000, "fan-2", "fan fan-2 is retired")
	refuse(4001, "fan-2", "fan fan-2 is retired")
	if err := log.Append(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := log.NextHeader(t.Context(), "0")
	if err != nil || len(got.Fans) > 70 {
		t.Fatalf("%d names, %v", len(got.Fans), err)
	}
	refused, names := 0, map[string]landing.FanRun{}
	for _, f := range got.Fans {
		refused += f.Refused
		names[f.Fan] = f
	}
	if refused != 4002 || names["fan-1"].Landed != 998 || names["fan-2"].Refused != 2 || names[""].Refused < 3900 {
		t.Errorf("%d refused: %+v", refused, names)
	}
}

// TestSegmentOfVersion3IsRead reads what fanwatch landed before rows said what the judge expected.
func TestSegmentOfVersion3IsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/segment-v3.parquet")
	if err != nil {
		t.Fatal(err)
	}
	got, err := landing.DecodeSegment(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Counts != (landing.Counts{Scored: 18, Quarantined: 1, Configured: 1}) || got.Rows[3].Refused != 60 ||
		got.Fans[0].Configured != 1 {
		t.Errorf("got %+v", got)
	}
	for _, r := range got.Rows {
		if r.Judged != (fanwatch.Judged{}) {
			t.Errorf("a row of version 3 was judged: %+v", r)
		}
	}
}

// TestALabelIsARowOfItsOwnKind is counted apart, and its fan is known by it.
func TestALabelIsARowOfItsOwnKind(t *testing.T) {
	log := openLog(t)
	s := window(0, "fan-1", 7, 1, 10)
	s.Rows[3] = fanwatch.Row{Kind: fanwatch.RowLabelled,
		Reading:  fanwatch.Reading{ReadingID: fanwatch.ReadingID{Fan: "fan-2"}, Time: time.UnixMicro(0).UTC()},
		Position: s.Rows[3].Position, Arrived: s.Rows[3].Arrived, Payload: []byte(`{"v":1,"label":{}}`)}
	if err := log.Append(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := log.Next(t.Context(), "0")
	if err != nil || got.Counts.Labelled != 1 || got.Counts.Rows() != 10 || got.Fans[1].Fan != "fan-2" ||
		got.Fans[1].Configured != 1 {
		t.Fatalf("%+v, %v", got.Header, err)
	}
	want := s.Rows[3]
	want.Position.Shard = log.Shard
	if !reflect.DeepEqual(got.Rows[3], want) {
		t.Errorf("got %+v, want %+v", got.Rows[3], want)
	}
}
