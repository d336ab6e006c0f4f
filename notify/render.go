package notify

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"fanwatch"
)

// Rendered is a message as its reader sees it.
type Rendered struct {
	Subject  string   // one line
	Text     string   // plain text; its first line is the sentence
	HTML     string   // the same for a mail
	Line     string   // one line of at most 140 bytes, for SMS
	Document Document // for programs
}

// Bounds of what is shown, in bytes.
const (
	maxName     = 120
	maxSentence = 1000
	maxLine     = 140
	maxMembers  = 8 // members of an incident that are named
)

// Render writes the message for a person, with times in the given zone. No text of a device or a person reaches it raw:
// characters that end lines or move a cursor become spaces, HTML is escaped, and links lead to http and https alone. A
// message whose Subject is set without Event, or with EventDigest, is shown with the Subject and Body that it has.
func Render(m Message, zone *time.Location) Rendered {
	p := page{Message: m, zone: zone, at: m.At}
	if p.at.IsZero() {
		p.at = m.Alert.Opened
	}
	p.Links = safe(m.Links)
	r := Rendered{Subject: fanwatch.Legible(p.subject(), 250)}
	if m.Subject != "" && (m.Event == "" || m.Event == fanwatch.EventDigest) {
		r.Subject = fanwatch.Legible(m.Subject, 250)
		r.Text = lines(m.Body)
		r.HTML = htmlOf(htmlPage{Preformatted: r.Text, Picture: m.Picture != nil})
	} else {
		facts, links := p.facts(), p.links()
		text := &strings.Builder{}
		fmt.Fprintf(text, "%s\n\n", p.sentence())
		for _, f := range facts {
			fmt.Fprintf(text, "%s: %s\n", f.Name, f.Value)
		}
		if len(links) > 0 {
			text.WriteString("\n")
		}
		for _, l := range links {
			fmt.Fprintf(text, "%s: %s\n", l.Name, l.Value)
		}
		if p.answerable() {
			fmt.Fprintf(text, "\nTo acknowledge by hand:\n  fanwatch ack %s\n", name(m.Alert.ID))
		}
		r.Text = text.String()
		r.HTML = htmlOf(htmlPage{Sentence: p.sentence(), Facts: facts, Links: links, Picture: m.Picture != nil,
			Over: m.Event == fanwatch.EventOver})
	}
	r.Line = p.line(r.Subject)
	r.Document = p.document(r)
	return r
}

// page is a message while it is rendered.
type page struct {
	Message
	zone *time.Location
	at   time.Time // times are told as seen from then
}

// fact is a line of a message.
type fact struct{ Name, Value string }

// name returns a name of a fan, site, person or channel as one short line.
func name(s string) string { return fanwatch.Legible(s, maxName) }

// names returns names as a list.
func names(all []string) string {
	short := make([]string, min(len(all), 10))
	for i := range short {
		short[i] = name(all[i])
	}
	if len(all) > len(short) {
		return strings.Join(short, ", ") + fmt.Sprintf(" and %d more", len(all)-len(short))
	}
	return strings.Join(short, ", ")
}

// lines returns a text of an earlier program without what moves a cursor.
func lines(s string) string {
	var out []string
	for l := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		out = append(out, fanwatch.OneLine(l))
	}
	return strings.Join(out, "\n")
}

// where returns the fan with its site, or what an incident is of.
func (p page) where() string {
	if p.incident() {
		return p.extent()
	}
	if p.Alert.Site == "" {
		return name(p.Alert.Fan)
	}
	return fmt.Sprintf("%s (%s)", name(p.Alert.Fan), name(p.Alert.Site))
}

func (p page) incident() bool { return p.Alert.Kind == fanwatch.KindIncident }

// extent says how many fans an incident is of: "37 of 40 fans in Hall A, rack 3". When none is left it is all that were.
func (p page) extent() string {
	a, n, in := p.Alert, p.Alert.Troubled, ""
	if a.State == fanwatch.AlertResolved || n == 0 {
		n = a.Joined
	}
	if a.Site != "" {
		in = " in " + name(a.Site)
	}
	if a.Fans >= n && a.Fans > 0 {
		return fmt.Sprintf("%d of %d fans%s", n, a.Fans, in)
	}
	return fmt.Sprintf("%d fans%s", n, in)
}

func (p page) subject() string {
	a := p.Alert
	weight, kind := strings.ToUpper(string(a.Weighed())), string(a.Kind)
	switch p.Event {
	case fanwatch.EventTest:
		return "[fanwatch] TEST: this channel works"
	case fanwatch.EventDigest:
		return "[fanwatch] what was worth a look"
	case fanwatch.EventOver:
		weight, kind = "OVER", fmt.Sprintf("%s %s", a.Weighed(), a.Kind)
	}
	return strings.TrimSpace(fmt.Sprintf("[fanwatch] %s %s: %s%s", weight, p.where(), kind, p.turn()))
}

