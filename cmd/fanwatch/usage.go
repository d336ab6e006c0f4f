package main

import "fmt"

// atLeast refuses the value of a flag that is too small.
func atLeast(flag string, value, least int) error {
	if value < least {
		return fmt.Errorf("--%s is %d, give %d or more (%w)", flag, value, least, errUsage)
	}
	return nil
}
