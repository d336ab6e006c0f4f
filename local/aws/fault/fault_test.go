package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/local/aws/fault"
)

func injector() *fault.Injector {
	return fault.NewInjector("store", map[fault.Kind][]string{
		fault.Delay: nil, fault.Cut: nil, fault.Fail: nil, fault.Throttle: nil, fault.Lose: nil,
		fault.Partial: {"PutMany"}, fault.Expired: {"Read", "Peek"}})
}

func inject(t *testing.T, i *fault.Injector, faults ...fault.Fault) {
	t.Helper()
	for _, f := range faults {
		if err := i.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatAServiceDoesNotKnowIsRefusedWithWhatItKnows(t *testing.T) {
	i := fault.NewInjector("store",
		map[fault.Kind][]string{fault.Delay: nil, fault.Cut: nil, fault.Partial: {"PutMany", "Put"}})
	for _, c := range []struct {
		fault fault.Fault
		says  string
	}{
		{fault.Fault{Kind: "fire"}, `store: fault: kind "fire" is none of cut, delay, partial`},
		{fault.Fault{}, `store: fault: kind "" is none of cut, delay, partial`},
		{fault.Fault{Kind: fault.Throttle}, `store: fault: kind "throttle" is none of cut, delay, partial`},
		{fault.Fault{Kind: fault.Partial, Operation: "Get"},
			`store: fault: kind partial is known to PutMany, Put, not to "Get"`},
		{fault.Fault{Kind: fault.Cut, Count: -1}, "count -1 is negative"},
		{fault.Fault{Kind: fault.Cut, Delay: 1}, "goes with the kind delay only"},
		{fault.Fault{Kind: fault.Cut, Every: 3}, "goes with the kind partial only"},
		{fault.Fault{Kind: fault.Partial, Every: -3}, "every -3 is negative"},
		{fault.Fault{Kind: fault.Delay, Delay: -1}, "out of range"},
		{fault.Fault{Kind: fault.Delay, Delay: fanwatch.Duration(time.Hour)},
			"delay 1h0m0s is out of range: give 0s to 1m0s"},
	} {
		if err := i.Inject(c.fault); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %s", c.fault, err, c.says)
		}
	}
	if left := i.List(); len(left) != 0 {
		t.Errorf("what was refused is set: %v", left)
	}
}

// TestACallMeetsTheFirstFaultOfEachKind: of its operation or of any that knows the kind, and uses one of its count up.
func TestACallMeetsTheFirstFaultOfEachKind(t *testing.T) {
	i := injector()
	inject(t, i, fault.Fault{Kind: fault.Fail, Operation: "Put", Count: 2}, fault.Fault{Kind: fault.Fail},
		fault.Fault{Kind: fault.Partial}, fault.Fault{Kind: fault.Expired, Operation: "Read"})
	for n, c := range []struct {
		operation string
		want      fault.Met
	}{
		{"Put", fault.Met{fault.Fail: {Kind: fault.Fail, Operation: "Put", Count: 2}}},
		{"Peek", fault.Met{fault.Fail: {Kind: fault.Fail, Count: 1}}},
		{"Peek", fault.Met{}},
		{"Put", fault.Met{fault.Fail: {Kind: fault.Fail, Operation: "Put", Count: 1}}},
		{"PutMany", fault.Met{fault.Partial: {Kind: fault.Partial, Count: 1, Every: 2}}},
		{"Read", fault.Met{fault.Expired: {Kind: fault.Expired, Operation: "Read", Count: 1}}},
		{"Put", fault.Met{}},
	} {
		if got := i.Take(c.operation); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("call %d, %s: met %v, want %v", n, c.operation, got, c.want)
		}
	}
	if left := i.List(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestACallIsDoneUnlessItsFaultsSayOtherwise(t *testing.T) {
	own := errors.New("the call's own")
	for _, c := range []struct {
		kinds []fault.Kind
		done  bool
		err   error
	}{
		{nil, true, own},
		{[]fault.Kind{fault.Delay}, true, own},
		{[]fault.Kind{fault.Cut}, false, fault.ErrCut},
		{[]fault.Kind{fault.Throttle}, false, fault.ErrThrottle},
		{[]fault.Kind{fault.Fail}, false, fault.ErrFail},
		{[]fault.Kind{fault.Lose}, true, fault.ErrCut},
		{[]fault.Kind{fault.Delay, fault.Throttle, fault.Lose}, false, fault.ErrCut},
		{[]fault.Kind{fault.Partial}, true, own},
	} {
		i := injector()
		for _, k := range c.kinds {
			inject(t, i, fault.Fault{Kind: k})
		}
		done := false
		err := i.Take("PutMany").Run(t.Context(), func() error { done = true; return own })
		if done != c.done || !errors.Is(err, c.err) {
			t.Errorf("%v: done %v, error %v; want %v, %v", c.kinds, done, err, c.done, c.err)
		}
	}
}

func TestADelayEndsWithItsCaller(t *testing.T) {
	i := injector()
	inject(t, i, fault.Fault{Kind: fault.Delay, Delay: fanwatch.Duration(time.Minute)})
	gone, leave := context.WithCancel(t.Context())
	leave()
	err := i.Take("Put").Run(gone, func() error { t.Error("the call was done"); return nil })
	if !errors.Is(err, fault.ErrCut) {
		t.Errorf("error %v, want %v", err, fault.ErrCut)
	}
}

func TestAHandlerClosesTheConnectionOfACutCall(t *testing.T) {
	i := injector()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.Take("Put").Serve(w, r, func() error { return nil }, func(err error) { fmt.Fprint(w, err) })
	}))
	defer server.Close()
	for _, kind := range []fault.Kind{fault.Cut, fault.Lose} {
		inject(t, i, fault.Fault{Kind: kind})
		if res, err := http.Get(server.URL); err == nil {
			t.Errorf("%s: answered %s", kind, res.Status)
			res.Body.Close()
		}
	}
	res, err := http.Get(server.URL)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("after the faults: %v, %v", res, err)
	}
	res.Body.Close()
}

