package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fanwatch"
	"fanwatch/operator"
	"fanwatch/workflows"
)

func (a *app) ack() *cobra.Command {
	var k fanwatch.Acknowledgement
	var normal, fault bool
	var which selection
	c := &cobra.Command{
		Use: "ack ALERT|FAN...", Short: "Acknowledge alerts: their escalation stops", Args: cobra.ArbitraryArgs,
		Long: `Acknowledge alerts: their escalation stops. A fan's name means its open alert, where it has one alone; one that
is worth a look counts where no other is open. An alert that another person acknowledged is taken over. --site and --all
mean the open alerts. Those who were told are told who takes care.

--normal says that the fan is to run like this: what its readings show then counts as usual at once, and the alert ends
when the judge calls them normal. A stopped rotor, a broken limit, silence, a repeated value and two publishers cannot
be made normal: there the verdict is kept and the alert stays quiet until the trouble ends; to change what counts, use
fanwatch configure (--kind intermittent, --hours, --min-rpm, --max-rpm, --silence). --fault says that it was a fault: it
is never learned as usual. Both may be said of an alert that is acknowledged or over, too, and the newest counts.`,
		Example: "  fanwatch ack fan-07 --note 'on my way'\n  fanwatch ack --site 'Hall A'\n" +
			"  fanwatch ack alert/fan-07/stall/20260528T202640.000000Z\n" +
			"  fanwatch ack alert/fan-07/speed/20260528T202640.000000Z --normal --note 'new filter'",
		RunE: func(cmd *cobra.Command, args []string) error {
			k.By, k.From = cmp.Or(k.By, account()), "cli"
			switch {
			case normal && fault:
				return fmt.Errorf("--normal and --fault: give one of them (%w)", errUsage)
			case normal:
				k.Verdict = fanwatch.VerdictNormal
			case fault:
				k.Verdict = fanwatch.VerdictFault
			}
			k = k.Trim()
			if err := k.Check(); err != nil {
				return fmt.Errorf("--by, --note: %w (%w)", err, errUsage)
			}
			return a.each(cmd, which, args, func(ctx context.Context, op operator.Client, id string) (fanwatch.Alert, string,
				error) {
				alert, err := op.Acknowledge(ctx, id, k)
				return alert, taken(alert, k), err
			})
		},
	}
	which.flags(c.Flags(), "open alerts")
	c.Flags().StringVar(&k.By, "by", "", "name of the person who takes care; empty: the name of your account")
	c.Flags().StringVar(&k.Note, "note", "", "text that is kept with the acknowledgement and shown with the alert")
	c.Flags().BoolVar(&normal, "normal", false, "the fan is to run like this: learn it as usual at once")
	c.Flags().BoolVar(&fault, "fault", false, "it is a fault: never learn it as usual")
	return c
}

// account returns the name of the account that runs the program; "" when it is not known.
func account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// alertOf returns the alert that what names: by its ID, or by a fan that has one open alert. Alerts that no person has
// acknowledged come before the others, and of these what escalates before what is worth a look.
func alertOf(ctx context.Context, op operator.Client, what string) (string, error) {
	if strings.HasPrefix(what, "alert/") || fanwatch.CheckFan(what) != nil {
		return what, nil
	}
	alerts, err := op.Alerts(ctx, false)
	if err != nil {
		return "", err
	}
	return alertAmong(alerts, what)
}

func alertAmong(alerts []fanwatch.Alert, fan string) (string, error) {
	var open, looks, acked []string
	for _, a := range alerts {
		switch {
		case a.Fan != fan:
		case a.State == fanwatch.AlertOpen && a.Weighed() == fanwatch.SeverityInfo:
			looks = append(looks, a.ID)
		case a.State == fanwatch.AlertOpen:
			open = append(open, a.ID)
		case a.State == fanwatch.AlertAcknowledged:
			acked = append(acked, a.ID)
		}
	}
	for _, others := range [][]string{looks, acked} {
		if len(open) == 0 {
			open = others
		}
	}
	switch len(open) {
	case 0:
		return "", fmt.Errorf("fan %s: %w: it has no open alert (see fanwatch alerts)", fan, operator.ErrUnknown)
	case 1:
		return open[0], nil
	}
	return "", fmt.Errorf("fan %s has %d open alerts, name one of %s", fan, len(open), strings.Join(open, ", "))
}

