package sns_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"fanwatch/local/aws/sns"
)

// childDir tells the test binary to be a server on that directory.
const childDir = "FANWATCH_SNS_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, serveUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) error {
	s, err := sns.New(sns.Config{Dir: dir, Retry: sns.Retry{First: time.Millisecond, Longest: 20 * time.Millisecond,
		Attempts: 1 << 20}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, s)
}

// TestKill: three lives are ended by kill -9 amid publishing; every message
// that was acknowledged is in the inbox, and reaches the endpoint that refused
// everything until the last life.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	hook := newReceiver(t)
	var topic string
	acknowledged := map[string]bool{}
	for life := range 3 {
		client, kill := child(t, dir)
		if life == 0 {
			topic = createTopic(t, client, "alerts")
			subscribe(t, client, topic, "email", "ann@example.com", nil)
			confirm(t, client, topic, hook)
			hook.answerAlways(http.StatusServiceUnavailable)
		}
		var mu sync.Mutex
		var writers sync.WaitGroup
		for w := range 3 {
			writers.Go(func() {
				for i := 0; ; i++ {
					body := fmt.Sprintf("life %d writer %d message %d", life, w, i)
					_, err := client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: &body},
						func(o *awssns.Options) { o.Retryer = aws.NopRetryer{} })
					if err != nil {
						return // killed
					}
					mu.Lock()
					acknowledged[body] = true
					mu.Unlock()
				}
			})
		}
		want := 30 * (life + 1)
		eventually(t, "enough acknowledged messages",
			func() bool { mu.Lock(); defer mu.Unlock(); return len(acknowledged) >= want })
		kill()
		writers.Wait()
	}

	s, _, _ := start(t, sns.Config{Dir: dir})
	found := map[string]bool{}
	for _, e := range s.Inbox(0, 1<<20) {
		found[e.Body] = true
	}
	hook.answerAlways(http.StatusOK)
	for body := range acknowledged {
		if !found[body] {
			t.Errorf("acknowledged and lost: %s", body)
		}
	}
	eventually(t, "every acknowledged message at the endpoint", func() bool {
		taken := hook.messages(http.StatusOK)
		for body := range acknowledged {
			if !taken[body] {
				return false
			}
		}
		return true
	})
}

// child starts a server process; kill ends it with SIGKILL.
func child(t *testing.T, dir string) (client *awssns.Client, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the server process said nothing")
	}
	return newClient("http://" + lines.Text()), kill
}