func TestFaultsAreSetOverHTTPFromThisMachineOnly(t *testing.T) {
	i := injector()
	const here, json = "127.0.0.1:5", "application/json"
	for _, c := range []struct {
		method, from, media, body string
		status                    int
		answer                    string
	}{
		{"POST", here, json, `{"kind":"delay","operation":"Put","delay":"5ms","count":3}`, 204, ""},
		{"POST", "[::1]:5", json + "; charset=utf-8", `{"kind":"partial"}`, 204, ""},
		{"GET", here, "", "", 200,
			`[{"kind":"delay","operation":"Put","count":3,"delay":"5ms"},{"kind":"partial","count":1,"every":2}]`},
		{"POST", "192.0.2.1:5", json, `{"kind":"delay"}`, 403, "faults can be set from this machine only"},
		{"POST", "nonsense", json, `{"kind":"delay"}`, 403, "faults can be set from this machine only"},
		{"POST", here, "text/plain", `{"kind":"delay"}`, 415, "send a fault as application/json"},
		{"POST", here, json, `{"kind":"explode"}`, 400,
			`store: fault: kind "explode" is none of cut, delay, expired, fail, lose, partial, throttle`},
		{"POST", here, json, `{"kindd":"delay"}`, 400, `store: fault: json: unknown field "kindd"`},
		{"POST", here, json, `[`, 400, "store: fault: unexpected EOF"},
		{"PUT", here, "", "", 405, "use GET, POST or DELETE"},
		{"DELETE", here, "", "", 204, ""},
		{"GET", here, "", "", 200, `[]`},
	} {
		r := httptest.NewRequest(c.method, fault.Path, strings.NewReader(c.body))
		r.RemoteAddr = c.from
		r.Header.Set("Content-Type", c.media)
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.answer {
			t.Errorf("%s %s from %s: %d %s; want %d %s", c.method, c.body, c.from, w.Code, w.Body, c.status, c.answer)
		}
	}
}
