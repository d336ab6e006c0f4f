package rowfile

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// TestPartsAreReadAsOneFile reads parts in memory and in a temporary file as one, in every way that a Store may.
func TestPartsAreReadAsOneFile(t *testing.T) {
	var s tempFile
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	p := &pieces{file: &s}
	var want []byte
	for i := range 20 {
		part := bytes.Repeat([]byte{byte('a' + i)}, i*i*37%5000+1)
		want = append(want, part...)
		if i%3 == 0 {
			p.add(piece{bytes: part})
			continue
		}
		at, err := s.write(part)
		if err != nil {
			t.Fatal(err)
		}
		p.add(piece{span: at})
	}
	if err := iotest.TestReader(p, want); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 1, int64(len(want)) / 2, int64(len(want))} {
		if _, err := p.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := p.WriteTo(&out); err != nil || n != int64(len(want))-from || !bytes.Equal(out.Bytes(), want[from:]) {
			t.Fatalf("from %d on: %d bytes, %v", from, n, err)
		}
	}
	if n, err := p.Seek(0, io.SeekEnd); err != nil || n != p.size || n != int64(len(want)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
