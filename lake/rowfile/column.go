package rowfile

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"
	"reflect"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// kind is the type of a column's values, by which they are in memory.
type kind int

const (
	integers kind = iota // vector.numbers, int64
	floats               // vector.numbers, the bits of a float64
	texts                // vector.tags, places in a textDict
	flags                // vector.tags, 0 or 1
)

// column describes one column of the table's files, a field of Row. A file that lacks a column reads as if every row
// had null in it.
type column struct {
	id        int // the field ID
	name      string
	kind      kind
	optional  bool
	null      uint64 // with optional: the value in memory that stands for null
	delta     bool   // DELTA_BINARY_PACKED; otherwise a dictionary, and flags plain
	timestamp bool
}

// fileLayout is the layout of the files by the fields of Row: the columns, and the schema as it stands in a footer.
type fileLayout struct {
	columns []column
	schema  []format.SchemaElement
	orders  []format.ColumnOrder
	// time and the other fields are the places of these columns in columns.
	time, fan, run, seq, arrived, shard, rpm, score, anomaly, expected, low, high int
}

// tableLayout returns the layout, with the schema that the library writes for Row.
var tableLayout = sync.OnceValue(func() fileLayout {
	var empty bytes.Buffer
	w := parquet.NewGenericWriter[Row](&empty)
	if err := w.Close(); err != nil {
		panic(err) // Row's tags are wrong
	}
	f, err := parquet.OpenFile(bytes.NewReader(empty.Bytes()), int64(empty.Len()))
	if err != nil {
		panic(err)
	}
	l := fileLayout{schema: f.Metadata().Schema, orders: f.Metadata().ColumnOrders}
	l.schema[0].Name = "stored" // the schema's root has had this name since the first file; parseOwn compares bytes
	fields := reflect.TypeFor[Row]()
	for i, s := range l.schema[1:] {
		tag := strings.Split(fields.Field(i).Tag.Get("parquet"), ",")
		c := column{id: int(s.FieldID), name: s.Name, optional: s.RepetitionType.V == format.Optional}
		for _, option := range tag[1:] {
			c.delta = c.delta || option == "delta"
			c.timestamp = c.timestamp || strings.HasPrefix(option, "timestamp")
		}
		switch k := fields.Field(i).Type.Kind(); k {
		case reflect.Int64:
			c.kind = integers
		case reflect.Float64:
			c.kind = floats
		case reflect.String:
			c.kind = texts
		case reflect.Bool:
			c.kind = flags
		default:
			panic(fmt.Sprintf("column %s: kind %s is not provided for", c.name, k))
		}
		if fields.Field(i).Tag.Get("null") == "-1" {
			if c.null = math.MaxUint64; c.kind == floats {
				c.null = math.Float64bits(-1)
			}
		}
		l.columns = append(l.columns, c)
		for name, place := range map[string]*int{"time": &l.time, "fan_id": &l.fan, "run": &l.run, "seq": &l.seq,
			"arrived": &l.arrived, "shard": &l.shard, "rpm": &l.rpm, "score": &l.score, "anomaly": &l.anomaly,
			"expected": &l.expected, "low": &l.low, "high": &l.high} {
			if c.name == name {
				*place = i
			}
		}
	}
	return l
})

// vector has values of one column, in numbers or in tags: one for each row or, where ends is not nil, one for each run
// of equal rows. Run i ends before row ends[i]; neighbours differ.
type vector struct {
	numbers []uint64
	tags    []uint32
	ends    []uint32
}

func (k kind) numeric() bool { return k == integers || k == floats }

// sized returns a vector of n arbitrary values of the kind, in v's memory where that is large enough.
func (v vector) sized(k kind, n int) vector {
	if k.numeric() {
		v.numbers = grown(v.numbers, n)
	} else {
		v.tags = grown(v.tags, n)
	}
	return v
}

func (v vector) slice(k kind, from, to int) vector {
	if k.numeric() {
		return vector{numbers: v.numbers[from:to]}
	}
	return vector{tags: v.tags[from:to]}
}

// textDict numbers texts by place; place 0 is the empty text. It is not safe for concurrent use.
type textDict struct {
	places map[string]uint32
	texts  []string // by place
	seed   maphash.Seed
	hashes []uint64 // by place, of the first texts; see hash
}

func newTextDict() *textDict {
	return &textDict{places: map[string]uint32{"": 0}, texts: []string{""}, seed: maphash.MakeSeed()}
}

func (t *textDict) place(text []byte) uint32 {
	if p, ok := t.places[string(text)]; ok {
		return p
	}
	return t.placeOf(string(text))
}

func (t *textDict) placeOf(text string) uint32 {
	p, ok := t.places[text]
	if !ok {
		p = uint32(len(t.texts))
		t.places[text], t.texts = p, append(t.texts, text)
	}
	return p
}

// transpose appends rows to vectors, one for each column.
func transpose(rows []Row, to []vector, dict *textDict) {
	for c, column := range tableLayout().columns {
		v := to[c]
		for i := range rows {
			field := reflect.ValueOf(&rows[i]).Elem().Field(c)
			switch column.kind {
			case integers:
				v.numbers = append(v.numbers, uint64(field.Int()))
			case floats:
				v.numbers = append(v.numbers, math.Float64bits(field.Float()))
			case texts:
				v.tags = append(v.tags, dict.placeOf(field.String()))
			case flags:
				tag := uint32(0)
				if field.Bool() {
					tag = 1
				}
				v.tags = append(v.tags, tag)
			}
		}
		to[c] = v
	}
}

// assemble sets row to row i of the vectors.
func assemble(row *Row, from []vector, i int, dict *textDict) {
	for c, column := range tableLayout().columns {
		field := reflect.ValueOf(row).Elem().Field(c)
		switch column.kind {
		case integers:
			field.SetInt(int64(from[c].numbers[i]))
		case floats:
			field.SetFloat(math.Float64frombits(from[c].numbers[i]))
		case texts:
			field.SetString(dict.texts[from[c].tags[i]])
		case flags:
			field.SetBool(from[c].tags[i] == 1)
		}
	}
}
