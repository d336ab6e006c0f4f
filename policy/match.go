package policy

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

func (m Match) matches(a fanwatch.Alert, at time.Time, fileZone string) bool {
	switch {
	case m.Site != "" && !site(m.Site, a.Site), m.Fan != "" && !glob(m.Fan, a.Fan),
		len(m.Severity) > 0 && !slices.Contains(m.Severity, a.Weighed()),
		len(m.Kind) > 0 && !slices.Contains(m.Kind, a.Kind):
		return false
	case m.Hours == "":
		return true
	}
	from, to, _ := strings.Cut(m.Hours, "-")
	_, in := span(from, to, zone(m.Zone, fileZone), at)
	return in
}

// site reports whether a site matches a pattern: as a whole, or its beginning up to a comma.
func site(pattern, name string) bool {
	for {
		if glob(pattern, name) {
			return true
		}
		cut := strings.LastIndex(name, ",")
		if cut < 0 {
			return false
		}
		name = strings.TrimSpace(name[:cut])
	}
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// zone returns the first of the zones that is named, or UTC. Parse has checked them.
func zone(names ...string) *time.Location {
	for _, name := range names {
		if name != "" {
			if z, err := time.LoadLocation(name); err == nil {
				return z
			}
		}
	}
	return time.UTC
}

// span reports whether a time lies in the times of day from..to, and when they end. They count by the clock on the
// wall, so that a night in which the clocks change is shorter or longer.
func span(from, to string, z *time.Location, at time.Time) (end time.Time, in bool) {
	a, err := time.Parse("15:04", strings.TrimSpace(from))
	b, err2 := time.Parse("15:04", strings.TrimSpace(to))
	if err != nil || err2 != nil || a.Equal(b) {
		return time.Time{}, false
	}
	y, m, d := at.In(z).Date()
	for day := d - 1; day <= d; day++ {
		begin := time.Date(y, m, day, a.Hour(), a.Minute(), 0, 0, z)
		last := day
		if !b.After(a) {
			last++
		}
		end = time.Date(y, m, last, b.Hour(), b.Minute(), 0, 0, z)
		if !at.Before(begin) && at.Before(end) {
			return end, true
		}
	}
	return time.Time{}, false
}

// links returns where a reader finds more of an alert.
func (f *File) links(a fanwatch.Alert) fanwatch.Links {
	l := fanwatch.Links{Runbook: f.Runbooks[a.Kind]}
	if base := strings.TrimSuffix(f.Links.Dashboard, "/"); base != "" {
		l.Dashboard = base + "/#/alerts"
		if a.Kind.Family() != fanwatch.FamilySystem {
			l.Dashboard = base + "/#/fan/" + url.PathEscape(a.Fan)
		}
	}
	if base := strings.TrimSuffix(f.Links.Temporal, "/"); base != "" {
		l.Temporal = base + "/workflows/" + url.PathEscape(a.ID)
	}
	return l
}
