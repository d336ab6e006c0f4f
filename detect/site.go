package detect

import (
	"slices"

	"fanwatch/detect/judge"
)

// site is what the fans of one site and shard share: the median of how far their speeds lie from their own means, by
// blocks of five minutes. Fans of the site in other shards are not seen, so a site whose fans are spread over shards
// needs more of them.
type site struct {
	Block int64     `json:"block"`        // the newest that fans told of
	Parts []float64 `json:"parts"`        // of that block
	Air   judge.Air `json:"air,omitzero"` // of the block before
}

const maxParts = 4096 // fans of a site that the median is taken of

// add takes what a fan's block tells.
func (s *site) add(p judge.Part) {
	if p.Block > s.Block {
		s.Air = judge.Air{Block: s.Block, Fans: len(s.Parts)}
		if len(s.Parts) > 0 {
			s.Air.Median = median(s.Parts)
		}
		s.Block, s.Parts = p.Block, s.Parts[:0]
	}
	if p.Block == s.Block && p.Known && len(s.Parts) < maxParts {
		s.Parts = append(s.Parts, p.Distance)
	}
}

// median returns the middle of values, or the mean of the two in the middle. It sorts them.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// site returns the site of a fan; nil when its device names none.
func (m *Models) site(f *fan) *site {
	name := f.device.Site
	if name == "" {
		return nil
	}
	s := m.sites[name]
	if s == nil {
		s = &site{}
		m.sites[name] = s
	}
	return s
}
