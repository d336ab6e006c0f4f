package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"fanwatch"
)

// reader reads nodes of a YAML document and keeps all that is wrong with them.
type reader struct {
	file     string
	problems Problems
	merges   int
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.problems.add(r.file, n.Line, format, args...)
}

// resolved returns what an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

const maxMerges = 1000 // of a file

// each calls do for each entry of a mapping, those of merged mappings (<<) after its own. what names the mapping.
func (r *reader) each(n *yaml.Node, what string, do func(key, value *yaml.Node)) {
	seen := map[string]bool{}
	r.merge(n, what, 0, func(key, value *yaml.Node, depth int) {
		switch {
		case !seen[key.Value]:
			seen[key.Value] = true
			do(key, resolved(value))
		case depth == 0:
			r.fail(key, "%s: %.60q stands twice: remove one", what, key.Value)
		}
	})
}

func (r *reader) merge(n *yaml.Node, what string, depth int,
	do func(key, value *yaml.Node, depth int)) {
	n = resolved(n)
	if empty(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s: want fields, such as name: value", what)
		return
	}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.fail(key, "%s: want a name before the colon", what)
		case key.ShortTag() == "!!merge":
			merges = append(merges, value)
		default:
			do(key, value, depth)
		}
	}
	for _, m := range merges {
		list := []*yaml.Node{m}
		if resolved(m).Kind == yaml.SequenceNode {
			list = resolved(m).Content
		}
		for _, one := range list {
			if r.merges++; r.merges > maxMerges {
				r.fail(n, "%s: the file merges (<<) more than %d times: write the fields out", what, maxMerges)
				return
			}
			r.merge(one, what, depth+1, do)
		}
	}
}

// fields calls for each field of a mapping its function. One that has none is unknown.
func (r *reader) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	r.each(n, what, func(key, value *yaml.Node) {
		if read, ok := known[key.Value]; ok {
			read(value)
			return
		}
		names := slices.Sorted(maps.Keys(known))
		if like := nearest(key.Value, names); like != "" {
			r.fail(key, "%s: field %.60q is unknown: do you mean %s?", what, key.Value, like)
			return
		}
		r.fail(key, "%s: field %.60q is unknown: it takes %s", what, key.Value, strings.Join(names, ", "))
	})
}

// items calls do for each item of a sequence. More than limit are an error, and are left out.
func (r *reader) items(n *yaml.Node, what string, limit int, do func(*yaml.Node)) {
	n = resolved(n)
	if empty(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "%s: want a list, such as [a, b]", what)
		return
	}
	if len(n.Content) > limit {
		r.fail(n, "%s has %d entries, at most %d are taken", what, len(n.Content), limit)
	}
	for _, item := range n.Content[:min(limit, len(n.Content))] {
		do(resolved(item))
	}
}

// text returns a scalar; "" = null, or it is none.
func (r *reader) text(n *yaml.Node, what string) string {
	switch n = resolved(n); {
	case n.Kind != yaml.ScalarNode:
		r.fail(n, "%s: want one text", what)
		return ""
	case empty(n):
		return ""
	}
	return n.Value
}

// texts returns the texts of a list, or the one that stands in its place.
func (r *reader) texts(n *yaml.Node, what string, limit int) []text {
	if n = resolved(n); n.Kind == yaml.ScalarNode {
		if empty(n) {
			return nil
		}
		return []text{{n.Value, n.Line}}
	}
	var out []text
	r.items(n, what, limit, func(item *yaml.Node) { out = append(out, text{r.text(item, what), item.Line}) })
	return out
}

// text is a text of the file.
type text struct {
	string
	line int
}

func (r *reader) duration(n *yaml.Node, what string) (d fanwatch.Duration) {
	s := r.text(n, what)
	if s == "" {
		return 0
	}
	if err := d.UnmarshalText([]byte(s)); err != nil {
		r.fail(n, "%s: %v", what, err)
	}
	return d
}

// number returns a whole number from low to high, or low when it is none.
func (r *reader) number(n *yaml.Node, what string, low, high int) int {
	s := r.text(n, what)
	if s == "" {
		return low
	}
	v, err := strconv.Atoi(s)
	switch {
	case err != nil:
		r.fail(n, "%s %.40q is no whole number: give %d to %d", what, s, low, high)
		return low
	case v < low || v > high:
		r.fail(n, "%s %d is outside %d..%d", what, v, low, high)
		return low
	}
	return v
}

// zone returns the zone of that name; other for "" and when there is none.
func (r *reader) zone(n *yaml.Node, what string, other *time.Location) *time.Location {
	s := r.text(n, what)
	if s == "" {
		return other
	}
	zone, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		r.fail(n, "%s: zone %.60q is not an IANA time zone, such as Europe/Berlin", what, s)
		return other
	}
	return zone
}

// clock returns a time of day in minutes since midnight.
func (r *reader) clock(n *yaml.Node, what string) int {
	s := r.text(n, what)
	minute, ok := minuteOfDay(s)
	if !ok {
		r.fail(n, "%s %.20q is no time of day: write it as 08:00", what, s)
	}
	return minute
}

func minuteOfDay(s string) (int, bool) {
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil
}
