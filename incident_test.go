package fanwatch

import "testing"

func TestFansOfOneHallAreOneGroup(t *testing.T) {
	for _, c := range []struct {
		site string
		kind Kind
		want Group
		ok   bool
	}{
		{"Hall A, rack 3", KindStall, Group{"Hall-A", "Hall A"}, true},
		{"Hall A", KindSpeed, Group{"Hall-A", "Hall A"}, true},
		{"Halle \u00c4/1", KindStall, Group{"Halle-\u00c4-1", "Halle \u00c4/1"}, true},
		{"", KindStall, GroupNowhere, true},
		{" , rack 3", KindStall, GroupNowhere, true},
		{"_all", KindStall, Group{"all", "_all"}, true},
		{"Hall A, rack 3", KindSilent, GroupSilent, true},
		{"Hall A", KindPipeline, Group{}, false},
		{"Hall A", KindIncident, Group{}, false},
		{"Hall A", KindNone, Group{}, false},
	} {
		if g, ok := GroupOf(c.site, c.kind); g != c.want || ok != c.ok {
			t.Errorf("%q, %s: %+v, %v", c.site, c.kind, g, ok)
		}
	}
}
