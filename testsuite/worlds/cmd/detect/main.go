// Command detect runs judges of fans over worlds that do not exist, and prints how often each alerts without reason
// and which faults it finds, when: go tool task bench:detect.
//
//	go run ./testsuite/worlds/cmd/detect -judge fanwatch -seeds 3 -only steady -explain
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"fanwatch/testsuite/worlds"
	"fanwatch/testsuite/worlds/trial"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "detect: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	judges := flag.String("judge", "", "judges, by commas, of "+strings.Join(trial.JudgeNames(), ", ")+" (default all)")
	seeds := flag.Int("seeds", 20, "seeds of each world and fault")
	first := flag.Uint64("first", 1, "first seed; those from 5000 on are for figures, not for building")
	peers := flag.Int("peer-seeds", 0, "seeds of the judges beside fanwatch (default as -seeds)")
	days := flag.Float64("days", 0, "days of each healthy world (default its own, 3 to 6)")
	history := flag.Duration("history", 0, "time before the faults that come after days (default their own, 24 to 98 h)")
	interval := flag.Duration("interval", 0, "time between two readings, whole seconds (default each world's own)")
	only := flag.String("only", "", "regular expression of the names of worlds and faults (default all)")
	part := flag.String("part", "", "healthy or faults (default both)")
	forest := flag.Bool("forest", true, "with its forest, which takes two thirds of the time; false: no alert is unusual")
	explain := flag.Bool("explain", false, "print each false alert, and what was made of each fault")
	list := flag.Bool("list", false, "list the worlds and faults")
	flag.Parse()
	if *list {
		return worlds.List(os.Stdout)
	}
	if *part != "" && *part != "healthy" && *part != "faults" || flag.NArg() > 0 || *seeds < 1 || *interval < 0 ||
		*interval%time.Second != 0 {
		return errors.New("arguments not understood: see -help")
	}
	config := trial.Config{Forestless: !*forest, First: *first, Seeds: *seeds, PeerSeeds: *peers, History: *history,
		Interval: *interval,
		Progress: os.Stderr,
		Span:     time.Duration(*days * 24 * float64(time.Hour)), Worlds: *part != "faults", Faults: *part != "healthy"}
	if *judges != "" {
		config.Judges = strings.Split(*judges, ",")
	}
	if *only != "" {
		var err error
		if config.Only, err = regexp.Compile(*only); err != nil {
			return err
		}
	}
	if *explain {
		config.Explain = os.Stdout
	}
	results, err := trial.Run(config)
	if err != nil {
		return err
	}
	return results.Write(os.Stdout)
}
