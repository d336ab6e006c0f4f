package testsuite

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch/lake"
)

// sound waits until nothing is on its way and fails unless fanwatch lake verify finds no fault.
func (s *system) sound() lake.Verdict {
	s.t.Helper()
	out, err := s.cli("lake", "verify", "--json")
	var v lake.Verdict
	if jsonErr := json.Unmarshal([]byte(out), &v); err != nil || jsonErr != nil || !v.OK {
		s.t.Fatalf("verify: %v, %v\n%s", err, v.Faults, out)
	}
	return v
}

type lakeState struct {
	Tables []lake.Status
	Lags   []lake.Lag
}

func TestLakeOfARunningSystem(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 300)
	p.rpm = 300
	p.publish(s, 100)
	s.openAlert(p.fan, 30*time.Second)
	p.rpm = 1800
	s.until(2*time.Minute, "the alert in the table", func() (bool, string) {
		p.publish(s, 20)
		var st lakeState
		out, err := s.cli("lake", "status", "--json")
		if err == nil {
			err = json.Unmarshal([]byte(out), &st)
		}
		if err != nil {
			return false, err.Error() // nothing has landed yet
		}
		return st.Tables[3].Rows == 1 && st.Tables[1].Rows >= 100, fmt.Sprintf("%+v", st.Tables)
	})
	s.reconciled(p.fan, int(p.acked))
	v := s.sound()
	if v.Compared != int(p.acked) || v.Tables[0].Rows != int64(p.acked) {
		t.Errorf("compared %d readings of %d, the table has %d", v.Compared, p.acked, v.Tables[0].Rows)
	}
	buckets := ask[[]struct {
		Readings  int
		Min, Mean float64
		Anomaly   string
	}](s, "lake", "query", p.fan, "--points", "50")
	n := 0
	slow := false
	for _, b := range buckets {
		n += b.Readings
		slow = slow || b.Mean < 400 && b.Anomaly != ""
	}
	if n != int(p.acked) || len(buckets) > 50 || !slow {
		t.Errorf("%d readings in %d points, of %d: %+v", n, len(buckets), p.acked, buckets)
	}
	out, err := s.cli("lake", "export", "--format", "csv")
	if lines := strings.Count(out, "\n"); err != nil || lines != int(p.acked)+1 {
		t.Errorf("exported %d lines, %v", lines, err)
	}
	if out, err = s.cli("lake", "export", "--table", "alerts", "--format", "ndjson"); err != nil || !strings.Contains(out, `"fan_id":"`+p.fan+`"`) {
		t.Errorf("alerts: %s, %v", out, err)
	}
	if _, err = s.cli("lake", "export", "--fan", p.fan, "--out", filepath.Join(t.TempDir(), "x.parquet")); err != nil {
		t.Error(err)
	}
}
