package kinesis

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"time"
	"unicode/utf8"
)

// Limits of the API. AWS has raised some of them since (10 MiB a record on request, 10 MiB a PutRecords);
// what stays within these is accepted by every account.
const (
	maxRecord       = 1 << 20  // bytes of data and partition key of a record
	maxPutRecords   = 500      // records of a PutRecords
	maxPutBytes     = 5 << 20  // bytes of them together
	maxGetRecords   = 10000    // records of a GetRecords
	maxGetBytes     = 10 << 20 // bytes of them together
	maxPartitionKey = 256      // characters
	iteratorLife    = 5 * time.Minute
)

type putRecordInput struct {
	streamRef
	putEntry
	SequenceNumberForOrdering *string
}

type putEntry struct {
	Data            []byte
	PartitionKey    *string
	ExplicitHashKey *string
}

type putOutput struct {
	ShardId        string `json:",omitempty"`
	SequenceNumber string `json:",omitempty"`
	EncryptionType string `json:",omitempty"`
	ErrorCode      string `json:",omitempty"`
	ErrorMessage   string `json:",omitempty"`
}

// putRecord needs nothing of SequenceNumberForOrdering: numbers of a shard grow strictly anyway.
func (s *Server) putRecord(in putRecordInput) (any, error) {
	var bad faulty
	in.check(&bad, "")
	if n := in.SequenceNumberForOrdering; n != nil && !isDecimal(*n, 129) {
		bad.add("sequenceNumberForOrdering", *n, `satisfy regular expression pattern: 0|([1-9]\d{0,128})`)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	results, err := s.put(in.streamRef, []putEntry{in.putEntry}, 0)
	if err != nil {
		return nil, err
	}
	switch r := results[0]; r.ErrorCode {
	case "":
		r.EncryptionType = "NONE"
		return r, nil
	case throttled:
		return nil, fail(throttled, "%s", r.ErrorMessage)
	default:
		return nil, &apiError{500, "InternalFailureException", r.ErrorMessage}
	}
}

type putRecordsInput struct {
	streamRef
	Records []putEntry
}

// putRecords puts all but every failEvery-th record; 0 fails none.
func (s *Server) putRecords(in putRecordsInput, failEvery int) (any, error) {
	var bad faulty
	switch n := len(in.Records); {
	case n == 0:
		bad.add("records", "[]", "have length greater than or equal to 1")
	case n > maxPutRecords:
		bad.add("records", "[...]", "have length less than or equal to 500")
	}
	total := 0
	for _, r := range in.Records {
		r.check(&bad, "records.member.")
		total += r.size()
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if total > maxPutBytes {
		return nil, fail("InvalidArgumentException", "Records size exceeds 5 MB limit")
	}
	results, err := s.put(in.streamRef, in.Records, failEvery)
	if err != nil {
		return nil, err
	}
	failed := 0
	for _, r := range results {
		if r.ErrorCode != "" {
			failed++
		}
	}
	return map[string]any{"FailedRecordCount": failed, "EncryptionType": "NONE", "Records": results}, nil
}

// check adds what is wrong with the entry.
func (e putEntry) check(bad *faulty, prefix string) {
	switch {
	case e.PartitionKey == nil:
		bad.add(prefix+"partitionKey", nil, "not be null")
	case *e.PartitionKey == "":
		bad.add(prefix+"partitionKey", "", "have length greater than or equal to 1")
	case utf8.RuneCountInString(*e.PartitionKey) > maxPartitionKey:
		bad.add(prefix+"partitionKey", *e.PartitionKey, "have length less than or equal to 256")
	}
	switch {
	case e.Data == nil:
		bad.add(prefix+"data", nil, "not be null")
	case e.size() > maxRecord:
		bad.add(prefix+"data", "...", "have length less than or equal to 1048576 (with the partition key)")
	}
	if h := e.ExplicitHashKey; h != nil && !isDecimal(*h, 39) {
		bad.add(prefix+"explicitHashKey", *h, `satisfy regular expression pattern: 0|([1-9]\d{0,38})`)
	}
}

func (e putEntry) size() int {
	n := len(e.Data)
	if e.PartitionKey != nil {
		n += len(*e.PartitionKey)
	}
	return n
}

// hash gives the hash key that decides over the shard.
func (e putEntry) hash() (hashKey, error) {
	if e.ExplicitHashKey == nil {
		return hashOf(*e.PartitionKey), nil
	}
	h, err := parseHashKey(*e.ExplicitHashKey)
	if err != nil {
		return h, fail("InvalidArgumentException", "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", *e.ExplicitHashKey)
	}
	return h, nil
}

// put appends the entries, those of one shard together and in their order. What a shard cannot take fails
// alone, with its error in its result.
func (s *Server) put(ref streamRef, entries []putEntry, failEvery int) ([]putOutput, error) {
	st, err := s.lookup(ref)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.gone || st.status(now) == "CREATING" {
		return nil, s.noStream(st.meta.Name)
	}
	owners := make([]*shard, len(entries))
	for i, e := range entries {
		h, err := e.hash()
		if err != nil {
			return nil, err
		}
		owners[i] = st.owner(h)
	}
	results := make([]putOutput, len(entries))
	for i, sh := range owners {
		if results[i] != (putOutput{}) {
			continue // went with an earlier one of its shard
		}
		var batch []record
		var places []int
		for j := i; j < len(entries); j++ {
			switch e := entries[j]; {
			case owners[j] != sh:
			case (failEvery > 0 && j%failEvery == 0) || !sh.admits(e.size(), now):
				results[j] = putOutput{ErrorCode: throttled, ErrorMessage: "Rate exceeded for shard " + sh.id() + " in stream " + st.meta.Name + " under account " + s.cfg.Account + "."}
			default:
				batch, places = append(batch, record{key: *e.PartitionKey, data: e.Data}), append(places, j)
			}
		}
		s.putShard(st, sh, batch, places, results, now)
	}
	return results, nil
}

// putShard appends a batch to its shard and fills in the results at places.
func (s *Server) putShard(st *stream, sh *shard, batch []record, places []int, results []putOutput, now time.Time) {
	if len(batch) == 0 {
		return
	}
	err := sh.log.put(batch, now.UnixMilli(), uint64(max(now.UnixMicro(), 1)))
	if err == nil && s.cfg.SyncEvery < 0 {
		err = sh.log.sync()
	}
	if err != nil {
		s.cfg.Log.Error("kinesis: records were not written", "stream", st.meta.Name, "shard", sh.id(), "records", len(batch), "err", err)
	}
	for k, j := range places {
		if err != nil {
			results[j] = putOutput{ErrorCode: "InternalFailure", ErrorMessage: "Internal service failure: " + err.Error()}
			continue
		}
		results[j] = putOutput{ShardId: sh.id(), SequenceNumber: st.sequence(sh.index, batch[k].counter)}
	}
}

// admits takes a record of so many bytes from the shard's quotas, if both have room.
func (sh *shard) admits(size int, now time.Time) bool {
	if sh.writes != nil && sh.writes.TokensAt(now) < 1 {
		return false
	}
	if sh.writeBytes != nil && !sh.writeBytes.AllowN(now, size) {
		return false
	}
	return sh.writes == nil || sh.writes.AllowN(now, 1)
}

type getShardIteratorInput struct {
	streamRef
	ShardId                string
	ShardIteratorType      string
	StartingSequenceNumber *string
	Timestamp              *seconds
}

func (s *Server) getShardIterator(in getShardIteratorInput) (any, error) {
	var bad faulty
	bad.name("shardId", in.ShardId)
	switch in.ShardIteratorType {
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP", "TRIM_HORIZON", "LATEST":
	default:
		bad.add("shardIteratorType", in.ShardIteratorType, "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]")
	}
	if n := in.StartingSequenceNumber; n != nil && !isDecimal(*n, 129) {
		bad.add("startingSequenceNumber", *n, `satisfy regular expression pattern: 0|([1-9]\d{0,128})`)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	st, err := s.lookup(in.streamRef)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.gone || st.status(now) == "CREATING" {
		return nil, s.noStream(st.meta.Name)
	}
	i, err := s.shardIndex(st, in.ShardId)
	if err != nil {
		return nil, err
	}
	from, err := s.startAt(st, i, in, now)
	if err != nil {
		return nil, err
	}
	return map[string]string{"ShardIterator": iterator{st.id, uint32(i), from, now.UnixMilli()}.String()}, nil
}

// startAt gives the counter that an iterator starts from.
func (s *Server) startAt(st *stream, i int, in getShardIteratorInput, now time.Time) (uint64, error) {
	bySequence := in.ShardIteratorType == "AT_SEQUENCE_NUMBER" || in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER"
	if bySequence != (in.StartingSequenceNumber != nil) || (in.ShardIteratorType == "AT_TIMESTAMP") != (in.Timestamp != nil) {
		return 0, fail("InvalidArgumentException", "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber or (3) AT_TIMESTAMP and Timestamp. Request specified %s and not just what goes with it.", in.ShardIteratorType)
	}
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
		return 0, nil
	case "LATEST":
		return st.shards[i].log.tip() + 1, nil
	case "AT_TIMESTAMP":
		if int64(*in.Timestamp) > now.UnixMilli() {
			return 0, fail("InvalidArgumentException", "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", int64(*in.Timestamp), now.UnixMilli())
		}
		return st.shards[i].log.since(int64(*in.Timestamp))
	}
	q, ok := parseSequence(*in.StartingSequenceNumber)
	if ok && int(q.shard) != i {
		return 0, fail("InvalidArgumentException", "Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s", shardID(int(q.shard)), shardID(i))
	}
	if !ok || q.epoch != st.meta.Shards[i].Epoch {
		return 0, fail("InvalidArgumentException", "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
			*in.StartingSequenceNumber, in.ShardId, st.meta.Name, s.cfg.Account)
	}
	if in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" {
		return q.counter + 1, nil
	}
	return q.counter, nil
}

type getRecordsInput struct {
	ShardIterator *string
	StreamARN     *string
	Limit         *int
}

type recordOutput struct {
	SequenceNumber              string
	ApproximateArrivalTimestamp seconds
	Data                        []byte
	PartitionKey                string
	EncryptionType              string
}

type childShard struct {
	ShardId      string
	ParentShards []string
	HashKeyRange hashKeyRange
}

type getRecordsOutput struct {
	Records            []recordOutput
	NextShardIterator  *string `json:",omitempty"` // absent at the end of a closed shard
	MillisBehindLatest int64
	ChildShards        []childShard `json:",omitempty"`
}

func (s *Server) getRecords(in getRecordsInput) (any, error) {
	limit := maxGetRecords
	if in.Limit != nil {
		limit = *in.Limit
	}
	var bad faulty
	if in.ShardIterator == nil || *in.ShardIterator == "" {
		bad.add("shardIterator", nil, "not be null")
	}
	if limit < 1 {
		bad.add("limit", limit, "have value greater than or equal to 1")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if limit > maxGetRecords {
		return nil, fail("InvalidArgumentException", "Limit %d is above %d.", limit, maxGetRecords)
	}
	it, ok := parseIterator(*in.ShardIterator)
	if !ok {
		return nil, fail("InvalidArgumentException", "Invalid ShardIterator.")
	}
	now := s.cfg.Now()
	if now.Sub(time.UnixMilli(it.issued)) > iteratorLife {
		return nil, fail("ExpiredIteratorException", "Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			time.UnixMilli(it.issued).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), iteratorLife.Milliseconds())
	}
	st, err := s.byID(it.stream)
	if err != nil {
		return nil, err
	}
	if in.StreamARN != nil && *in.StreamARN != s.arn(st.meta.Name) {
		return nil, fail("InvalidArgumentException", "StreamARN %.200s is not that of the iterator's stream.", *in.StreamARN)
	}
	return s.read(st, it, limit, now)
}

// read answers GetRecords for an iterator that is good.
func (s *Server) read(st *stream, it iterator, limit int, now time.Time) (any, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.gone {
		return nil, s.noStream(st.meta.Name)
	}
	i := int(it.shard)
	if i >= len(st.shards) || st.expired(i, now.Add(-s.cfg.Retention)) {
		return nil, fail("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", shardID(i), st.meta.Name, s.cfg.Account)
	}
	sh := st.shards[i]
	if sh.reads != nil && !sh.reads.AllowN(now, 1) {
		return nil, fail(throttled, "Rate exceeded for shard %s in stream %s under account %s.", sh.id(), st.meta.Name, s.cfg.Account)
	}
	records, next, more, err := sh.log.read(it.counter, limit, maxGetBytes)
	if err != nil {
		return nil, err
	}
	out := getRecordsOutput{Records: make([]recordOutput, len(records))}
	for k, r := range records {
		out.Records[k] = recordOutput{st.sequence(i, r.counter), seconds(r.arrived), r.data, r.key, "NONE"}
	}
	if more && len(records) > 0 {
		out.MillisBehindLatest = max(now.UnixMilli()-records[len(records)-1].arrived, 0)
	}
	if more || st.meta.Shards[i].Closed == 0 {
		text := iterator{st.id, it.shard, next, now.UnixMilli()}.String()
		out.NextShardIterator = &text
		return out, nil
	}
	for _, c := range st.children(i) {
		d := st.describeShard(c)
		parents := []string{d.ParentShardId}
		if d.AdjacentParentShardId != "" {
			parents = append(parents, d.AdjacentParentShardId)
		}
		out.ChildShards = append(out.ChildShards, childShard{d.ShardId, parents, d.HashKeyRange})
	}
	return out, nil
}

// iterator is a position in a shard. The caller holds it as opaque text; nothing is kept here, so it
// outlives a restart of the server.
type iterator struct {
	stream  uint64
	shard   uint32
	counter uint64 // of the first record to read
	issued  int64  // milliseconds since 1970
}

const iteratorSize = 1 + 8 + 4 + 8 + 8 + 4

// String gives version, fields and CRC-32C in base64.
func (it iterator) String() string {
	b := make([]byte, 1, iteratorSize)
	b[0] = 1
	b = binary.BigEndian.AppendUint64(b, it.stream)
	b = binary.BigEndian.AppendUint32(b, it.shard)
	b = binary.BigEndian.AppendUint64(b, it.counter)
	b = binary.BigEndian.AppendUint64(b, uint64(it.issued))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return base64.StdEncoding.EncodeToString(b)
}

func parseIterator(s string) (it iterator, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != iteratorSize || b[0] != 1 {
		return it, false
	}
	sum := iteratorSize - 4
	if binary.BigEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], crc32.MakeTable(crc32.Castagnoli)) {
		return it, false
	}
	it = iterator{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint32(b[9:]), binary.BigEndian.Uint64(b[13:]), int64(binary.BigEndian.Uint64(b[21:]))}
	return it, it.shard <= maxShardIndex
}
