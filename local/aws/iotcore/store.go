package iotcore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fanwatch/internal/durable"
)

// recordVersion is the format version in every record on disk. A reader refuses any other.
const recordVersion = 1

// store keeps one JSON file per record in one folder per kind. A record is replaced as a whole
// (temporary file, fsync, rename, fsync of the folder), so that after kill -9 or a power cut it is
// either the old or the new one. It is not safe for concurrent use: the registry serialises changes.
type store struct{ dir string }

// record is what the envelope of a file looks like.
type record struct {
	V    int             `json:"v"`
	Name string          `json:"name"`
	Data json.RawMessage `json:"data"`
}

// put writes the record of that kind and name, replacing an older one.
func (s store) put(kind, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("iotcore: encode %s %s: %w", kind, name, err)
	}
	b, err := json.MarshalIndent(record{V: recordVersion, Name: name, Data: data}, "", " ")
	if err != nil {
		return fmt.Errorf("iotcore: encode %s %s: %w", kind, name, err)
	}
	folder := filepath.Join(s.dir, kind)
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("iotcore: keep %s %s: %w", kind, name, err)
	}
	if err := durable.WriteFile(filepath.Join(folder, fileName(name)), b, 0o600); err != nil {
		return fmt.Errorf("iotcore: keep %s %s: %w", kind, name, err)
	}
	return nil
}

// remove deletes the record; one that is not there is no error.
func (s store) remove(kind, name string) error {
	if err := durable.Remove(filepath.Join(s.dir, kind, fileName(name))); err != nil {
		return fmt.Errorf("iotcore: remove %s %s: %w", kind, name, err)
	}
	return nil
}

// load hands every record of the kind to each and clears away what an interrupted put left.
func (s store) load(kind string, each func(name string, data []byte) error) error {
	folder := filepath.Join(s.dir, kind)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("iotcore: load %s: %w", kind, err)
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if strings.HasSuffix(e.Name(), ".tmp") {
			_ = os.Remove(path) // an interrupted put; the record it was for is untouched
			continue
		}
		if err := loadRecord(path, each); err != nil {
			return fmt.Errorf("iotcore: load %s: %w", path, err)
		}
	}
	return nil
}

func loadRecord(path string, each func(name string, data []byte) error) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%w (mend or delete the file)", err)
	}
	if r.V != recordVersion {
		return fmt.Errorf("format version %d, this program reads %d", r.V, recordVersion)
	}
	return each(r.Name, r.Data)
}

// fileName is readable and unique: names of things may differ in case alone and may hold a colon, which
// some file systems cannot keep.
func fileName(name string) string {
	readable := []byte(name)
	if len(readable) > 40 {
		readable = readable[:40]
	}
	for i, c := range readable {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			readable[i] = '_'
		}
	}
	sum := sha256.Sum256([]byte(name))
	return string(readable) + "." + hex.EncodeToString(sum[:8]) + ".json"
}
