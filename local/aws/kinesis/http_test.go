package kinesis_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"fanwatch/local/aws/fault"
	"fanwatch/local/aws/kinesis"
)

func TestFaultsAreSetOverHTTP(t *testing.T) {
	s, err := kinesis.New(kinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := httptest.NewRequest("POST", fault.Path, strings.NewReader(`{"kind":"partial","operation":"PutRecords"}`))
	r.RemoteAddr = "127.0.0.1:5"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	want := []fault.Fault{{Kind: fault.Partial, Operation: "PutRecords", Count: 1, Every: 2}}
	if got := s.Faults().List(); w.Code != http.StatusNoContent || !slices.Equal(got, want) {
		t.Errorf("%d %s, set: %v", w.Code, w.Body, got)
	}
}

func TestEnvelope(t *testing.T) {
	s, err := kinesis.New(kinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name, target, media, auth, body string
		status                          int
		says                            string
	}{
		{"unknown operation", "Kinesis_20131202.SubscribeToShard", "application/x-amz-json-1.1", "x", "{}", 501,
			"SubscribeToShard"},
		{"CBOR", "Kinesis_20131202.ListStreams", "application/x-amz-cbor-1.1", "x", "", 400, "CBOR"},
		{"no signature", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1", "", "{}", 403,
			"Missing Authentication Token"},
		{"no target", "", "application/x-amz-json-1.1", "x", "{}", 400, "X-Amz-Target"},
		{"not JSON", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1", "x", "{", 400, "SerializationException"},
		{"wrong type", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1", "x", `{"StreamName":5}`, 400,
			"SerializationException"},
		{"bad base64", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1", "x",
			`{"StreamName":"s","PartitionKey":"k","Data":"?"}`, 400, "SerializationException"},
		{"no stream", "Kinesis_20131202.ListShards", "application/x-amz-json-1.1", "x", `{}`, 400, "ValidationException"},
		{"dry run", "Kinesis_20131202.DeleteStream", "application/x-amz-json-1.1", "x", `{"StreamName":"s","DryRun":true}`,
			501, "DryRun"},
		{"too large", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1", "x", strings.Repeat(" ", 17<<20), 400,
			"too large"},
		{"good", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1; charset=utf-8", "x", "", 200,
			`"HasMoreStreams":false`},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(c.body))
		r.Header.Set("X-Amz-Target", c.target)
		r.Header.Set("Content-Type", c.media)
		r.Header.Set("Authorization", c.auth)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}

// No request makes the server panic or answer anything but JSON of a known status.
func FuzzRequest(f *testing.F) {
	for _, op := range []string{"CreateStream", "DescribeStreamSummary", "DeleteStream", "ListStreams", "ListShards",
		"PutRecord", "PutRecords", "GetShardIterator", "GetRecords", "SplitShard", "MergeShards", "Nothing"} {
		for _, body := range []string{
			`{"StreamName":"fans","ShardCount":1}`,
			`{"StreamName":"fans","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1e300}`,
			`{"StreamName":"fans","ShardId":"shardId-000000000000","ShardIteratorType":"AFTER_SEQUENCE_NUMBER",
			"StartingSequenceNumber":"49590338271490256608559692538361571095921575989136588898"}`,
			`{"StreamName":"fans","PartitionKey":"k","Data":"AA==",
			"ExplicitHashKey":"340282366920938463463374607431768211456"}`,
			`{"StreamName":"fans","Records":[{"PartitionKey":"k","Data":""},{}],"Limit":0,"MaxResults":-1,"NextToken":"e30"}`,
			`{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/fans","ShardToSplit":"shardId-000000000000",
			"NewStartingHashKey":"7","ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000000"}`,
			`{"ShardIterator":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		} {
			f.Add(op, []byte(body))
		}
	}
	s, err := kinesis.New(kinesis.Config{Dir: f.TempDir(), MaxShards: 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header = http.Header{"X-Amz-Target": {"Kinesis_20131202." + op}, "Content-Type": {"application/x-amz-json-1.1"},
			"Authorization": {"x"}}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		b, err := io.ReadAll(w.Body)
		if err != nil || (w.Code != 200 && w.Code != 400 && w.Code != 501) ||
			(w.Code != 200 && !bytes.Contains(b, []byte(`"__type"`))) {
			t.Errorf("%s %q: %d %s %v", op, body, w.Code, b, err)
		}
	})
}
