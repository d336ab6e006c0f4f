package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/workers"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Escalation policies: who is told, and who next",
		Long: `Escalation policies: who is told, and who next.

Alerts of severity critical and warning go through the steps of their fan's policy until a person acknowledges. Those of
severity info, which are worth a look, wake nobody: they are shown at once, and the policy's section info (notify, at,
zone) tells them in one message a day. Without that section they are shown and never told.`}
	c.AddCommand(a.policyCheck(), a.policyWho())
	return c
}

func (a *app) policyCheck() *cobra.Command {
	var o awsOptions
	account := ""
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a file of escalation policies, and that its topics can be reached", Args: cobra.MaximumNArgs(1),
		Long: `Check a file of escalation policies, and that its topics can be reached.

It reads FILE as the workers do and then asks SNS of each topic that a policy names: that it exists, and that it has a
confirmed subscription. With --account that is AWS; without it the local system (--dir), where that runs. Where
neither is at hand the file alone is checked, and that is said. Exit status 1 when the file or a topic is not good.

Without FILE it is policy.yaml of the local system. Workers that run read a file that was changed by themselves.`,
		Example: "  fanwatch policy check\n  fanwatch policy check policy.yaml --account 123456789012 --region eu-central-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			file := filepath.Join(a.dir, "policy.yaml")
			if len(args) > 0 {
				file = args[0]
			}
			policies, err := workers.OpenPolicies(file, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			wc, reachable, err := a.topicsConfig(cmd.Context(), o, account)
			if err != nil {
				return err
			}
			r := policyReport{V: 1, File: file, Policies: len(policies.Policies()),
				Topics:   len(activities.NamedTopics(policies.Policies())),
				Channels: len(policies.File().Channels), Warnings: policies.File().Warnings(),
				Checked: reachable, Trouble: []activities.TopicTrouble{}}
			if reachable {
				wc.Policies, wc.Channels = policies.Policies, policies.Channel
				if r.Trouble, err = workers.CheckTopics(cmd.Context(), wc); err != nil {
					return err
				}
			}
			return a.printPolicies(cmd.OutOrStdout(), r)
		},
	}
	f := c.Flags()
	f.StringVar(&o.region, "region", "", "with --account: AWS region; empty: the SDK's default chain")
	f.StringVar(&o.caBundle, "ca-bundle", "", "with --account: PEM file of certificates to trust beside the system's")
	f.StringVar(&account, "account", "", "AWS account ID (12 digits) of topics that are named without ARN; empty: "+
		"the local system's")
	return c
}

// localAccount is the account of the local system's AWS.
const localAccount = "000000000000"

// topicsConfig returns the AWS whose topics are meant; reachable is false when there is none at hand.
func (a *app) topicsConfig(ctx context.Context, o awsOptions, account string) (c workers.Config, reachable bool,
	err error) {
	if account != "" {
		c, err = o.config(ctx)
		c.Account = account
		return c, true, err
	}
	e, err := a.local()
	if err != nil || e.AWS == "" || gone(ctx, strings.TrimPrefix(e.AWS, "http://")) {
		return c, false, err
	}
	c, err = a.localConfig(ctx)
	c.Account = localAccount
	return c, true, err
}

// policyReport is what policy check prints as JSON.
type policyReport struct {
	V        int                       `json:"v"`
	File     string                    `json:"file"`
	Policies int                       `json:"policies"`
	Topics   int                       `json:"topics"`
	Channels int                       `json:"channels"`
	Warnings []string                  `json:"warnings,omitempty"`
	Checked  bool                      `json:"checked"` // whether SNS was asked
	Trouble  []activities.TopicTrouble `json:"trouble"`
}

func (a *app) printPolicies(out io.Writer, r policyReport) error {
	if a.json {
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		for _, w := range r.Warnings {
			fmt.Fprintf(out, "warning: %s\n", fanwatch.OneLine(w))
		}
		for _, t := range r.Trouble {
			fmt.Fprintf(out, "topic %s (policy %s): %s\n", t.Topic, fanwatch.OneLine(strings.Join(t.Policies, ", ")),
				fanwatch.OneLine(t.Why))
		}
	}
	switch {
	case len(r.Trouble) > 0:
		return fmt.Errorf("%s: %d of %d topics reach nobody, or could not be checked: mend the file or the topics", r.File,
			len(r.Trouble), r.Topics)
	case a.json:
		return nil
	case !r.Checked:
		_, err := fmt.Fprintf(out, "%s: well formed, policies: %d; its topics (%d) were not checked: start the local "+
			"system, or give --account\n", r.File, r.Policies, r.Topics)
		return err
	}
	_, err := fmt.Fprintf(out, "%s: well formed, policies: %d; all its topics (%d) can be reached\n", r.File, r.Policies,
		r.Topics)
	return err
}
