package rowfile

import (
	"cmp"
	"math"
	"sync"

	"fanwatch/lake/internal/parquetguard"
)

// FanDay has the rows of one fan in a period, from data files of one day. [FanDay.ReadFile] fills its zero value from
// one file; [JoinFiles] joins several. Rows have numbers, whose order [FanDay.Ranges] returns. It is not safe for
// concurrent use.
type FanDay struct {
	dict    *textDict
	columns []vector // by place in the layout; columns that were not read are empty
	rows    int
	plan    *mergePlan // order of the rows, without copies; nil before JoinFiles
}

// columnMemory has the columns of released FanDays, as *[]vector.
var columnMemory sync.Pool

// Release gives the memory of d to other FanDays. d and its parts may not be used afterwards.
func (d *FanDay) Release() {
	columns := d.columns
	*d = FanDay{}
	if columns != nil {
		columnMemory.Put(&columns)
	}
}

// AllColumns returns the places of all columns.
func AllColumns() []int {
	columns := make([]int, len(tableLayout().columns))
	for i := range columns {
		columns[i] = i
	}
	return columns
}

// SeriesColumns returns the places of the columns that [FanDay.Series] and [FanDay.Ranges] need.
func SeriesColumns() []int {
	l := tableLayout()
	return []int{l.time, l.run, l.seq, l.fan, l.arrived, l.shard, l.rpm, l.score, l.anomaly, l.expected, l.low, l.high}
}

// JoinFiles joins the rows of several files of a day, each (fan, run, seq) once. It releases all files but the result.
// files must not be empty.
func JoinFiles(files []FanDay) *FanDay {
	d := &files[0]
	bounds := []int{0, d.rows}
	for i := range files[1:] {
		d.join(&files[i+1])
		files[i+1].Release()
		bounds = append(bounds, d.rows)
	}
	k, l := d.keys(), tableLayout()
	var ranges []sortedRange
	var fans, runs vector
	for i, base := range bounds[:len(bounds)-1] {
		fans, runs = fans.noRuns(), runs.noRuns()
		fans.addValues(texts, d.columns[l.fan], base, bounds[i+1])
		runs.addValues(integers, d.columns[l.run], base, bounds[i+1])
		ranges = k.addSortedRanges(ranges, fans, runs, base)
	}
	d.plan = planMerge(k, ranges, d.dict)
	return d
}

// Ranges returns the numbers of the rows in the order of time, without copies.
func (d *FanDay) Ranges() []RowRange { return d.plan.ranges }

// Row returns a row by its number. All columns must have been read.
func (d *FanDay) Row(i int) (r Row) {
	assemble(&r, d.columns, i, d.dict)
	return r
}

// Series returns the columns of a chart.
func (d *FanDay) Series() FanSeries {
	l := tableLayout()
	return FanSeries{times: d.columns[l.time].numbers, rpms: d.columns[l.rpm].numbers, scores: d.columns[l.score].numbers,
		anomalies: d.columns[l.anomaly].tags, texts: d.dict.texts, expected: d.columns[l.expected].numbers,
		lows: d.columns[l.low].numbers, highs: d.columns[l.high].numbers}
}

// FanSeries is a fan's times, speeds, scores, anomalies and what was expected, by the rows' numbers.
type FanSeries struct {
	times, rpms, scores   []uint64
	expected, lows, highs []uint64
	anomalies             []uint32
	texts                 []string
}

// Time returns the row's time in Unix microseconds.
func (s *FanSeries) Time(i uint32) int64 { return int64(s.times[i]) }

// RPM returns the row's speed.
func (s *FanSeries) RPM(i uint32) float64 { return math.Float64frombits(s.rpms[i]) }

// Judged returns what was expected of the row and the band around it, RPM; 0: nothing was.
func (s *FanSeries) Judged(i uint32) (expected, low, high float64) {
	return math.Float64frombits(s.expected[i]), math.Float64frombits(s.lows[i]), math.Float64frombits(s.highs[i])
}

