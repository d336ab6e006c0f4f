package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/notify"
	"fanwatch/operator"
	"fanwatch/workers"
)

func (a *app) page() *cobra.Command {
	var o awsOptions
	var to, policies, account string
	c := &cobra.Command{
		Use: "page TEST", Short: "Send a test message over one channel, and say what happened", Args: cobra.ExactArgs(1),
		Long: `Send a test message over one channel, and say what happened.

The one argument is the word TEST, so that no page is sent by a slip. --to names a channel of the policy file or, where
it has none of that name, an SNS topic: of AWS with --account, else of the local system. The message is sent once, as
a worker sends it, from this machine: what a worker can reach may differ. Secrets are read from where the file says.

Exit status 1 when the channel did not take it, 2 when there is no such channel.`,
		Example: "  fanwatch page TEST --to ops-mail --policies policy.yaml\n  fanwatch page TEST --to on-call",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.EqualFold(args[0], "TEST") {
				return fmt.Errorf("page takes the word TEST alone, not %.60q: alerts page by themselves (%w)", args[0], errUsage)
			}
			if to == "" {
				return fmt.Errorf("--to is missing: name a channel of the policy file, or a topic (%w)", errUsage)
			}
			if policies == "" {
				policies = filepath.Join(a.dir, "policy.yaml")
			}
			config, err := channelOf(policies, to)
			if errors.Is(err, os.ErrNotExist) && !cmd.Flags().Changed("policies") {
				err = nil // a topic needs no file
			}
			if err != nil {
				return err
			}
			deps, err := a.pageDeps(cmd.Context(), o, account, &config, to, policies)
			if err != nil {
				return err
			}
			return a.printPage(cmd.OutOrStdout(), sendTest(cmd.Context(), config, deps))
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "name of the channel, or name or ARN of an SNS topic")
	f.StringVar(&policies, "policies", "", "YAML file of escalation policies and channels; empty: policy.yaml of the "+
		"local system")
	f.StringVar(&o.region, "region", "", "with --account: AWS region; empty: the SDK's default chain")
	f.StringVar(&o.caBundle, "ca-bundle", "", "with --account: PEM file of certificates to trust beside the system's")
	f.StringVar(&account, "account", "", "AWS account ID (12 digits) of a topic that is named without ARN; empty: the "+
		"local system's")
	return c
}

// pageDeps returns what the channel needs. A name that the file does not have is a topic's.
func (a *app) pageDeps(ctx context.Context, o awsOptions, account string, c *notify.Config, to, file string) (
	notify.Deps, error) {
	if c.Sort() == "" {
		if err := fanwatch.CheckTopic(to); err != nil {
			return notify.Deps{}, fmt.Errorf("%s has no channel %.60q, and it is no topic: %w (%w)", file, to, err,
				operator.ErrUnknown)
		}
		*c = notify.Config{Name: to, SNS: &notify.SNS{Topic: to}}
	}
	if c.SNS == nil {
		return notify.Deps{}, nil
	}
	wc, reachable, err := a.topicsConfig(ctx, o, account)
	switch {
	case err != nil:
		return notify.Deps{}, err
	case !reachable:
		return notify.Deps{}, fmt.Errorf("%s has no channel %.60q, and there is no SNS at hand: start the local system, "+
			"or give --account (%w)", file, to, operator.ErrUnknown)
	}
	return notify.Deps{SNS: workers.NewTopics(wc)}, nil
}

// channelOf returns the channel of that name in a policy file; without one of that name it is empty.
func channelOf(file, name string) (notify.Config, error) {
	f, err := readPolicies(file)
	if err != nil {
		return notify.Config{}, fmt.Errorf("--policies: %w", err)
	}
	if c, ok := f.Channel(name); ok {
		return c, nil
	}
	return notify.Config{}, nil
}

// pageReport is what page prints as JSON.
type pageReport struct {
	V         int           `json:"v"`
	To        string        `json:"to"`
	Sort      string        `json:"sort"` // such as mail
	Key       string        `json:"key"`  // idempotency key of the message
	Taken     bool          `json:"taken"`
	Took      time.Duration `json:"took"`
	ID        string        `json:"id,omitempty"`     // as the service names the message
	Detail    string        `json:"detail,omitempty"` // what the service answered
	Why       string        `json:"why,omitempty"`    // why it was not taken
	Permanent bool          `json:"permanent"`        // a later try fails too
}

func sendTest(ctx context.Context, c notify.Config, d notify.Deps) pageReport {
	by := "fanwatch page"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	now := time.Now().UTC()
	m := notify.Message{V: notify.MessageVersion, Key: "test/" + uuid.NewString(), Event: fanwatch.EventTest, At: now,
		Alert: fanwatch.Alert{Why: fmt.Sprintf("This is a test of fanwatch by %s. No fan is in trouble.",
			fanwatch.Legible(by, 100))}}
	r := pageReport{V: 1, To: c.Name, Sort: c.Sort(), Key: m.Key}
	channel, err := notify.Open(c, d)
	var receipt notify.Receipt
	if err == nil {
		receipt, err = channel.Send(ctx, m)
	}
	r.Took = time.Since(now).Round(time.Millisecond)
	if err != nil {
		var final interface{ Permanent() bool }
		r.Why, r.Permanent = fanwatch.OneLine(err.Error()), errors.As(err, &final) && final.Permanent()
		var refused interface{ NonRetryable() bool }
		if errors.As(err, &refused) {
			r.Permanent = refused.NonRetryable()
		}
		return r
	}
	r.Taken, r.ID, r.Detail = true, receipt.ID, receipt.Detail
	return r
}

func (a *app) printPage(out io.Writer, r pageReport) error {
	if a.json {
		if err := printJSON(out, r); err != nil {
			return err
		}
	}
	switch {
	case !r.Taken && r.Permanent:
		return fmt.Errorf("%s (%s) did not take it after %s and will not: %s", r.To, r.Sort, r.Took, r.Why)
	case !r.Taken:
		return fmt.Errorf("%s (%s) did not take it after %s; a worker would try again: %s", r.To, r.Sort, r.Took, r.Why)
	case a.json:
		return nil
	}
	_, err := fmt.Fprintf(out, "%s (%s) took it after %s: %s\n", r.To, r.Sort, r.Took, fanwatch.OneLine(r.Detail))
	if err == nil && r.ID != "" {
		_, err = fmt.Fprintf(out, "its ID there: %s\n", fanwatch.OneLine(r.ID))
	}
	return err
}
