package detect

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanwatch"
)

// TestOneClientCannotFillTheLog: of what it sends and has refused, the payloads of 60 messages a minute are kept;
// each message has its row and its reason, other clients are not touched, and a replay or a snapshot comes to the same.
func TestOneClientCannotFillTheLog(t *testing.T) {
	at := time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	m, replayed := New(Config{Seed: 1}), New(Config{Seed: 1})
	kept := map[string]int{}
	n := 0
	feed := func(client string, arrived time.Time) {
		n++
		data := fmt.Appendf(nil, `{"client":%q,"v":1,"fan":"x","run":"zz","readings":[{}],"junk":%q}`, client,
			strings.Repeat("j", 3000))
		out := m.Feed(Input{Position: fanwatch.Position{Shard: "s", Sequence: fanwatch.SequenceNumber(fmt.Sprint(n))},
			Arrived: arrived, Data: data})
		if len(out.Rows) != 1 || out.Rows[0].Reason == "" {
			t.Fatalf("%+v", out.Rows)
		}
		if len(out.Rows[0].Payload) > 0 {
			kept[client]++
		} else if !strings.HasSuffix(out.Rows[0].Reason, overQuota) {
			t.Errorf("no payload and no word of it: %q", out.Rows[0].Reason)
		}
		if err := replayed.Replay(out.Rows); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		feed("bad", at.Add(time.Duration(i)*time.Millisecond))
	}
	feed("good", at.Add(time.Second))
	if kept["bad"] != payloadsPerMinute || kept["good"] != 1 {
		t.Errorf("kept %v", kept)
	}
	a, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := replayed.Snapshot(); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the replay's snapshot differs, %v", err)
	}
	if m, err = Restore(Config{Seed: 1}, a); err != nil {
		t.Fatal(err)
	}
	feed("bad", at.Add(2*time.Second))
	feed("bad", at.Add(time.Minute))
	if kept["bad"] != payloadsPerMinute+1 {
		t.Errorf("kept %v after the next minute began", kept)
	}
	for i := range 3 * clientsPerMinute {
		feed(fmt.Sprint("made up ", i), at.Add(2*time.Minute))
	}
	if len(m.quota.Kept) > clientsPerMinute+1 {
		t.Errorf("%d clients are remembered", len(m.quota.Kept))
	}
}
