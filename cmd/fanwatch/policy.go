package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/activities"
	"fanwatch/notify"
	"fanwatch/policy"
	"fanwatch/workers"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Escalation policies: who is told, and who next",
		Long: `Escalation policies: who is told, and who next.

One YAML file (policy.yaml of the local system, --policies of a worker) says it all: people and their channels,
schedules of who is on call, policies of steps, and routes that choose a policy by site, tag, model, fan, kind, severity
and hours. The first route that matches holds; none: the policy default. A policy that a fan's device names (fanwatch
configure FAN --policy) beats the routes; a route's severity holds all the same.

Alerts of severity critical and warning go through the steps of their policy until a person acknowledges; quiet hours
hold back what is not critical. Those of severity info, which are worth a look, wake nobody: they are shown at once, and
the policy's section info (notify, at, zone) tells them in one message a day. Without that section they are shown and
never told.`}
	c.AddCommand(a.policyCheck(), a.policyWho())
	return c
}

func (a *app) policyCheck() *cobra.Command {
	var o awsOptions
	account := ""
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a policy file, and that its channels and topics can be reached", Args: cobra.MaximumNArgs(1),
		Long: `Check a policy file, and that its channels and topics can be reached.

It reads FILE as the workers do and names every mistake with its line, then what may be one: a name that looks like
another's, a policy that falls silent while no one answers. The secrets of its channels are looked up as this program
finds them (env:NAME, file:PATH): run it where, and as, the workers run. SNS is asked of each topic that a policy
reaches: that it exists, and that it has a confirmed subscription. With --account that is AWS; without it the local
system (--dir), where that runs. Where neither is at hand the topics are not checked, and that is said.

Exit status 1 when the file, a secret or a topic is not good; what may be a mistake changes it not.

Without FILE it is policy.yaml of the local system. Workers that run read a file that was changed by themselves.`,
		Example: "  fanwatch policy check\n  fanwatch policy check policy.yaml --account 123456789012 --region eu-central-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			file := filepath.Join(a.dir, "policy.yaml")
			if len(args) > 0 {
				file = args[0]
			}
			r := policyReport{V: 1, File: file, Trouble: []activities.TopicTrouble{}, Mistakes: policy.Problems{},
				Warnings: policy.Problems{}, Secrets: []secretTrouble{}}
			f, err := readPolicies(file)
			if errors.As(err, &r.Mistakes) {
				return a.printPolicies(cmd.OutOrStdout(), r)
			}
			if err != nil {
				return err
			}
			r.Warnings = append(r.Warnings, f.Warnings()...)
			r.Policies, r.Topics, r.Channels = len(f.Policies(time.Now())), len(f.Topics()), len(f.Channels())
			r.Secrets = append(r.Secrets, lostSecrets(f)...)
			wc, reachable, err := a.topicsConfig(cmd.Context(), o, account)
			if err != nil {
				return err
			}
			if r.Checked = reachable; reachable {
				wc.Planner = f
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

// readPolicies reads a policy file. The error is policy.Problems when it has mistakes.
func readPolicies(file string) (*policy.File, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	return policy.Parse(file, text)
}

// secretTrouble is a secret of a channel that cannot be read.
type secretTrouble struct {
	Channel string `json:"channel"`
	Why     string `json:"why"`
}

// lostSecrets returns the secrets of the file's channels that cannot be read here.
func lostSecrets(f *policy.File) (lost []secretTrouble) {
	for _, name := range f.Channels() {
		c, _ := f.Channel(name)
		for _, s := range secretsOf(c) {
			if _, err := s.Read(); err != nil {
				lost = append(lost, secretTrouble{name, err.Error()})
			}
		}
	}
	return lost
}

// secretsOf returns the secrets that the channel needs.
func secretsOf(c notify.Config) []notify.Secret {
	switch {
	case c.Mail != nil && c.Mail.User != "":
		return []notify.Secret{c.Mail.Password}
	case c.Webhook != nil:
		return []notify.Secret{c.Webhook.URL, c.Webhook.Secret}
	case c.Slack != nil:
		return []notify.Secret{c.Slack.URL}
	case c.Teams != nil:
		return []notify.Secret{c.Teams.URL}
	case c.PagerDuty != nil:
		return []notify.Secret{c.PagerDuty.Key}
	}
	return nil
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
	Channels int                       `json:"channels"`
	Topics   int                       `json:"topics"`
	Checked  bool                      `json:"checked"`  // whether SNS was asked
	Mistakes policy.Problems           `json:"mistakes"` // with any, nothing else is looked at
	Warnings policy.Problems           `json:"warnings"`
	Secrets  []secretTrouble           `json:"secrets"` // of channels, that cannot be read
	Trouble  []activities.TopicTrouble `json:"trouble"`
}

// lines returns what is wrong, one line for each.
func (r policyReport) lines() (all []string) {
	for _, m := range r.Mistakes {
		all = append(all, m.Error())
	}
	for _, w := range r.Warnings {
		w.Why = "warning: " + w.Why
		all = append(all, w.Error())
	}
	for _, s := range r.Secrets {
		all = append(all, fmt.Sprintf("channel %s: %s", s.Channel, s.Why))
	}
	for _, t := range r.Trouble {
		all = append(all, fmt.Sprintf("topic %s (policy %s): %s", t.Topic, strings.Join(t.Policies, ", "), t.Why))
	}
	return all
}

func (a *app) printPolicies(out io.Writer, r policyReport) error {
	if a.json {
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		for _, line := range r.lines() {
			fmt.Fprintln(out, fanwatch.OneLine(line))
		}
	}
	switch {
	case len(r.Mistakes) > 0:
		return fmt.Errorf("%s has mistakes, %d in all, the first on line %d: %s", r.File, len(r.Mistakes), r.Mistakes[0].Line,
			r.Mistakes[0].Why)
	case len(r.Trouble) > 0:
		return fmt.Errorf("%s: %d of %d topics reach nobody, or could not be checked: mend the file or the topics", r.File,
			len(r.Trouble), r.Topics)
	case len(r.Secrets) > 0:
		return fmt.Errorf("%s: secrets of its channels cannot be read here, %d in all: set them where the workers run, and "+
			"check there", r.File, len(r.Secrets))
	case a.json:
		return nil
	}
	reached := fmt.Sprintf("all its topics (%d) can be reached", r.Topics)
	if !r.Checked {
		reached = fmt.Sprintf("its topics (%d) were not checked: start the local system, or give --account", r.Topics)
	}
	_, err := fmt.Fprintf(out, "%s: well formed, policies: %d, channels: %d; %s\n", r.File, r.Policies, r.Channels,
		reached)
	return err
}

// policiesFlag is the help of --policies of the commands that read a policy file.
const policiesFlag = "policy file to go by; empty: policy.yaml of the local system"

// policyFile reads the policy file of a command whose flag --policies says where, "" = the local system's.
func (a *app) policyFile(policies string) (*policy.File, error) {
	return readPolicies(cmp.Or(policies, filepath.Join(a.dir, "policy.yaml")))
}
