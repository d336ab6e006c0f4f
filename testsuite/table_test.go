package testsuite

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"fanwatch/lake"
)

// reconciled waits until fanwatch reconcile finds at least so many readings of the fan, each of them in the
// landing log and in the table once and none on its way. It fails at any other difference.
func (s *system) reconciled(fan string, landed int) {
	s.t.Helper()
	s.until(60*time.Second, fmt.Sprintf("%d readings of %s in the table", landed, fan), func() (bool, string) {
		out, err := s.cli("reconcile", "--json")
		if err != nil {
			s.t.Fatalf("%v\n%s", err, out)
		}
		var accounts []lake.Account
		if err := json.Unmarshal([]byte(out), &accounts); err != nil {
			s.t.Fatal(err)
		}
		for _, a := range accounts {
			if a.Fan == fan {
				return a.OK && a.Pending == 0 && a.Landed >= landed && a.Table == a.Landed, fmt.Sprintf("%+v", a)
			}
		}
		return false, "nothing of it"
	})
}

func TestTheTableHoldsWhatLanded(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 500)
	p.check(s)
}
