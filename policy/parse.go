package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"fanwatch"
	"fanwatch/notify"
)

const (
	maxBytes     = 1 << 20 // of a file
	maxSteps     = 20
	maxRepeat    = 100
	maxChannels  = 20 // of a person
	maxPeople    = 100
	maxOverrides = 1000
	maxRoutes    = 1000
	maxPatterns  = 100
	maxDocuments = 1000
)

// Parse reads a policy file: version 2, one YAML document with sections, or version 1, one document for each policy.
// name stands before each line number of its errors, which are Problems: all of the file's.
func Parse(name string, text []byte) (*File, error) {
	r := &reader{file: name}
	f := &File{zone: time.UTC, people: map[string]person{}, channels: map[string]channel{},
		schedules: map[string]schedule{}, policies: map[string]rules{}, runbooks: map[fanwatch.Kind]string{}}
	p := &parser{reader: r, File: f}
	docs := p.documents(text)
	switch version := p.versionOf(docs); {
	case len(r.problems) > 0:
	case version == 1:
		for _, doc := range docs {
			p.policyV1(doc)
		}
		p.check()
	default:
		p.sections(docs[0])
		p.check()
	}
	if len(r.problems) > 0 {
		r.problems.sort()
		return nil, r.problems
	}
	p.warn()
	f.warnings.sort()
	return f, nil
}

type parser struct {
	*reader
	*File
}

// documents returns the YAML documents of the text that are not empty.
func (p *parser) documents(text []byte) (docs []*yaml.Node) {
	if len(text) > maxBytes {
		p.problems.add(p.file, 1, "%d bytes, at most %d are read", len(text), maxBytes)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for len(docs) < maxDocuments {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, why := 1, strings.TrimPrefix(err.Error(), "yaml: ")
			if _, scanErr := fmt.Sscanf(why, "line %d:", &line); scanErr == nil {
				_, why, _ = strings.Cut(why, ": ")
			}
			p.problems.add(p.file, line, "it is not YAML: %s", why)
			return nil
		}
		if len(doc.Content) == 1 && !empty(doc.Content[0]) {
			docs = append(docs, doc.Content[0])
		}
	}
	return docs
}

// versionOf returns the version that the first document names.
func (p *parser) versionOf(docs []*yaml.Node) (version int) {
	if len(docs) == 0 {
		if len(p.problems) == 0 {
			p.problems.add(p.file, 1, "escalation policies: none is named default: alerts of fans without a policy of their "+
				"own go by it: add version: %d and policies with default", fanwatch.PolicyVersion)
		}
		return 0
	}
	line := docs[0].Line
	for i := 0; docs[0].Kind == yaml.MappingNode && i+1 < len(docs[0].Content); i += 2 {
		if key, value := docs[0].Content[i], resolved(docs[0].Content[i+1]); key.Value == "version" {
			line = value.Line
			_, _ = fmt.Sscanf(value.Value, "%d", &version) // one that is no number stays 0
		}
	}
	if version < 1 || version > fanwatch.PolicyVersion {
		p.problems.add(p.file, line, "version %d is unknown or missing, this program knows 1 and %d: begin with version: %d",
			version, fanwatch.PolicyVersion, fanwatch.PolicyVersion)
	}
	if version == fanwatch.PolicyVersion && len(docs) > 1 {
		p.fail(docs[1], "a file of version %d is one document: put its policies under policies and remove the line ---",
			version)
	}
	return version
}

// policyV1 reads one document of version 1, which is one policy.
func (p *parser) policyV1(n *yaml.Node) {
	own := rules{line: n.Line}
	name := ""
	ack := fanwatch.Duration(0)
	fields := p.policyFields(&own, "policy")
	fields["version"] = func(n *yaml.Node) {
		if v := p.text(n, "version"); v != "1" {
			p.fail(n, "version %.20q of a policy: every document of a file of version 1 has version: 1", v)
		}
	}
	fields["name"] = func(n *yaml.Node) { name = p.text(n, "name") }
	fields["ack_timeout"] = func(n *yaml.Node) { ack = p.ackTimeout(n) }
	p.fields(n, "policy", fields)
	own.ack = map[fanwatch.Severity]fanwatch.Duration{fanwatch.SeverityCritical: ack, fanwatch.SeverityWarning: ack,
		fanwatch.SeverityInfo: ack}
	_, twice := p.policies[name]
	switch {
	case name == "":
		p.fail(n, "policy without a name: add one, such as name: default")
	case twice:
		p.fail(n, "policy %.60q stands twice: give each its own name", name)
	default:
		p.policies[name] = own
	}
	if len(own.steps) == 0 {
		p.fail(n, "policy %.60q: 0 steps, want 1 to %d: add steps: [{notify: [on-call]}]", name, maxSteps)
	}
}