// turn is the end of a subject: what is new since the message before.
func (p page) turn() string {
	switch p.Event {
	case fanwatch.EventRepeat:
		return fmt.Sprintf(", repeat %d", p.Repeat)
	case fanwatch.EventFlapping:
		return " comes and goes"
	case fanwatch.EventAcknowledged:
		return ", acknowledged by " + p.by()
	case fanwatch.EventLapsed:
		return fmt.Sprintf(", %s has not ended it", p.by())
	case fanwatch.EventOver:
		if p.Alert.EndedBy != "" {
			return fmt.Sprintf(", resolved by %s after %s", name(p.Alert.EndedBy), p.lasted())
		}
		return fmt.Sprintf(", normal again after %s", p.lasted())
	}
	if p.Step > 1 {
		return fmt.Sprintf(", step %d of %d", p.Step, p.Steps)
	}
	return ""
}

// by returns who answered.
func (p page) by() string { return name(cmp.Or(p.By, p.Alert.AckedBy, "a person")) }

// end returns when the trouble ended.
func (p page) end() time.Time {
	for _, t := range []time.Time{p.Alert.NormalFrom, p.Alert.EndedAt} {
		if !t.IsZero() {
			return t
		}
	}
	return p.at
}

// lasted returns how long the trouble lasted.
func (p page) lasted() string { return span(p.end().Sub(p.Alert.Opened)) }

// why is the alert's own sentence.
func (p page) why() string { return fanwatch.Legible(p.Alert.Why, maxSentence) }

// sentence is the first line.
func (p page) sentence() string {
	a := p.Alert
	switch p.Event {
	case fanwatch.EventTest:
		return cmp.Or(p.why(), "This is a test of fanwatch. No fan is in trouble.")
	case fanwatch.EventAcknowledged:
		return fmt.Sprintf("%s takes care: %s", p.by(), p.why())
	case fanwatch.EventLapsed:
		if !a.SnoozedUntil.IsZero() {
			return fmt.Sprintf("%s snoozed it until %s, and it goes on: %s", p.by(), p.clock(a.SnoozedUntil), p.why())
		}
		return fmt.Sprintf("%s acknowledged it, and it goes on: %s", p.by(), p.why())
	case fanwatch.EventFlapping:
		return fmt.Sprintf("It comes and goes, %d times so far: %s", a.Returns, p.why())
	case fanwatch.EventOver:
		what := fmt.Sprintf("%s is normal again", name(a.Fan))
		switch {
		case p.incident():
			what = "Normal again: " + p.extent()
		case a.EndedBy != "":
			return fmt.Sprintf("%s: %s resolved it by hand after %s.", name(a.Fan), name(a.EndedBy), p.lasted())
		case a.Kind.Family() != fanwatch.FamilySystem: // other troubles of the fan may go on
			what = fmt.Sprintf("%s is normal again: %s is over", name(a.Fan), a.Kind)
		}
		return fmt.Sprintf("%s. It lasted %s.", what, p.lasted())
	}
	return p.why()
}

// facts returns the lines of the message, those that a reader needs first first.
func (p page) facts() []fact {
	a := p.Alert
	var all []fact
	add := func(what, format string, args ...any) {
		if text := fanwatch.Legible(fmt.Sprintf(format, args...), maxSentence); text != "" {
			all = append(all, fact{what, text})
		}
	}
	if p.Event == fanwatch.EventTest {
		add("Sent", "%s", p.clock(p.at))
		return all
	}
	if p.Event == fanwatch.EventOver {
		add("It was", "%s", p.why())
	}
	if p.incident() {
		add("Fans", "%s", p.extent())
		add("First", "%s", p.members())
	} else {
		add("Fan", "%s", name(a.Fan))
	}
	add("Site", "%s", name(a.Site))
	add("Kind", "%s", a.Kind)
	add("Severity", "%s", a.Weighed())
	if p.Event == fanwatch.EventOver {
		add("From", "%s", p.clock(a.Opened))
		add("Until", "%s, %s in all", p.clock(p.end()), p.lasted())
	} else {
		add("Since", "%s, %s so far", p.clock(a.Opened), span(p.at.Sub(a.Opened)))
	}
	p.escalation(add)
	for _, answer := range a.Answers {
		if answer.Action == fanwatch.ActionNote {
			add("Note", "%s at %s: %s", name(answer.By), p.clock(answer.At), answer.Note)
		}
	}
	return all
}

// escalation adds who was told, who takes care and who is next.
func (p page) escalation(add func(what, format string, args ...any)) {
	a := p.Alert
	if p.Step > 0 && p.Event != fanwatch.EventOver {
		repeat := ""
		if p.Repeat > 0 {
			repeat = fmt.Sprintf(", repeat %d: it was told before", p.Repeat)
		}
		add("Step", "%d of %d%s", p.Step, max(p.Step, p.Steps), repeat)
	}
	add("Told before", "%s", names(p.Told))
	if a.AckedBy != "" {
		note := ""
		if a.Note != "" {
			note = ": " + a.Note
		}
		add("Acknowledged", "by %s at %s%s", name(a.AckedBy), p.clock(a.AckedAt), note)
	}
	switch {
	case p.Event == fanwatch.EventOver:
	case p.Event == fanwatch.EventAcknowledged:
		for _, n := range p.Next {
			add("Next", "%s at %s, if it is not over by then", names(n.To), p.clock(n.At))
		}
	case len(p.Next) == 0 && a.State == fanwatch.AlertOpen:
		add("Next", "no further message is planned")
	default:
		for _, n := range p.Next {
			add("Next", "%s at %s, without an answer", names(n.To), p.clock(n.At))
		}
	}
}

