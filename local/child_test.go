package local

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAServerThatIsKilledComesBackOnItsPort: what judges fans must not end with the object store.
func TestAServerThatIsKilledComesBackOnItsPort(t *testing.T) {
	program := filepath.Join("..", "bin", "fanwatch-s3")
	if _, err := os.Stat(program); err != nil {
		t.Skip("fanwatch-s3 is not built: run go tool task build")
	}
	dir := t.TempDir()
	if _, err := localKeys(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "s3"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &System{cfg: Config{Dir: dir, Bin: filepath.Dir(program)}, log: slog.New(slog.DiscardHandler)}
	args := []string{"--dir", filepath.Join(dir, "s3"), "--port", "0", "--access-key-file", filepath.Join(dir, "keys"),
		"--bucket", "bucket"}
	c, err := startChild(t.Context(), program, filepath.Join(dir, "fanwatch-s3.log"), args...)
	if err != nil {
		t.Fatal(err)
	}
	kept := s.supervise(c, args)
	defer kept.stop()
	c.kill()
	answers := func() bool {
		resp, err := http.Get("http://" + c.addr)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}
	for end := time.Now().Add(20 * time.Second); !answers(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing answers at %s 20 s after the server was killed", c.addr)
		}
	}
	kept.stop()
	if answers() {
		t.Error("it answers after it was stopped")
	}
}
