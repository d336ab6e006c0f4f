// Package kinesis is a small, honest Amazon Kinesis Data Streams for one machine. It speaks the JSON 1.1
// protocol of the service (https://docs.aws.amazon.com/kinesis/latest/APIReference/), so the AWS SDK works
// against it unchanged, and has the operations that fanwatch uses; any other answers 501 with its name.
//
// An acknowledged record has been written to a file: it survives kill -9 of the process. Whether it also
// survives a power cut is Config.SyncEvery's to say. Signatures are not verified, but an unsigned request
// is refused. Two things are simpler than on AWS: a stream is ACTIVE at once unless Config.Settle says
// otherwise, and retention removes whole segments, so a record may be readable a little past it.
package kinesis

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where the server keeps its streams and how strict it is.
type Config struct {
	// Dir holds everything; it is made if missing. One process at a time may use it: the caller sees to that.
	Dir string
	// Log gets what an operator should know (a torn tail that was cut, a failing disk). Nil: nothing is logged.
	Log *slog.Logger
	// Now dates arrivals, iterators and retention. Nil: time.Now.
	Now func() time.Time

	// SyncEvery bounds how long an acknowledged record may be in the kernel's cache only, which is what a power
	// cut (not a kill) can take. Zero: one second. Negative: every answer waits for fsync, and concurrent
	// writers of a shard share one (group commit); see BenchmarkPutRecord for what that costs.
	SyncEvery time.Duration
	// Retention is how long a record can be read. Zero: 24 hours.
	Retention time.Duration
	// SegmentSize is the size in bytes at which a shard's log goes on in a new file. Zero: 16 MiB.
	SegmentSize int64
	// Limits are the quotas of one shard; the zero value has none. AWS has 1 MiB and 1000 records in, 5 reads.
	Limits Limits
	// MaxShards is the account's quota of open shards. Zero: 500.
	MaxShards int
	// Settle is how long a stream stays CREATING or UPDATING. Zero: not at all.
	Settle time.Duration
	// Region and Account appear in ARNs. Empty: us-east-1 and 000000000000.
	Region, Account string
}

// Limits are quotas per shard and second; 0 switches one off.
// Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
type Limits struct {
	WriteBytes   int // data and partition keys written, in bytes
	WriteRecords int // records written
	ReadCalls    int // GetRecords calls
}

// Server is the service. It is an http.Handler for any path but /_faults, which is the switch for faults.
// All methods may be called concurrently.
type Server struct {
	cfg      Config
	requests atomic.Uint64
	faults   faults

	mu      sync.RWMutex // guards streams and lastID
	streams map[string]*stream
	lastID  uint64

	stop    chan struct{}
	stopped sync.WaitGroup
	closed  atomic.Bool
}

// New opens the streams under cfg.Dir, cutting torn tails that a kill left, and starts the timer for fsync
// and retention. It fails when a stream's description or an older segment is damaged.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("kinesis: Config.Dir is empty; name a directory for the streams")
	}
	s := &Server{cfg: cfg, streams: make(map[string]*stream), stop: make(chan struct{})}
	if err := s.openStreams(); err != nil {
		return nil, errors.Join(err, s.closeStreams())
	}
	s.trim()
	s.stopped.Add(1)
	go s.housekeep()
	return s, nil
}

// Close waits for requests under way, syncs everything to disk and closes the files. Later requests answer 503.
func (s *Server) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	close(s.stop)
	s.stopped.Wait()
	return s.closeStreams()
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = time.Second
	}
	if c.Retention <= 0 {
		c.Retention = 24 * time.Hour
	}
	if c.SegmentSize <= 0 {
		c.SegmentSize = 16 << 20
	}
	if c.MaxShards <= 0 {
		c.MaxShards = 500
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Account == "" {
		c.Account = "000000000000"
	}
	return c
}

// housekeep syncs and trims on a timer until Close.
func (s *Server) housekeep() {
	defer s.stopped.Done()
	every := s.cfg.SyncEvery
	if every < 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.eachLog(func(name string, l *shardLog) {
				if err := l.sync(); err != nil {
					s.cfg.Log.Error("kinesis: cannot sync a shard; acknowledged records may be lost in a power cut", "stream", name, "dir", l.dir, "err", err)
				}
			})
			s.trim()
		}
	}
}

// trim removes segments whose newest record is older than the retention.
func (s *Server) trim() {
	cutoff := s.cfg.Now().Add(-s.cfg.Retention).UnixMilli()
	s.eachLog(func(name string, l *shardLog) {
		if err := l.trim(cutoff); err != nil {
			s.cfg.Log.Error("kinesis: cannot remove old records", "stream", name, "dir", l.dir, "err", err)
		}
	})
}

func (s *Server) eachLog(f func(stream string, l *shardLog)) {
	s.mu.RLock()
	all := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		all = append(all, st)
	}
	s.mu.RUnlock()
	for _, st := range all {
		st.mu.RLock()
		if !st.gone {
			for _, sh := range st.shards {
				f(st.meta.Name, sh.log)
			}
		}
		st.mu.RUnlock()
	}
}

func (s *Server) closeStreams() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.streams {
		st.mu.Lock()
		st.gone = true
		for _, sh := range st.shards {
			if err := sh.log.seal(); err != nil {
				errs = append(errs, fmt.Errorf("kinesis: closing %s of %s: %w", sh.id(), st.meta.Name, err))
			}
		}
		st.mu.Unlock()
	}
	s.streams = make(map[string]*stream)
	return errors.Join(errs...)
}
