package policy

import (
	"maps"
	"path"
	"slices"
	"time"

	"fanwatch"
)

// check reports what is wrong between the sections.
func (p *parser) check() {
	if _, ok := p.policies[defaultPolicy]; !ok {
		p.problems.add(p.file, 1, "escalation policies: none is named default: alerts of fans without a policy of their own "+
			"go by it")
	}
	for _, name := range slices.Sorted(maps.Keys(p.people)) {
		for _, c := range p.people[name].channels {
			p.checkName(c, "person "+name, false)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.policies)) {
		own := p.policies[name]
		for _, s := range own.steps {
			for _, to := range s.notify {
				p.checkName(to, "policy "+name, true)
			}
		}
		if own.info != nil {
			for _, to := range own.info.notify {
				p.checkName(to, "policy "+name+", info", true)
			}
		}
	}
}

// checkName reports a name that is nothing of the file and no SNS topic either. With wide it may be a person or a
// schedule, else a channel alone.
func (p *parser) checkName(name text, what string, wide bool) {
	_, isPerson := p.people[name.string]
	_, isSchedule := p.schedules[name.string]
	if _, isChannel := p.channels[name.string]; isChannel || wide && (isPerson || isSchedule) {
		return
	}
	if isPerson || isSchedule {
		p.problems.add(p.file, name.line, "%s: channels has %s, which is no channel: name a channel of the file or an SNS "+
			"topic", what, name.string)
		return
	}
	if err := fanwatch.CheckTopic(name.string); err != nil {
		p.problems.add(p.file, name.line, "%s: %v", what, err)
	}
}

// warn keeps what may be a mistake.
func (p *parser) warn() {
	warn := func(line int, format string, args ...any) { p.warnings.add(p.file, line, format, args...) }
	names := slices.Concat(slices.Sorted(maps.Keys(p.channels)), slices.Sorted(maps.Keys(p.people)),
		slices.Sorted(maps.Keys(p.schedules)))
	like := func(name text, what string) {
		if near := nearest(name.string, names); near != "" && near != name.string && !slices.Contains(names, name.string) {
			warn(name.line, "%s: %s is taken for an SNS topic: do you mean %s?", what, name.string, near)
		}
	}
	for who, h := range p.people {
		for _, c := range h.channels {
			like(c, "person "+who)
		}
	}
	for name, own := range p.policies {
		for _, s := range own.steps {
			for _, to := range s.notify {
				like(to, "policy "+name)
			}
		}
		if own.info != nil {
			for _, to := range own.info.notify {
				like(to, "policy "+name+", info")
			}
		}
		p.warnSilent(name, own)
	}
}

// warnSilent warns of a policy that falls silent without an answer, or for ever after an acknowledgement.
func (p *parser) warnSilent(name string, own rules) {
	last := own.steps[len(own.steps)-1]
	if last.repeat == 0 {
		p.warnings.add(p.file, last.line, "policy %s falls silent %s after the opening when no one answers: let its last "+
			"step repeat, such as repeat: 100, every: 5m", name, own.lasts())
	}
	for _, s := range []fanwatch.Severity{fanwatch.SeverityCritical, fanwatch.SeverityWarning} {
		if own.ack[s] == 0 {
			p.warnings.add(p.file, own.line, "policy %s: an alert of severity %s that is acknowledged and never over is not "+
				"told of again: give ack_timeout", name, s)
		}
	}
}

// lasts returns the time from the opening to the last notification of the last step.
func (own rules) lasts() time.Duration {
	var d time.Duration
	for _, s := range own.steps {
		d += time.Duration(s.after) + time.Duration(s.repeat)*time.Duration(s.every)
	}
	return d
}

// sound reports whether the text is a pattern of [path.Match].
func sound(pattern string) bool {
	_, err := path.Match(unslash(pattern), "")
	return err == nil
}