// learnable reports whether trouble of the kind can become usual.
func learnable(k fanwatch.Kind) bool {
	switch k {
	case fanwatch.KindStall, fanwatch.KindUnderspeed, fanwatch.KindOverspeed:
		return false
	}
	return k.Family() != fanwatch.FamilySource
}

var verdicts = map[fanwatch.Verdict]string{
	fanwatch.VerdictNormal: "this is normal",
	fanwatch.VerdictFault:  "it is a fault",
}

// taken says who has the alert after k was sent: the first to acknowledge has it, with that note.
func taken(a fanwatch.Alert, k fanwatch.Acknowledgement) string {
	switch {
	case k.Verdict != "" && a.Label == k.Verdict:
		text := fmt.Sprintf("%s is %s; %s says: %s", a.ID, a.State, a.LabelledBy, verdicts[k.Verdict])
		over := a.State == fanwatch.AlertResolved || a.State == fanwatch.AlertTerminated
		if k.Verdict == fanwatch.VerdictNormal && !over && !learnable(a.Kind) {
			text += "; trouble of this kind cannot be made normal: it stays quiet until it ends"
		}
		return text
	case a.AckedBy == k.By && (k.Note == "" || a.Note == k.Note):
		return fmt.Sprintf("%s is %s by %s", a.ID, a.State, a.AckedBy)
	case k.Note == "":
		return fmt.Sprintf("%s was acknowledged before, by %s at %s: it stays so", a.ID, a.AckedBy, when(a.AckedAt))
	}
	return fmt.Sprintf("%s was acknowledged before, by %s at %s: it stays so, and the note of %s was not kept", a.ID,
		a.AckedBy, when(a.AckedAt), k.By)
}

// settings are the flags by which provision and configure name what is to be of a fan.
type settings struct {
	device  fanwatch.Device
	relearn bool
}

func (s *settings) flags(f *pflag.FlagSet) {
	d := &s.device
	f.StringVar(&d.Site, "site", "", "where the fan stands, for people")
	f.StringSliceVar(&d.Clients, "client", nil, "MQTT client ID that may speak for the fan besides its name (may "+
		"be given again; those that are given replace those of before)")
	f.StringSliceVar(&d.Tags, "tag", nil, "word by which routes of the policy file find the fan, such as cooling (may be "+
		"given again; those that are given replace those of before)")
	f.StringVar(&d.Model, "model", "", "model as on the name plate, for people and the routes of the policy file")
	f.StringVar(&d.Zone, "zone", "", "IANA zone in which a TIME without zone is read; empty: UTC")
	f.Float64Var(&d.Limits.MinRPM, "min-rpm", 0, "lowest speed in RPM; a lower one is an alert; 0: half of what is "+
		"usual of the fan")
	f.Float64Var(&d.Limits.MaxRPM, "max-rpm", 0, "highest speed in RPM; a higher one is an alert; 0: none")
	f.TextVar(&d.Silence, "silence", fanwatch.Duration(0), fmt.Sprintf("alert when no reading was judged for this "+
		"long, at least %s; 0: 30s, negative: never", fanwatch.Duration(fanwatch.MinSilence)))
	f.StringVar(&d.Policy, "policy", "", "name of the escalation policy, in place of the one that a route of the policy "+
		"file chooses; empty: by the routes, else the policy default")
	f.StringVar((*string)(&d.Kind), "kind", "", fmt.Sprintf("sort of fan, one of %s; empty: it is judged by its readings "+
		"alone", sorts()))
	f.Float64Var(&d.Nominal, "nominal", 0, "speed in RPM at full duty by the data sheet, expected from the first reading "+
		"on; 0: not known")
	f.StringVar(&d.Hours, "hours", "", "hours of --zone in which it runs, such as 06:00-22:00 or 'Mon-Fri 06:00-22:00; "+
		"Sat 08:00-12:00'; outside them it may stand still; empty: always")
	f.StringVar((*string)(&d.Forest.Severity), "forest-severity", "", "severity of what no test but the forest finds: "+
		"info, warning or critical; empty: info")
	f.Float64Var(&d.Forest.Score, "forest-score", 0, "score above which one reading is trouble, such as 6; 0: judged by "+
		"what is usual of the fan")
	f.BoolVar(&d.Forest.Off, "forest-off", false, "the forest's score is written and is never trouble")
}