// sections reads a document of version 2.
func (p *parser) sections(doc *yaml.Node) {
	later := map[string]*yaml.Node{}
	fields := map[string]func(*yaml.Node){"version": func(*yaml.Node) {},
		"zone": func(n *yaml.Node) { p.File.zone = p.reader.zone(n, "the file", time.UTC) }}
	// in this order, because a schedule names people, and all are read in the file's zone
	sections := []struct {
		name string
		read func(*yaml.Node)
	}{
		{"channels", func(n *yaml.Node) { p.each(n, "channels", p.readChannel) }},
		{"people", func(n *yaml.Node) { p.each(n, "people", p.readPerson) }},
		{"schedules", func(n *yaml.Node) { p.each(n, "schedules", p.readSchedule) }},
		{"policies", func(n *yaml.Node) { p.each(n, "policies", p.readPolicy) }},
		{"routes", p.readRoutes}, {"runbooks", p.readRunbooks}, {"links", p.readLinks},
	}
	for _, s := range sections {
		fields[s.name] = func(n *yaml.Node) { later[s.name] = n }
	}
	p.fields(doc, "the file", fields)
	for _, s := range sections {
		if n := later[s.name]; n != nil {
			s.read(n)
		}
	}
}

// named returns the name of an entry of channels, people or schedules. All share one space of names, because notify
// takes any of them.
func (p *parser) named(key *yaml.Node, what string) (name string, ok bool) {
	name = key.Value
	if err := fanwatch.CheckTopic(name); err != nil || strings.HasPrefix(name, "arn:") {
		p.fail(key, "%s %.60q: a name has 1 to 256 of the letters a to z and A to Z, digits, - and _", what, name)
		return name, false
	}
	line := 0
	if c, ok := p.channels[name]; ok {
		line = c.line
	}
	if h, ok := p.people[name]; ok {
		line = h.line
	}
	if line > 0 {
		p.fail(key, "%s %s: line %d has that name: channels, people and schedules need names that differ", what, name, line)
		return name, false
	}
	return name, true
}

func (p *parser) readChannel(key, n *yaml.Node) {
	name, ok := p.named(key, "channel")
	before := len(p.problems)
	what := "channel " + name
	p.known(n, what, reflect.TypeFor[notify.Config]())
	c := channel{line: key.Line}
	if err := n.Decode(&c.Config); err != nil {
		p.undecoded(n, what, err)
	}
	if !ok || len(p.problems) > before {
		return
	}
	c.Name = name
	if err := c.Check(); err != nil {
		p.fail(key, "%v", err)
		return
	}
	p.channels[name] = c
}

// known reports fields that the structure does not have.
func (p *parser) known(n *yaml.Node, what string, t reflect.Type) {
	fields := map[string]func(*yaml.Node){}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || name == "" {
			continue
		}
		fields[name] = func(*yaml.Node) {}
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct {
			fields[name] = func(n *yaml.Node) { p.known(n, what+": "+name, f.Type.Elem()) }
		}
	}
	p.fields(n, what, fields)
}

// undecoded reports what a library says of values that do not fit.
func (p *parser) undecoded(n *yaml.Node, what string, err error) {
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		p.fail(n, "%s: %v", what, err)
		return
	}
	for _, text := range types.Errors {
		line := n.Line
		if _, err := fmt.Sscanf(text, "line %d:", &line); err == nil {
			_, text, _ = strings.Cut(text, ": ")
		}
		p.problems.add(p.file, line, "%s: a value does not fit: %s", what, text)
	}
}

