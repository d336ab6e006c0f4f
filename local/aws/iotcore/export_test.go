package iotcore

import "fanwatch/local/aws/fault"

// Refusals gives the last 100 refusals, oldest first.
func (s *Server) Refusals() []Refusal { return s.refusals.list() }

// RefusalCounts gives the number of refusals since the start, by kind.
func (s *Server) RefusalCounts() map[string]int { return s.refusals.count() }

// Faults sets what goes wrong, as /_faults does.
func (s *Server) Faults() *fault.Injector { return s.faults }