// sorts returns the sorts of fan, by commas.
func sorts() string {
	var all []string
	for _, k := range fanwatch.FanKinds() {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

// change returns what the flags name: one that was not given changes nothing, not even to its default.
func (s *settings) change(f *pflag.FlagSet) fanwatch.DeviceChange {
	d := &s.device
	return fanwatch.DeviceChange{Site: given(f, "site", &d.Site), Clients: given(f, "client", &d.Clients),
		Tags: given(f, "tag", &d.Tags), Model: given(f, "model", &d.Model), Zone: given(f, "zone", &d.Zone),
		MinRPM: given(f, "min-rpm", &d.Limits.MinRPM), MaxRPM: given(f, "max-rpm", &d.Limits.MaxRPM),
		Silence: given(f, "silence", &d.Silence), Policy: given(f, "policy", &d.Policy), Kind: given(f, "kind", &d.Kind),
		Nominal: given(f, "nominal", &d.Nominal), Hours: given(f, "hours", &d.Hours),
		ForestSeverity: given(f, "forest-severity", &d.Forest.Severity),
		ForestScore:    given(f, "forest-score", &d.Forest.Score), ForestOff: given(f, "forest-off", &d.Forest.Off),
		Relearn: s.relearn}
}

func given[T any](f *pflag.FlagSet, flag string, value *T) *T {
	if f.Changed(flag) {
		return value
	}
	return nil
}

func (a *app) provision() *cobra.Command {
	var s settings
	var csr, out string
	c := &cobra.Command{
		Use:   "provision FAN --csr FILE",
		Short: "Make a fan known and have its device's certificate signed", Args: cobra.ExactArgs(1),
		Long: `Make a fan known and have its device's certificate signed. The key stays on the device: make it and the CSR
there with fanwatch-edge enroll, or with openssl (the subject's common name is the fan's, or there is none).

Of a fan that exists it renews the certificate: the one before ends at once, and settings that are not named
stay as they are. To change settings alone use fanwatch configure.`,
		Example: "  fanwatch provision fan-21 --csr fan-21.csr --out fan-21.pem --site 'Hall A' --min-rpm 900\n" +
			"  fanwatch provision fan-21 --csr new.csr --out fan-21.pem\n" +
			"  fanwatch provision ABC123456 --csr demo.csr --client new_Client",
		RunE: func(cmd *cobra.Command, args []string) error {
			fan, change := args[0], s.change(cmd.Flags())
			if err := checkChange(fan, change); err != nil {
				return err
			}
			pem, err := os.ReadFile(csr)
			if err != nil {
				return fmt.Errorf("--csr: %w: make one with fanwatch-edge enroll --fan %s", err, fan)
			}
			if err := operator.CheckCSR(string(pem), fan, s.device.Clients...); err != nil {
				return fmt.Errorf("--csr %s: %w: make one with fanwatch-edge enroll --fan %s (%w)", csr, err, fan, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				answer, err := op.Enroll(ctx, fan, change, string(pem))
				if err != nil {
					return err
				}
				if out != "" {
					if err := os.WriteFile(out, []byte(answer.Certificate), 0o644); err != nil {
						return fmt.Errorf("the fan is provisioned, but its certificate could not be written: %w: run the same "+
							"again with another --out", err)
					}
				}
				switch {
				case a.json:
					return printJSON(cmd.OutOrStdout(), answer)
				case out == "":
					fmt.Fprint(cmd.OutOrStdout(), answer.Certificate)
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "%s is provisioned; its certificate is %s\n", fan, out)
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&csr, "csr", "", "file with the device's certificate signing request, PEM")
	f.StringVar(&out, "out", "", "file for the certificate, PEM; empty: standard output")
	s.flags(f)
	_ = c.MarkFlagRequired("csr") // the flag exists
	return c
}

// checkChange refuses what no fan can be set to.
func checkChange(fan string, c fanwatch.DeviceChange) error {
	if err := c.Apply(fanwatch.Device{V: fanwatch.DeviceVersion, Fan: fan}).CheckNew(); err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	return nil
}

func (a *app) configure() *cobra.Command {
	var s settings
	var accept, dismiss bool
	c := &cobra.Command{
		Use:   "configure FAN",
		Short: "Change a fan's limits, silence, site, zone, clients, policy, or what is known of it",
		Args:  cobra.ExactArgs(1),
		Long: `Change a fan's limits, silence, site, zone, clients or policy, or what is known of it: its sort, its speed by
the data sheet, its hours, and what comes of the forest's score. Only what is named changes; the device keeps its
certificate and need not be touched. It takes effect between two readings, and what is printed is what holds then.

--relearn forgets what is usual of the fan, such as after its rotor or its drive was replaced: until enough
readings came, the limits alone judge it.

--accept configures what the fan's readings suggest, as fanwatch show has it: its hours when it stands still at the same
time of three days, a longer silence when its readings come more seldom. --dismiss drops that for 30 days. Until one of
them is said, each stop and silence is told of.`,
		Example: "  fanwatch configure fan-07 --max-rpm 2000\n" +
			"  fanwatch configure fan-07 --site 'Hall B, rack 2' --policy night --silence 2m\n" +
			"  fanwatch configure fan-07 --kind 4-wire --nominal 3000 --hours 'Mon-Fri 06:00-22:00'\n" +
			"  fanwatch configure fan-07 --min-rpm 0 --relearn\n  fanwatch configure fan-07 --accept",
		RunE: func(cmd *cobra.Command, args []string) error {
			change := s.change(cmd.Flags())
			if accept || dismiss {
				return a.answer(cmd, args[0], change, accept, dismiss)
			}
			if err := checkChange(args[0], change); err != nil {
				return err
			}
			if change.Empty() {
				return fmt.Errorf("nothing is named that is to change, give at least one of the flags (%w)", errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				d, err := op.Change(ctx, args[0], change)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), d)
				}
				return showDevice(cmd.OutOrStdout(), d, s.relearn)
			})
		},
	}
	s.flags(c.Flags())
	c.Flags().BoolVar(&s.relearn, "relearn", false, "forget what is usual of the fan and learn it anew")
	c.Flags().BoolVar(&accept, "accept", false, "configure all that the fan's readings suggest")
	c.Flags().BoolVar(&dismiss, "dismiss", false, "drop all that they suggest, for 30 days")
	return c
}

// answer accepts or dismisses what a fan's readings suggest, and prints the device as it holds then.
func (a *app) answer(cmd *cobra.Command, fan string, change fanwatch.DeviceChange, accept, dismiss bool) error {
	if accept && dismiss || !change.Empty() {
		return fmt.Errorf("--accept and --dismiss: give one of them, and no other setting (%w)", errUsage)
	}
	if err := fanwatch.CheckFan(fan); err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
		d, err := op.Answer(ctx, fan, fanwatch.SuggestionAnswer{Accept: accept})
		if err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), d)
		}
		return showDevice(cmd.OutOrStdout(), d, false)
	})
}

