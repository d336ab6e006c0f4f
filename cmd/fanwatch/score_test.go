package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanwatch/rcf"
)

// score runs the command in this process.
func score(in string, args ...string) (out, log string, err error) {
	var o, l bytes.Buffer
	c := command()
	c.SetArgs(append([]string{"score"}, args...))
	c.SetIn(strings.NewReader(in))
	c.SetOut(&o)
	c.SetErr(&l)
	err = c.ExecuteContext(context.Background())
	return o.String(), l.String(), err
}

// rpm is a fan that runs at 1800 RPM or so and then does not, as CSV.
func rpm(rows int) string {
	var b strings.Builder
	b.WriteString("t,rpm\n")
	for i := range rows {
		v := 1800 + i*37%20
		if i == rows-1 {
			v = 300
		}
		fmt.Fprintf(&b, "%d,%d\n", i, v)
	}
	return b.String()
}

func Example_score() {
	c := command()
	c.SetArgs([]string{"score", "--columns", "rpm"})
	c.SetIn(strings.NewReader(rpm(1000)))
	var out bytes.Buffer
	c.SetOut(&out)
	if err := c.Execute(); err != nil {
		fmt.Println(err)
		return
	}
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	fmt.Println(rows[0])
	for _, row := range rows[999:] {
		var t, rpm, state int
		var score, grade, confidence float64
		fmt.Sscanf(strings.ReplaceAll(row, ",", " "), "%d %d %f %f %f %d", &t, &rpm, &score, &grade, &confidence, &state)
		fmt.Printf("%d,%d,%.1f,%.2f,%.2f,%d\n", t, rpm, score, grade, confidence, state)
	}
	// Output:
	// t,rpm,anomaly_score,anomaly_grade,anomaly_confidence,anomaly_state
	// 998,1806,0.9,0.00,0.49,0
	// 999,300,8.0,0.74,0.49,1
}

