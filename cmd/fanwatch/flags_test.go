package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"fanwatch/operator"
)

// door is a listener that counts who comes, and calls first at the first.
type door struct {
	addr  string
	calls atomic.Int32
}

func newDoor(t *testing.T, first func()) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &door{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.calls.Add(1) // before the caller notices
			_ = c.Close()
			first()
		}
	}()
	return d
}

// stateDir is that of a local system at an address.
func stateDir(t *testing.T, addr string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".fanwatch")
	err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "keys"), []byte("LOCALKEY\nsecret\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "endpoints.json"), fmt.Appendf(nil,
			`{"v": 1, "temporal": %q, "namespace": "fanwatch", "s3": "http://%s", "keys": %q, "region": "r", `+
				`"stream": "fanwatch", "bucket": "b"}`,
			addr, addr, filepath.Join(dir, "keys")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// requestFile is a certificate signing request.
func requestFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "fan-07"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fan.csr")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFlagsBeatTheEnvironment runs every command that connects, and looks which system it reaches.
func TestFlagsBeatTheEnvironment(t *testing.T) {
	csr := requestFile(t)
	control := map[string]string{ // commands that ask Temporal
		"fans": "", "alerts": "", "show": "fan-07", "retire": "fan-07", "ack": "alert/fan-07/stall/x --by ada",
		"alerts show": "alert/x", "alerts export": "", "alerts snooze": "alert/x --for 1h", "alerts take": "alert/x",
		"alerts hand": "alert/x --to bob", "alerts note": "alert/x --note warm", "alerts resolve": "alert/x --note mended",
		"alerts unack": "alert/x",
		"provision":    "fan-07 --csr " + csr,
		"configure":    "fan-07 --site x", "revoke": "fan-07",
	}
	// commands that read the lake: TEMPORAL_ADDRESS says nothing of it, and AWS_ENDPOINT_URL is not asked
	data := map[string]string{
		"refused": "", "reconcile": "", "why": "fan-07", "backtest": "", "replay": "", "lake status": "",
		"lake verify": "", "lake query": "fan-07", "lake export": "", "lake ingest": "firehose/",
	}
	// they connect to no local system, or to its SNS alone
	rest := map[string]bool{"score": true, "version": true, "help": true, "worker": true, "policy check": true}
	for _, name := range leaves(command(), "") {
		_, isControl := control[name]
		_, isData := data[name]
		if !isControl && !isData && !rest[name] && !strings.HasPrefix(name, "completion ") {
			t.Errorf("%s is in no table of this test: put it there", name)
		}
	}
	run := func(t *testing.T, command string, want string, flags func(env, dir, flag *door) string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		doors := map[string]*door{}
		for _, name := range []string{"environment", "dir", "flag", "default"} {
			doors[name] = newDoor(t, cancel)
		}
		t.Setenv("TEMPORAL_ADDRESS", doors["environment"].addr)
		t.Setenv("AWS_ENDPOINT_URL", "http://"+doors["environment"].addr)
		if want == "default" {
			t.Setenv("TEMPORAL_ADDRESS", "")
		}
		t.Chdir(filepath.Dir(stateDir(t, doors["default"].addr)))
		args := strings.Fields(flags(doors["environment"], doors["dir"], doors["flag"]) + " " + command)
		_, err := runs(ctx, args...)
		for name, d := range doors {
			if (d.calls.Load() > 0) != (name == want) {
				t.Errorf("fanwatch %s: %s was called %d times, want %s alone; %v", strings.Join(args, " "), name, d.calls.Load(),
					want, err)
			}
		}
	}
	for name, args := range control {
		name += " " + args
		run(t, name, "environment", func(_, _, _ *door) string { return "" })
		run(t, name, "default", func(_, _, _ *door) string { return "" })
		run(t, name, "dir", func(_, dir, _ *door) string { return "--dir " + stateDir(t, dir.addr) })
		run(t, name, "flag", func(_, _, flag *door) string { return "--temporal " + flag.addr })
		run(t, name, "flag", func(_, dir, flag *door) string {
			return "--temporal " + flag.addr + " --dir " +
				stateDir(t, dir.addr)
		})
	}
	for name, args := range data {
		name += " " + args
		run(t, name, "default", func(_, _, _ *door) string { return "" })
		run(t, name, "dir", func(_, dir, _ *door) string { return "--dir " + stateDir(t, dir.addr) })
	}
}

// leaves gives the names of all commands without sub-commands.
func leaves(c *cobra.Command, path string) (all []string) {
	for _, sub := range c.Commands() {
		if name := strings.TrimSpace(path + " " + sub.Name()); sub.HasSubCommands() {
			all = append(all, leaves(sub, name)...)
		} else {
			all = append(all, name)
		}
	}
	return all
}

func TestWhichSystemIsMeant(t *testing.T) {
	local := stateDir(t, "127.0.0.1:7")
	empty := t.TempDir()
	for _, c := range []struct{ env, args, host, namespace, name string }{
		{"cloud:7233", "", "cloud:7233", "prod", "Temporal at cloud:7233, namespace prod"},
		{"cloud:7233", "--dir " + local, "127.0.0.1:7", "fanwatch", "the local system in " + local},
		{"cloud:7233", "--dir " + local + " --namespace other", "127.0.0.1:7", "other", "the local system in " + local},
		{"cloud:7233", "--temporal there:1", "there:1", "prod", "Temporal at there:1, namespace prod"},
		{"cloud:7233", "--temporal there:1 --namespace other", "there:1", "other", "Temporal at there:1, namespace other"},
		{"cloud:7233", "--temporal there:1 --dir " + local, "there:1", "fanwatch", "Temporal at there:1, namespace fanwatch"},
		{"cloud:7233", "--dir " + empty, "", "", "the local system in " + empty},
	} {
		t.Setenv("TEMPORAL_ADDRESS", c.env)
		t.Setenv("TEMPORAL_NAMESPACE", "prod")
		t.Setenv("TEMPORAL_API_KEY", "secret")
		root, a := newCommand()
		if err := root.PersistentFlags().Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		s, err := a.system()
		if err != nil || s.options.HostPort != c.host || s.options.Namespace != c.namespace || s.name != c.name {
			t.Errorf("%s: %s, namespace %s, called %s (%v), want %s, %s, %s", c.args, s.options.HostPort, s.options.Namespace,
				s.name, err, c.host, c.namespace, c.name)
		}
		if secret := s.options.Credentials != nil; secret != (s.local.Temporal == "" && c.host != "") {
			t.Errorf("%s: the API key of the environment is sent: %v", c.args, secret)
		}
	}
}

func TestErrorsSayWhichSystemWasAsked(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := runs(ctx, "fans"); err == nil ||
		!strings.Contains(err.Error(), "(asked Temporal at 127.0.0.1:1, namespace default)") {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	if _, err := runs(ctx, "fans", "--dir", dir); err == nil || !strings.HasPrefix(err.Error(), "nothing runs in "+dir) {
		t.Errorf("%v", err)
	}
	if !errors.Is(fmt.Errorf("x: %w (asked y)", operator.ErrUnknown), operator.ErrUnknown) {
		t.Error("the exit status is lost")
	}
}
