package cloud

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/sns"
)

func TestSNSPublishesToTheInbox(t *testing.T) {
	inbox, client := localSNS(t)
	ctx := t.Context()
	arn, err := client.CreateTopic(ctx, "alerts")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := client.CreateTopic(ctx, "alerts"); err != nil || again != arn {
		t.Fatalf("a second CreateTopic: %q %v", again, err)
	}
	for range 2 { // idempotent
		for _, address := range []string{"ann@example.com", "bob@example.com"} {
			if err := client.SubscribeEmail(ctx, arn, address); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := Message{TopicARN: arn, Subject: "fan-07:\n300 \u00b1 5 RPM", Body: "It turns too slowly \u2013 look at it.",
		Key: "alert/fan-07/1", Attributes: map[string]string{"severity": "high", "site": ""}}
	// The answer of the first call gets lost, the SDK repeats it, and so does the caller.
	if err := inbox.Faults().Inject(fault.Fault{Operation: "Publish", Kind: fault.Lose, Count: 1}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if id, err := client.Publish(ctx, m); err != nil || id == "" {
			t.Fatalf("Publish: %q %v", id, err)
		}
	}
	entries := inbox.Inbox(0, 10)
	if len(entries) != 2 {
		t.Fatalf("%d entries, want one for each address", len(entries))
	}
	for _, e := range entries {
		if e.Copies != 3 || e.Subject != "fan-07: 300 +- 5 RPM" || e.Body != m.Body || e.Key != m.Key ||
			e.Attributes["severity"] != "high" || e.Attributes[KeyAttribute] != m.Key {
			t.Errorf("entry %+v", e)
		}
	}
}

func TestSNSTellsPermanentErrors(t *testing.T) {
	inbox, client := localSNS(t)
	arn, err := client.CreateTopic(t.Context(), "alerts")
	if err != nil {
		t.Fatal(err)
	}
	permanent := func(err error) bool {
		var p interface{ Permanent() bool }
		return errors.As(err, &p) && p.Permanent()
	}
	for what, m := range map[string]Message{
		"no such topic": {TopicARN: arn + "-gone", Body: "m"},
		"no body":       {TopicARN: arn},
		"too long":      {TopicARN: arn, Body: strings.Repeat("m", 256<<10+1)},
		"bad attribute": {TopicARN: arn, Body: "m", Attributes: map[string]string{"a b": "c"}},
	} {
		if _, err := client.Publish(t.Context(), m); !permanent(err) {
			t.Errorf("%s: %v is not permanent", what, err)
		}
	}
	if err := client.SubscribeEmail(t.Context(), arn, "not an address"); !permanent(err) {
		t.Errorf("bad address: %v is not permanent", err)
	}
	if err := inbox.Faults().Inject(fault.Fault{Kind: fault.Fail, Count: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Publish(t.Context(), Message{TopicARN: arn, Body: "m"}); err == nil || permanent(err) {
		t.Errorf("server error: %v is permanent", err)
	}
}

func TestASubjectIsOneLineOfASCII(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		" \t\r\n ":                  "",
		"plain":                     "plain",
		" two\r\nlines\x00\u2028 ":  "two lines",
		"\u201chot\u201d 80 \u00b0": `"hot" 80 deg`,
		"L\u00fcfter \u2192 7":      "L?fter -> 7",
		"\xff broken":               "? broken",
		strings.Repeat("a", 99):     strings.Repeat("a", 99),
		strings.Repeat("a", 100):    strings.Repeat("a", 96) + "...",
	} {
		if got := cleanSubject(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanSubject(f *testing.F) {
	f.Add("fan-07 \u2013 stall")
	f.Add("\x00\xff\n")
	f.Fuzz(func(t *testing.T, in string) {
		got := cleanSubject(in)
		if len(got) > maxSubjectChars || strings.TrimSpace(got) != got {
			t.Errorf("%q: %q", in, got)
		}
		for _, r := range got {
			if r < ' ' || r > '~' {
				t.Errorf("%q: %q has %q", in, got, r)
			}
		}
	})
}

func localSNS(t *testing.T) (*sns.Server, *SNS) {
	t.Helper()
	s, err := sns.New(sns.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); s.Close() })
	return s, NewSNS(aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local",
		"local", "")}, web.URL)
}
