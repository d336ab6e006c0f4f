package activities

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// AlertLister lists the alerts, open and over, whose workflows started from one time on and before another.
type AlertLister interface {
	AlertsBetween(ctx context.Context, from, to time.Time) ([]fanwatch.Alert, error)
}

// Digester composes the morning messages of the policies.
type Digester struct {
	Policies Policies
	Planner  Planner // nil: an alert goes by the policy that it names, else by the one named default
	Alerts   AlertLister
}

// DigestInput is the input of [Digester.Compose].
type DigestInput struct {
	Through map[string]time.Time `json:"through,omitempty"` // by policy, when its newest message was due
	Now     time.Time            `json:"now"`
}

// DigestResult is the result of [Digester.Compose].
type DigestResult struct {
	Notifications []Notification       `json:"notifications,omitempty"`
	Through       map[string]time.Time `json:"through,omitempty"` // for the next DigestInput
	Next          time.Time            `json:"next,omitzero"`     // when the next message is due; zero: no policy has one
}

const (
	digestLag  = time.Minute // an alert may take so long to be listed; then the next message has it
	digestMost = 100         // alerts that one message names
)

// Compose returns the messages that are due: one for each topic, with the alerts of SeverityInfo that were opened since
// the one before, over or not. A policy that it sees for the first time begins now. Running it again gives the same
// messages with the same keys.
func (d *Digester) Compose(ctx context.Context, in DigestInput) (DigestResult, error) {
	r := DigestResult{Through: map[string]time.Time{}}
	policies := d.Policies()
	found := map[string][]fanwatch.Alert{} // by topic
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		m := policies[name].Info
		if m == nil {
			continue
		}
		from, known := in.Through[name]
		if !known {
			from = in.Now
		}
		through, next, err := m.Elapsed(from, in.Now)
		if err != nil {
			return r, err
		}
		r.Through[name] = through
		if r.Next.IsZero() || next.Before(r.Next) {
			r.Next = next
		}
		if !through.After(from) {
			continue
		}
		all, err := d.Alerts.AlertsBetween(ctx, from.Add(-digestLag), through.Add(-digestLag))
		if err != nil {
			return r, err
		}
		for _, a := range all {
			of, severity, err := resolve(d.Planner, policies, a)
			if err != nil {
				return r, err
			}
			if severity == fanwatch.SeverityInfo && of == name {
				for _, topic := range m.Notify {
					found[topic] = append(found[topic], a)
				}
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(found)) {
		r.Notifications = append(r.Notifications, digest(topic, in.Now, found[topic]))
	}
	return r, nil
}

// policyOf returns the name of the policy by which the alert goes.
func policyOf(policies map[string]fanwatch.Policy, a fanwatch.Alert) string {
	if _, ok := policies[a.Policy]; ok {
		return a.Policy
	}
	return "default"
}

// digest returns the message of one topic.
func digest(topic string, now time.Time, alerts []fanwatch.Alert) Notification {
	slices.SortFunc(alerts, func(a, b fanwatch.Alert) int {
		return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID))
	})
	id := "digest/" + now.UTC().Format(time.RFC3339)
	fans := map[string]bool{}
	var body strings.Builder
	for i, a := range alerts {
		fans[a.Fan] = true
		if i == digestMost {
			fmt.Fprintf(&body, "%d more: fanwatch alerts --all\n", len(alerts)-i)
		}
		if i < digestMost {
			body.WriteString(digestLines(a))
		}
	}
	subject := fmt.Sprintf("[fanwatch] %d fans are worth a look", len(fans))
	if len(fans) == 1 {
		subject = fmt.Sprintf("[fanwatch] %s is worth a look", alerts[0].Fan)
	}
	return Notification{Key: id + "/" + topic, To: topic, Subject: subject, Body: body.String(),
		Alert: fanwatch.Alert{V: fanwatch.AlertVersion, ID: id, Severity: fanwatch.SeverityInfo, Why: subject}}
}

func digestLines(a fanwatch.Alert) string {
	what := fmt.Sprintf("%s: %s", a.Fan, a.Kind)
	if a.Site != "" {
		what = fmt.Sprintf("%s (%s): %s", a.Fan, a.Site, a.Kind)
	}
	what += ", since " + a.Opened.UTC().Format(time.RFC3339)
	switch {
	case !a.EndedAt.IsZero():
		what += ", over at " + a.EndedAt.UTC().Format(time.RFC3339)
	case a.AckedBy != "":
		what += ", acknowledged by " + a.AckedBy
	}
	return fmt.Sprintf("%s\n  %s\n  fanwatch ack %s\n\n", what, fanwatch.Legible(a.Why, 500), a.ID)
}