func (p *parser) readPerson(key, n *yaml.Node) {
	name, ok := p.named(key, "person")
	h := person{line: key.Line}
	what := "person " + name
	p.fields(n, what, map[string]func(*yaml.Node){
		"zone":     func(n *yaml.Node) { h.zone = p.reader.zone(n, what, nil) },
		"channels": func(n *yaml.Node) { h.channels = p.texts(n, what+": channels", maxChannels) }})
	if len(h.channels) == 0 {
		p.fail(key, "%s has no channel: add channels: [NAME], of a channel of the file or an SNS topic", what)
	}
	if _, twice := p.people[name]; ok || !twice {
		p.people[name] = h // also under a name that does not do, which is reported once and not wherever it is named
	}
}

// epoch is a Monday, from which turns are counted where start is left out.
const epoch = 4 // days since 1970-01-01

func (p *parser) readSchedule(key, n *yaml.Node) {
	name, ok := p.named(key, "schedule")
	what := "schedule " + name
	s := schedule{line: key.Line, zone: p.File.zone, weekday: time.Monday, minute: 9 * 60, weeks: 1, start: epoch}
	var overrides []*yaml.Node
	zone := func(n *yaml.Node) { s.zone = p.reader.zone(n, what, p.File.zone) }
	p.fields(n, what, map[string]func(*yaml.Node){
		"zone": zone,
		"handover": func(n *yaml.Node) {
			text := p.text(n, what+": handover")
			var fits bool
			if s.weekday, s.minute, fits = handover(text); !fits {
				p.fail(n, "%s: handover %.40q: write a day and a time, such as Mon 09:00", what, text)
			}
		},
		"every":  func(n *yaml.Node) { s.weeks = p.number(n, what+": every (weeks)", 1, 52) },
		"people": func(n *yaml.Node) { s.people = p.texts(n, what+": people", maxPeople) },
		"start": func(n *yaml.Node) {
			text := p.text(n, what+": start")
			t, err := time.Parse(time.DateOnly, text)
			if err != nil || t.Year() < 1970 {
				p.fail(n, "%s: start %.40q is no date from 1970 on: write it as 2026-11-30", what, text)
				return
			}
			s.start = days(t.Date())
		},
		"overrides": func(n *yaml.Node) {
			p.items(n, what+": overrides", maxOverrides, func(o *yaml.Node) { overrides = append(overrides, o) })
		}})
	s.start += (int(s.weekday) - (s.start+int(time.Thursday))%7 + 7) % 7 // the first hand-over on the date or after
	for _, o := range overrides {
		s.overrides = append(s.overrides, p.readOverride(o, what, s.zone))
	}
	sortOverrides(s.overrides)
	for i := 1; i < len(s.overrides); i++ {
		if a, b := s.overrides[i-1], s.overrides[i]; b.from.Before(a.to) {
			p.problems.add(p.file, b.line, "%s: the override begins before the one of line %d ends: an override covers the "+
				"whole time that it names, so let them not overlap", what, a.line)
		}
	}
	if len(s.people) == 0 {
		p.fail(key, "%s has no people: add people: [NAME, NAME]", what)
	}
	for _, who := range append(slices.Clone(s.people), overriders(s.overrides)...) {
		p.mustKnow(who, what)
	}
	if ok {
		p.schedules[name] = s
	}
}

func overriders(all []override) (who []text) {
	for _, o := range all {
		if o.who.string != "" {
			who = append(who, o.who)
		}
	}
	return who
}

// mustKnow reports a person that the file does not have.
func (p *parser) mustKnow(who text, what string) {
	if _, ok := p.people[who.string]; ok {
		return
	}
	mend := "add it under people"
	if like := nearest(who.string, slices.Sorted(maps.Keys(p.people))); like != "" {
		mend = "do you mean " + like + "?"
	}
	p.problems.add(p.file, who.line, "%s: %.60q is no person of the file: %s", what, who.string, mend)
}

