package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanwatch/activities"
	"fanwatch/cloud"
	"fanwatch/cloud/awscatalog"
	"fanwatch/lake"
	"fanwatch/lake/ingest"
	"fanwatch/lake/landing"
	"fanwatch/objstore"
	"fanwatch/workers"
)

func (a *app) lake() *cobra.Command {
	c := &cobra.Command{Use: "lake", Short: "Look into the lake: its state, its soundness, its readings",
		Long: `Look into the lake: its state, its soundness, its readings.

The lake is the landing log in S3 and the Iceberg tables that are fed from it: readings, anomalies, quarantine, labels,
alerts. Any engine that knows Iceberg can query the tables; these commands need none. Without --bucket it is the
local system's lake (--dir).`}
	c.AddCommand(a.lakeStatus(), a.lakeVerify(), a.lakeQuery(), a.lakeExport(), a.lakeIngest())
	return c
}

// withLake runs do with the tables and the landing logs of the lake that the flags name.
func (a *app) withLake(ctx context.Context, o awsOptions, do func(tables *lake.Tables, store objstore.Store,
	logs []landing.Log) error) error {
	wc, err := a.lakeConfig(ctx, o)
	if err != nil {
		return err
	}
	return inLake(ctx, wc, do)
}

func inLake(ctx context.Context, wc workers.Config, do func(tables *lake.Tables, store objstore.Store,
	logs []landing.Log) error) (err error) {
	store := cloud.NewS3(wc.AWS, wc.Endpoints.S3, wc.Bucket)
	logs, err := landing.Logs(ctx, store, wc.Stream)
	if err != nil {
		return err
	}
	if len(logs) == 0 {
		return errors.New("nothing has landed in this lake yet") // and no table is made where none belongs
	}
	tables, done, err := workers.ReadTables(ctx, wc)
	if errors.Is(err, lake.ErrNoTable) {
		return fmt.Errorf("nothing has been committed to this lake's tables yet (%w)", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return do(tables, store, logs)
}

type lakeState struct {
	Catalog catalogPlace  `json:"catalog"`
	Tables  []lake.Status `json:"tables"`
	Lags    []lake.Lag    `json:"lags"`
	Passed  []string      `json:"passed"` // objects that do not belong where they are, and why
}

// catalogPlace says which Iceberg catalog holds the tables, so that a reader can be pointed at it.
type catalogPlace struct {
	Kind string `json:"kind"` // sqlite, glue or rest, as the flag --catalog has it
	// what a SQL catalog's rows call it; with glue and rest a reader may call it as it likes
	Name      string `json:"name"`
	Where     string `json:"where"`               // sqlite: the file; glue: the AWS region; rest: the address
	Warehouse string `json:"warehouse,omitempty"` // of rest
}

// placeOf returns the place of c's catalog, which is that of s unless it is a file. An address loses its password.
func placeOf(c workers.Config, s awscatalog.Settings) catalogPlace {
	if c.Catalog.SQLite != "" {
		return catalogPlace{Kind: "sqlite", Name: lake.CatalogName, Where: c.Catalog.SQLite}
	}
	p := catalogPlace{Kind: s.Kind, Name: lake.CatalogName, Where: c.AWS.Region}
	if p.Kind == "rest" {
		p.Where, p.Warehouse = s.URI, s.Warehouse
		if u, err := url.Parse(p.Where); err == nil {
			p.Where = u.Redacted()
		}
	}
	return p
}

func (a *app) lakeStatus() *cobra.Command {
	var o awsOptions
	changes := 5
	c := &cobra.Command{
		Use:   "status",
		Short: "Show files, rows and sizes of the tables, how far they lag, and their last commits", Args: cobra.NoArgs,
		Long: `Show files, rows and sizes of the tables, how far they lag behind the landing log, and their last commits.

The catalog and the current metadata file of each table stand there too: readers that know the catalog (pyiceberg,
Spark) take the one, readers without (DuckDB iceberg_scan, Polars scan_iceberg) the other; docs/lake.md shows how.
Objects that lie where they do not belong are named; nothing is stopped by them. It changes nothing. Exit status 1
when a table or a log cannot be read.`,
		Example: "  fanwatch lake status\n  fanwatch lake status --commits 20 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := atLeast("commits", changes, 0); err != nil {
				return err
			}
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			return inLake(cmd.Context(), wc, func(tables *lake.Tables, _ objstore.Store, logs []landing.Log) error {
				s, failed := readState(cmd.Context(), tables, logs, changes)
				s.Catalog = placeOf(wc, o.catalog)
				if a.json {
					return errors.Join(printJSON(cmd.OutOrStdout(), s), failed)
				}
				return errors.Join(printState(cmd.OutOrStdout(), s), printPlaces(cmd.OutOrStdout(), s), failed)
			})
		},
	}
	o.flags(c.Flags())
	c.Flags().IntVar(&changes, "commits", changes, "number of the newest commits of each table to show, 0 or more")
	return c
}

