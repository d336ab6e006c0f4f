package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// explain makes c and all commands under it refuse what they do not understand with an error of one line that wraps
// errUsage. By itself cobra gives such errors no type, and prints the help of a group, as if that had been asked for,
// when there is no such command in it.
func explain(c *cobra.Command) {
	for _, sub := range c.Commands() {
		explain(sub)
	}
	accepts, prepare := c.Args, c.PreRunE
	switch {
	case c.Name() == "help":
		accepts = func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err == nil && len(rest) > 0 && found.HasSubCommands() {
				err = unknown(found, rest[0])
			}
			return err
		}
	case c.HasSubCommands():
		accepts = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(c, args[0])
			}
			return nil
		}
		if !c.Runnable() {
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	c.Args = func(c *cobra.Command, args []string) error {
		switch err := accepts(c, args); {
		case err == nil || errors.Is(err, errUsage):
			return err
		case len(args) == 0:
			return fmt.Errorf("arguments are missing, write %s (%w)", c.UseLine(), errUsage)
		default:
			return fmt.Errorf("the arguments %s do not fit, write %s (%w)", listed(args), c.UseLine(), errUsage)
		}
	}
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := c.ValidateRequiredFlags(); err != nil {
			return fmt.Errorf("%w (%w)", err, errUsage)
		}
		if prepare != nil {
			return prepare(c, args)
		}
		return nil
	}
}

// unknown says that the group has no command of that name, and which it might be.
func unknown(group *cobra.Command, name string) error {
	mend := ""
	if group.SuggestionsMinimumDistance = 2; len(group.SuggestionsFor(name)) > 0 {
		mend = ", do you mean " + strings.Join(group.SuggestionsFor(name), " or ") + "?"
	}
	return fmt.Errorf("%s has no command %.40q%s (%w)", group.CommandPath(), name, mend, errUsage)
}

// atLeast refuses the value of a flag that is too small.
func atLeast(flag string, value, least int) error {
	if value < least {
		return fmt.Errorf("--%s is %d, give %d or more (%w)", flag, value, least, errUsage)
	}
	return nil
}
