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

	"fanwatch"
	"fanwatch/operator"
)

// Exit statuses: 0 done; 1 it failed; 2 what was asked for does not exist or was not understood.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what the first cannot: a write to a pipe without a reader
	err := command().ExecuteContext(ctx)
	if err == nil {
		return
	}
	say(os.Stderr, "fanwatch: %v", err)
	if errors.Is(err, operator.ErrUnknown) || errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("see --help")

func command() *cobra.Command {
	root, _ := newCommand()
	return root
}

func newCommand() (*cobra.Command, *app) {
	a := &app{}
	root := &cobra.Command{
		Use:   "fanwatch",
		Short: "Watch fans: see them, see their alerts, acknowledge",
		Long: `Watch fans: see them, see their alerts, acknowledge.

fanwatch finds the local system by the directory that fanwatch-local up uses (--dir, ./.fanwatch). For a real
cluster give the address with --temporal, or in the environment as the Temporal CLI takes it
(TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_...). Flags win over the environment:
--temporal, then --dir, then TEMPORAL_ADDRESS, then ./.fanwatch.`,
		Example: "  fanwatch fans\n  fanwatch alerts --all\n  fanwatch ack fan-07 --by ada\n  fanwatch show " +
			"fan-07 --json",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w (%w)", err, errUsage) })
	p := root.PersistentFlags()
	a.given = p.Changed
	p.StringVar(&a.dir, "dir", ".fanwatch", "state directory of the local system")
	p.StringVar(&a.address, "temporal", "", "address of the Temporal server; default: the local system's, or the "+
		"environment's")
	p.StringVar(&a.namespace, "namespace", "", "Temporal namespace; empty: the local system's, or the environment's")
	p.BoolVar(&a.json, "json", false, "print JSON instead of tables")
	root.AddCommand(a.fans(), a.alerts(), a.ack(), a.show(), a.provision(), a.configure(), a.revoke(), a.retire(),
		a.reconcile(), a.refused(), a.why(), a.maintenance(), a.mute(), a.backtest(), a.replay(), a.score(), a.lake(),
		a.policy(), a.page(), a.onCall(), a.worker(), a.version())
	root.InitDefaultHelpCmd() // now, not at the end, so that explain sees them
	root.InitDefaultCompletionCmd()
	explain(root)
	return root, a
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version, commit, date, Go version and platform of this program", Args: cobra.NoArgs,
		Example: "  fanwatch version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fanwatch.RunningBuild().Print(cmd.OutOrStdout(), "fanwatch", a.json)
		},
	}
}
