package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ask(t *testing.T, p *Probe) (status int, word string, checks []Result) {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	var v struct {
		Status string
		Checks []Result
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return w.Code, v.Status, v.Checks
}

func TestAProbeSaysWhatIsWrongSinceWhenAndThatItIsOver(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	var trouble error
	p := New(func() time.Time { return now },
		Check{"store", func(context.Context) error { return nil }},
		Check{"stream", func(context.Context) error { return trouble }})
	if code, word, _ := ask(t, p); code != http.StatusOK || word != "ok" {
		t.Fatalf("all is well: %d %s", code, word)
	}
	began := now
	trouble = errors.New("access denied:\nallow kinesis:GetRecords")
	for range 3 {
		code, word, checks := ask(t, p)
		if code != http.StatusServiceUnavailable || word != "failing" {
			t.Fatalf("a check fails: %d %s", code, word)
		}
		want := Result{Name: "stream", Why: "access denied: allow kinesis:GetRecords", Since: began}
		if len(checks) != 2 || !checks[0].OK || checks[1] != want {
			t.Fatalf("%+v, want the second to be %+v", checks, want)
		}
		now = now.Add(time.Minute)
	}
	trouble = nil
	if code, _, checks := ask(t, p); code != http.StatusOK || checks[1] != (Result{Name: "stream", OK: true}) {
		t.Fatalf("it is over: %d %+v", code, checks)
	}
}

// A check that hangs costs a probe its patience, hides no other check, and is not called a second time meanwhile.
func TestACheckThatHangsFailsAloneAndIsCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, calls := make(chan struct{}), new(atomic.Int32)
		p := New(nil,
			Check{"hanging", func(context.Context) error { calls.Add(1); <-free; return errors.New("too late") }},
			Check{"well", func(context.Context) error { return nil }})
		began := time.Now()
		for range 3 {
			if all, ok := p.Run(t.Context()); ok || all[0].OK || !all[1].OK || !all[0].Since.Equal(began.Add(Patience)) {
				t.Fatalf("%+v %v", all, ok)
			}
		}
		if took := time.Since(began); calls.Load() != 1 || took != 3*Patience {
			t.Fatalf("%d calls in %v", calls.Load(), took)
		}
		close(free)
		synctest.Wait()
		if all, _ := p.Run(t.Context()); calls.Load() != 2 || all[0].Why != "too late" {
			t.Fatalf("%d calls, %+v: what an old call found is not the state of now", calls.Load(), all)
		}
	})
}

func TestAProberThatGoesIsNoFailure(t *testing.T) {
	p := New(nil, Check{"asks", func(ctx context.Context) error { return ctx.Err() }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if all, ok := p.Run(ctx); !ok {
		t.Errorf("%+v", all)
	}
}
