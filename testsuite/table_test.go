package testsuite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch"
	"fanwatch/cloud"
	"fanwatch/lake"
)

// counts reads the Iceberg table as any reader does, through its catalog, and counts its rows.
func (s *system) counts() []lake.FanCount {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	text, err := os.ReadFile(s.Keys)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := strings.Fields(string(text))
	cfg, err := cloud.Config(ctx, cloud.Settings{Local: true, AccessKey: keys[0], SecretKey: keys[1], Endpoints: []string{s.S3}})
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := cloud.IcebergFiles(ctx, cfg, s.S3)
	if err != nil {
		s.t.Fatal(err)
	}
	catalog, done, err := lake.OpenSQLite(filepath.Join(s.Dir, "catalog.db"), files)
	if err != nil {
		s.t.Fatal(err)
	}
	defer done()
	table, err := lake.OpenTable(ctx, lake.TableConfig{Catalog: catalog, Store: cloud.NewS3(cfg, s.S3, s.Bucket), Location: "s3://" + s.Bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	counts, err := table.Counts(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return counts
}

// inTable waits until the table holds as many readings of the run as were landed, each once.
func (s *system) inTable(fan string, run uint64, landed int) {
	s.t.Helper()
	s.until(60*time.Second, fmt.Sprintf("%d readings of %s in the table", landed, fan), func() (bool, string) {
		for _, c := range s.counts() {
			if c.Fan == fan && c.Run == fanwatch.FormatRun(run) {
				return c.Rows == landed && c.Duplicates == 0, fmt.Sprintf("%+v", c)
			}
		}
		return false, "none"
	})
}

func TestTheTableHoldsWhatLanded(t *testing.T) {
	s := start(t, t.TempDir(), nil, "--fans", "0")
	p := newPublisher(t, s, 5)
	p.publish(s, 500)
	p.check(s)
}