// readState returns what can be read; the error says what cannot.
func readState(ctx context.Context, tables *lake.Tables, logs []landing.Log, changes int) (lakeState, error) {
	s := lakeState{Lags: []lake.Lag{}}
	var failed, err error
	s.Tables, failed = tables.Statuses(ctx, changes)
	for _, l := range logs {
		var lag lake.Lag
		if lag, err = tables.Lag(ctx, l); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		s.Lags = append(s.Lags, lag)
	}
	s.Passed = orEmpty(tables.PassedOver())
	return s, failed
}

// printPlaces says where the catalog and the tables' metadata are, for other readers, and what was passed over.
func printPlaces(out io.Writer, s lakeState) error {
	fmt.Fprintln(out)
	place := fmt.Sprintf("catalog %s: %s %s", s.Catalog.Name, s.Catalog.Kind, s.Catalog.Where)
	if s.Catalog.Warehouse != "" {
		place += " warehouse " + s.Catalog.Warehouse
	}
	say(out, "%s", place)
	for _, t := range s.Tables {
		if t.Metadata != "" {
			say(out, "metadata of %s: %s", t.Table, t.Metadata)
		}
	}
	for _, l := range s.Lags {
		if !l.OldSince.IsZero() {
			say(out, "readings of shard %s that were days old at their arrival wait since %s: they enter the table once a day",
				l.Shard, when(l.OldSince))
		}
	}
	for _, p := range s.Passed {
		say(out, "PASSED OVER: %s", p)
	}
	return nil
}