// TestScoreIsTheLibrary: the columns hold what package rcf says with the flags' values, to the last bit; its forest is
// given the difference to the first row.
func TestScoreIsTheLibrary(t *testing.T) {
	in := rpm(700)
	for _, learn := range []int{0, 500} {
		for _, preset := range []string{"", "kda"} {
			forest, err := rcf.New(rcf.Config{Trees: 20, SampleSize: 64, TimeDecay: 1. / 5000, Shingle: 2, Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			kinesis, err := rcf.NewKDA(rcf.KDAConfig{NumberOfTrees: 20, SubSampleSize: 64, TimeDecay: 5000, ShingleSize: 2,
				Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			detector, err := rcf.NewDetector(rcf.DetectorConfig{Learn: learn, Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			out, log, err := score(in, "--columns=rpm", "--trees=20", "--sample-size=64", "--time-decay=5000", "--shingle=2",
				"--seed=7", "--explain", "--preset="+preset, fmt.Sprint("--learn=", learn))
			if err != nil || log != "" {
				t.Fatal(err, log)
			}
			rows := parse(t, out)
			if len(rows) != 701 {
				t.Fatalf("%d rows", len(rows))
			}
			process, base := forest.Process, 1800.
			if preset == "kda" {
				process, base = kinesis.Process, 0
			}
			for i, row := range rows[1:] {
				if preset == "" && learn > 0 && i == learn {
					process = forest.Follow
				}
				rpm := float(t, row[1])
				s, err := process([]float64{rpm - base})
				r, err2 := detector.Process([]float64{rpm})
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if float(t, row[2]) != s || float(t, row[3]) != r.Grade || float(t, row[4]) != r.Confidence ||
					(row[5] == "1") != r.State {
					t.Fatalf("preset %q, row %d: %v, want %v, %+v", preset, i, row, s, r)
				}
				if parts := float(t, row[6]) + float(t, row[7]); parts-s > 1e-9 || s-parts > 1e-9 {
					t.Fatalf("preset %q, row %d: parts add up to %v, want %v", preset, i, parts, s)
				}
			}
			if last := rows[700]; float(t, last[3]) < 0.5 || float(t, last[7]) < 10*float(t, last[6]) || last[5] != "1" {
				t.Errorf("preset %q: 300 RPM: %v", preset, last)
			}
		}
	}
}

// TestScoreTakesViewsAndThreshold as the library does: grades and states are those of the same detector in Go.
func TestScoreTakesViewsAndThreshold(t *testing.T) {
	in := rpm(700)
	for args, config := range map[string]rcf.DetectorConfig{
		"--threshold=0.7":                   {Threshold: 0.7},
		"--views=rolling":                   {Views: []rcf.View{rcf.RollingView}},
		"--views=shingle,point --learn=300": {Views: []rcf.View{rcf.ShingleView, rcf.PointView}, Learn: 300},
	} {
		config.Seed = 1
		detector, err := rcf.NewDetector(config)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := score(in, append(strings.Fields(args), "--columns=rpm")...)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range parse(t, out)[1:] {
			r, err := detector.Process([]float64{float(t, row[1])})
			if err != nil || float(t, row[3]) != r.Grade || (row[5] == "1") != r.State {
				t.Fatalf("%s, row %d: %v, want %+v, %v", args, i, row, r, err)
			}
		}
	}
}

// TestScoreSeesWhatStandsOnALargeOffset: a spike of 60 on 1.7e9 +- 3.
func TestScoreSeesWhatStandsOnALargeOffset(t *testing.T) {
	for _, preset := range []string{"", "kda"} {
		var in strings.Builder
		in.WriteString("value\n")
		for i := range 1500 {
			fmt.Fprintln(&in, 1_700_000_000+i*37%7-3+60*(i/1400-i/1401))
		}
		out, _, err := score(in.String(), "--columns=value", "--preset="+preset)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range parse(t, out)[1:] {
			if odd := float(t, row[1]) > 5; odd != (i == 1400) {
				t.Errorf("preset %q, row %d: %v", preset, i, row)
			}
		}
	}
}

// TestScoreScalesColumns: 300 deviations in a column of small numbers beside one of large ones.
func TestScoreScalesColumns(t *testing.T) {
	var in strings.Builder
	in.WriteString("rpm,jitter\n")
	for i := range 3000 {
		jitter := 0.002 + 0.0001*float64(i*53%7-3)
		if i == 2900 {
			jitter = 0.09
		}
		fmt.Fprintf(&in, "%d,%g\n", 1800+i*37%11-5, jitter)
	}
	for arg, seen := range map[string]bool{"--seed=2": true, "--normalize": true, "--normalize=false": false,
		"--preset=kda": false} {
		out, _, err := score(in.String(), "--columns=rpm,jitter", arg)
		if err != nil {
			t.Fatal(err)
		}
		if row := parse(t, out)[2901]; float(t, row[2]) > 5 != seen {
			t.Errorf("%s: %v", arg, row)
		}
	}
}

// TestScoreLearnsAndSaysHowLong: a fan that stands still for 3000 rows is one alert and trouble to the end.
func TestScoreLearnsAndSaysHowLong(t *testing.T) {
	var in strings.Builder
	in.WriteString("rpm\n")
	for i := range 5000 {
		rpm := 1800 + i*37%20
		if i >= 1000 && i < 4000 {
			rpm = 0
		}
		fmt.Fprintln(&in, rpm)
	}
	out, log, err := score(in.String(), "--columns=rpm", "--learn=500")
	if err != nil || log != "" {
		t.Fatal(err, log)
	}
	alerts := 0
	for i, row := range parse(t, out)[1:] {
		if float(t, row[2]) > 0 {
			alerts++
		}
		if state := row[4] == "1"; state != (i >= 1000 && i < 4000) && (i < 4000 || i >= 4060) {
			t.Fatalf("row %d: %v", i, row)
		}
	}
	if alerts != 1 {
		t.Errorf("%d alerts", alerts)
	}
}

func parse(t *testing.T, out string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func float(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestScoreKeepsRows: of early rows, which score 0, every byte is known.
func TestScoreKeepsRows(t *testing.T) {
	const head = ",anomaly_score,anomaly_grade,anomaly_confidence,anomaly_state"
	const null = "\"anomaly_score\":null,\"anomaly_grade\":null,\"anomaly_confidence\":null,\"anomaly_state\":null"
	const zero = ",\"anomaly_score\":0,\"anomaly_grade\":0,\"anomaly_confidence\":0,\"anomaly_state\":0"
	semicolons := strings.ReplaceAll(head, ",", ";")
	for _, c := range []struct {
		name, in, want, log string
		args                []string
	}{
		{"semicolons", "t;value;\"a,b\"\n1;2,5;3\n2;3;x\n3;1.234,5;\n", "t;value;\"a,b\"" + semicolons +
			"\n1;2,5;3;0;0;0;0\n2;3;x;0;0;0;0\n3;1.234,5;;;;;\n",
			"fanwatch score: 1 of 3 rows could not be scored, first line 4: column \"value\" is \"1.234,5\", not a number\n",
			nil},
		{"semicolons and points", "t;value\n1;2.5\n2;3,5\n", "t;value" + semicolons + "\n1;2.5;0;0;0;0\n2;3,5;;;;\n",
			"fanwatch score: 1 of 2 rows could not be scored, first line 3: column \"value\" is \"3,5\", not a number\n", nil},
		{"tabs", "\"t\tu\"\tvalue\r\n1\t2\r\n", "\"t\tu\"\tvalue" + strings.ReplaceAll(head, ",", "\t") +
			"\r\n1\t2\t0\t0\t0\t0\r\n", "", nil},
		{"a separator that is told", "t value\n1 2\n", "t value" + strings.ReplaceAll(head, ",", " ") + "\n1 2 0 0 0 0\n", "",
			[]string{"--columns=value", "--separator= "}},
		{"commas twice", "t,value\n1,\"2,5\"\n", "t,value" + head + "\n1,\"2,5\",0,0,0,0\n", "",
			[]string{"--columns=value", "--decimal=comma"}},
		{"points told", "value;t\n2,5;1\n1;1\n", "value;t" + semicolons + "\n2,5;1;;;;\n1;1;0;0;0;0\n",
			"fanwatch score: 1 of 2 rows could not be scored, first line 2: column \"value\" is \"2,5\", not a number\n",
			[]string{"--columns=value", "--decimal=point"}},
		{"nested", "{\"a\":{\"value\":1,\"b.c\":2}}\n{\"a.value\":1}\n{\"a\":3}\n", "{\"a\":{\"value\":1,\"b.c\":2}" + zero +
			"}\n{\"a.value\":1" + zero + "}\n{\"a\":3," + null + "}\n",
			"fanwatch score: 1 of 3 rows could not be scored, first line 3: there is no field \"a.value\"\n",
			[]string{"--columns=a.value"}},
		{"nested with points", "{\"a\":{\"b.c\":{\"d\":2}}}", "{\"a\":{\"b.c\":{\"d\":2}}" + zero + "}", "",
			[]string{"--columns=a.b.c.d"}},
		{"joined", "{\"value\":1}{\"value\":2} {\"x\":\"}\"},{\"value\":3}\n{}",
			"{\"value\":1" + zero + "}{\"value\":2" + zero + "} {\"x\":\"}\"," + null + "},{\"value\":3" + zero + "}\n{" +
				null + "}",
			"fanwatch score: 2 of 5 rows could not be scored, first line 1: there is no field \"value\"\n", nil},
		{"over several lines", "{\n \"value\": 1,\n \"a\": [{}]\n}{\n\"value\":2\n}\n{\"value\":3}\n",
			"{\n \"value\": 1,\n \"a\": [{}]\n" + zero + "}{\n\"value\":2\n" + zero + "}\n{\"value\":3" + zero + "}\n",
			"", nil},
		{"an array", " [ {\"value\":1},\n{\"value\":2}\n]\n", " [ {\"value\":1" + zero + "},\n{\"value\":2" + zero +
			"}\n]\n", "", nil},
		{"cut off", "{\"value\":1\n{\"value\":2}\n{\"value\":\n3}\n{\"value\":[\n{\"value\":4}\n{\"value\":5}\n{\"value\":",
			"{\"value\":1\n{\"value\":2" + zero + "}\n{\"value\":\n3" + zero + "}\n{\"value\":[\n{\"value\":4" + zero +
				"}\n{\"value\":5" + zero + "}\n{\"value\":",
			"fanwatch score: 3 of 7 rows could not be scored, first line 1: it is not a JSON object\n", nil},
		{"plain", "t,value\n1,2\n2,3\n", "t,value" + head + "\n1,2,0,0,0,0\n2,3,0,0,0,0\n", "", nil},
		{"no last line end", "value\n1", "value" + head + "\n1,0,0,0,0", "", nil},
		{"CRLF", "value\r\n1\r\n", "value" + head + "\r\n1,0,0,0,0\r\n", "", nil},
		{"BOM", "\ufeffvalue\n1\n", "\ufeffvalue" + head + "\n1,0,0,0,0\n", "", nil},
		{"blank lines", "value\n\n1\n\r\n", "value" + head + "\n\n1,0,0,0,0\n\r\n", "", nil},
		{"quotes", "\"a \"\"b\"\", c\",\"value\"\n\"x\ny\",\" 1.5 \"\n5\" pipe,2\n",
			"\"a \"\"b\"\", c\",\"value\"" + head + "\n\"x\ny\",\" 1.5 \",0,0,0,0\n5\" pipe,2,0,0,0,0\n", "", nil},
		{"blank first lines", "\n\r\n \t\n value ,b\n1,2\n", "\n\r\n \t\n value ,b" + head + "\n1,2,0,0,0,0\n", "",
			[]string{"--columns= value "}},
		{"CR in quotes", "\"a\r\"\"b\",value\n\"\r\",2\n", "\"a\r\"\"b\",value" + head + "\n\"\r\",2,0,0,0,0\n", "", nil},
		{"NDJSON after blanks", "\ufeff\n\t\n  {\"value\":1}\n",
			"\ufeff\n\t\n  {\"value\":1" + zero + "}\n", "", nil},
		{"two columns", "b,t,a\n1,x,2\n", "b,t,a" + head +
			",anomaly_high_a,anomaly_low_a,anomaly_high_b,anomaly_low_b\n1,x,2,0,0,0,0,0,0,0,0\n", "", []string{"--columns=a,b",
			"--explain"}},
		{"odd name", "\"x,y\"\n1\n", "\"x,y\"" + head + ",\"anomaly_high_x,y\",\"anomaly_low_x,y\"\n1,0,0,0,0,0,0\n", "",
			[]string{"--columns=\"x,y\"", "--explain"}},
		{"unscored", "t,value\n1,\n2,abc\n3,NaN\n4,1e39\n5\n6,7,8\n7,8\n,", "t,value" + head +
			"\n1,,,,,\n2,abc,,,,\n3,NaN,,,,\n4,1e39,,,,\n5,,,,,\n6,7,8,,,,\n7,8,0,0,0,0\n,,,,,",
			"fanwatch score: 7 of 8 rows could not be scored, first line 2: column \"value\" is empty\n", nil},
		{"NDJSON", "{\"value\":1}\n{\"value\" : 2e0, \"x\":[1,{}]} \r\n\n",
			"{\"value\":1" + zero + "}\n" +
				"{\"value\" : 2e0, \"x\":[1,{}]" + zero + "} \r\n\n", "", nil},
		{"NDJSON unscored", "{}\n{\"value\":null}\n{\"value\":\"1\"}\n[1]\n{\"value\":1}x\nnull\n{\"value\":1}\n",
			"{" + null + "}\n" +
				"{\"value\":null," + null + "}\n" +
				"{\"value\":\"1\"," + null + "}\n" +
				"[1]\n{\"value\":1}x\nnull\n{\"value\":1,\"anomaly_score\":0,\"anomaly_grade\":0," +
				"\"anomaly_confidence\":0,\"anomaly_state\":0}\n",
			"fanwatch score: 6 of 7 rows could not be scored, first line 1: there is no field \"value\"\n", nil},
	} {
		out, log, err := score(c.in, append([]string{"--columns=value", "--trees=3"}, c.args...)...)
		if len(c.args) > 0 { // flags given twice add up
			out, log, err = score(c.in, append([]string{"--trees=3"}, c.args...)...)
		}
		if err != nil || out != c.want || log != c.log {
			t.Errorf("%s: %v\n got %q\nwant %q\n log %q, want %q", c.name, err, out, c.want, log, c.log)
		}
	}
}

// many are n names of columns.
func many(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("c", i))
	}
	return strings.Join(names, ",")
}

func TestScoreRefuses(t *testing.T) {
	for _, c := range []struct {
		in, args, want string
		usage          bool
	}{
		{"t,value\n", "--columns=valeu", `there is no column "valeu", the header has "t", "value" (see --help)`, true},
		{"value,value\n", "--columns=value", `two columns "value"`, false},
		{"value,anomaly_score\n", "--columns=value", `a column "anomaly_score" already`, false},
		{"", "--columns=value", "the input is empty", false},
		{"value\n\"1\n2\n", "--columns=value", "line 2: a quote is not closed", false},
		{"value\n1\nx\n2\n", "--columns=value --strict", `line 3: column "value" is "x", not a number`, false},
		{"{\"value\":1,\"anomaly_grade\":2}\n", "--columns=value", `line 1: the object has a field "anomaly_grade" already`,
			false},
		{"{\"value\":1}\n{}\n", "--columns=value --strict", `line 2: there is no field "value"`, false},
		{"value\n", "", `"columns" not set`, true},
		{"value\n", "--columns=", "--columns needs names", true},
		{"value\n", "--columns=value,value", "twice", true},
		{"value\n", "--columns=value --trees=0", "--trees is 0, give 1 or more", true},
		{"value\n", "--columns=value --trees=20000", "give 1 to 10000", true},
		{"value\n", "--columns=value --trees=1001 --preset=kda", "--trees is 1001, give 1 to 1000 (see --help)", true},
		{"value\n", "--columns=value --sample-size=9 --preset=kda", "--sample-size is 9, give 10 to 1000 (see --help)", true},
		{"value\n", "--columns=value --sample-size=1", "--sample-size is 1, give 2 to 32767 (see --help)", true},
		{"value\n", "--columns=value --shingle=31 --preset=kda", "--shingle is 31, give 1 to 30 (see --help)", true},
		{"value\n", "--columns=value --shingle=5000", "--shingle is 5000, give 1 to 4096 (see --help)", true},
		{"value\n", "--columns=value,b --shingle=4096", "--columns times --shingle is 8192, more than 4096; make " +
			"either smaller (see --help)", true},
		{"value\n", "--columns=value --preset=kda --time-decay=3000000000",
			"--time-decay is 3000000000, give 1 to 2147483647 (see --help)", true},
		{"value\n", "--preset=kda --columns=" + many(137), "the number of --columns is 137, give 1 to 136 (see --help)",
			true},
		{strings.Repeat("x", 1<<20) + "\n", "--columns=value", `the header has "` + strings.Repeat("x", 40) +
			`" (see --help)`, true},
		{"\n \n", "--columns=value", "the input is empty", false},
		{"t,value\r1,2\r2,3\r", "--columns=value",
			`line 1: the header has a bare CR (\r), as where lines end in CR alone: make them end in LF, ` +
				`with tr '\r' '\n' < FILE`, false},
		{"\r\n\"t\",\"value\"\r\"1\",2\n", "--columns=value", "line 2: the header has a bare CR", false},
		{"value\n1_0\n", "--columns=value --strict", `line 2: column "value" is "1_0", not a number`, false},
		{"value\n0x10\n", "--columns=value --strict", `line 2: column "value" is "0x10", not a number`, false},
		{"value\nnan\n", "--columns=value --strict", `line 2: column "value" is "nan", not a number`, false},
		{"value\n-inf\n", "--columns=value --strict",
			`line 2: column "value" is "-inf", beyond the largest number that can be scored, 3.4028e+38`, false},
		{"value\n1e400\n", "--columns=value --strict", `line 2: column "value" is "1e400", beyond the largest`, false},
		{"\nvalue\n1e39\n", "--columns=value --strict", `line 3: column "value" is "1e39", beyond the largest`, false},
		{"{\"value\":-1e400}\n", "--columns=value --strict", `line 1: field "value" is -1e400, beyond the largest`, false},
		{"value\n", "--columns=value --time-decay=0", "--time-decay is 0", true},
		{"value\n", "--columns=value --preset=aws", `--preset is "aws"`, true},
		{"value\n", "--columns=value --format=xml", `--format is "xml", give csv, ndjson or auto`, true},
		{"value\n", "--columns=value --decimal=,", `--decimal is ",", give point, comma or auto`, true},
		{"value\n", "--columns=value --separator=ab", `--separator is "ab", give one character`, true},
		{"value\n", "--columns=value --separator=.", `--separator is ".", give one character`, true},
		{"value\n", "--columns=value --learn=100", "--learn is 100, give 0 to learn for ever, or 128 to", true},
		{"a;b\n1;2\n", "--columns=c", `there is no column "c", the header has "a", "b" (see --help)`, true},
		{"value\n", "--columns=value", "not one row was scored: the input has none", false},
		{"value\nx\n\ny\n", "--columns=value", `not one of 2 rows could be scored, first line 2: column "value" is "x"`,
			false},
		{"{\"a\":{\"b\":\"x\"}}", "--columns=a.b", `first line 1: field "a.b" is "x", not a number`, false},
		{"{\"a\":{\"b\":1}}", "--columns=a.c", `first line 1: there is no field "a.c"`, false},
		{"[1,2]\n", "--columns=value", `there is no column "value", the header has "[1", "2]"`, true},
		{"value\n", "--columns=value --threshold=-1", "--threshold is -1, give more than 0", true},
		{"value\n", "--columns=value --threshold=NaN", "--threshold is NaN, give more than 0", true},
		{"value\n", "--columns=value --views=point,shape", `--views names "shape", give point, rolling, shingle`, true},
		{"value\n", "--columns=value --views=", "--views needs names", true},
		{"value\n", "--columns=value --views=shingle --learn=150", "--learn is 150, give 0 to learn for ever, or 175 to",
			true},
		{"value\n", "--columns=value --seed=x", "invalid argument", true},
	} {
		_, log, err := score(c.in, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, errUsage) != c.usage ||
			strings.Contains(err.Error(), "\n") || log != "" {
			t.Errorf("%q %s: %v (usage: %v), want %q; log %q", c.in, c.args, err, errors.Is(err, errUsage), c.want, log)
		}
	}
}

// A row's result comes before the next row is there.
func TestScoreStreams(t *testing.T) {
	inReader, inWriter := io.Pipe()
	outReader, outWriter := io.Pipe()
	c := command()
	c.SetArgs([]string{"score", "--columns=value", "--trees=3"})
	c.SetIn(inReader)
	c.SetOut(outWriter)
	done := make(chan error, 1)
	go func() { done <- c.Execute() }()
	out := bufio.NewReader(outReader)
	for i := range 20 {
		if _, err := io.WriteString(inWriter, map[bool]string{true: "value\n", false: "5\n"}[i == 0]); err != nil {
			t.Fatal(err)
		}
		if row, err := out.ReadString('\n'); err != nil || i > 0 && row != "5,0,0,0,0\n" {
			t.Fatalf("row %d: %q, %v", i, row, err)
		}
	}
	inWriter.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestScoreWithoutReaders(t *testing.T) {
	for want, out := range map[error]io.Writer{nil: brokenPipe{}, syscall.ENOSPC: full{}} {
		c := command()
		c.SetArgs([]string{"score", "--columns=rpm", "--trees=3"})
		c.SetIn(strings.NewReader(rpm(10_000)))
		c.SetOut(out)
		var log bytes.Buffer
		c.SetErr(&log)
		if err := c.Execute(); !errors.Is(err, want) || log.Len() > 0 {
			t.Errorf("%T: %v, want %v; log %q", out, err, want, log.String())
		}
	}
}

// Ctrl-C ends it though nothing comes in.
func TestScoreIsInterrupted(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c := command()
	c.SetArgs([]string{"score", "--columns=value"})
	c.SetIn(in)
	c.SetOut(io.Discard)
	done := make(chan error, 1)
	go func() { done <- c.ExecuteContext(ctx) }()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}

// numbered gives a header and then rows for ever.
type numbered struct{ rest []byte }

func (n *numbered) Read(p []byte) (int, error) {
	for i := 0; len(n.rest) < len(p); i++ {
		n.rest = strconv.AppendInt(n.rest, int64(100_000+i), 10)
		n.rest = append(n.rest, '\n')
	}
	k := copy(p, n.rest)
	n.rest = n.rest[k:]
	return k, nil
}

// interrupting cancels at its third write.
type interrupting struct {
	bytes.Buffer
	writes int
	cancel func()
}

func (w *interrupting) Write(p []byte) (int, error) {
	if w.writes++; w.writes == 3 {
		w.cancel()
	}
	return w.Buffer.Write(p)
}

// Ctrl-C while rows come in: a cut number would pass for another one, so every row that was scored goes out whole.
func TestScoreInterruptedWritesWholeRows(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := newScorer(scoreOptions{columns: []string{"value"}, views: []string{"point"}, trees: 3, sampleSize: 16,
		shingle: 1, timeDecay: 100,
		format: "csv", separator: "auto", decimal: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	out := &interrupting{cancel: cancel}
	if err := s.run(ctx, io.MultiReader(strings.NewReader("value\n"), &numbered{}), out, io.Discard); !errors.Is(err,
		context.Canceled) {
		t.Fatal(err)
	}
	rows := strings.SplitAfter(out.String(), "\n")
	if last := rows[len(rows)-1]; last != "" || len(rows)-2 != s.seen {
		t.Errorf("%d whole rows of %d came out, and then %q", len(rows)-2, s.seen, last)
	}
}

// A write to a pipe that nobody reads cannot be interrupted by the first Ctrl-C, so the second ends the program.
func TestSecondInterruptEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no signals to send")
	}
	c := program("score", "--columns=value", "--trees=3")
	c.Stdin = io.MultiReader(strings.NewReader("value\n"), &numbered{})
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill() }() // it has ended when all went well
	if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = c.Process.Wait()
		close(ended)
	}()
	for range 100 {
		_ = c.Process.Signal(os.Interrupt) // that it has ended is no error
		select {
		case <-ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Error("it goes on")
}

// Memory does not depend on the input: a row that does not end is an error before it fills the memory.
func TestScoreBoundsRows(t *testing.T) {
	c := command()
	c.SetArgs([]string{"score", "--columns=value"})
	c.SetIn(io.MultiReader(strings.NewReader("value\n\"1"), endless{}))
	c.SetOut(io.Discard)
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "line 2: the row is longer than 16 MiB") {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "x\n"[i%2]
	}
	return len(p), nil
}

func TestScoreProgress(t *testing.T) {
	var w bytes.Buffer
	start := time.Unix(0, 0)
	p := &progress{w: &w, start: start, last: start, rows: 5000}
	p.show(start.Add(2*time.Second), "\n")
	if w.String() != "\r5000 rows, 2500 rows/s \n" {
		t.Errorf("%q", w.String())
	}
	if newProgress(&w).w != nil {
		t.Error("a buffer is no terminal")
	}
}

// FuzzScore: whatever the bytes, either an error of one line, or the input's rows come out with columns appended; and
// what encoding/csv reads of the input it reads of the output too.
func FuzzScore(f *testing.F) {
	for _, in := range []string{"value\n1\n2\n", "\ufeffa,\"value\"\r\n\"x\"\"\n\",1e3\r\n", "value,b\n1\n2,3,4\n,\n\n",
		"{\"value\":1}\n{}\n[\n{\"value\":null,\"a\":\"}\"}", "\"value", "", "\n \n{\"value\":1}", " \r\n\nvalue\n1_0\n",
		"value\r1\r", "t;value\n1;2,5\n", "t\tvalue\n1\t\"2\"\n", "{\"value\":1}{\"value\":2}\n{\n\"value\":3}",
		"[{\"value\":1},\n{\"value\":2}]", "{\"value\":1\n{\"value\":2}\n", "{\"a\":{\"value\":1}}", "{\"value\":\n\n{\n",
		"value|\"\n1|1"} {
		f.Add(in, false)
		f.Add(in, true)
	}
	f.Fuzz(func(t *testing.T, in string, explain bool) {
		o := scoreOptions{columns: []string{"value"}, views: []string{"point"}, trees: 2, sampleSize: 4,
			shingle: 1, timeDecay: 10, format: "auto",
			explain: explain, separator: "auto", decimal: "auto"}
		s, err := newScorer(o)
		if err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		if err := s.run(t.Context(), strings.NewReader(in), &out, &log); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("an error of several lines: %v", err)
			}
			if !strings.HasPrefix(err.Error(), "not one") {
				return
			}
		}
		if strings.Count(in, "\n") != strings.Count(out.String(), "\n") {
			t.Fatalf("%q becomes %q", in, out.String())
		}
		if without := appendedFields.ReplaceAllString(out.String(), ""); without != out.String() {
			if in != without {
				t.Fatalf("%q becomes %q", in, out.String())
			}
			checkNDJSON(t, in, out.String())
		} else if in != out.String() {
			checkCSV(t, in, out.String(), len(s.values))
		}
	})
}

// appendedFields are what is appended to an object.
var appendedFields = regexp.MustCompile(`,?"anomaly_score":[^,}]*,"anomaly_grade":[^,}]*,"anomaly_confidence":[^,}]*,` +
	`"anomaly_state":[^,}]*(,"anomaly_(high|low)_value":[^,}]*)*`)

// checkNDJSON: where the input is nothing but objects, the output is as many, and the fields are more.
func checkNDJSON(t *testing.T, in, out string) {
	read := func(text string) (objects []map[string]any) {
		d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(text, bom)))
		for {
			var object map[string]any
			if err := d.Decode(&object); err == io.EOF {
				return objects
			} else if err != nil || object == nil {
				return nil
			}
			objects = append(objects, object)
		}
	}
	before, after := read(in), read(out)
	if before != nil && len(before) != len(after) {
		t.Fatalf("%q becomes %q", in, out)
	}
	for i := range before {
		if len(after[i]) < len(before[i])+4 {
			t.Fatalf("%q becomes %q", in, out)
		}
	}
}

func checkCSV(t *testing.T, in, out string, appended int) {
	// Lines before the header may be blank, of which encoding/csv says that they have a field.
	begin := strings.LastIndexByte(in[:len(in)-len(strings.TrimLeft(in, " \t\r\n"))], '\n') + 1
	if in[:begin] != out[:begin] {
		t.Fatalf("%q becomes %q", in, out)
	}
	in, out = in[begin:], out[begin:]
	read := func(text string) ([][]string, error) { // it wants rows of equal length, and strict quotes
		r := csv.NewReader(strings.NewReader(text))
		_, rest, _ := strings.Cut(out, "anomaly_score")
		r.Comma = rune(rest[0])
		return r.ReadAll()
	}
	rows, err := read(in)
	if err != nil {
		return
	}
	scored, err := read(out)
	if err != nil || len(scored) != len(rows) {
		t.Fatalf("%q becomes %q: %d rows, %v", in, out, len(scored), err)
	}
	for i := range rows {
		if len(scored[i]) != len(rows[i])+appended || strings.Join(scored[i][:len(rows[i])], "\x00") != strings.Join(rows[i],
			"\x00") {
			t.Fatalf("row %q becomes %q", rows[i], scored[i])
		}
	}
}

// BenchmarkScore scores CSV rows of one number as fanwatch score does by default, and reports rows per second.
func BenchmarkScore(b *testing.B) {
	in := strings.SplitAfter(rpm(5000), "\n")
	body := strings.Join(in[1:], "")
	for _, preset := range []string{"", "kda"} {
		b.Run("preset="+preset, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				s, err := newScorer(scoreOptions{columns: []string{"rpm"}, views: []string{"point"}, trees: 100, sampleSize: 256,
					shingle: 1, timeDecay: 100_000, seed: 1, preset: preset, format: "csv", separator: "auto",
					decimal: "auto"})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.run(b.Context(), io.MultiReader(strings.NewReader(in[0]), strings.NewReader(body),
					strings.NewReader(body)), io.Discard, io.Discard); err != nil {
					b.Fatal(err)
				}
				rows += s.seen
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