// Score returns the row's score.
func (s *FanSeries) Score(i uint32) float64 { return math.Float64frombits(s.scores[i]) }

// Anomaly returns the row's anomaly, "" for none.
func (s *FanSeries) Anomaly(i uint32) string { return s.texts[s.anomalies[i]] }

// keys returns the keys by which rows are ordered.
func (d *FanDay) keys() *rowKeys {
	l := tableLayout()
	arrived, shards := d.columns[l.arrived].numbers, d.columns[l.shard].tags
	return &rowKeys{time: d.columns[l.time].numbers, seq: d.columns[l.seq].numbers, tie: func(a, b int) int {
		return cmp.Or(cmp.Compare(int64(arrived[a]), int64(arrived[b])), cmp.Compare(d.dict.texts[shards[a]],
			d.dict.texts[shards[b]]))
	}}
}

// ReadFile fills d with the fan's rows of one file with lo <= time < hi, in Unix microseconds. columns are the columns
// that are decoded: [AllColumns] or [SeriesColumns].
func (d *FanDay) ReadFile(index *Index, fetch FetchFunc, fan string, lo, hi int64, columns []int) (err error) {
	defer parquetguard.Catch(&err)
	l := tableLayout()
	if used, ok := columnMemory.Get().(*[]vector); ok {
		d.columns = *used
	} else {
		d.columns = make([]vector, len(l.columns))
	}
	for c := range d.columns {
		d.columns[c] = vector{numbers: d.columns[c].numbers[:0], tags: d.columns[c].tags[:0]}
	}
	d.dict = newTextDict()
	r := newChunkReader(d.dict)
	place := d.dict.placeOf(fan)
	found, most := make([]rowsOfGroup, len(index.groups)), 0
	for g := range index.groups {
		found[g] = index.mayHoldFan(g, fan, lo, hi)
		most += found[g].to - found[g].from
	}
	for _, c := range columns {
		d.columns[c] = d.columns[c].sized(l.columns[c].kind, most)
	}
	to := make([]vector, len(columns))
	for g, rows := range found {
		n := rows.to - rows.from
		if n == 0 {
			continue
		}
		for i, c := range columns {
			to[i] = d.columns[c].slice(l.columns[c].kind, d.rows, d.rows+n)
		}
		if err := index.readRows(r, fetch, g, columns, rows, to); err != nil {
			return err
		}
		fans, times := d.columns[l.fan].tags, d.columns[l.time].numbers
		d.keep(columns, n, func(i int) bool { return fans[i] == place && int64(times[i]) >= lo && int64(times[i]) < hi })
	}
	for _, c := range columns {
		d.columns[c] = d.columns[c].slice(l.columns[c].kind, 0, d.rows)
	}
	return nil
}

// keep keeps those of the next n rows that fit.
func (d *FanDay) keep(columns []int, n int, fits func(i int) bool) {
	at, end := d.rows, d.rows+n
	for i := at; i < end; i++ {
		from := i
		for i < end && fits(i) {
			i++
		}
		if i > from && from != d.rows {
			for _, c := range columns {
				if v := d.columns[c]; tableLayout().columns[c].kind.numeric() {
					copy(v.numbers[d.rows:], v.numbers[from:i])
				} else {
					copy(v.tags[d.rows:], v.tags[from:i])
				}
			}
		}
		d.rows += i - from
	}
}

// join appends another file's rows. Their texts get places in d's dictionary.
func (d *FanDay) join(o *FanDay) {
	places := make([]uint32, len(o.dict.texts))
	for p, text := range o.dict.texts {
		places[p] = d.dict.placeOf(text)
	}
	for c := range d.columns {
		d.columns[c].numbers = append(d.columns[c].numbers, o.columns[c].numbers...)
		if tableLayout().columns[c].kind == flags {
			d.columns[c].tags = append(d.columns[c].tags, o.columns[c].tags...)
			continue
		}
		for _, tag := range o.columns[c].tags {
			d.columns[c].tags = append(d.columns[c].tags, places[tag])
		}
	}
	d.rows += o.rows
}
