package cloud

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnlyURLsOfThisMachineAreLoopback(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"http://127.0.0.1:4567":  true,
		"https://localhost:1":    true,
		"http://[::1]:8000/path": true,
		"http://127.9.9.9":       true,
		"":                       false,
		"127.0.0.1:4567":         false,
		"https://kinesis.us-east-1.amazonaws.com": false,
		"http://localhost.example.com":            false,
		"http://127.0.0.1.example.com":            false,
		"http://127.0.0.1@example.com":            false,
		"http://0.0.0.0:80":                       false,
		"http://192.168.0.1":                      false,
		"ftp://127.0.0.1":                         false,
		"http://user:hunter2@127.0.0.1":           false,
		"http://[::ffff:192.0.2.1]":               false,
		"http://%zz":                              false,
	} {
		err := RequireLoopback(endpoint)
		if (err == nil) != good {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

func TestLocalConfigNeverLeavesThisMachine(t *testing.T) {
	// What the environment says about endpoints and proxies must not count.
	t.Setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1")
	t.Setenv("AWS_PROFILE", "missing")
	t.Setenv("AWS_CA_BUNDLE", "/missing")
	good := Settings{Local: true, AccessKey: "a", SecretKey: "s", Endpoints: []string{"http://127.0.0.1:1"}}
	cfg, err := Config(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, endpoint := range []string{"", "https://192.0.2.1", "https://example.com"} { // "": somebody forgot it
		k, err := NewKinesis(cfg, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Shards(ctx, "fans"); !errors.Is(err, ErrNotLocal) {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
	}
	for name, change := range map[string]func(*Settings){
		"no key":       func(s *Settings) { s.AccessKey = "" },
		"no endpoints": func(s *Settings) { s.Endpoints = nil },
		"far endpoint": func(s *Settings) { s.Endpoints = append(s.Endpoints, "https://example.com") },
	} {
		bad := good
		bad.Endpoints = append([]string{}, good.Endpoints...)
		change(&bad)
		if _, err := Config(t.Context(), bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The trap of the SDK: a CA bundle works with its own HTTP client only.
func TestConfigTrustsACABundle(t *testing.T) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Shards":[]}`))
	}))
	defer web.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
		0o644); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"AWS_CONFIG_FILE": "/missing", "AWS_SHARED_CREDENTIALS_FILE": "/missing",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": ""} {
		t.Setenv(name, value)
	}
	settings := Settings{Region: "eu-central-1", AccessKey: "a", SecretKey: "s"}
	for _, how := range []string{"setting", "environment"} {
		s := settings
		if how == "setting" {
			s.CABundle = bundle
		} else {
			t.Setenv("AWS_CA_BUNDLE", bundle)
		}
		cfg, err := Config(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewKinesis(cfg, web.URL)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := k.Shards(ctx, "fans"); err != nil {
			t.Errorf("bundle by %s: %v", how, err)
		}
		cancel()
	}
	if _, err := Config(t.Context(), Settings{}); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("no region: %v", err)
	}
}
