package activities

import (
	"cmp"
	"slices"
	"time"

	"fanwatch/detect"
)

// unjudged lists the fans of which nothing was judged for UnjudgedAfter, longest first, at most MaxUnjudged.
func (n *news) unjudged(m *detect.Models, now time.Time) []Unjudged {
	var out []Unjudged
	for _, name := range m.Fans() {
		d, _ := m.Device(name)
		if since := n.heard[name]; !d.Retired && d.SilenceAfter() != 0 && now.Sub(since) >= UnjudgedAfter {
			out = append(out, Unjudged{name, since})
		}
	}
	slices.SortFunc(out, func(a, b Unjudged) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Fan, b.Fan)) })
	return out[:min(len(out), MaxUnjudged)]
}

// active counts the fans that are not retired.
func (n *news) active(m *detect.Models) int {
	count := 0
	for _, name := range m.Fans() {
		if d, _ := m.Device(name); !d.Retired {
			count++
		}
	}
	return count
}