// showDevice prints what holds of a fan after a change.
func showDevice(out io.Writer, d fanwatch.Device, relearn bool) error {
	return table(out, "", func(put row) {
		put("fan", d.Fan)
		put("site", d.Site)
		put("limits", limits(d.Limits))
		put("silent after", silence(d))
		put("policy", cmp.Or(d.Policy, "by the routes, else default"))
		if len(d.Tags) > 0 {
			put("tags", fanwatch.OneLine(strings.Join(d.Tags, ", ")))
		}
		if d.Model != "" {
			put("model", fanwatch.OneLine(d.Model))
		}
		put("clients", strings.Join(append([]string{d.Fan}, d.Clients...), ", "))
		put("zone", cmp.Or(d.Zone, "UTC"))
		showSorts(put, d)
		put("revision", d.Revision)
		if relearn {
			put("usual", "learned anew from the next reading on")
		}
	})
}

// revoked is what revoke prints as JSON.
type revoked struct {
	Fan          string   `json:"fan"`
	Certificates []string `json:"certificates"`
}

func (a *app) revoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke FAN|CERTIFICATE",
		Short: "End a fan's certificates, such as after a theft; the fan stays", Args: cobra.ExactArgs(1),
		Long: `End a fan's certificates, such as after a theft of its device: they are made inactive in AWS IoT Core, which
closes their connections. The fan stays, with its settings and what was learned of it, and is called silent after a
while; fanwatch provision gives it the next certificate. A certificate is named by its ARN or its ID of 64 hexadecimal
digits, as fanwatch show FAN --json has it. fanwatch retire ends the certificates too; those of a fan that was retired
before it did so are ended here.`,
		Example: "  fanwatch revoke fan-07\n  fanwatch revoke arn:aws:iot:eu-central-1:123456789012:cert/4f5c...",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.Contains(args[0], ":cert/") {
				if err := fanwatch.CheckFan(args[0]); err != nil {
					return fmt.Errorf("%w (%w)", err, errUsage)
				}
			} else if !operator.IsCertificate(args[0]) {
				return fmt.Errorf("certificate %.160q: its ID is 64 hexadecimal digits (%w)", args[0], errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				fan, answer, err := op.Revoke(ctx, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), revoked{fan, orEmpty(answer.Certificates)})
				}
				if len(answer.Certificates) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s has no certificate\n", fan)
				}
				for _, arn := range answer.Certificates {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s is inactive\n", fan, fanwatch.OneLine(arn))
				}
				return nil
			})
		},
	}
}

