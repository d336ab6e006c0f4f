package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// leaning are texts of flags that only make sense beside the one before: pflag lists flags by name.
var leaning = regexp.MustCompile(`(?i)\b(the same (of|for|as)|likewise|ditto|as above|see above|as before)\b|` +
	`^(of|for|by|also|from|to|before|how often)\b`)

// TestEveryFlagStandsAlone: each flag has a text that needs no other flag's, and each command an example.
func TestEveryFlagStandsAlone(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Name() == "help" {
			return
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if len(strings.Fields(f.Usage)) < 2 || leaning.MatchString(f.Usage) {
				t.Errorf("%s --%s: %q does not stand alone", c.CommandPath(), f.Name, f.Usage)
			}
		})
		if c.Runnable() && !c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(command())
}
