package testsuite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAStreamMadeAnewIsScored: the stream is deleted and another of its name is made. Its fans are judged from its
// beginning, with what was learned before, and every reading is in the log and in the table once.
func TestAStreamMadeAnewIsScored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--fans", "2", "--no-faults", "--snapshot-every", "2s"}
	s := start(t, dir, nil, args...)
	p := newPublisher(t, s, 1)
	p.publish(s, 200)
	s.landed(p)
	s.kill()
	if err := os.RemoveAll(filepath.Join(dir, "kinesis")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, nil, args...)
	p.rpm = 300
	p.publish(s, 50)
	s.openAlert(p.fan, 60*time.Second)
	s.landed(p)
	rows, made := landed(t, dir), 0
	for shard := range rows {
		if strings.Contains(shard, ".") {
			made++
		}
	}
	if made == 0 {
		t.Error("no log is of a stream that was made anew")
	}
	once := p.count(rows)
	for seq, n := range once {
		if n != 1 {
			t.Errorf("reading %d was landed %d times", seq, n)
		}
	}
	s.reconciled(p.fan, len(once))
	s.sound()
}

// TestADamagedSnapshotDoesNotStopAShard: the newest snapshot of every shard is damaged while the system is down.
func TestADamagedSnapshotDoesNotStopAShard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--fans", "2", "--no-faults", "--snapshot-every", "2s"}
	s := start(t, dir, nil, args...)
	p := newPublisher(t, s, 1)
	newest := func() (files []string) {
		for _, shard := range []string{"0", "1"} {
			found, err := filepath.Glob(filepath.Join(dir, "s3", "fanwatch-lake", "state", "stream=fanwatch",
				"shard=shardId-00000000000"+shard, "*.snapshot"))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 0 {
				files = append(files, found[len(found)-1])
			}
		}
		return files
	}
	s.until(60*time.Second, "a snapshot of each shard", func() (bool, string) {
		p.publish(s, 20)
		return len(newest()) == 2, ""
	})
	s.kill()
	for _, file := range newest() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("XXXX"), 40); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = start(t, dir, nil, args...)
	p.rpm = 300
	p.publish(s, 50)
	s.openAlert(p.fan, 60*time.Second)
	p.check(s)
	s.logged("damaged snapshots are passed over")
}