// retired is what retire prints as JSON.
type retired struct {
	Fan   string         `json:"fan"`
	Phase fanwatch.Phase `json:"phase"`
	workflows.RetireAnswer
}

func (a *app) retire() *cobra.Command {
	return &cobra.Command{
		Use:   "retire FAN",
		Short: "Refuse a fan's readings from now on and end its alert, certificates and workflow",
		Args:  cobra.ExactArgs(1),
		Long: `Refuse a fan's readings from now on and end its alert, its certificates and its workflow. When AWS IoT Core
does not answer, the fan is retired nevertheless, and its certificates are ended when it does. Its readings and alerts
of before stay. fanwatch provision makes a fan of that name anew.`,
		Example: "  fanwatch retire fan-07",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fanwatch.CheckFan(args[0]); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return a.with(cmd.Context(), func(ctx context.Context, op operator.Client) error {
				answer, err := op.Retire(ctx, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(cmd.OutOrStdout(), retired{args[0], fanwatch.PhaseRetired, answer})
				}
				fmt.Fprintln(cmd.OutOrStdout(), ended(args[0], answer))
				return nil
			})
		},
	}
}

// ended says what ended with a fan.
func ended(fan string, r workflows.RetireAnswer) string {
	text := fan + " is retired"
	alerts := r.Alerts
	if len(alerts) == 0 && r.Alert != "" { // of an earlier program
		alerts = []string{r.Alert}
	}
	for _, id := range alerts {
		text += "; " + id + " has ended"
	}
	if r.Pending != "" {
		text += fmt.Sprintf("; its certificates are active still (%s), and are ended as soon as that can be",
			fanwatch.OneLine(r.Pending))
	}
	return text
}
