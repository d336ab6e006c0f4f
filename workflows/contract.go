// Package workflows is the control plane: what exists, who was told, who acknowledged, what runs next.
// This file holds every name that other programs and running histories rely on; none of them may change
// while a workflow that uses it is open.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
)

// Task queues. Each worker serves those that it is told to.
const (
	QueueControl = "fanwatch-control" // workflows, provisioning, notifications
	QueueScore   = "fanwatch-score"   // ScoreShard: one long activity per shard
	QueueLake    = "fanwatch-lake"    // commits and compaction
)

// Signals, updates and queries.
const (
	SignalObserve   = "observe"    // to Fan and Alert: fanwatch.Observation
	SignalAlertOver = "alert-over" // Alert to Fan: fanwatch.Alert
	SignalResolve   = "resolve"    // Fan to Alert: fanwatch.Observation; end at once
	// to Fan and Alert: continue as new, so that a run of an earlier program goes on as this one's
	SignalRenew       = "renew"
	SignalShards      = "shards"      // to Stream: start every shard that can be scored and does not run
	SignalCommit      = "commit"      // to Committer: CommitterInput, or nothing
	SignalAcknowledge = "acknowledge" // people to Alert: fanwatch.Acknowledgement, a JSON text with a name, or nothing
	UpdateAcknowledge = "acknowledge" // the same, answering the fanwatch.Alert
	UpdateProvision   = "provision"   // to Fan: ProvisionRequest, answering ProvisionAnswer
	UpdateConfigure   = "configure"   // to Fan: fanwatch.Device, answering the Device as it took effect
	UpdateChange      = "change"      // to Fan: fanwatch.DeviceChange, answering the Device as it took effect
	UpdateRevoke      = "revoke"      // to Fan: RevokeRequest, answering RevokeAnswer
	UpdateRetire      = "retire"      // to Fan, answering RetireAnswer
	QueryStatus       = "status"      // Fan: fanwatch.FanStatus; Alert: fanwatch.Alert
)

// Memo fields, which lists show without asking a worker.
const (
	MemoFan       = "fan"       // fanwatch.FanStatus
	MemoAlert     = "alert"     // fanwatch.Alert
	MemoShards    = "shards"    // Stream: []string, the IDs of the shards that can be scored
	MemoTrouble   = "trouble"   // Stream: string, why its shards cannot be listed or started now; "" while they can
	MemoShard     = "shard"     // activities.Shard, of a Shard
	MemoCommitter = "committer" // CommitterState
)

// TypeEnded is the type of the error by which an Alert refuses to be acknowledged after its end.
const TypeEnded = "Ended"

// Search attributes (Keyword). A namespace needs them before the first workflow starts; the local system
// registers them, and ARCHITECTURE.md has the command for other clusters.
var (
	SearchFan   = temporal.NewSearchAttributeKeyKeyword("FanwatchFan")
	SearchState = temporal.NewSearchAttributeKeyKeyword("FanwatchState")
)

// searchNormal is SearchState of a fan without trouble. Replay compares it with what histories recorded, so it stays.
const searchNormal = "well"

// FanID is the workflow ID of a fan.
func FanID(fan string) string { return "fan/" + fan }

// AlertID is the workflow ID of an alert; opened is the time of the reading that opened it.
func AlertID(fan string, kind fanwatch.Kind, opened time.Time) string {
	return fmt.Sprintf("alert/%s/%s/%s", fan, kind, opened.UTC().Format("20060102T150405.000000Z"))
}

// StreamID and ShardID are the workflow IDs of a stream and a shard.
func StreamID(stream string) string       { return "stream/" + stream }
func ShardID(stream, shard string) string { return "shard/" + stream + "/" + shard }

// WatchID is the workflow ID of the one that watches the parts of fanwatch.
const WatchID = "watch"

// CommitterID is the workflow ID of the one that changes the lake's tables.
const CommitterID = "lake/committer"

// Schedule IDs.
const (
	ScheduleCompact  = "lake-compact"  // the tables' small files become few
	ScheduleMaintain = "lake-maintain" // what the lake no longer needs goes
	ScheduleIngest   = "lake-ingest"   // what a delivery stream has written is landed; only where there is one
	ScheduleCount    = "lake-count"    // acknowledgements, landing log and table are held against each other
	ScheduleCanary   = "canary"        // the page of a simulated fan must come back
)

// ProvisionRequest asks a fan's workflow for a certificate. With Change, a fan that exists keeps what it does not
// name, and of Device only the fan's name counts; without it the fan gets Device as a whole.
type ProvisionRequest struct {
	Device fanwatch.Device        `json:"device"`
	CSR    string                 `json:"csr"` // PEM; the key stays on the device
	Change *fanwatch.DeviceChange `json:"change,omitempty"`
}

// RevokeRequest names a certificate by its ARN or ID; empty means all of the fan.
type RevokeRequest struct {
	Certificate string `json:"certificate,omitempty"`
}

// RevokeAnswer has the ARNs of the certificates that are inactive now.
type RevokeAnswer struct {
	Certificates []string `json:"certificates"`
}

// RetireAnswer says what ended with the fan. Its readings are refused in any case.
type RetireAnswer struct {
	Alert        string   `json:"alert,omitempty"`        // the alert that was open
	Certificates []string `json:"certificates,omitempty"` // ARNs of those that are inactive now
	// why certificates may be active still; it is tried until they are not
	Pending string `json:"pending,omitempty"`
}

// ProvisionAnswer holds the signed certificate.
type ProvisionAnswer struct {
	Certificate string `json:"certificate"` // PEM
}
