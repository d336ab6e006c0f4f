package fanwatch

import (
	"strings"
	"time"
	"unicode"
)

// IncidentQuorum is the number of fans of a group whose alerts, opened within IncidentWithin, are an incident.
const IncidentQuorum = 3

// IncidentWithin is the time within which the alerts of an incident are opened; see IncidentQuorum.
const IncidentWithin = time.Minute

// IncidentYoung is the time after the newest alert that joined in which one further alert of the same place joins an
// incident. Later ones are an incident again when they are IncidentQuorum, and else notify alone.
const IncidentYoung = 10 * time.Minute

// Extent is how far an incident reaches. An observation of KindIncident carries it to the incident's alert.
type Extent struct {
	Site     string   `json:"site,omitempty"`     // of all fans that joined, or what their sites share; "" = nothing
	Members  []Member `json:"members,omitempty"`  // the newest MaxMembers, oldest first
	Troubled int      `json:"troubled,omitempty"` // fans whose trouble goes on
	Joined   int      `json:"joined,omitempty"`   // fans in all
	Fans     int      `json:"fans,omitempty"`     // fans of Site; 0 = not known
}

// Group is the fans of which trouble at the same time is one incident. Key is of letters, digits, - and _, and so part
// of workflow IDs.
type Group struct {
	Key  string
	Site string // what the sites of its fans share, such as "Hall A" of "Hall A, rack 3"; "" = nothing
}

// The groups that are not of a site. No site has such a Key.
var (
	// GroupSilent is the group of every fan for KindSilent: a broker, a stream or a network may be lost.
	GroupSilent = Group{Key: "_all"}
	// GroupNowhere is the group of the fans without a site.
	GroupNowhere = Group{Key: "_none"}
)

// GroupOf returns the group of a fan of the given site for trouble of the kind. ok is false where no trouble of the
// kind is part of an incident.
func GroupOf(site string, kind Kind) (g Group, ok bool) {
	switch {
	case kind == KindNone || kind.Family() == FamilySystem:
		return g, false
	case kind == KindSilent:
		return GroupSilent, true
	}
	g.Site, _, _ = strings.Cut(site, ",")
	g.Site = strings.TrimSpace(g.Site)
	g.Key = strings.Join(strings.FieldsFunc(g.Site, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), "-")
	if g.Key == "" {
		return GroupNowhere, true
	}
	return g, true
}