func (p *parser) readOverride(n *yaml.Node, what string, zone *time.Location) override {
	o := override{line: n.Line}
	at := func(t *time.Time, field string, end bool) func(*yaml.Node) {
		return func(n *yaml.Node) {
			var err error
			if *t, err = moment(p.text(n, what+": "+field), zone, end); err != nil {
				p.fail(n, "%s: %s of an override: %v", what, field, err)
			}
		}
	}
	p.fields(n, what+": override", map[string]func(*yaml.Node){
		"who":  func(n *yaml.Node) { o.who = text{p.text(n, what+": who"), n.Line} },
		"from": at(&o.from, "from", false), "to": at(&o.to, "to", true),
		"note": func(n *yaml.Node) { o.note = p.text(n, what+": note") }})
	switch {
	case o.who.string == "" || o.from.IsZero() || o.to.IsZero():
		p.fail(n, "%s: an override needs who, from and to, such as {who: ada, from: 2026-12-24, to: 2026-12-26}", what)
	case !o.from.Before(o.to):
		p.fail(n, "%s: the override ends before it begins: let to be after from", what)
	}
	return o
}

func (p *parser) readPolicy(key, n *yaml.Node) {
	name, what := key.Value, fmt.Sprintf("policy %.60q", key.Value)
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, unicode.IsControl) {
		p.fail(key, "%s: a name has 1 to 128 bytes without control characters", what)
	}
	own := rules{line: key.Line, ack: defaultAck()}
	fields := p.policyFields(&own, what)
	fields["ack_timeout"] = func(n *yaml.Node) { p.ackTimeouts(n, what, own.ack) }
	fields["quiet"] = func(n *yaml.Node) { own.quiet = p.readQuiet(n, what+", quiet") }
	p.fields(n, what, fields)
	if len(own.steps) == 0 {
		p.fail(key, "%s: 0 steps, want 1 to %d: add steps: [{notify: [on-call]}]", what, maxSteps)
	}
	p.policies[name] = own
}

// defaultAck has the acknowledge time-outs of a policy that gives none.
func defaultAck() map[fanwatch.Severity]fanwatch.Duration {
	return map[fanwatch.Severity]fanwatch.Duration{fanwatch.SeverityCritical: fanwatch.Duration(30 * time.Minute),
		fanwatch.SeverityWarning: fanwatch.Duration(4 * time.Hour)}
}

// ackTimeouts reads one duration, or one for each of critical and warning.
func (p *parser) ackTimeouts(n *yaml.Node, what string, ack map[fanwatch.Severity]fanwatch.Duration) {
	put := func(s fanwatch.Severity) func(*yaml.Node) {
		return func(n *yaml.Node) { ack[s] = p.ackTimeout(n) }
	}
	switch {
	case empty(n):
	case n.Kind == yaml.MappingNode:
		p.fields(n, what+", ack_timeout", map[string]func(*yaml.Node){"critical": put(fanwatch.SeverityCritical),
			"warning": put(fanwatch.SeverityWarning)})
	default:
		d := p.ackTimeout(n)
		ack[fanwatch.SeverityCritical], ack[fanwatch.SeverityWarning] = d, d
	}
}

func (p *parser) ackTimeout(n *yaml.Node) fanwatch.Duration {
	d := p.duration(n, "ack_timeout")
	if d != 0 && time.Duration(d) < time.Second {
		p.fail(n, "ack_timeout %s is below 1s: give 1s or more, or 0 for never", d)
	}
	return d
}

// policyFields returns the fields that policies of both versions have.
func (p *parser) policyFields(own *rules, what string) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"steps": func(n *yaml.Node) {
			p.items(n, what+": steps", maxSteps, func(n *yaml.Node) {
				own.steps = append(own.steps, p.readStep(n, fmt.Sprintf("%s, step %d", what, len(own.steps)+1)))
			})
		},
		"hold": func(n *yaml.Node) {
			own.hold = p.duration(n, what+": hold")
			if h := time.Duration(own.hold); h > 0 && h < time.Second || h > fanwatch.MaxHold {
				p.fail(n, "%s: hold %s is outside 1s..%s: leave it out for %s, or give -1s to resolve at once", what, own.hold,
					fanwatch.MaxHold, fanwatch.DefaultHold)
			}
		},
		"info": func(n *yaml.Node) { own.info = p.readInfo(n, what+", info") }}
}

