package sns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"fanwatch/internal/durable"
)

// journalVersion is written into every record. A record of a later version
// stops the server instead of being skipped.
const journalVersion = 1

// compactFrom is the size in bytes below which a journal is never rewritten.
const compactFrom = 16 << 20

// record is one step of the server's history; it is stored whole or not at
// all, so that a message reaches either every inbox and queue or none.
type record struct {
	V int `json:"v"`
	// Entries are new in the inbox.
	Entries []Entry `json:"entries,omitempty"`
	// Repeats are inbox entries (by ID) that were published once more.
	Repeats []uint64 `json:"repeats,omitempty"`
	// Deliveries are queued, Done (by ID) are over: delivered or given up.
	Deliveries []delivery `json:"deliveries,omitempty"`
	Done       []uint64   `json:"done,omitempty"`
}

// journal is an append-only file of lines "<CRC32C in 8 hex digits> <JSON>".
// Not safe for concurrent use: the server's mutex guards it.
type journal struct {
	path      string
	log       *slog.Logger
	file      *os.File
	size      int64
	compactAt int64
	broken    error // a failed write that could not be undone
}

// openJournal reads the journal, cuts a torn tail off and answers what it says.
func openJournal(path string, log *slog.Logger) (*journal, []record, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	records, good, damaged, err := recoverJournal(data)
	if err != nil {
		return nil, nil, fmt.Errorf("journal %s: %w", path, err)
	}
	if damaged > 0 {
		log.Warn("sns: damaged records in the journal were left out", "file", path, "records", damaged)
	}
	if torn := len(data) - good; torn > 0 {
		log.Info("sns: cut the journal's torn tail off", "file", path, "bytes", torn)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	if err := errors.Join(f.Truncate(int64(good)), f.Sync(), durable.SyncDir(filepath.Dir(path))); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j := &journal{path: path, log: log, file: f, size: int64(good)}
	j.compactAt = max(compactFrom, 2*j.size)
	return j, records, nil
}

// recoverJournal reads lines. good is the length up to the end of the last
// sound line: what follows is a torn write. An unsound line in front of a
// sound one is damage (no crash makes it); it is counted and left out.
func recoverJournal(data []byte) (records []record, good, damaged int, err error) {
	bad, at := 0, 0
	for {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return records, good, damaged, nil
		}
		r, ok := decodeRecord(data[at : at+end])
		at += end + 1
		if !ok {
			bad++
			continue
		}
		if r.V > journalVersion {
			return nil, 0, 0, fmt.Errorf("it was written by a newer fanwatch (format %d, this one knows %d): use that "+
				"one, or remove the file", r.V, journalVersion)
		}
		records, good, damaged, bad = append(records, r), at, damaged+bad, 0
	}
}

func decodeRecord(line []byte) (r record, ok bool) {
	if len(line) < 9 || line[8] != ' ' {
		return r, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != checksum(line[9:]) {
		return r, false
	}
	return r, json.Unmarshal(line[9:], &r) == nil
}

func encodeRecord(r record) ([]byte, error) {
	r.V = journalVersion
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", checksum(text), text), nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// append writes one record; with sync it is on the disk afterwards. A write
// that fails is undone, so that an error means: not stored.
func (j *journal) append(r record, sync bool) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := encodeRecord(r)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = j.file.Write(line)
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err != nil {
		if undo := j.file.Truncate(j.size); undo != nil {
			j.broken = fmt.Errorf("journal: a failed write could not be undone (%w): restart the server", undo)
		}
		return fmt.Errorf("journal: %w", err)
	}
	j.size += int64(len(line))
	return nil
}

// compact replaces the journal by these records once it has grown enough.
func (j *journal) compact(live func() []record) error {
	if j.size < j.compactAt {
		return nil
	}
	var b bytes.Buffer
	for _, r := range live() {
		line, err := encodeRecord(r)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		b.Write(line)
	}
	if err := durable.WriteFile(j.path, b.Bytes(), 0o600); err != nil {
		j.compactAt = 2 * j.size // not again at every call
		return fmt.Errorf("journal: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil { // the old handle now points to a file without a name
		j.broken = fmt.Errorf("journal: %w", err)
		return j.broken
	}
	j.file.Close()
	j.file, j.size = f, int64(b.Len())
	j.compactAt = max(compactFrom, 2*j.size)
	return nil
}

func (j *journal) close() error {
	if errors.Is(j.broken, os.ErrClosed) {
		return nil
	}
	j.broken = fmt.Errorf("journal: %w", os.ErrClosed)
	return errors.Join(j.file.Sync(), j.file.Close())
}
