package main

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"fanwatch"
	"fanwatch/workflows"
)

func (a *app) ack() *cobra.Command {
	var k workflows.Acknowledgement
	c := &cobra.Command{
		Use: "ack ALERT", Short: "Acknowledge an alert: its escalation stops", Args: cobra.ExactArgs(1),
		Example: "  fanwatch ack alert/fan-07/stall/20260528T202640.000000Z --note 'on my way'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if k.By == "" {
				if u, err := user.Current(); err == nil {
					k.By = u.Username
				}
			}
			k = k.Trim()
			if err := k.Check(); err != nil {
				return fmt.Errorf("--by, --note: %w (%w)", err, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				alert, err := op.Acknowledge(ctx, args[0], k)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), alert)
				}
				say(cmd.OutOrStdout(), "%s", taken(alert, k))
				return nil
			})
		},
	}
	c.Flags().StringVar(&k.By, "by", "", "who takes care; empty: the name of your account")
	c.Flags().StringVar(&k.Note, "note", "", "for the others")
	return c
}

// taken says who has the alert after k was sent: the first to acknowledge has it, with that note.
func taken(a fanwatch.Alert, k workflows.Acknowledgement) string {
	switch {
	case a.AckedBy == k.By && a.Note == k.Note:
		return fmt.Sprintf("%s is %s by %s", a.ID, a.State, a.AckedBy)
	case k.Note == "":
		return fmt.Sprintf("%s was acknowledged before, by %s at %s: it stays so", a.ID, a.AckedBy, when(a.AckedAt))
	}
	return fmt.Sprintf("%s was acknowledged before, by %s at %s: it stays so, and the note of %s was not kept", a.ID, a.AckedBy, when(a.AckedAt), k.By)
}

func (a *app) provision() *cobra.Command {
	d := fanwatch.Device{V: fanwatch.DeviceVersion}
	var csr, out string
	c := &cobra.Command{
		Use: "provision FAN --csr FILE", Short: "Make a fan known and have its device's certificate signed", Args: cobra.ExactArgs(1),
		Long: `Make a fan known and have its device's certificate signed. The key stays on the device: make it and the CSR
there with fanwatch-edge enroll, or with openssl. Run again with another CSR, it replaces the certificate.`,
		Example: "  fanwatch provision fan-21 --csr fan-21.csr --out fan-21.pem --site 'Hall A' --min-rpm 900\n" +
			"  fanwatch provision ABC123456 --csr demo.csr --client new_Client",
		RunE: func(cmd *cobra.Command, args []string) error {
			d.Fan = args[0]
			if err := d.Check(); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			pem, err := os.ReadFile(csr)
			if err != nil {
				return fmt.Errorf("--csr: %w: make one with fanwatch-edge enroll --fan %s", err, d.Fan)
			}
			if err := workflows.CheckCSR(string(pem)); err != nil {
				return fmt.Errorf("--csr %s: %w: make one with fanwatch-edge enroll --fan %s (%w)", csr, err, d.Fan, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				answer, err := op.Provision(ctx, d, string(pem))
				if err != nil {
					return err
				}
				if out != "" {
					if err := os.WriteFile(out, []byte(answer.Certificate), 0o644); err != nil {
						return fmt.Errorf("the fan is provisioned, but its certificate could not be written: %w: run the same again with another --out", err)
					}
				}
				switch {
				case a.json:
					return printJSON(cmd.OutOrStdout(), answer)
				case out == "":
					fmt.Fprint(cmd.OutOrStdout(), answer.Certificate)
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "%s is provisioned; its certificate is %s\n", d.Fan, out)
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&csr, "csr", "", "file with the device's certificate signing request, PEM")
	f.StringVar(&out, "out", "", "where the certificate goes; empty: standard output")
	f.StringVar(&d.Site, "site", "", "where the fan stands, for people")
	f.StringSliceVar(&d.Clients, "client", nil, "MQTT client ID that may speak for the fan besides its name (repeatable)")
	f.StringVar(&d.Zone, "zone", "", "IANA zone in which a TIME without zone is read; empty: UTC")
	f.Float64Var(&d.Limits.MinRPM, "min-rpm", 0, "hard limit; 0: half of what the fan has been seen to do")
	f.Float64Var(&d.Limits.MaxRPM, "max-rpm", 0, "hard limit; 0: none")
	f.TextVar(&d.Silence, "silence", fanwatch.Duration(0), "alert when no reading came for this long; 0: 30s, negative: never")
	f.StringVar(&d.Policy, "policy", "", "escalation policy; empty: default")
	_ = c.MarkFlagRequired("csr") // the flag exists
	return c
}

// retired is what retire prints as JSON.
type retired struct {
	Fan   string         `json:"fan"`
	Phase fanwatch.Phase `json:"phase"`
}

func (a *app) retire() *cobra.Command {
	return &cobra.Command{
		Use: "retire FAN", Short: "Refuse a fan's readings from now on and end its workflow", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op workflows.Operator) error {
				if err := op.Retire(ctx, args[0]); err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), retired{args[0], fanwatch.Retired})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is retired\n", args[0])
				return nil
			})
		},
	}
}
