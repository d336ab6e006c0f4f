package kinesis

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// stream is a stream and its shards. Writes and reads hold mu for reading, so that a split, a merge or the
// deletion has the shards for itself.
type stream struct {
	mu     sync.RWMutex
	dir    string
	id     uint64
	meta   streamMeta
	shards []*shard // by index; a closed one stays
	gone   bool     // deleted, or the server is closed
}

// streamMeta is what stream.json holds.
type streamMeta struct {
	V       int    `json:"v"` // format version, 1
	Name    string `json:"name"`
	Created int64  `json:"created"` // milliseconds since 1970, as all times here
	// Changing is the status that the stream has until Until: CREATING or UPDATING.
	Changing string      `json:"changing,omitempty"`
	Until    int64       `json:"until,omitempty"`
	Shards   []shardMeta `json:"shards"`
}

type shardMeta struct {
	Epoch   uint64  `json:"epoch"`
	Parents []int   `json:"parents,omitempty"` // the first is ParentShardId, a second AdjacentParentShardId
	Start   hashKey `json:"start"`
	End     hashKey `json:"end"`
	Closed  int64   `json:"closed,omitempty"` // when; 0 while open
	Last    uint64  `json:"last,omitempty"`   // counter of the ending sequence number
}

type shard struct {
	index      int
	log        *shardLog
	writeBytes *rate.Limiter // nil: no limit; likewise the others
	writes     *rate.Limiter
	reads      *rate.Limiter
}

const (
	streamFile   = "stream.json"
	metaVersion  = 1
	makingPrefix = "making-"  // a stream that is not complete yet
	goingPrefix  = "deleted-" // one that is no more; both are swept at the start
)

func shardID(index int) string { return fmt.Sprintf("shardId-%012d", index) }

func (sh *shard) id() string { return shardID(sh.index) }

// openStreams opens what is on the disk.
func (s *Server) openStreams() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("kinesis: making the data directory: %w", err)
	}
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("kinesis: reading the data directory: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(s.cfg.Dir, e.Name())
		if strings.HasPrefix(e.Name(), makingPrefix) || strings.HasPrefix(e.Name(), goingPrefix) {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("kinesis: sweeping: %w", err)
			}
			continue
		}
		var id uint64
		if _, err := fmt.Sscanf(e.Name(), "%d-", &id); err != nil || !e.IsDir() {
			return fmt.Errorf("kinesis: %s is not a stream; move it away", dir)
		}
		st, err := s.openStream(dir, id)
		if err != nil {
			return err
		}
		if other := s.streams[st.meta.Name]; other != nil {
			return fmt.Errorf("kinesis: %s and %s are both the stream %s; move one away", other.dir, dir, st.meta.Name)
		}
		s.streams[st.meta.Name] = st
		s.lastID = max(s.lastID, id)
	}
	return nil
}

func (s *Server) openStream(dir string, id uint64) (*stream, error) {
	b, err := os.ReadFile(filepath.Join(dir, streamFile))
	if err != nil {
		return nil, fmt.Errorf("kinesis: reading a stream's description: %w", err)
	}
	st := &stream{dir: dir, id: id}
	if err := json.Unmarshal(b, &st.meta); err != nil {
		return nil, fmt.Errorf("kinesis: %s/%s is damaged: %w", dir, streamFile, err)
	}
	if st.meta.V != metaVersion {
		return nil, fmt.Errorf("kinesis: %s/%s has format version %d, this program knows %d; use the program that wrote it", dir, streamFile, st.meta.V, metaVersion)
	}
	st.shards, err = s.openShards(dir, st.meta, nil)
	return st, err
}

// openShards gives the shards of meta: those it is given and, opened, the ones behind them.
func (s *Server) openShards(dir string, meta streamMeta, have []*shard) ([]*shard, error) {
	all := append([]*shard{}, have...)
	for i := len(have); i < len(meta.Shards); i++ {
		l, err := openLog(filepath.Join(dir, shardID(i)), s.cfg.SegmentSize, s.cfg.Log)
		if err != nil {
			return nil, err
		}
		if meta.Shards[i].Closed != 0 {
			if err := l.seal(); err != nil {
				return nil, err
			}
		}
		lim := s.cfg.Limits
		all = append(all, &shard{index: i, log: l, reads: limiter(lim.ReadCalls, lim.ReadCalls),
			writes: limiter(lim.WriteRecords, lim.WriteRecords), writeBytes: limiter(lim.WriteBytes, max(lim.WriteBytes, maxRecord))})
	}
	return all, nil
}

