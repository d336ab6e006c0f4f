package answer

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

const stall = "alert/fan-07/stall/20261201T115900.861462Z"

func keysAt(t testing.TB, where string, at *time.Time) *Keys {
	t.Helper()
	k, err := OpenKeys(where, func() time.Time { return *at })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func link(t testing.TB, k *Keys, c Claim) (token string) {
	t.Helper()
	u, err := k.Link("https://fans.example.org/", c)
	if err != nil {
		t.Fatal(err)
	}
	token, ok := strings.CutPrefix(u, "https://fans.example.org/answer?t=")
	if !ok || len(token) > maxToken {
		t.Fatalf("link %s", u)
	}
	return token
}

func TestALinkSaysWhatItIsForUntilItExpires(t *testing.T) {
	at := noon
	k := keysAt(t, filepath.Join(t.TempDir(), "keys"), &at)
	token := link(t, k, Claim{Alert: stall, To: "ada", Action: fanwatch.ActionSnooze})
	c, err := k.Open(token)
	if err != nil || c.Alert != stall || c.To != "ada" || c.Action != fanwatch.ActionSnooze || len(c.ID) != 32 ||
		!c.Expires.Equal(noon.Add(24*time.Hour)) {
		t.Fatalf("%+v, %v", c, err)
	}
	if other, _ := k.Open(link(t, k, Claim{Alert: stall, To: "ada"})); other.ID == c.ID {
		t.Error("two links have one ID")
	}
	first, _ := k.Open(link(t, k, Claim{Alert: stall, To: "ada", Key: "alert/1/1"}))
	second, _ := k.Open(link(t, k, Claim{Alert: stall, To: "ada", Key: "alert/1/1", Expires: noon.Add(time.Hour)}))
	other, _ := k.Open(link(t, k, Claim{Alert: stall, To: "bob", Key: "alert/1/1"}))
	if first.ID != second.ID || first.ID == other.ID {
		t.Errorf("copies of one message have the IDs %s and %s, another reader's has %s", first.ID, second.ID, other.ID)
	}
	if again := link(t, k, c); again != token {
		t.Error("the same claim makes another link")
	}
	at = noon.Add(24*time.Hour - time.Second)
	if _, err := k.Open(token); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	at = noon.Add(24 * time.Hour)
	if c, err := k.Open(token); !errors.Is(err, ErrExpired) || c.Alert != stall {
		t.Errorf("at its end: %+v, %v", c, err)
	}
}

func TestALinkThatWasChangedIsWrong(t *testing.T) {
	at := noon
	k, stranger := keysAt(t, t.TempDir(), &at), keysAt(t, t.TempDir(), &at)
	token := link(t, k, Claim{Alert: stall, To: "ada"})
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if c, err := k.Open(base64.RawURLEncoding.EncodeToString(b)); !errors.Is(err, ErrWrong) {
			t.Fatalf("bit %d changed: %+v, %v", i, c, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for _, wrong := range []string{"", "x", token[1:], token[:len(token)-1], token + "A", token + "=", token + "\n",
		token[:9] + "\r" + token[9:], strings.Repeat("A", 399), strings.Repeat("A", 401),
		link(t, stranger, Claim{Alert: stall, To: "ada"})} {
		if _, err := k.Open(wrong); !errors.Is(err, ErrWrong) {
			t.Errorf("%.40q: %v", wrong, err)
		}
	}
}

func TestWhatNoLinkCanCarryIsRefused(t *testing.T) {
	at := noon
	k := keysAt(t, t.TempDir(), &at)
	for name, c := range map[string]Claim{
		"no alert": {}, "a fan": {Alert: "fan/fan-07"}, "an alert without a name": {Alert: "alert/"},
		"too long": {Alert: "alert/" + strings.Repeat("x", 256)}, "action": {Alert: stall, Action: "destroy"},
		"past": {Alert: stall, Expires: noon.Add(-time.Second)}, "far": {Alert: stall, Expires: noon.Add(8 * 24 * time.Hour)},
		"ID": {Alert: stall, ID: "12"}, "ID's digits": {Alert: stall, ID: strings.Repeat("x", 32)},
	} {
		if u, err := k.Link("https://fans.example.org", c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s, %v", name, u, err)
		}
	}
	for _, base := range []string{"", "fans.example.org", "ftp://x", "https://x/?a=b", "https://x/#a"} {
		if u, err := k.Link(base, Claim{Alert: stall}); err == nil {
			t.Errorf("base %q: %s", base, u)
		}
	}
	// The longest fan name, at the longest channel name.
	link(t, k, Claim{Alert: "alert/" + strings.Repeat("f", 128) + "/underspeed/20261201T115900.861462Z",
		To: strings.Repeat("\u00e4", 100)})
}

func TestKeysRotateAndTheOldOneStaysWhileItsLinksLive(t *testing.T) {
	at := time.Unix(int64(periodOf(noon)+1)*int64(period/time.Second)-1, 0) // a second before the next period
	dir := filepath.Join(t.TempDir(), "keys")
	k := keysAt(t, dir, &at)
	token := link(t, k, Claim{Alert: stall, Expires: at.Add(maxLinkLife)})
	at = at.Add(2 * time.Second)
	next := link(t, k, Claim{Alert: stall})
	if token[:7] == next[:7] {
		t.Error("the key has not changed")
	}
	for _, k := range []*Keys{k, keysAt(t, dir, &at)} { // and after a restart
		for _, tok := range []string{token, next} {
			if _, err := k.Open(tok); err != nil {
				t.Error(err)
			}
		}
	}
	files := func() int {
		t.Helper()
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
			}
		}
		return len(all)
	}
	if n := files(); n != 2 {
		t.Errorf("%d files, want the key and the one before", n)
	}
	at = at.Add(period)
	link(t, k, Claim{Alert: stall})
	if n := files(); n != 2 {
		t.Errorf("a period later %d files, want 2", n)
	}
	if _, err := k.Open(token); !errors.Is(err, ErrWrong) {
		t.Errorf("a link of a key that was removed: %v", err)
	}
}

func TestProcessesThatStartTogetherShareOneKey(t *testing.T) {
	at, dir := noon, filepath.Join(t.TempDir(), "keys")
	keys := make([]*Keys, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() { keys[i], _ = OpenKeys(dir, func() time.Time { return at }) })
	}
	all.Wait()
	for i, k := range keys {
		if k == nil {
			t.Fatal("a process has no keys")
		}
		token := link(t, k, Claim{Alert: stall})
		for j, other := range keys {
			all.Go(func() {
				if _, err := other.Open(token); err != nil {
					t.Errorf("%d does not open the link of %d: %v", j, i, err)
				}
			})
		}
	}
	all.Wait()
}

