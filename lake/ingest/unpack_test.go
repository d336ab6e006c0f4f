package ingest

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func unpacked(data []byte) (string, error) {
	in, err := unpack(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(in)
	return string(text), err
}

// TestAllGzipMembersAreUnpacked: with line ends or zero bytes between and behind them, packed once or over and over.
func TestAllGzipMembersAreUnpacked(t *testing.T) {
	a, b := gzipped(t, []byte("abc")), gzipped(t, []byte("def"))
	twice := gzipped(t, a)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"plain":       {[]byte("abc"), "abc"},
		"none":        {nil, ""},
		"one":         {a, "abc"},
		"joined":      {slicesOf(a, b), "abcdef"},
		"lines":       {slicesOf(a, "\n", b, "\r\n", a, "\n"), "abcdefabc"},
		"padded":      {slicesOf(a, strings.Repeat("\x00", 100_000)), "abc"},
		"padding":     {slicesOf(a, strings.Repeat("\x00", 512), b), "abcdef"},
		"twice":       {twice, "abc"},
		"twice, many": {gzipped(t, slicesOf(a, "\n", b)), "abcdef"},
		"four times":  {gzipped(t, gzipped(t, twice)), "abc"},
	} {
		if got, err := unpacked(c.data); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := unpacked(gzipped(t, gzipped(t, gzipped(t, twice)))); err == nil {
		t.Errorf("five times: %q", got)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"cut":      {a[:len(a)-3], "abc"},
		"checksum": {slicesOf(a[:len(a)-8], "12345678"), "abc"},
		"trailing": {slicesOf(a, "\nrubbish"), "abc"},
		"header":   {slicesOf(a, "\n", b[:6]), "abc"},
	} {
		if got, err := unpacked(c.data); err == nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var trailing *trailingError
	if _, err := unpacked(slicesOf(a, "\nrubbish")); !errors.As(err, &trailing) || string(trailing.rest) != "rubbish" {
		t.Errorf("what stands behind a member is not kept: %v", err)
	}
}

func slicesOf(parts ...any) (all []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			all = append(all, p...)
		case string:
			all = append(all, p...)
		}
	}
	return all
}

// TestAGzipBombIsBounded: a small object does not become more than its bound, and lies nowhere as a whole.
func TestAGzipBombIsBounded(t *testing.T) {
	b := &bounded{in: zeros{}, left: 1000}
	if n, err := io.Copy(io.Discard, b); n != 1000 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := b.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("behind its error: %d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestAFormatThatIsNotJSONIsNamed: formats that Firehose and others write, and no text that may hold JSON.
func TestAFormatThatIsNotJSONIsNamed(t *testing.T) {
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	w, err := z.Create("x.json")
	if err == nil {
		_, err = w.Write([]byte(`{"a":1}`))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	const reading = `{"TIME":"2026-03-01T00:00:00","FANID":"fan-a","RPM":1800}`
	for name, head := range map[string]string{
		"ZIP": archive.String(), "Parquet": "PAR1\x15\x04", "ORC": "ORC\x08\x03", "Avro": "Obj\x01\x04",
		"bzip2": "BZh91AY&SY", "Zstandard": "\x28\xb5\x2f\xfd\x24",
		"Snappy": "\xff\x06\x00\x00sNaPpY\x01", "UTF-16": "\xff\xfe{\x00\"\x00", "tar": "x.json" +
			strings.Repeat("\x00", 251) + "ustar\x0000", "xz": "\xfd7zXZ\x00",
	} {
		if got := foreignFormat("firehose/x", []byte(head)); !strings.HasPrefix(got, "it is ") ||
			!strings.Contains(got, name) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, head := range []string{"{\x00\"\x00", "\x00{\x00\""} {
		if got := foreignFormat("x", []byte(head)); !strings.Contains(got, "UTF-16") {
			t.Errorf("%q: %q", head, got)
		}
	}
	if got := foreignFormat("x.hsnappy", []byte("\x00\x00\x01\x00\x00\x00\x00\x80\x80\x02\xf0\x3c{")); !strings.Contains(
		got, "Snappy") {
		t.Errorf("Hadoop's Snappy: %q", got)
	}
	for _, head := range []string{"", reading, "[" + reading, "\ufeff" + reading, "\x00" + reading,
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + reading, "rubbish\n" + reading, "\x1e" + reading} {
		for _, key := range []string{"x", "x.snappy"} {
			if got := foreignFormat(key, []byte(head)); got != "" && !(key == "x.snappy" && (head == "" || head[0] == 'r')) {
				t.Errorf("%s, %q: %q", key, head, got)
			}
		}
	}
	for junk, want := range map[string]string{"TIME,FANID,RPM\n2026,a,1800": "CSV", "a;b;c": "CSV",
		"hello, world": "no JSON object", "\x80\x81,\x00,,": "no JSON object"} {
		if got := noObject([]byte(junk)); !strings.Contains(got, want) {
			t.Errorf("%q: %q", junk, got)
		}
	}
}

// FuzzUnpack wants members back, whatever stands between them, and of other bytes an end without a panic.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("abc"), uint64(1), uint8(0))
	f.Add(slicesOf(gzipped(f, []byte("abc")), "\n", gzipped(f, gzipped(f, []byte("def"))), "\x00rubbish"), uint64(2),
		uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, cut uint8) {
		text, err := unpacked(data)
		if !bytes.HasPrefix(data, gzipMagic) && (err != nil || text != string(data)) {
			t.Fatalf("%q became %q, %v", data, text, err)
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		var whole, packed []byte
		for rest := append([]byte("."), data...); len(rest) > 0; { // "." for what begins as gzip is unpacked again
			n := 1 + rng.IntN(len(rest))
			whole, packed, rest = append(whole, rest[:n]...), append(packed, gzipped(t, rest[:n])...), rest[n:]
			packed = append(packed, []string{"", "\n", "\r\n", "\x00\x00\x00"}[rng.IntN(4)]...)
		}
		if rng.IntN(2) == 0 {
			packed = gzipped(t, packed)
		}
		if text, err := unpacked(packed); err != nil || text != string(whole) {
			t.Fatalf("%q became %q, %v", whole, text, err)
		}
		// one byte of gzip's two is text
		if text, err := unpacked(packed[:len(packed)-int(cut)%len(packed)]); !strings.HasPrefix(string(whole), text) &&
			text != "\x1f" {
			t.Fatalf("cut by %d bytes: %q is no beginning of %q, %v", cut, text, whole, err)
		}
		if format := foreignFormat("x", data); format == "" {
			_ = noObject(data)
		}
		_, _ = parseUnprocessed(data)
	})
}