func limiter(perSecond, burst int) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// createStream makes a stream with n shards, complete on the disk before it returns.
func (s *Server) createStream(name string, n int) error {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[name] != nil {
		return fail("ResourceInUseException", "Stream %s under account %s already exists.", name, s.cfg.Account)
	}
	open := 0
	for _, st := range s.streams {
		open += st.openCount()
	}
	if open+n > s.cfg.MaxShards {
		return fail("LimitExceededException", "This request would exceed the shard limit for the account %s in %s. Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d.",
			s.cfg.Account, s.cfg.Region, open, s.cfg.MaxShards, n)
	}
	meta := streamMeta{V: metaVersion, Name: name, Created: now.UnixMilli()}
	for i := range n {
		m := shardMeta{Epoch: epochAt(now)}
		m.Start, m.End = evenRange(i, n)
		meta.Shards = append(meta.Shards, m)
	}
	s.changing(&meta, "CREATING", now)
	s.lastID = max(s.lastID+1, uint64(now.UnixMicro()))
	base := fmt.Sprintf("%d-%s", s.lastID, name)
	making, dir := filepath.Join(s.cfg.Dir, makingPrefix+base), filepath.Join(s.cfg.Dir, base)
	if err := os.Mkdir(making, 0o755); err != nil {
		return fmt.Errorf("kinesis: creating a stream: %w", err)
	}
	if err := meta.write(making); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(making, dir), syncDir(s.cfg.Dir)); err != nil {
		return fmt.Errorf("kinesis: creating a stream: %w", err)
	}
	shards, err := s.openShards(dir, meta, nil)
	if err != nil {
		return err
	}
	s.streams[name] = &stream{dir: dir, id: s.lastID, meta: meta, shards: shards}
	return nil
}

// deleteStream removes a stream and its records.
func (s *Server) deleteStream(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return s.noStream(st.meta.Name)
	}
	going := filepath.Join(s.cfg.Dir, goingPrefix+filepath.Base(st.dir))
	if err := errors.Join(os.Rename(st.dir, going), syncDir(s.cfg.Dir)); err != nil {
		return fmt.Errorf("kinesis: deleting a stream: %w", err)
	}
	st.gone = true
	delete(s.streams, st.meta.Name)
	for _, sh := range st.shards {
		if err := sh.log.seal(); err != nil {
			s.cfg.Log.Warn("kinesis: closing a deleted shard", "err", err)
		}
	}
	if err := os.RemoveAll(going); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kinesis: deleting a stream: %w", err)
	}
	return nil
}

// reshard closes the parents and opens children with the given ranges. The caller holds st.mu for writing.
// It is done when stream.json is replaced: a kill before that leaves the parents open, one after it does not.
func (s *Server) reshard(st *stream, parents []int, ranges [][2]hashKey) error {
	now := s.cfg.Now()
	meta := st.meta
	meta.Shards = append([]shardMeta{}, st.meta.Shards...)
	epoch := epochAt(now)
	for _, p := range parents {
		if err := st.shards[p].log.sync(); err != nil {
			return err
		}
		m := &meta.Shards[p]
		m.Closed, m.Last = now.UnixMilli(), max(st.shards[p].log.tip()+1, uint64(now.UnixMicro()))
		epoch = max(epoch, m.Epoch+1)
	}
	for _, r := range ranges {
		meta.Shards = append(meta.Shards, shardMeta{Epoch: epoch, Parents: parents, Start: r[0], End: r[1]})
	}
	s.changing(&meta, "UPDATING", now)
	shards, err := s.openShards(st.dir, meta, st.shards)
	if err != nil {
		return err
	}
	if err := meta.write(st.dir); err != nil {
		return err
	}
	st.meta, st.shards = meta, shards
	for _, p := range parents {
		if err := st.shards[p].log.seal(); err != nil {
			s.cfg.Log.Warn("kinesis: closing a shard's log", "shard", shardID(p), "err", err)
		}
	}
	return nil
}

// write replaces dir/stream.json atomically and durably.
func (m streamMeta) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("kinesis: writing a stream's description: %w", err)
	}
	path := filepath.Join(dir, streamFile)
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("kinesis: writing a stream's description: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("kinesis: writing a stream's description: %w", err)
	}
	return syncDir(dir)
}

func (s *Server) changing(m *streamMeta, status string, now time.Time) {
	if s.cfg.Settle > 0 {
		m.Changing, m.Until = status, now.Add(s.cfg.Settle).UnixMilli()
	}
}

// status is the stream's status at a time. The caller holds st.mu.
func (st *stream) status(now time.Time) string {
	if now.UnixMilli() < st.meta.Until {
		return st.meta.Changing
	}
	return "ACTIVE"
}

// openCount counts the open shards.
func (st *stream) openCount() int {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.meta.open()
}

func (m streamMeta) open() (n int) {
	for _, sh := range m.Shards {
		if sh.Closed == 0 {
			n++
		}
	}
	return n
}

// owner gives the open shard whose range holds the hash key. Open shards always cover the whole ring.
func (st *stream) owner(h hashKey) *shard {
	for i, m := range st.meta.Shards {
		if m.Closed == 0 && !h.less(m.Start) && !m.End.less(h) {
			return st.shards[i]
		}
	}
	return nil
}

// children gives the shards whose parent is the shard with this index.
func (st *stream) children(index int) (out []int) {
	for i, m := range st.meta.Shards {
		for _, p := range m.Parents {
			if p == index {
				out = append(out, i)
			}
		}
	}
	return out
}

// expired tells whether a closed shard's records are all past retention: AWS does not list it any more.
func (st *stream) expired(index int, cutoff time.Time) bool {
	closed := st.meta.Shards[index].Closed
	return closed != 0 && closed < cutoff.UnixMilli()
}

// sequence gives the sequence number of a counter in a shard.
func (st *stream) sequence(index int, counter uint64) string {
	return sequence{epoch: st.meta.Shards[index].Epoch, counter: counter, shard: uint32(index)}.String()
}

// epochAt is the epoch of a shard made at t, unless its parents force a higher one.
func epochAt(t time.Time) uint64 { return uint64(min(max(t.Unix(), 1), maxEpoch/2)) }
