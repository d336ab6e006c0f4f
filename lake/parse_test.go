package lake

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// FuzzHeld and FuzzTally read any text; what is taken comes back as it was.
func FuzzHeld(f *testing.F) {
	f.Add(heldReadings{After: "123", Age: time.Hour, Since: time.Unix(1, 0).UTC()}.String())
	f.Add(`{"v":1,"after":"x"}`)
	f.Add(`{"v":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHeld(text)
		if err != nil {
			return
		}
		if again, err := parseHeld(h.String()); err != nil || again.After != h.After || again.Age != h.Age ||
			!again.Since.Equal(h.Since) {
			t.Errorf("%q: %+v, then %+v, %v", text, h, again, err)
		}
	})
}

func FuzzTally(f *testing.F) {
	f.Add([]byte(`{"v":1,
		"logs":{"s":{"at":"12","held":{"v":1,"after":"3","age":1,"since":"2026-01-01T00:00:00Z"}}},
		"runs":[{"fan":"a","run":"0000000000000007","landed":3}],"known":["a"],"refused":{"b":2},
		"days":{"5":{"rows":3,"sum":9,"files":8}}}`))
	f.Add([]byte(`{"v":1,"logs":{"s":{"at":"-"}}}`))
	f.Add([]byte(`{"v":1,"runs":[{},{}],"refused":{"":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseTally(data)
		if err != nil {
			return
		}
		sum := a.totals()
		a.set(sum)
		text, err := json.Marshal(a)
		if err != nil {
			t.Skip(err) // a year beyond 9999
		}
		b, err := parseTally(text)
		if err != nil || !reflect.DeepEqual(b.totals(), sum) {
			t.Errorf("%s: %+v, %v", data, b, err)
		}
	})
}
