// Command fanwatch is the operator's tool: it shows fans and alerts, acknowledges, and provisions.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // zones of fans, on machines that have none

	"github.com/spf13/cobra"

	"fanwatch/workflows"
)

// Exit statuses: 0 done; 1 it failed; 2 what was asked for does not exist or was not understood.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what the first cannot: a write to a pipe that nobody reads
	err := command().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "fanwatch: %v\n", err)
	if errors.Is(err, workflows.ErrUnknown) || errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("see --help")

func command() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "fanwatch",
		Short: "Watch fans: see them, see their alerts, acknowledge",
		Long: `Watch fans: see them, see their alerts, acknowledge.

fanwatch finds the local system by the directory that fanwatch-local up uses (--dir, ./.fanwatch). For a real
cluster give the address with --temporal, or in the environment as the Temporal CLI takes it
(TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_...).`,
		Example:       "  fanwatch fans\n  fanwatch alerts --all\n  fanwatch ack alert/fan-07/stall/20260528T202640.000000Z --by ada\n  fanwatch show fan-07 --json",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w (%w)", err, errUsage) })
	p := root.PersistentFlags()
	p.StringVar(&a.dir, "dir", ".fanwatch", "state directory of the local system")
	p.StringVar(&a.address, "temporal", "", "address of the Temporal server; empty: the local system's, or the environment's")
	p.StringVar(&a.namespace, "namespace", "", "Temporal namespace; empty: the local system's, or the environment's")
	p.BoolVar(&a.json, "json", false, "print JSON instead of tables")
	root.AddCommand(a.fans(), a.alerts(), a.ack(), a.show(), a.provision(), a.retire(), a.reconcile(), a.refused(), a.score(), a.lake(), a.policy(), a.worker())
	root.InitDefaultHelpCmd() // now, not at the end, so that explain sees them
	root.InitDefaultCompletionCmd()
	explain(root)
	return root
}
