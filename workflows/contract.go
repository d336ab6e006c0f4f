// Package workflows holds the workflows of fanwatch: fans, alerts, streams and shards, the committer and the schedules
// of the lake, watch and canary.
//
// File contract.go holds every name that other programs and running histories rely on; none of them may change while a
// workflow that uses it is open.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
)

// The task queues.
const (
	// QueueControl is the queue of workflows, provisioning, notifications, watch and canary.
	QueueControl = "fanwatch-control"
	// QueueIncident is the queue of incidents and their alerts, which must not wait behind those of a thousand fans.
	QueueIncident = "fanwatch-incident"
	// QueueScore is the queue of ScoreShard, one long activity per shard.
	QueueScore = "fanwatch-score"
	// QueueLake is the queue of the activities on the lake.
	QueueLake = "fanwatch-lake"
)

// The signals, updates and queries.
const (
	// SignalObserve carries a fanwatch.Observation to Fan and Alert.
	SignalObserve = "observe"
	// SignalAlertOver carries a fanwatch.Alert that is over from Alert to Fan, and that of an incident to Incident.
	SignalAlertOver = "alert-over"
	// SignalResolve carries a fanwatch.Observation from Fan to Alert, which ends at once.
	SignalResolve = "resolve"
	// SignalLabel carries a fanwatch.Label from Alert to Fan.
	SignalLabel = "label"
	// SignalJoin carries an activities.Joining to Incident.
	SignalJoin = "join"
	// SignalRenew has a Fan or an Alert of an earlier program continue as new with this one's code.
	SignalRenew = "renew"
	// SignalPlan has an Alert read its plan again at once: a maintenance that it was under has ended.
	SignalPlan = "plan"
	// SignalShards has a Stream start every shard that can be scored and does not run.
	SignalShards = "shards"
	// SignalCommit has the Committer commit at once; it carries a CommitterInput, or nothing.
	SignalCommit = "commit"
	// SignalAcknowledge carries a fanwatch.Acknowledgement to Alert: an object, a JSON text with a name, or nothing.
	SignalAcknowledge = "acknowledge"
	// UpdateAcknowledge carries a fanwatch.Acknowledgement to Alert and returns the fanwatch.Alert.
	UpdateAcknowledge = "acknowledge"
	// SignalAnswer carries a fanwatch.Answer to Alert, an object.
	SignalAnswer = "answer"
	// UpdateAnswer carries a fanwatch.Answer to Alert and returns the fanwatch.Alert.
	UpdateAnswer = "answer"
	// SignalMemberOver carries a fanwatch.Member from Alert to the incident that notified in its place.
	SignalMemberOver = "member-over"
	// UpdateProvision carries a ProvisionRequest to Fan and returns a ProvisionAnswer.
	UpdateProvision = "provision"
	// UpdateConfigure carries a fanwatch.Device to Fan and returns the Device as it took effect.
	UpdateConfigure = "configure"
	// UpdateChange carries a fanwatch.DeviceChange to Fan and returns the Device as it took effect.
	UpdateChange = "change"
	// UpdateLabel carries a fanwatch.Label of an alert that is over to Fan and returns nothing.
	UpdateLabel = "label"
	// UpdateSuggestion carries a fanwatch.SuggestionAnswer to Fan and returns the fanwatch.Device as it holds then.
	UpdateSuggestion = "suggestion"
	// UpdateRevoke carries a RevokeRequest to Fan and returns a RevokeAnswer.
	UpdateRevoke = "revoke"
	// UpdateEnd carries a fanwatch.MaintenanceEnd to Maintenance and returns the fanwatch.MaintenanceStatus.
	UpdateEnd = "end"
	// UpdateRetire has a Fan retire and returns a RetireAnswer.
	UpdateRetire = "retire"
	// QueryStatus returns the fanwatch.FanStatus of a Fan, the fanwatch.Alert of an Alert, and the
	// fanwatch.MaintenanceStatus of a Maintenance.
	QueryStatus = "status"
)

// The memo fields, which lists read without a worker.
const (
	// MemoFan is the fanwatch.FanStatus of a Fan.
	MemoFan = "fan"
	// MemoAlert is the fanwatch.Alert of an Alert.
	MemoAlert = "alert"
	// MemoShards is the IDs of the shards of a Stream that can be scored, as []string.
	MemoShards = "shards"
	// MemoTrouble is why the shards of a Stream cannot be listed or started, as string; "" while they can.
	MemoTrouble = "trouble"
	// MemoShard is the activities.Shard of a Shard.
	MemoShard = "shard"
	// MemoMaintenance is the fanwatch.MaintenanceStatus of a Maintenance.
	MemoMaintenance = "maintenance"
	// MemoIncident is the activities.IncidentStatus of an Incident.
	MemoIncident = "incident"
	// MemoCommitter is the CommitterState of the Committer.
	MemoCommitter = "committer"
)

