package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanwatch/cloud"
	"fanwatch/local/aws/sns"
	"fanwatch/operator"
)

func TestPageTriesAChannelAndSaysWhatHappened(t *testing.T) {
	status := http.StatusAccepted
	var body []byte
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body) // what is missing fails below
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "said the hook")
	}))
	defer hook.Close()
	t.Setenv("FW_HOOK", hook.URL+"/verysecret")
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	text := "version: 2\nzone: Europe/Berlin\nchannels:\n  chat: {slack: {url: env:FW_HOOK}}\n" +
		"policies: {default: {steps: [{notify: [chat]}]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		var o bytes.Buffer
		c := command()
		c.SetArgs(append([]string{"--dir", dir, "page"}, args...))
		c.SetOut(&o)
		c.SetErr(&o)
		err := c.ExecuteContext(t.Context())
		return o.String(), err
	}
	out, err := run("TEST", "--to", "chat")
	if err != nil || !strings.Contains(out, "chat (slack) took it after") || !strings.Contains(out, "said the hook") ||
		!strings.Contains(string(body), "This is a test of fanwatch by") {
		t.Errorf("%q, %v, %s", out, err, body)
	}
	status = http.StatusNotFound
	out, err = run("TEST", "--to", "chat", "--policies", file, "--json")
	var r pageReport
	if json.Unmarshal([]byte(out), &r) != nil || err == nil || errors.Is(err, errUsage) || r.Taken || !r.Permanent ||
		!strings.Contains(r.Why, "404") || !strings.Contains(r.Why, "said the hook") ||
		strings.Contains(out+err.Error(), "verysecret") {
		t.Errorf("%s, %v", out, err)
	}
	status = http.StatusServiceUnavailable
	if _, err = run("TEST", "--to", "chat"); err == nil || !strings.Contains(err.Error(), "would try again") {
		t.Error(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(text, "env:FW_HOOK", "x", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = run("TEST", "--to", "chat", "--policies", bad); err == nil ||
		!strings.Contains(err.Error(), "env:NAME or file:PATH") {
		t.Error(err)
	}
	for _, args := range [][]string{{"TEST"}, {"wake up", "--to", "chat"}} {
		if _, err := run(args...); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, to := range []string{"nobody", "no body"} {
		if _, err := run("TEST", "--to", to); !errors.Is(err, operator.ErrUnknown) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestPageTriesATopicOfTheLocalSystem(t *testing.T) {
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
	arn, err := client.CreateTopic(t.Context(), "on-call")
	if err == nil {
		err = client.SubscribeEmail(t.Context(), arn, "ada@example.com")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(to string) (string, error) {
		var o bytes.Buffer
		c := command()
		c.SetArgs([]string{"--dir", dir, "page", "test", "--to", to})
		c.SetOut(&o)
		err := c.ExecuteContext(t.Context())
		return o.String(), err
	}
	keys := filepath.Join(dir, "keys")
	e, err := json.Marshal(endpoints{V: 1, AWS: web.URL, S3: web.URL, Keys: keys, Region: "us-east-1"})
	if err == nil {
		err = errors.Join(os.WriteFile(keys, []byte("a\nb\n"), 0o600),
			os.WriteFile(filepath.Join(dir, "endpoints.json"), e, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run("on-call"); err != nil || !strings.Contains(out, "on-call (sns) took it") {
		t.Errorf("%q, %v", out, err)
	}
	if in := server.Inbox(0, 10); len(in) != 1 || in[0].Subject != "[fanwatch] TEST: this channel works" {
		t.Errorf("%+v", in)
	}
	if _, err := run("gone"); err == nil || !strings.Contains(err.Error(), "NotFound") ||
		!strings.Contains(err.Error(), "will not") {
		t.Error(err)
	}
}
