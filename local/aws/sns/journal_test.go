package sns

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTornTailIsCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.log")
	j := mustOpen(t, path, 0)
	for i := range 3 {
		if err := j.append(record{Entries: []Entry{{ID: uint64(i + 1), Body: "body"}}}, true); err != nil {
			t.Fatal(err)
		}
	}
	whole := j.size
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	full, err := os.ReadFile(path)
	if err != nil || int64(len(full)) != whole {
		t.Fatal(err, len(full), whole)
	}
	second := bytes.IndexByte(full, '\n') + 1
	third := second + bytes.IndexByte(full[second:], '\n') + 1
	for _, cut := range []int{third, third + 1, third + 8, third + 9, (third + len(full)) / 2, len(full) - 2} {
		for _, tail := range []string{"", "\x00\x00\x00", "\n"} {
			if err := os.WriteFile(path, append(full[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			j := mustOpen(t, path, 2)
			if err := j.append(record{Repeats: []uint64{1}}, true); err != nil {
				t.Fatal(err)
			}
			j.close()
			mustOpen(t, path, 3).close()
		}
	}
}

func TestDamageInTheMiddleLosesOneRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.log")
	j := mustOpen(t, path, 0)
	for i := range 3 {
		if err := j.append(record{Entries: []Entry{{ID: uint64(i + 1), Body: "body"}}}, false); err != nil {
			t.Fatal(err)
		}
	}
	j.close()
	data, _ := os.ReadFile(path)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, 2).close()
}

func TestJournalOfALaterVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.log")
	text := []byte(`{"v":2}`)
	if err := os.WriteFile(path, fmt.Appendf(nil, "%08x %s\n", checksum(text), text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openJournal(path, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func TestCompactionKeepsTheState(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Dir: dir, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	// A confirmed subscription at an address where nothing listens keeps a delivery queued.
	if err := s.topics.update(func(_ map[string]topic, subs map[string]subscription) {
		subs["sub"] = subscription{ARN: "sub", Confirmed: true}
	}); err != nil {
		t.Fatal(err)
	}
	queued := delivery{ID: 7, Type: "Notification", Subscription: "sub", URL: "http://127.0.0.1:1", Time: s.cfg.Now(),
		Body: "held"}
	if err := s.commit(record{Deliveries: []delivery{queued}}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := s.commit(record{Entries: []Entry{{ID: uint64(i + 1), Body: fmt.Sprint(i), Key: fmt.Sprint(i),
			Copies: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	s.journal.compactAt = 1
	before := s.journal.size
	if err := s.commit(record{Repeats: []uint64{5}}); err != nil {
		t.Fatal(err)
	}
	if s.journal.size >= before {
		t.Errorf("the journal grew from %d to %d", before, s.journal.size)
	}
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = New(Config{Dir: dir, Keep: 2}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	list, _ := s.inbox.newest(0, 10)
	if len(list) != 2 || list[0].ID != 5 || list[0].Copies != 2 || list[1].ID != 4 || s.inbox.last != 5 {
		t.Errorf("inbox %+v", list)
	}
	if s.queue[7].Body != "held" || s.lastID != 7 {
		t.Errorf("queue %+v, last %d", s.queue, s.lastID)
	}
}

func mustOpen(t *testing.T, path string, want int) *journal {
	t.Helper()
	j, records, err := openJournal(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != want {
		t.Fatalf("%d records, want %d", len(records), want)
	}
	return j
}

// FuzzJournal: whatever stands behind sound records (a record of any content,
// then any bytes), they are recovered and their effect is harmless.
func FuzzJournal(f *testing.F) {
	sound, err := encodeRecord(record{Entries: []Entry{{ID: 1, Body: "a"}}, Deliveries: []delivery{{ID: 3}},
		Done: []uint64{3}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"v":1}`), []byte{})
	f.Add([]byte(`{"v":1,"repeats":[1,1,99],"done":[0,3]}`), []byte("\n\n\n"))
	f.Add([]byte(`{"v":1,"entries":[{"id":18446744073709551615,"key":"k","copies":-1},{"id":1}]}`), sound)
	f.Add([]byte(`{"v":2}`), sound[:len(sound)/2])
	f.Add([]byte(`[]`), append([]byte("00000000 {}\n"), sound...))
	f.Fuzz(func(t *testing.T, content, tail []byte) {
		data := fmt.Appendf(bytes.Clone(sound), "%08x %s\n", checksum(content), content)
		data = append(data, tail...)
		records, good, _, err := recoverJournal(data)
		if err != nil {
			return // a record of a later version
		}
		if len(records) == 0 || good < len(sound) || good > len(data) {
			t.Fatalf("%d records in %d bytes", len(records), good)
		}
		s := &Server{inbox: newInbox(1), queue: map[uint64]delivery{}}
		for _, r := range records {
			s.apply(r)
		}
		s.inbox.newest(0, 10)
		s.live()
	})
}

// FuzzRequest: any form gets an answer, and never an internal error.
func FuzzRequest(f *testing.F) {
	s, err := New(Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	const arn = "arn:aws:sns:us-east-1:000000000000:t"
	call := func(form string) int {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	for _, form := range []url.Values{
		{"Action": {"CreateTopic"}, "Name": {"t"}},
		{"Action": {"Subscribe"}, "TopicArn": {arn}, "Protocol": {"email"}, "Endpoint": {"a@example.com"},
			"Attributes.entry.1.key": {"FilterPolicy"}, "Attributes.entry.1.value": {`{"k":["v"]}`}},
		{"Action": {"Publish"}, "TopicArn": {arn}, "Message": {"m"}, "Subject": {"s"},
			"MessageAttributes.entry.1.Name":           {"k"},
			"MessageAttributes.entry.1.Value.DataType": {"String"}, "MessageAttributes.entry.1.Value.StringValue": {"v"}},
		{"Action": {"Publish"}, "TopicArn": {arn}, "Message": {`{"default":"m"}`}, "MessageStructure": {"json"}},
		{"Action": {"ConfirmSubscription"}, "TopicArn": {arn}, "Token": {strings.Repeat("0", 64)}},
		{"Action": {"ListTopics"}, "NextToken": {"!"}},
		{"Action": {"SetSubscriptionAttributes"}, "SubscriptionArn": {arn + ":x"}, "AttributeName": {"RawMessageDelivery"}},
	} {
		call(form.Encode())
		f.Add(form.Encode())
	}
	f.Fuzz(func(t *testing.T, form string) {
		if values, err := url.ParseQuery(form); err == nil && strings.HasPrefix(values.Get("Protocol"), "http") {
			return // would post to whatever address the fuzzer finds
		}
		if code := call(form); code == http.StatusInternalServerError {
			t.Errorf("%q: %d", form, code)
		}
	})
}
