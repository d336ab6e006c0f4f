package kinesis

import (
	"encoding/base64"
	"encoding/json"
	"sort"
	"strings"
	"time"
)

// streamRef is how a request names a stream; embedded in the inputs.
type streamRef struct {
	StreamName *string
	StreamARN  *string
	DryRun     bool
}

type createInput struct {
	StreamName        *string
	ShardCount        *int
	StreamModeDetails *struct{ StreamMode string }
	Tags              map[string]string
}

func (s *Server) create(in createInput) (any, error) {
	var bad faulty
	if in.StreamName == nil {
		bad.add("streamName", nil, "not be null")
	} else {
		bad.name("streamName", *in.StreamName)
	}
	switch {
	case in.ShardCount == nil:
		bad.add("shardCount", nil, "not be null (the local Kinesis has provisioned streams only)")
	case *in.ShardCount < 1:
		bad.add("shardCount", *in.ShardCount, "have value greater than or equal to 1")
	}
	if in.StreamModeDetails != nil && in.StreamModeDetails.StreamMode != "PROVISIONED" {
		bad.add("streamModeDetails.streamMode", in.StreamModeDetails.StreamMode,
			"satisfy enum value set: [PROVISIONED] (the local Kinesis has no other)")
	}
	if len(in.Tags) > 0 {
		bad.add("tags", len(in.Tags), "be empty (the local Kinesis keeps no tags)")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if n := *in.ShardCount; n > s.cfg.MaxShards { // before a list of that length is made
		return nil, fail("LimitExceededException", "%d shards exceed the shard limit of the account %s: %d.", n,
			s.cfg.Account, s.cfg.MaxShards)
	}
	return nil, s.createStream(*in.StreamName, *in.ShardCount)
}

func (s *Server) remove(in streamRef) (any, error) {
	st, err := s.lookup(in)
	if err != nil {
		return nil, err
	}
	return nil, s.deleteStream(st)
}

type summary struct {
	StreamName              string
	StreamARN               string
	StreamStatus            string
	StreamModeDetails       map[string]string
	RetentionPeriodHours    int                   `json:",omitempty"`
	StreamCreationTimestamp seconds               `json:",omitempty"`
	EnhancedMonitoring      []map[string][]string `json:",omitempty"`
	EncryptionType          string                `json:",omitempty"`
	OpenShardCount          int                   `json:",omitempty"`
	ConsumerCount           *int                  `json:",omitempty"`
}

func (s *Server) summary(st *stream) summary {
	return summary{StreamName: st.meta.Name, StreamARN: s.arn(st.meta.Name), StreamStatus: st.status(s.cfg.Now()),
		StreamModeDetails: map[string]string{"StreamMode": "PROVISIONED"}, StreamCreationTimestamp: seconds(st.meta.Created)}
}

func (s *Server) describe(in streamRef) (any, error) {
	st, err := s.lookup(in)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	d := s.summary(st)
	d.RetentionPeriodHours = max(1, int(s.cfg.Retention/time.Hour))
	d.EnhancedMonitoring = []map[string][]string{{"ShardLevelMetrics": {}}}
	d.EncryptionType = "NONE"
	d.OpenShardCount = st.meta.open()
	d.ConsumerCount = new(int)
	return map[string]any{"StreamDescriptionSummary": d}, nil
}

type listInput struct {
	ExclusiveStartStreamName *string
	NextToken                *string
	Limit                    *int
}

func (s *Server) list(in listInput) (any, error) {
	limit := 100
	var bad faulty
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 || limit > 10000 {
			bad.add("limit", limit, "be between 1 and 10000")
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	after := ""
	if in.ExclusiveStartStreamName != nil {
		after = *in.ExclusiveStartStreamName
	}
	if in.NextToken != nil {
		after = *in.NextToken
	}
	s.mu.RLock()
	all := make([]*stream, 0, len(s.streams))
	for name, st := range s.streams {
		if name > after {
			all = append(all, st)
		}
	}
	s.mu.RUnlock()
	sort.Slice(all, func(i, j int) bool { return all[i].meta.Name < all[j].meta.Name })
	out := struct {
		StreamNames     []string
		StreamSummaries []summary
		HasMoreStreams  bool
		NextToken       string `json:",omitempty"`
	}{StreamNames: []string{}, StreamSummaries: []summary{}}
	for i, st := range all {
		if i == limit {
			out.HasMoreStreams, out.NextToken = true, all[i-1].meta.Name
			break
		}
		st.mu.RLock()
		out.StreamNames = append(out.StreamNames, st.meta.Name)
		out.StreamSummaries = append(out.StreamSummaries, s.summary(st))
		st.mu.RUnlock()
	}
	return out, nil
}

type hashKeyRange struct{ StartingHashKey, EndingHashKey hashKey }

type sequenceRange struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

type shardOutput struct {
	ShardId               string
	ParentShardId         string `json:",omitempty"`
	AdjacentParentShardId string `json:",omitempty"`
	HashKeyRange          hashKeyRange
	SequenceNumberRange   sequenceRange
}

type listShardsInput struct {
	streamRef
	ExclusiveStartShardId *string
	NextToken             *string
	MaxResults            *int
	ShardFilter           *json.RawMessage
}

// shardsToken is what a NextToken of ListShards holds, as base64 of JSON.
type shardsToken struct {
	Stream uint64 `json:"s"`
	After  string `json:"a"`
	Issued int64  `json:"t"` // milliseconds
}

const tokenLife = 300 * time.Second

func (s *Server) listShards(in listShardsInput) (any, error) {
	if in.ShardFilter != nil {
		return nil, &apiError{501, "NotImplementedException", "the local Kinesis does not have ListShards with a ShardFilter"}
	}
	limit := 1000
	if in.MaxResults != nil {
		if limit = *in.MaxResults; limit < 1 || limit > 10000 {
			var bad faulty
			bad.add("maxResults", limit, "be between 1 and 10000")
			return nil, bad.err()
		}
	}
	now := s.cfg.Now()
	st, after, err := s.shardsFrom(in, now)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := struct {
		Shards    []shardOutput
		NextToken string `json:",omitempty"`
	}{Shards: []shardOutput{}}
	for i := range st.meta.Shards {
		if shardID(i) <= after || st.expired(i, now.Add(-s.cfg.Retention)) {
			continue
		}
		if len(out.Shards) == limit {
			b, err := json.Marshal(shardsToken{st.id, out.Shards[limit-1].ShardId, now.UnixMilli()})
			if err != nil {
				return nil, err
			}
			out.NextToken = base64.RawURLEncoding.EncodeToString(b)
			break
		}
		out.Shards = append(out.Shards, st.describeShard(i))
	}
	return out, nil
}

// shardsFrom finds out of which stream and behind which shard to list.
func (s *Server) shardsFrom(in listShardsInput, now time.Time) (st *stream, after string, err error) {
	if in.NextToken == nil {
		if in.ExclusiveStartShardId != nil {
			after = *in.ExclusiveStartShardId
		}
		st, err = s.lookup(in.streamRef)
		return st, after, err
	}
	if in.StreamName != nil || in.ExclusiveStartShardId != nil {
		return nil, "", fail("InvalidArgumentException", "NextToken and StreamName or ExclusiveStartShardId cannot be "+
			"provided together.")
	}
	var t shardsToken
	b, err := base64.RawURLEncoding.DecodeString(*in.NextToken)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return nil, "", fail("InvalidArgumentException", "Invalid NextToken.")
	}
	if now.UnixMilli()-t.Issued > tokenLife.Milliseconds() {
		return nil, "", fail("ExpiredNextTokenException", "The NextToken expired; it was good for %s.", tokenLife)
	}
	st, err = s.byID(t.Stream)
	return st, t.After, err
}

func (st *stream) describeShard(i int) shardOutput {
	m := st.meta.Shards[i]
	out := shardOutput{ShardId: shardID(i), HashKeyRange: hashKeyRange{m.Start, m.End},
		SequenceNumberRange: sequenceRange{StartingSequenceNumber: st.sequence(i, 0)}}
	if len(m.Parents) > 0 {
		out.ParentShardId = shardID(m.Parents[0])
	}
	if len(m.Parents) > 1 {
		out.AdjacentParentShardId = shardID(m.Parents[1])
	}
	if m.Closed != 0 {
		out.SequenceNumberRange.EndingSequenceNumber = st.sequence(i, m.Last)
	}
	return out
}

type splitInput struct {
	streamRef
	ShardToSplit       string
	NewStartingHashKey string
}

func (s *Server) split(in splitInput) (any, error) {
	var bad faulty
	bad.name("shardToSplit", in.ShardToSplit)
	if !isDecimal(in.NewStartingHashKey, 39) {
		bad.add("newStartingHashKey", in.NewStartingHashKey, `satisfy regular expression pattern: 0|([1-9]\d{0,38})`)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	st, err := s.lookup(in.streamRef)
	if err != nil {
		return nil, err
	}
	if n := s.openShardCount(); n >= s.cfg.MaxShards {
		return nil, fail("LimitExceededException", "This request would exceed the shard limit of the account %s: %d.",
			s.cfg.Account, s.cfg.MaxShards)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	i, err := s.reshardable(st, in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	m := st.meta.Shards[i]
	at, err := parseHashKey(in.NewStartingHashKey)
	if err != nil || !m.Start.less(at) || !m.Start.plusOne().less(at) || !at.less(m.End) {
		return nil, fail("InvalidArgumentException", "NewStartingHashKey %s used in SplitShard() on shard %s in "+
			"stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than "+
			"the shard's EndingHashKey %s.",
			in.NewStartingHashKey, in.ShardToSplit, st.meta.Name, s.cfg.Account, m.Start, m.End)
	}
	return nil, s.reshard(st, []int{i}, [][2]hashKey{{m.Start, at.minusOne()}, {at, m.End}})
}

type mergeInput struct {
	streamRef
	ShardToMerge         string
	AdjacentShardToMerge string
}

func (s *Server) merge(in mergeInput) (any, error) {
	var bad faulty
	bad.name("shardToMerge", in.ShardToMerge)
	bad.name("adjacentShardToMerge", in.AdjacentShardToMerge)
	if err := bad.err(); err != nil {
		return nil, err
	}
	st, err := s.lookup(in.streamRef)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	i, err := s.reshardable(st, in.ShardToMerge)
	if err != nil {
		return nil, err
	}
	j, err := s.reshardable(st, in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	low, high := st.meta.Shards[i], st.meta.Shards[j]
	if high.Start.less(low.Start) {
		low, high = high, low
	}
	if i == j || low.End == maxHashKey() || low.End.plusOne() != high.Start {
		return nil, fail("InvalidArgumentException", "Shards %s and %s in stream %s under account %s are not an "+
			"adjacent pair of shards eligible for merging",
			in.ShardToMerge, in.AdjacentShardToMerge, st.meta.Name, s.cfg.Account)
	}
	return nil, s.reshard(st, []int{i, j}, [][2]hashKey{{low.Start, high.End}})
}

// reshardable finds an open shard of an ACTIVE stream. The caller holds st.mu.
func (s *Server) reshardable(st *stream, id string) (int, error) {
	if st.gone {
		return 0, s.noStream(st.meta.Name)
	}
	if status := st.status(s.cfg.Now()); status != "ACTIVE" {
		return 0, fail("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", st.meta.Name,
			s.cfg.Account, status)
	}
	i, err := s.shardIndex(st, id)
	if err != nil {
		return 0, err
	}
	if st.meta.Shards[i].Closed != 0 {
		return 0, fail("InvalidArgumentException", "Shard %s in stream %s under account %s has already been merged or "+
			"split, and thus is not eligible for merging or splitting.", id, st.meta.Name, s.cfg.Account)
	}
	return i, nil
}

// shardIndex finds a shard that has not expired. The caller holds st.mu.
func (s *Server) shardIndex(st *stream, id string) (int, error) {
	for i := range st.meta.Shards {
		if shardID(i) == id && !st.expired(i, s.cfg.Now().Add(-s.cfg.Retention)) {
			return i, nil
		}
	}
	return 0, fail("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", id, st.meta.Name,
		s.cfg.Account)
}

// lookup finds the stream that a request names by its name, its ARN or both.
func (s *Server) lookup(ref streamRef) (*stream, error) {
	if ref.DryRun {
		return nil, &apiError{501, "NotImplementedException", "the local Kinesis does not have DryRun"}
	}
	if ref.StreamName == nil && ref.StreamARN == nil {
		return nil, fail("ValidationException", "Either StreamARN or StreamName must be provided.")
	}
	name := ""
	if ref.StreamName != nil {
		name = *ref.StreamName
		var bad faulty
		if bad.name("streamName", name); len(bad) > 0 {
			return nil, bad.err()
		}
	}
	if ref.StreamARN != nil {
		_, fromARN, ok := strings.Cut(*ref.StreamARN, ":stream/")
		if !ok || *ref.StreamARN != s.arn(fromARN) || (name != "" && name != fromARN) {
			return nil, fail("InvalidArgumentException", "StreamARN %.200s is not that of a stream here, or not that of "+
				"StreamName.", *ref.StreamARN)
		}
		name = fromARN
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if st := s.streams[name]; st != nil {
		return st, nil
	}
	return nil, s.noStream(name)
}

// lockForUse finds a stream whose records can be written and read and locks its mu for reading, which the caller
// unlocks. A stream that is CREATING is not there yet.
func (s *Server) lockForUse(ref streamRef, now time.Time) (*stream, error) {
	st, err := s.lookup(ref)
	if err != nil {
		return nil, err
	}
	st.mu.RLock()
	if st.gone || st.status(now) == "CREATING" {
		st.mu.RUnlock()
		return nil, s.noStream(st.meta.Name)
	}
	return st, nil
}

func (s *Server) byID(id uint64) (*stream, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, st := range s.streams {
		if st.id == id {
			return st, nil
		}
	}
	return nil, s.noStream("of this iterator or token")
}

func (s *Server) openShardCount() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, st := range s.streams {
		n += st.openCount()
	}
	return n
}

// noStream says that there is no such stream, unless it is just that the server is closing.
func (s *Server) noStream(name string) error {
	if s.closed.Load() {
		return &apiError{503, "ServiceUnavailableException", "the local Kinesis is closing"}
	}
	return fail("ResourceNotFoundException", "Stream %s under account %s not found.", name, s.cfg.Account)
}

func (s *Server) arn(name string) string {
	return "arn:aws:kinesis:" + s.cfg.Region + ":" + s.cfg.Account + ":stream/" + name
}
