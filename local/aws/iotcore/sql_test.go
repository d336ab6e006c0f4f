package iotcore

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func testMessage(payload string) *message {
	m := &message{
		Topic: "IoT_TOPIC/recieve", Published: "IoT_TOPIC/recieve", ClientID: "new_Client", Principal: "abc123",
		Arrived: time.UnixMilli(1790000000123), Payload: []byte(payload), newUUID: func() string { return "a-uuid" },
	}
	m.read()
	return m
}

func TestQueryOutput(t *testing.T) {
	for _, c := range []struct{ name, sql, payload, want string }{
		{"all and additions", "SELECT *, timestamp() AS arrived, clientid() AS client FROM 'IoT_TOPIC/recieve'",
			`{"FANID":"ABC123456","RPM":1800}`,
			`{"FANID":"ABC123456","RPM":1800,"arrived":1790000000123,"client":"new_Client"}`},
		{"digits stay as they are", "SELECT * FROM 'a'",
			`{"run":18446744073709551615,"x":1.10,"y":1e3,"z":-0.0}`,
			`{"run":18446744073709551615,"x":1.10,"y":1e3,"z":-0.0}`},
		{"nested", "select a.b.c, a.b as whole from 'x'", `{"a":{"b":{"c":9007199254740993}}}`,
			`{"c":9007199254740993,"whole":{"c":9007199254740993}}`},
		{"undefined is left out", "SELECT a, b, a.c FROM 'x'", `{"a":1}`, `{"a":1}`},
		{"topic", "SELECT topic() AS t, topic(1) AS one, topic(2), topic(9) AS none FROM 'x'", `{}`,
			`{"t":"IoT_TOPIC/recieve","one":"IoT_TOPIC","topic(2)":"recieve"}`},
		{"principal", "SELECT principal(), newuuid() AS id FROM 'x'", `{}`, `{"principal()":"abc123","id":"a-uuid"}`},
		{"literals", "SELECT 'it''s' AS s, 15 AS n, -1.5e3 AS f, true AS b, null AS z FROM 'x'", `{}`,
			`{"s":"it's","n":15,"f":-1.5e3,"b":true,"z":null}`},
		{"later name wins", "SELECT *, 2 AS a FROM 'x'", `{"a":1,"b":1}`, `{"a":2,"b":1}`},
		{"no FROM", "SELECT *", `{"a":1}`, `{"a":1}`},
		{"text is not escaped twice", "SELECT * FROM 'x'", "{\"a\":\"<&> \u00e9 \\u00e9\"}",
			"{\"a\":\"<&> \u00e9 \\u00e9\"}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := parseQuery(c.sql)
			if err != nil {
				t.Fatal(err)
			}
			got, err := q.output(testMessage(c.payload))
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestQueryRefusesPayloads(t *testing.T) {
	q, err := parseQuery("SELECT *, timestamp() AS t FROM 'x'")
	if err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]string{
		`{"RPM": NaN}`: "not JSON",
		``:             "not JSON",
		`{"a":1} x`:    "not JSON",
		`[1]`:          "not an object",
		"\xff\xfe":     "not UTF-8",
	} {
		if _, err := q.output(testMessage(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", payload, err, want)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	for sql, want := range map[string]string{
		"":                            "SELECT expected",
		"DELETE FROM 'x'":             "SELECT expected",
		"SELECT abs(a) AS b FROM 'x'": "abs()",
		"SELECT encode(*, 'base64') AS b FROM 'x'": "encode()",
		"SELECT timestamp(1) AS b FROM 'x'":        "arguments of timestamp",
		"SELECT topic(0) AS b FROM 'x'":            "counted from 1",
		"SELECT a + b FROM 'x'":                    `'+'`,
		"SELECT VALUE a FROM 'x'":                  `"a"`,
		"SELECT 5 FROM 'x'":                        "needs a name",
		"SELECT a FROM x":                          "single quotes",
		"SELECT a FROM 'x/#/y'":                    "# stands alone",
		"SELECT a FROM 'x' WHERE a":                "WHERE knows comparisons",
		"SELECT a FROM 'x' WHERE a = 1 OR b = 2":   `"OR"`,
		"SELECT a FROM 'x' GROUP BY b":             `"GROUP"`,
		"SELECT CASE a WHEN 1 THEN 2 END FROM 'x'": `"CASE"`,
		"SELECT 'open FROM x":                      "closing quote",
		"SELECT a. FROM 'x'":                       `single quotes|"FROM"|'x'`,
		"SELECT (SELECT a FROM b) AS c FROM 'x'":   `"("`,
		"SELECT a FROM 'x'; DROP":                  "';'",
		"SELECT 1.2.3 AS a FROM 'x'":               "not a number",
		"SELECT a FROM 'a/b/c/d/e/f/g/h/i'":        "slashes",
		"SELECT " + strings.Repeat("a,", 40<<10):   "bytes",
	} {
		_, err := parseQuery(sql)
		if err == nil {
			t.Errorf("%.60q was accepted", sql)
			continue
		}
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || strings.Contains(err.Error(), w)
		}
		if !ok {
			t.Errorf("%.60q: error %q does not say %q", sql, err, want)
		}
	}
}

func TestWhere(t *testing.T) {
	for where, want := range map[string]bool{
		"rpm > 1000":                   true,
		"rpm > 1800":                   false,
		"rpm >= 1800 AND rpm <= 1800":  true,
		"fan = 'ABC' and rpm <> 0":     true,
		"fan != 'ABC'":                 false,
		"missing = 1":                  false,
		"fan = 1":                      false,
		"ok = true":                    true,
		"topic(2) = 'recieve'":         true,
		"nested.deep < 0":              true,
		"clientid() = 'somebody else'": false,
		"rpm = 1800.0":                 true,
		"fan < 'B'":                    true,
		"ok <> true":                   false,
	} {
		q, err := parseQuery("SELECT * FROM 'x' WHERE " + where)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if got := q.wants(testMessage(`{"rpm":1800,"fan":"ABC","ok":true,"nested":{"deep":-1}}`)); got != want {
			t.Errorf("WHERE %s: got %v", where, got)
		}
	}
}

func TestTemplate(t *testing.T) {
	m := testMessage(`{"FANID":"ABC123456","n":12345678901234567890,"a":{"b":"x}y"},"o":{"k":1}}`)
	for source, want := range map[string]string{
		"${FANID}":                 "ABC123456",
		"fan-${FANID}-${topic(2)}": "fan-ABC123456-recieve",
		"${clientid()}":            "new_Client",
		"${newuuid()}":             "a-uuid",
		"${n}":                     "12345678901234567890",
		"${a.b}":                   "x}y",
		"${ 'a}b' }":               "a}b",
		"${o}":                     `{"k":1}`,
		"plain":                    "plain",
		"":                         "",
		"$5 {x}":                   "$5 {x}",
		"${timestamp()}":           "1790000000123",
	} {
		tm, err := parseTemplate(source)
		if err != nil {
			t.Errorf("%q: %v", source, err)
			continue
		}
		if got, err := tm.expand(m); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", source, got, err, want)
		}
	}
	for _, source := range []string{"${", "${}", "${a", "${a b}", "${abs(a)}", "${'a}", "${a.}", "x${*}"} {
		if _, err := parseTemplate(source); err == nil {
			t.Errorf("%q was accepted", source)
		}
	}
	tm, err := parseTemplate("${fan}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tm.expand(m); err == nil || !strings.Contains(err.Error(), "fan is undefined") {
		t.Errorf("an undefined field: %v", err)
	}
}

func TestMatchFilter(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/#", "a/b/c", true},
		{"a/#", "a", true}, {"#", "a/b", true}, {"#", "$aws/x", false}, {"+/x", "$aws/x", false}, {"$aws/#", "$aws/x", true},
		{"a/b", "a", false}, {"a", "a/b", false}, {"+", "", true},
	} {
		if got := matchFilter(c.filter, c.topic); got != c.want {
			t.Errorf("%s on %s: %v", c.filter, c.topic, got)
		}
	}
}

// FuzzQuery: whatever parses runs on a message without a panic and gives valid JSON.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"SELECT *, timestamp() AS x, clientid() AS y, topic(), topic(2), principal() AS z, a AS b, c.d, 'e' AS e, -1 " +
			"AS f FROM 'a/+/#' WHERE a.b >= 'x' AND 1 <> 2",
		"SELECT * FROM 'x'", "select 1e5 as a", "SELECT '' AS a FROM '$aws/x'", "SELECT\ta--1", "SELECT 'a''b' AS c",
	} {
		f.Add(s, `{"a":{"b":"x"},"c":{"d":[1,2]}}`)
	}
	f.Add("SELECT a.b.c, *", `{"a":{"b":{"c":1e999}},"a":2,"":null}`)
	f.Fuzz(func(t *testing.T, sql, payload string) {
		q, err := parseQuery(sql)
		if err != nil {
			return
		}
		m := testMessage(payload)
		q.wants(m)
		out, err := q.output(m)
		if err == nil && !json.Valid(out) {
			t.Errorf("%q on %q gave %q", sql, payload, out)
		}
		if json.Valid([]byte(payload)) && strings.HasPrefix(strings.TrimSpace(payload), "{") && err != nil &&
			m.problem == nil {
			t.Errorf("%q refused: %v", payload, err)
		}
	})
}

// FuzzTemplate: whatever parses expands without a panic, and text without ${ stays as it is.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"${FANID}", "a${b.c}d${topic(3)}e", "${'}'}", "${newuuid()}", "$${a}}", "${-1}",
		"${'a''b'}"} {
		f.Add(s, `{"FANID":"x","b":{"c":1}}`)
	}
	f.Fuzz(func(t *testing.T, source, payload string) {
		tm, err := parseTemplate(source)
		if err != nil {
			return
		}
		got, err := tm.expand(testMessage(payload))
		if !strings.Contains(source, "${") && (err != nil || got != source) {
			t.Errorf("%q became %q, %v", source, got, err)
		}
	})
}
