package iotcore

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// FuzzShadowUpdate applies two requests after one another. Nothing panics; what is kept comes back from the disk
// as it was; and a device that reports exactly the delta has nothing left to do.
func FuzzShadowUpdate(f *testing.F) {
	for _, s := range []string{`{"state":{"desired":{"a":1,"b":{"c":[1,{"d":null}]}}}}`,
		`{"state":{"reported":{"a":1.0,"b":{"c":2}}},"version":1}`,
		`{"state":{"desired":null,"reported":{"b":null}}}`, `{"state":{"desired":{"b":{"c":null}}}}`,
		`{"state":{"desired":{"b":7}},"clientToken":"x"}`, `{}`, `[`, ``} {
		f.Add([]byte(s), []byte(`{"state":{"reported":{"b":{"x":1e400}}}}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var s *shadow
		now := time.Unix(1_790_000_000, 0)
		apply := func(payload []byte) {
			r, err := readShadowRequest(payload, true)
			if err != nil {
				return
			}
			before := dump(t, s)
			next, err := s.update(shadowID{"fan-01", "fanwatch"}, r, now)
			if !bytes.Equal(before, dump(t, s)) {
				t.Fatalf("an update changed the old document to %s", dump(t, s))
			}
			if err == nil {
				s = next
			}
		}
		apply(first)
		apply(second)
		if s == nil {
			return
		}
		kept := new(shadow)
		if err := json.Unmarshal(dump(t, s), kept); err != nil {
			t.Fatal(err)
		}
		if got, want := dump(t, kept), dump(t, s); !bytes.Equal(got, want) {
			t.Fatalf("kept %s, was %s", got, want)
		}
		if len(s.State.Desired) != len(s.Metadata.Desired) || len(s.State.Reported) != len(s.Metadata.Reported) {
			t.Fatalf("the metadata do not belong to the state: %s", dump(t, s))
		}
		missing, _ := delta(s.State.Desired, s.State.Reported, s.Metadata.Desired)
		if len(missing) == 0 {
			return
		}
		done, err := s.update(shadowID{"fan-01", "fanwatch"}, shadowRequest{reported: &missing}, now)
		if err != nil {
			return // grown too large
		}
		if left, _ := delta(done.State.Desired, done.State.Reported, done.Metadata.Desired); len(left) > 0 {
			t.Fatalf("%s was reported, %s is left", dump(t, missing), dump(t, left))
		}
	})
}

func dump(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShadowTopics(t *testing.T) {
	for topic, want := range map[string][]string{
		"$aws/things/fan-01/shadow/get":                        {"fan-01", "", "get"},
		"$aws/things/fan-01/shadow/name/fanwatch/update":       {"fan-01", "fanwatch", "update"},
		"$aws/things/fan-01/shadow/name/fanwatch/delete":       {"fan-01", "fanwatch", "delete"},
		"$aws/things/fan-01/shadow/name/fanwatch/get/more":     nil,
		"$aws/things/fan-01/shadow/name//get":                  nil,
		"$aws/things/fan-01/shadow/update/accepted":            nil,
		"$aws/things/fan-01/shadow/name/fanwatch/update/delta": nil,
		"$aws/things/fan-01/jobs/get":                          nil,
		"things/fan-01/shadow/get":                             nil,
	} {
		id, op, ok := shadowTopic(topic)
		if ok != (want != nil) || ok && !reflect.DeepEqual([]string{id.Thing, id.Name, op}, want) {
			t.Errorf("%s: %v %s %t", topic, id, op, ok)
		}
	}
}

// TestDeletedShadowIsForgottenAfterTwoDays: until then its version goes on.
func TestDeletedShadowIsForgottenAfterTwoDays(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	gone := &shadow{Thing: "fan-01", Name: "fanwatch", Version: 7, Deleted: now}
	part := tree{"a": true}
	for after, want := range map[time.Duration]int64{time.Hour: 8, 49 * time.Hour: 1} {
		next, err := gone.update(shadowID{"fan-01", "fanwatch"}, shadowRequest{desired: &part}, now.Add(after))
		if err != nil || next.Version != want {
			t.Errorf("%s after the deletion: %+v %v", after, next, err)
		}
	}
}