func (p *parser) readStep(n *yaml.Node, what string) step {
	s := step{line: n.Line}
	p.fields(n, what, map[string]func(*yaml.Node){
		"after": func(n *yaml.Node) {
			if s.after = p.duration(n, what+": after"); s.after < 0 {
				p.fail(n, "%s: after %s is negative: give 0 or more", what, s.after)
			}
		},
		"notify": func(n *yaml.Node) { s.notify = p.texts(n, what+": notify", fanwatch.MaxTopics) },
		"repeat": func(n *yaml.Node) { s.repeat = p.number(n, what+": repeat", 0, maxRepeat) },
		"every":  func(n *yaml.Node) { s.every = p.duration(n, what+": every") }})
	if s.repeat > 0 && time.Duration(s.every) < time.Second {
		p.fail(n, "%s: repeat needs every: 1s or more", what)
	}
	if len(s.notify) == 0 {
		p.fail(n, "%s: notify is empty: name a person, a schedule, a channel or an SNS topic", what)
	}
	return s
}

func (p *parser) readInfo(n *yaml.Node, what string) *morning {
	if empty(n) {
		return nil
	}
	m := &morning{zone: p.File.zone}
	p.fields(n, what, map[string]func(*yaml.Node){
		"notify": func(n *yaml.Node) { m.notify = p.texts(n, what+": notify", fanwatch.MaxTopics) },
		"at": func(n *yaml.Node) {
			m.at = p.text(n, what+": at")
			p.clock(n, what+": at")
		},
		"zone": func(n *yaml.Node) { m.zone = p.reader.zone(n, what, p.File.zone) }})
	if len(m.notify) == 0 {
		p.fail(n, "%s: notify is empty: name a person, a schedule, a channel or an SNS topic", what)
	}
	return m
}

func (p *parser) readQuiet(n *yaml.Node, what string) *quiet {
	if empty(n) {
		return nil
	}
	q := &quiet{from: -1, to: -1, zone: p.File.zone, severities: []string{string(fanwatch.SeverityWarning)}}
	p.fields(n, what, map[string]func(*yaml.Node){
		"from": func(n *yaml.Node) { q.from = p.clock(n, what+": from") },
		"to":   func(n *yaml.Node) { q.to = p.clock(n, what+": to") },
		"zone": func(n *yaml.Node) { q.zone = p.reader.zone(n, what, p.File.zone) },
		"severities": func(n *yaml.Node) {
			q.severities = nil
			for _, s := range p.texts(n, what+": severities", 3) {
				q.severities = append(q.severities, s.string)
				if s.string != string(fanwatch.SeverityWarning) && s.string != string(fanwatch.SeverityInfo) {
					p.problems.add(p.file, s.line, "%s: severity %.40q cannot be quiet: give warning, info or both; what is "+
						"critical always pages", what, s.string)
				}
			}
		}})
	if q.from < 0 || q.to < 0 {
		p.fail(n, "%s needs from and to, such as {from: \"22:00\", to: \"07:00\"}", what)
	} else if q.from == q.to {
		p.fail(n, "%s: from and to are the same: nothing would ever be told; give hours, or info as severity by a route",
			what)
	}
	return q
}

func (p *parser) readRoutes(n *yaml.Node) {
	p.items(n, "routes", maxRoutes, func(n *yaml.Node) {
		r := route{line: n.Line, name: fmt.Sprintf("route %d", len(p.routes)+1), zone: p.File.zone}
		what := r.name
		p.fields(n, what, map[string]func(*yaml.Node){
			"name": func(n *yaml.Node) {
				if s := p.text(n, what+": name"); s != "" {
					r.name = fanwatch.Legible(s, 128)
				}
			},
			"match":    func(n *yaml.Node) { p.readMatch(n, what+", match", &r) },
			"policy":   func(n *yaml.Node) { r.policy = p.policyName(n, what) },
			"severity": func(n *yaml.Node) { r.severity = p.severity(text{p.text(n, what), n.Line}, what) }})
		if r.policy == "" && r.severity == "" {
			p.fail(n, "%s changes nothing: give it a policy, a severity or both", what)
		}
		p.routes = append(p.routes, r)
	})
}

