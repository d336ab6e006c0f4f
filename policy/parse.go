package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"fanwatch"
)

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// Parse reads a policy file of version 2, or the documents of version 1. The error joins all that is wrong, each with
// its line.
func Parse(text []byte) (*File, error) {
	var head struct {
		V int `yaml:"version"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	switch head.V {
	case 1:
		return parseDocuments(text)
	case FileVersion:
	default:
		return nil, fmt.Errorf("policy file: version %d is unknown, this program knows 1 and %d", head.V, FileVersion)
	}
	f := &File{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy file: version 2 is one document: put all policies under policies")
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	c := check{f: f, root: &root}
	c.all()
	return f, errors.Join(c.errs...)
}

// parseDocuments reads version 1.
func parseDocuments(text []byte) (*File, error) {
	f := &File{V: 1, Policies: map[string]Policy{}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	for {
		var p fanwatch.Policy
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("escalation policies: %w", err)
		}
		if err := p.Check(); err != nil {
			return nil, err
		}
		if _, ok := f.Policies[p.Name]; ok {
			return nil, fmt.Errorf("policy %s stands twice: give each its own name", p.Name)
		}
		f.Policies[p.Name] = Policy{Steps: p.Steps, AckTimeout: Timeouts{p.AckTimeout, p.AckTimeout}, Hold: p.Hold,
			Info: p.Info}
	}
	if _, ok := f.Policies["default"]; !ok {
		return nil, errors.New("escalation policies: none is named default: alerts of fans without a policy of their " +
			"own go by it")
	}
	return f, nil
}

// check collects what is wrong with a file of version 2.
type check struct {
	f    *File
	root *yaml.Node
	errs []error
}

// add adds an error at the line of the node that the keys lead to, or of the last of them that stands in the file.
func (c *check) add(keys []string, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("line %d: %s: %s", c.line(keys), strings.Join(keys, "."),
		fmt.Sprintf(format, args...)))
}

func (c *check) line(keys []string) int {
	n := c.root
	if len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for _, key := range keys {
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
		case yaml.SequenceNode:
			var i int
			if _, err := fmt.Sscan(key, &i); err == nil && i >= 1 && i <= len(n.Content) {
				next = n.Content[i-1]
				line = next.Line
			}
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}

func (c *check) zone(name string, keys ...string) {
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		c.add(keys, "%.60q is not an IANA time zone, such as Europe/Berlin", name)
	}
}

func (c *check) all() {
	f := c.f
	c.zone(f.Zone, "zone")
	for _, name := range sorted(f.People) {
		p := f.People[name]
		c.zone(p.Zone, "people", name, "zone")
		if len(p.Channels) == 0 {
			c.add([]string{"people", name}, "has no channel: name one of channels, or an SNS topic")
		}
		for _, channel := range p.Channels {
			c.channel(channel, "people", name, "channels")
		}
	}
	for _, name := range sorted(f.Channels) {
		channel, _ := f.Channel(name)
		c.zone(channel.Zone, "channels", name, "zone")
		if err := channel.Check(); err != nil {
			c.add([]string{"channels", name}, "%v", err)
		}
		if _, twice := f.People[name]; twice {
			c.add([]string{"channels", name}, "a person has this name too: give each its own")
		}
	}
	for _, name := range sorted(f.Schedules) {
		c.schedule(name, f.Schedules[name])
	}
	for _, name := range sorted(f.Policies) {
		c.policy(name, f.Policies[name])
	}
	if _, ok := f.Policies["default"]; !ok {
		c.add([]string{"policies"}, "none is named default: alerts that no route matches go by it")
	}
	for i, r := range f.Routes {
		c.route(fmt.Sprint(i+1), r)
	}
}

// channel checks a name that stands for a channel.
func (c *check) channel(name string, keys ...string) {
	if _, ok := c.f.Channels[name]; ok {
		return
	}
	if err := fanwatch.CheckTopic(name); err != nil {
		c.add(keys, "%.60q is none of the channels, and no SNS topic: %v", name, err)
	}
}

func (c *check) schedule(name string, s Schedule) {
	keys := []string{"schedules", name}
	c.zone(s.Zone, "schedules", name, "zone")
	if _, _, err := s.handover(); err != nil {
		c.add(append(keys, "handover"), "%v", err)
	}
	if _, err := time.Parse(time.DateOnly, cmp.Or(s.Start, "2026-01-05")); err != nil {
		c.add(append(keys, "start"), "%.40q is no day: write it as 2026-01-05", s.Start)
	}
	if s.Every < 0 || s.Every > 52 {
		c.add(append(keys, "every"), "%d weeks are outside 1..52", s.Every)
	}
	if len(s.People) == 0 {
		c.add(keys, "has nobody: name persons under people")
	}
	for _, who := range s.People {
		c.person(who, append(keys, "people"))
	}
	for i, o := range s.Overrides {
		at := append(slices.Clone(keys), "overrides", fmt.Sprint(i+1))
		c.person(o.Who, at)
		if _, _, err := o.times(zone(s.Zone, c.f.Zone)); err != nil {
			c.add(at, "%v", err)
		}
	}
}

func (c *check) person(who string, keys []string) {
	if _, ok := c.f.People[who]; !ok {
		c.add(keys, "%.60q is none of the people: add an entry with channels", who)
	}
}

func (c *check) policy(name string, p Policy) {
	keys := []string{"policies", name}
	resolved := fanwatch.Policy{V: fanwatch.PolicyVersion, Name: name, Hold: p.Hold, Info: c.f.info(p, time.Time{})}
	for i, s := range p.Steps {
		for _, to := range s.Notify {
			_, person := c.f.People[to]
			_, schedule := c.f.Schedules[to]
			if !person && !schedule {
				c.channel(to, append(slices.Clone(keys), "steps", fmt.Sprint(i+1), "notify")...)
			}
		}
		resolved.Steps = append(resolved.Steps, s)
	}
	if err := resolved.CheckSteps(); err != nil {
		c.add(keys, "%v", err)
	}
	if q := p.Quiet; q != nil {
		c.zone(q.Zone, "policies", name, "quiet", "zone")
		if !clocks(q.From, q.To) {
			c.add(append(keys, "quiet"), "from %.20q to %.20q: write them as from: \"22:00\", to: \"07:00\"", q.From, q.To)
		}
	}
}

func clocks(from, to string) bool {
	a, err := time.Parse("15:04", strings.TrimSpace(from))
	b, err2 := time.Parse("15:04", strings.TrimSpace(to))
	return err == nil && err2 == nil && !a.Equal(b)
}

func (c *check) route(i string, r Route) {
	keys := []string{"routes", i}
	if _, ok := c.f.Policies[r.Policy]; !ok && r.Policy != "" {
		c.add(append(keys, "policy"), "%.60q is none of the policies", r.Policy)
	}
	for _, pattern := range []string{r.Match.Site, r.Match.Fan} {
		if _, err := path.Match(pattern, ""); err != nil {
			c.add(append(keys, "match"), "%.60q is no pattern: * stands for any letters, ? for one, [ab] for a or b", pattern)
		}
	}
	c.zone(r.Match.Zone, append(keys, "match", "zone")...)
	if from, to, _ := strings.Cut(r.Match.Hours, "-"); r.Match.Hours != "" && !clocks(from, to) {
		c.add(append(keys, "match", "hours"), "%.40q: write it as 22:00-06:00", r.Match.Hours)
	}
	for _, s := range append([]fanwatch.Severity{r.Severity}, r.Match.Severity...) {
		if s != "" && s.Weight() == 0 {
			c.add(append(keys, "severity"), "%.40q is not critical, warning or info", s)
		}
	}
	for _, k := range r.Match.Kind {
		if k.Family() == "" {
			c.add(append(keys, "match", "kind"), "%.40q is no kind of trouble, such as stall or silent", k)
		}
	}
}

// Warnings returns what is allowed and may not be meant, a line each.
func (f *File) Warnings() []string {
	var all []string
	for _, name := range sorted(f.Policies) {
		p := f.Policies[name]
		if last := p.Steps[len(p.Steps)-1]; last.Repeat == 0 {
			all = append(all, fmt.Sprintf("policy %s falls silent after its last step while nobody acknowledges: give the "+
				"step repeat and every", name))
		}
	}
	return all
}
