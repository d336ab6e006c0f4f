package answer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanwatch"
	"fanwatch/internal/durable"
)

const (
	period      = 30 * 24 * time.Hour // for which one key signs
	secretBytes = 32
	keySuffix   = ".key"
)

// periodOf numbers the periods from 1970 on; the number is the key's ID.
func periodOf(t time.Time) uint32 { return uint32(t.Unix() / int64(period/time.Second)) }

// Keys sign links and open them. There is one key for each period of 30 days; the one before is kept until the last
// link that it signed has expired. Safe for concurrent use, also of one directory by several processes.
type Keys struct {
	dir   string // "" = what source holds
	where string
	now   fanwatch.Clock

	mu   sync.Mutex
	read map[uint32][]byte // of dir
}

// OpenKeys opens the keys of a directory, which is made with mode 0700 when it is missing and gets a new random key, in
// a file with mode 0600, for each period; or derives them from secrets: env:NAME is an environment variable, file:PATH
// a file, read anew at each use, with 1 to 4 secrets of at least 32 bytes, separated by white space or commas. The
// first signs, all open: put a new one before the old one, and remove the old one a week later. Processes that share
// secrets open each other's links. now = nil is the system's clock.
func OpenKeys(where string, now fanwatch.Clock) (*Keys, error) {
	k := &Keys{where: where, now: now, read: map[uint32][]byte{}}
	if now == nil {
		k.now = time.Now
	}
	if !isSecret(where) {
		if where == "" {
			return nil, errors.New("answer keys: no place given: name a directory, env:NAME or file:PATH")
		}
		k.dir = where
		if err := durable.MkdirAll(where, 0o700); err != nil {
			return nil, fmt.Errorf("answer keys: %w: name a directory that can be written", err)
		}
	}
	if _, err := k.secrets(periodOf(k.now()), true); err != nil {
		return nil, err
	}
	return k, nil
}

// secrets returns the keys of a period, the one that signs first; none where there is none and it is not to be made.
func (k *Keys) secrets(number uint32, create bool) ([][]byte, error) {
	if k.dir == "" {
		return k.derive(number)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s, known := k.read[number]
	if known {
		return [][]byte{s}, nil
	}
	path := filepath.Join(k.dir, strconv.FormatUint(uint64(number), 10)+keySuffix)
	s, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, nil
		}
		if err := k.create(path); err != nil {
			return nil, fmt.Errorf("answer keys: %w: make %s writable", err, k.dir)
		}
		s, err = readKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("answer keys: %w", err)
	}
	k.read[number] = s
	return [][]byte{s}, nil
}

// derive returns the keys of a period by the secrets of where.
func (k *Keys) derive(number uint32) ([][]byte, error) {
	text, err := ReadSecret(k.where)
	if err != nil {
		return nil, fmt.Errorf("answer keys: %w", err)
	}
	all := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	if len(all) == 0 || len(all) > 4 {
		return nil, fmt.Errorf("answer keys: %s holds %d secrets, give 1 to 4", k.where, len(all))
	}
	var keys [][]byte
	for i, s := range all {
		if len(s) < secretBytes {
			return nil, fmt.Errorf("answer keys: secret %d of %s has %d bytes, give %d or more, as openssl rand -hex 32 "+
				"prints", i+1, k.where, len(s), secretBytes)
		}
		h := hmac.New(sha256.New, []byte(s))
		h.Write(binary.BigEndian.AppendUint32([]byte("fanwatch answer key"), number))
		keys = append(keys, h.Sum(nil))
	}
	return keys, nil
}

// readKey reads the file of one key.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s can be read by other users: remove it, and a new one is made", path)
	}
	s, err := os.ReadFile(path)
	if err == nil && len(s) != secretBytes {
		err = fmt.Errorf("%s has %d bytes instead of %d: remove it, and a new one is made", path, len(s), secretBytes)
	}
	return s, err
}

// create makes the file of a key, unless another process did, and removes those whose links have expired.
func (k *Keys) create(path string) error {
	temp, err := os.CreateTemp(k.dir, ".key-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // it never fails
	_, err = temp.Write(secret)
	if err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	k.clean()
	return durable.SyncDir(k.dir)
}

// clean removes the keys of periods whose last link has expired. A file that stays for an error is tried again at the
// next period.
func (k *Keys) clean() {
	files, err := os.ReadDir(k.dir)
	if err != nil {
		return
	}
	oldest := periodOf(k.now().Add(-maxLinkLife))
	for _, f := range files {
		name, isKey := strings.CutSuffix(f.Name(), keySuffix)
		number, err := strconv.ParseUint(name, 10, 32)
		if isKey && err == nil && uint32(number) < oldest {
			_ = os.Remove(filepath.Join(k.dir, f.Name()))
			delete(k.read, uint32(number))
		}
	}
}

func isSecret(where string) bool {
	return strings.HasPrefix(where, "env:") || strings.HasPrefix(where, "file:")
}

// ReadSecret reads the text that env:NAME or file:PATH names, without white space around it. It has at most 64 KiB and
// is not empty.
func ReadSecret(where string) (string, error) {
	var text string
	if name, isEnv := strings.CutPrefix(where, "env:"); isEnv {
		text = os.Getenv(name)
	} else if path, isFile := strings.CutPrefix(where, "file:"); isFile {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 64<<10))
		if err != nil {
			return "", err
		}
		text = string(b)
	} else {
		return "", errors.New("a secret is given as env:NAME or file:PATH, never itself")
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty: put the secret there", where)
	}
	return text, nil
}
