package local

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanwatch/local/aws/iotcore"
	"fanwatch/local/aws/kinesis"
	"fanwatch/local/aws/sns"
)

// TestAPageOfAnotherSiteDoesNotReachTheLocalAWS: not under its own name (DNS rebinding), not by a post from its
// origin; neither the services, the inbox nor the faults. Programs do.
func TestAPageOfAnotherSiteDoesNotReachTheLocalAWS(t *testing.T) {
	stream, err := kinesis.New(kinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	mail, err := sns.New(sns.Config{Dir: t.TempDir(), URL: "http://127.0.0.1:4566"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mail.Close() })
	core, err := iotcore.New(iotcore.Config{Dir: t.TempDir(), Kinesis: iotcore.PutFunc(nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = core.Close() })
	server := httptest.NewServer(gateway(map[string]http.Handler{"kinesis": stream, "iot": core.Handler()}, mail))
	defer server.Close()

	signed := func(service string) string {
		return "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/" + service +
			"/aws4_request, SignedHeaders=host, Signature=0"
	}
	for _, q := range []struct{ name, method, path, body, service, kind, target string }{
		{"Kinesis", "POST", "/", `{}`, "kinesis", "application/x-amz-json-1.1", "Kinesis_20131202.ListStreams"},
		{"IoT", "GET", "/things", "", "iot", "", ""},
		{"faults of IoT", "POST", "/_faults", `{"kind":"delay"}`, "iot", "application/json", ""},
		{"faults of SNS", "POST", "/_faults", `{"kind":"delay"}`, "", "application/json", ""},
		{"inbox", "GET", "/inbox", "", "", "", ""},
		{"inbox as JSON", "GET", "/inbox.json", "", "", "", ""},
	} {
		ask := func(host, origin string) (int, string) {
			t.Helper()
			r, err := http.NewRequest(q.method, server.URL+q.path, strings.NewReader(q.body))
			if err != nil {
				t.Fatal(err)
			}
			if r.Host = strings.TrimPrefix(server.URL, "http://"); host != "" {
				r.Host = host
			}
			for name, value := range map[string]string{"Origin": origin, "Content-Type": q.kind, "X-Amz-Target": q.target} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if q.service != "" {
				r.Header.Set("Authorization", signed(q.service))
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(b)
		}
		for _, host := range []string{"", "localhost:4566", "127.0.0.1"} {
			if status, body := ask(host, ""); status >= 300 {
				t.Errorf("%s of a program at %q: %d %s", q.name, host, status, body)
			}
		}
		for _, host := range []string{"evil.example", "evil.example:4566", "127.0.0.1.evil.example", "192.0.2.1"} {
			if status, _ := ask(host, ""); status != http.StatusMisdirectedRequest {
				t.Errorf("%s at %s: %d, want 421", q.name, host, status)
			}
		}
		if status, _ := ask("", "https://evil.example"); q.method == "POST" && status != http.StatusForbidden {
			t.Errorf("%s from another origin: %d, want 403", q.name, status)
		}
	}
}