func (p *parser) policyName(n *yaml.Node, what string) string {
	name := p.text(n, what+": policy")
	if _, ok := p.policies[name]; !ok && name != "" {
		mend := "add it under policies"
		if like := nearest(name, slices.Sorted(maps.Keys(p.policies))); like != "" {
			mend = "do you mean " + like + "?"
		}
		p.fail(n, "%s: there is no policy %.60q: %s", what, name, mend)
	}
	return name
}

func (p *parser) severity(s text, what string) fanwatch.Severity {
	severity := fanwatch.Severity(s.string)
	if s.string != "" && severity.Weight() == 0 {
		p.problems.add(p.file, s.line, "%s: severity %.40q is none of critical, warning, info", what, s.string)
	}
	return severity
}

func (p *parser) readMatch(n *yaml.Node, what string, r *route) {
	patterns := func(list *[]text) func(*yaml.Node) {
		return func(n *yaml.Node) {
			*list = p.texts(n, what, maxPatterns)
			for _, t := range *list {
				if !sound(t.string) {
					p.problems.add(p.file, t.line, "%s: pattern %.60q is not whole: it takes *, ? and [a-z]", what, t.string)
				}
			}
		}
	}
	p.fields(n, what, map[string]func(*yaml.Node){"site": patterns(&r.sites), "tag": patterns(&r.tags),
		"model": patterns(&r.models), "fan": patterns(&r.fans),
		"kind": func(n *yaml.Node) {
			r.kinds = p.texts(n, what+": kind", maxPatterns)
			for _, k := range r.kinds {
				p.kind(k, what)
			}
		},
		"severity": func(n *yaml.Node) {
			r.weights = p.texts(n, what+": severity", maxPatterns)
			for _, s := range r.weights {
				p.severity(s, what)
			}
		},
		"hours": func(n *yaml.Node) {
			var err error
			if r.hours, err = fanwatch.ParseHours(p.text(n, what+": hours")); err != nil {
				p.fail(n, "%s: %v", what, err)
			}
		},
		"zone": func(n *yaml.Node) { r.zone = p.reader.zone(n, what, p.File.zone) }})
}

// kinds are the kinds of trouble that a file may name.
var kinds = []string{string(fanwatch.KindStall), string(fanwatch.KindUnderspeed), string(fanwatch.KindOverspeed),
	string(fanwatch.KindSpeed), string(fanwatch.KindSilent), string(fanwatch.KindFrozen), string(fanwatch.KindPublishers),
	string(fanwatch.KindJitter), string(fanwatch.KindWobble), string(fanwatch.KindHunting), string(fanwatch.KindDrift),
	string(fanwatch.KindUnusual), string(fanwatch.KindPipeline), string(fanwatch.KindDifference),
	string(fanwatch.KindIncident)}

func (p *parser) kind(k text, what string) {
	switch like := nearest(k.string, kinds); {
	case slices.Contains(kinds, k.string):
	case like != "":
		p.problems.add(p.file, k.line, "%s: kind %.40q is unknown: do you mean %s?", what, k.string, like)
	default:
		p.problems.add(p.file, k.line, "%s: kind %.40q is unknown: it is one of %s", what, k.string,
			strings.Join(kinds, ", "))
	}
}

func (p *parser) readRunbooks(n *yaml.Node) {
	p.each(n, "runbooks", func(key, n *yaml.Node) {
		p.kind(text{key.Value, key.Line}, "runbooks")
		p.runbooks[fanwatch.Kind(key.Value)] = p.address(n, "runbook of "+key.Value)
	})
}

func (p *parser) readLinks(n *yaml.Node) {
	base := func(to *string, what string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = strings.TrimRight(p.address(n, what), "/") }
	}
	p.fields(n, "links", map[string]func(*yaml.Node){"dashboard": base(&p.links.Dashboard, "links: dashboard"),
		"temporal": base(&p.links.Temporal, "links: temporal")})
}

// address returns the text of a URL.
func (p *parser) address(n *yaml.Node, what string) string {
	s := p.text(n, what)
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(s) > 2000 {
		p.fail(n, "%s: %.120q is no address: write it as https://host/path", what, s)
	}
	return s
}