func printState(out io.Writer, s lakeState) error {
	err := table(out, "TABLE\tROWS\tFILES\tSIZE\tBYTES/ROW\tDAYS\tSNAPSHOTS\tPLANS", func(add row) {
		for _, t := range s.Tables {
			add(t.Table, t.Rows, t.Files, size(t.Bytes), fmt.Sprintf("%.1f", float64(t.Bytes)/float64(max(t.Rows, 1))), t.Days,
				t.Snapshots, t.Plans)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	err = table(out, "SHARD\tNOT YET IN THE TABLE\tWAITING FOR", func(add row) {
		for _, l := range s.Lags {
			since := "-"
			if l.Oldest > 0 {
				since = l.Oldest.Round(time.Second).String()
			}
			add(l.Shard, count(l.Rows, "reading")+" in "+count(l.Segments, "segment"), since)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	return table(out, "COMMIT\tTABLE\tWHAT\tFILES\tROWS", func(add row) {
		for _, t := range s.Tables {
			for _, c := range t.Changes {
				add(when(c.At), t.Table, c.Operation, c.Files, fmt.Sprintf("+%d", c.Rows))
			}
		}
	})
}

// count writes how many there are of what.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// size writes bytes for people.
func size(n int64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	return strconv.FormatFloat(f, 'f', min(1, len(unit)-1), 64) + " " + unit
}

var errUnsound = errors.New("the lake has faults: they are named above")

func (a *app) lakeVerify() *cobra.Command {
	var o awsOptions
	c := &cobra.Command{
		Use: "verify", Short: "Read the whole lake and hold it against itself and the landing log", Args: cobra.NoArgs,
		Long: `Read the whole lake and hold it against itself and the landing log.

Every snapshot's manifests and the files they name must be there. Every data file must be undamaged, of its day,
sorted if the table calls it so, and hold as many rows as it says. Every reading that still has its row in the landing
log must be in the table with the same content, by hash; and all counts must agree, as fanwatch reconcile has them. It
reads everything once and changes nothing. Exit status 1 when there is a fault.`,
		Example: "  fanwatch lake verify\n  fanwatch lake verify --bucket my-fan-lake --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withLake(cmd.Context(), o, func(tables *lake.Tables, _ objstore.Store, logs []landing.Log) error {
				bar := progressBar(os.Stderr, "data files")
				v, err := tables.Verify(cmd.Context(), logs, bar.show)
				bar.end()
				if err != nil {
					return err
				}
				return a.printVerdict(cmd.OutOrStdout(), v)
			})
		},
	}
	o.flags(c.Flags())
	return c
}

func (a *app) printVerdict(out io.Writer, v lake.VerifyReport) error {
	if a.json {
		v.Tables, v.Accounts, v.Faults = orEmpty(v.Tables), orEmpty(v.Accounts), orEmpty(v.Faults)
		if err := printJSON(out, v); err != nil {
			return err
		}
	} else {
		err := table(out, "TABLE\tROWS\tFILES\tSIZE\tSNAPSHOTS\tMANIFESTS", func(add row) {
			for _, t := range v.Tables {
				add(t.Table, t.Rows, t.Files, size(t.Bytes), t.Snapshots, t.Manifests)
			}
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s of the landing log; %s compared by content; %d left by age\n", count(v.Segments, "segment"),
			count(v.Compared, "reading"), v.Retired)
		for _, f := range v.Faults {
			say(out, "FAULT: %s", f)
		}
		if v.OK {
			fmt.Fprintln(out, "the lake is sound")
		}
	}
	if !v.OK {
		return errUnsound
	}
	return nil
}

// period is the flags --from and --to.
type period struct{ from, to string }

// times reads a period. A duration such as 24h is so long ago; nothing is no bound.
func (p period) times(now time.Time) (from, to time.Time, err error) {
	if from, err = parseTime(p.from, now); err != nil {
		return from, to, fmt.Errorf("--from: %w (%w)", err, errUsage)
	}
	if to, err = parseTime(p.to, now); err != nil {
		return from, to, fmt.Errorf("--to: %w (%w)", err, errUsage)
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, fmt.Errorf("--from %s is not before --to %s (%w)", p.from, p.to, errUsage)
	}
	return from, to, nil
}

func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q cannot be read: write 2026-05-28T20:00:00Z, 2026-05-28 or 24h for a day ago",
		s)
}

func (a *app) lakeIngest() *cobra.Command {
	var o awsOptions
	var d activities.DeliveryStream
	var giveUp []string
	c := &cobra.Command{
		Use:   "ingest PREFIX",
		Short: "Land what a delivery stream has written: readings in the legacy format", Args: cobra.ExactArgs(1),
		Long: `Land what a delivery stream (Amazon Data Firehose) has written: readings in the legacy format.

PREFIX is the folder of its objects: JSON on lines, in arrays, with commas between or joined without anything, plain or
gzip. Each object is landed once, however often this is called; call it again for what has come since. To have that
done by a schedule (lake-ingest, every five minutes), start the workers with --ingest PREFIX: both may run beside each
other. The next commit brings the readings into the table, flagged late: no forest sees them. What is no reading is
quarantined (fanwatch refused).

An object that cannot be read (archived, forbidden, damaged, ZIP, Parquet, CSV and the like) stops no other: it is
named, and the exit status is 1 for as long as it is there. The schedule tries it again when it is written anew, or,
where it was the store that did not give it, after pauses of a minute to six hours; this command tries it at once.
--give-up KEY has it count as landed, and a row of the quarantine says so.`,
		Example: "  fanwatch lake ingest firehose/fans/\n  fanwatch lake ingest 2019/ --from-bucket old-delivery " +
			"--zone Asia/Tokyo --bucket my-fan-lake\n  fanwatch lake ingest firehose/fans/ --give-up firehose/fans/2019/x.zip",
		RunE: func(cmd *cobra.Command, args []string) error {
			wc, err := a.lakeConfig(cmd.Context(), o)
			if err != nil {
				return err
			}
			if d.Prefix = args[0]; d.Bucket == wc.Bucket {
				d.Bucket = "" // by whichever name, it is one folder
			}
			in, err := d.Ingestion(wc.Open(wc.Bucket), wc.Open, wc.Stream)
			if err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			for _, err := range in.From.List(cmd.Context(), d.Prefix, "") {
				if errors.Is(err, objstore.ErrNoBucket) {
					return fmt.Errorf("there is no bucket %q: name the delivery stream's with --from-bucket (%w)",
						cmp.Or(d.Bucket, wc.Bucket), errUsage)
				}
				break
			}
			in.Again, in.GiveUp = true, giveUp
			bar := progressBar(os.Stderr, "objects")
			r, err := in.Run(cmd.Context(), bar.show)
			bar.end()
			if err != nil && r.Objects+r.Quarantined+r.PassedOver == 0 {
				return err
			}
			return cmp.Or(err, a.printIngested(cmd.OutOrStdout(), r))
		},
	}
	o.flags(c.Flags())
	c.Flags().StringVar(&d.Bucket, "from-bucket", "", "bucket of the delivery stream; empty: the lake's own")
	c.Flags().StringVar(&d.Zone, "zone", "UTC", "IANA zone in which a TIME without zone is read")
	c.Flags().StringArrayVar(&giveUp, "give-up", nil, "key of an object that was passed over and is to count as "+
		"landed, as far as it is; may be given again")
	return c
}

// printIngested shows what was landed, and fails where something was not.
func (a *app) printIngested(out io.Writer, r ingest.Result) error {
	if a.json {
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s: %s landed, %d passed over because they were there, %s refused\n", count(r.Objects, "object"),
			count(r.Readings, "reading"), r.Duplicates, count(r.Quarantined, "value"))
		for _, p := range r.Passed {
			fmt.Fprintf(out, "NOT LANDED: %.300q: %s\n", p.Key, p.Why)
		}
		if more := r.PassedOver - len(r.Passed); more > 0 {
			fmt.Fprintf(out, "NOT LANDED: %d more\n", more)
		}
	}
	if r.PassedOver > 0 {
		return fmt.Errorf("%s not landed: named above; write anew what is damaged or no JSON, or give it up with --give-up",
			count(r.PassedOver, "object"))
	}
	return nil
}