func TestSecretsAreSharedAndReplaced(t *testing.T) {
	at := noon
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := strings.Repeat("1", 32), strings.Repeat("2", 40)
	write(first + "\n")
	t.Setenv("FANWATCH_TEST_KEYS", first)
	k, other := keysAt(t, "file:"+path, &at), keysAt(t, "env:FANWATCH_TEST_KEYS", &at)
	token := link(t, other, Claim{Alert: stall})
	for _, text := range []string{first, second + "," + first} {
		write(text)
		if _, err := k.Open(token); err != nil {
			t.Errorf("with %s: %v", text, err)
		}
	}
	if _, err := other.Open(link(t, k, Claim{Alert: stall})); !errors.Is(err, ErrWrong) {
		t.Errorf("the old secret signs on: %v", err)
	}
	write(second)
	if _, err := k.Open(token); !errors.Is(err, ErrWrong) {
		t.Errorf("a secret that was taken away opens: %v", err)
	}
	write("")
	if _, err := k.Open(token); err == nil || errors.Is(err, ErrWrong) {
		t.Errorf("that no key can be read passes for a wrong link: %v", err)
	}
}

func TestKeysThatCannotBeUsedAreNamed(t *testing.T) {
	t.Setenv("FANWATCH_TEST_KEYS", "short")
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := noon
	keysAt(t, dir, &at)
	files, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{"": "no place", "env:FANWATCH_TEST_KEYS": "has 5 bytes",
		"env:FANWATCH_TEST_NONE": "empty or not set", "file:" + file: "empty or not set", "file:" + file +
			".none": "no such file", file +
			"/x": "name a directory",
		dir: "read by other users"} {
		if _, err := OpenKeys(where, func() time.Time { return noon }); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "short") {
			t.Errorf("%q: %v, want %q", where, err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	at := noon
	f.Setenv("FANWATCH_TEST_KEYS", strings.Repeat("k", 32))
	k := keysAt(f, "env:FANWATCH_TEST_KEYS", &at)
	token := link(f, k, Claim{Alert: stall, To: "ada", Action: fanwatch.ActionAcknowledge})
	f.Add(token)
	f.Add(token[:len(token)-4])
	f.Add("")
	f.Add(strings.Repeat("_", 400))
	f.Fuzz(func(t *testing.T, s string) {
		c, err := k.Open(s)
		switch {
		case errors.Is(err, ErrWrong):
		case err != nil:
			t.Errorf("%q: %v", s, err)
		default:
			if again, err := k.sign(c); err != nil || again != s {
				t.Errorf("%q opens as %+v, which is signed as %q, %v", s, c, again, err)
			}
		}
	})
}