// members names the first members of an incident, with their kinds.
func (p page) members() string {
	all := slices.SortedStableFunc(slices.Values(p.Alert.Members), func(a, b fanwatch.Member) int {
		return a.Opened.Compare(b.Opened)
	})
	var text []string
	for _, m := range all[:min(len(all), maxMembers)] {
		over := ""
		if !m.Over.IsZero() {
			over = ", over"
		}
		text = append(text, fmt.Sprintf("%s (%s%s)", fanwatch.Legible(m.Fan, 100), name(string(m.Kind)), over))
	}
	if n := max(p.Alert.Joined, len(all)); n > len(text) && len(text) > 0 {
		return strings.Join(text, ", ") + fmt.Sprintf(" and %d more", n-len(text))
	}
	return strings.Join(text, ", ")
}

// answerable reports whether the reader may acknowledge.
func (p page) answerable() bool {
	return p.Alert.ID != "" && p.Alert.State == fanwatch.AlertOpen && p.Event != fanwatch.EventOver &&
		p.Event != fanwatch.EventTest
}

func (p page) links() []fact {
	var all []fact
	for _, f := range []fact{{"Acknowledge", p.Links.Answer}, {"Page", p.Links.Dashboard}, {"Runbook", p.Links.Runbook},
		{"History", p.Links.Temporal}} {
		if f.Value != "" && (f.Name != "Acknowledge" || p.answerable()) {
			all = append(all, f)
		}
	}
	return all
}

// buttons returns the links of a message that is not rendered here.
func (p page) buttons() []fact {
	p.Links = safe(p.Links)
	return p.links()
}

// safe leaves out links that do not lead to http or https.
func safe(l fanwatch.Links) fanwatch.Links {
	for _, link := range []*string{&l.Answer, &l.Dashboard, &l.Runbook, &l.Temporal} {
		u, err := url.Parse(*link)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(*link) > 2000 ||
			strings.ContainsAny(*link, " \"'<>|\\`") || fanwatch.OneLine(*link) != *link {
			*link = ""
		}
	}
	return l
}

// line returns the message as one line for SMS.
func (p page) line(subject string) string {
	subject = strings.TrimPrefix(subject, "[fanwatch] ")
	if p.Event == fanwatch.EventOver || p.Event == "" || p.Alert.Opened.IsZero() {
		return fanwatch.Legible(subject, maxLine)
	}
	since := ", since " + p.clock(p.Alert.Opened)
	line := fanwatch.Legible(subject, maxLine-len(since)) + since
	if rest := maxLine - len(line) - 2; rest >= 20 && p.why() != "" {
		line += ". " + fanwatch.Legible(p.why(), rest)
	}
	return line
}

// clock returns a time in the reader's zone, with the day where it is another than that of the message, and with the
// year where that is another: "03:14 CET", "Tue 1 Dec 03:14 CET".
func (p page) clock(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	t, now := t.In(p.zone), p.at.In(p.zone)
	layout := "15:04"
	switch {
	case t.Year() != now.Year():
		layout = "Mon 2 Jan 2006 15:04"
	case t.YearDay() != now.YearDay():
		layout = "Mon 2 Jan 15:04"
	}
	zone, _ := t.Zone()
	if strings.HasPrefix(zone, "+") || strings.HasPrefix(zone, "-") { // a zone without letters, such as Asia/Dubai
		zone = "UTC" + zone
	}
	return t.Format(layout) + " " + zone
}

// span returns a duration in words: "42 s", "7 min", "2 h 5 min", "3 d 4 h".
func span(d time.Duration) string {
	d = max(0, d)
	switch minutes := int(d / time.Minute); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 24*60:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", minutes/60, minutes%60), " 0 min")
	default:
		return strings.TrimSuffix(fmt.Sprintf("%d d %d h", minutes/60/24, minutes/60%24), " 0 h")
	}
}

// pictureID is the Content-ID by which the HTML of a mail shows the picture.
const pictureID = "last-hour.png"

// htmlPage is what mail.html shows.
type htmlPage struct {
	Sentence, Preformatted string
	Facts, Links           []fact
	Picture, Over          bool
}

//go:embed mail.html
var mailHTML string

var mailTemplate = template.Must(template.New("mail").Parse(mailHTML))

func htmlOf(p htmlPage) string {
	var b bytes.Buffer
	if err := mailTemplate.Execute(&b, p); err != nil {
		panic(err) // a template over texts, into memory
	}
	return b.String()
}