// TypeEnded is the type of the error by which an Alert refuses an acknowledgement after its end, and a Maintenance to
// be ended after its own.
const TypeEnded = "Ended"

// TypeUsed is the type of the error by which an Alert refuses an answer whose token it took before.
const TypeUsed = "Used"

// TypeNotSuggested is the type of the error by which a Fan refuses an answer to what it does not suggest.
const TypeNotSuggested = "NotSuggested"

// The search attributes, of type Keyword. A namespace needs SearchFan and SearchState before the first workflow starts;
// without the others nothing is written to them, see UseSearchAttributes. The local system registers them, and
// ARCHITECTURE.md has the command for other clusters.
var (
	// SearchFan is the name of the fan of a Fan or Alert.
	SearchFan = temporal.NewSearchAttributeKeyKeyword("FanwatchFan")
	// SearchState is the state of a Fan or Alert.
	SearchState = temporal.NewSearchAttributeKeyKeyword("FanwatchState")
	// SearchSite is the site of a Fan or Alert.
	SearchSite = temporal.NewSearchAttributeKeyKeyword("FanwatchSite")
	// SearchSeverity is the severity of an Alert.
	SearchSeverity = temporal.NewSearchAttributeKeyKeyword("FanwatchSeverity")
	// SearchKind is the kind of an Alert.
	SearchKind = temporal.NewSearchAttributeKeyKeyword("FanwatchKind")
)

// searchNormal is the SearchState of a fan without trouble. Recorded histories hold it, so it must not change.
const searchNormal = "well"

// FanID returns the workflow ID of a fan.
func FanID(fan string) string { return "fan/" + fan }

// AlertID returns the workflow ID of an alert; opened is the time of the reading that opened it.
func AlertID(fan string, kind fanwatch.Kind, opened time.Time) string {
	return fmt.Sprintf("alert/%s/%s/%s", fan, kind, opened.UTC().Format("20060102T150405.000000Z"))
}

// IncidentID returns the workflow ID of the incident of a group; key is fanwatch.Group.Key, and the Fan of its alerts.
func IncidentID(key string) string { return "incident/" + key }

// StreamID returns the workflow ID of a stream.
func StreamID(stream string) string { return "stream/" + stream }

// ShardID returns the workflow ID of a shard.
func ShardID(stream, shard string) string { return "shard/" + stream + "/" + shard }

// WatchID is the workflow ID of Watch.
const WatchID = "watch"

// DigestID is the workflow ID of Digest.
const DigestID = "digest"

// CommitterID is the workflow ID of the Committer.
const CommitterID = "lake/committer"

// The IDs of the schedules.
const (
	// ScheduleCompact is the schedule of Compact.
	ScheduleCompact = "lake-compact"
	// ScheduleMaintain is the schedule of Maintain.
	ScheduleMaintain = "lake-maintain"
	// ScheduleIngest is the schedule of Ingest; it exists only with a delivery stream.
	ScheduleIngest = "lake-ingest"
	// ScheduleCount is the schedule of Reconcile.
	ScheduleCount = "lake-count"
	// ScheduleCanary is the schedule of Canary.
	ScheduleCanary = "canary"
)

// ProvisionRequest asks a fan's workflow for a certificate. With Change, an existing fan's device is changed by it and
// of Device only the fan's name counts; without Change, Device replaces the fan's device.
type ProvisionRequest struct {
	Device fanwatch.Device        `json:"device"`
	CSR    string                 `json:"csr"` // PEM; the key stays on the device
	Change *fanwatch.DeviceChange `json:"change,omitempty"`
}

// RevokeRequest asks a fan's workflow to deactivate certificates.
type RevokeRequest struct {
	Certificate string `json:"certificate,omitempty"` // ARN or ID; "" = all of the fan
}

// RevokeAnswer is the answer to a [RevokeRequest].
type RevokeAnswer struct {
	Certificates []string `json:"certificates"` // ARNs of those that are inactive now
}

// RetireAnswer says what ended with the fan. Its readings are refused in any case.
type RetireAnswer struct {
	Alert        string   `json:"alert,omitempty"`        // the first of Alerts
	Alerts       []string `json:"alerts,omitempty"`       // IDs of the alerts that were open
	Certificates []string `json:"certificates,omitempty"` // ARNs of those that are inactive now
	// Pending is why certificates may still be active, which is retried without limit; "" = none is.
	Pending string `json:"pending,omitempty"`
}

// ProvisionAnswer is the answer to a [ProvisionRequest].
type ProvisionAnswer struct {
	Certificate string `json:"certificate"` // PEM
}
