package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanwatch/cloud"
	"fanwatch/local/aws/sns"
)

// TestPolicyCheckNamesEachBadTopic asks a local SNS that knows on-call, with a subscriber, and lonely, without.
func TestPolicyCheckNamesEachBadTopic(t *testing.T) {
	server, err := sns.New(sns.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	web := httptest.NewServer(server)
	defer web.Close()
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "us-east-1", Local: true, AccessKey: "a", SecretKey: "b",
		Endpoints: []string{web.URL}})
	if err != nil {
		t.Fatal(err)
	}
	client := cloud.NewSNS(cfg, web.URL)
	onCall, err := client.CreateTopic(t.Context(), "on-call")
	if err == nil {
		err = client.SubscribeEmail(t.Context(), onCall, "ada@example.com")
	}
	if err == nil {
		_, err = client.CreateTopic(t.Context(), "lonely")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (string, error) {
		var o bytes.Buffer
		c := command()
		c.SetArgs(append([]string{"--dir", dir, "policy", "check"}, args...))
		c.SetOut(&o)
		c.SetErr(&o)
		err := c.ExecuteContext(t.Context())
		return o.String(), err
	}
	good := "version: 1\nname: default\nsteps:\n  - notify: [on-call]\n"
	file("policy.yaml", good)
	if out, err := run(); err != nil || !strings.Contains(out, "its topics (1) were not checked") {
		t.Errorf("nothing runs: %v: %s", err, out)
	}
	e, err := json.Marshal(endpoints{V: 1, AWS: web.URL, S3: web.URL, Keys: file("keys", "a\nb\n"), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	file("endpoints.json", string(e))
	if out, err := run(); err != nil || !strings.Contains(out, "all its topics (1) can be reached") {
		t.Errorf("%v: %s", err, out)
	}
	bad := file("bad.yaml", good+"  - notify: [lonely, on-cal]\n")
	out, err := run(bad)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 topics") ||
		!strings.Contains(out, "topic lonely (policy default): it has no subscription") ||
		!strings.Contains(out, "topic on-cal (policy default): ") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = run(bad, "--json")
	var r policyReport
	if json.Unmarshal([]byte(out), &r) != nil || err == nil || len(r.Trouble) != 2 || !r.Checked {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := run(file("misspelt.yaml", strings.Replace(good, "notify", "notfy", 1))); err == nil ||
		!strings.Contains(err.Error(), "notfy") {
		t.Errorf("a misspelt field: %v", err)
	}
}
