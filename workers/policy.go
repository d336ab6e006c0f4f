package workers

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"fanwatch"
)

// ParsePolicies reads escalation policies from YAML, one per document (separated by ---). One must be
// named default. A field that does not exist is an error: a misspelt step would wake nobody.
func ParsePolicies(text []byte) (map[string]fanwatch.Policy, error) {
	policies := make(map[string]fanwatch.Policy)
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
		if _, ok := policies[p.Name]; ok {
			return nil, fmt.Errorf("policy %s stands twice: give each its own name", p.Name)
		}
		policies[p.Name] = p
	}
	if _, ok := policies["default"]; !ok {
		return nil, errors.New("escalation policies: none is named default: alerts of fans without a policy of their own go by it")
	}
	return policies, nil
}
