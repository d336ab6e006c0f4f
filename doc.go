// Package fanwatch holds the types that all other packages share: a [Reading] and its [Position] on the stream, the
// [Device] it came from, the [Observation] that a model makes of it, the [Alert] that follows and the [Policy] by
// which the alert escalates. It imports the standard library alone.
//
// What is written to disk, wire or workflow history carries a version: Batch.V, Device.V, Observation.V, Alert.V,
// Policy.V. A reader refuses a version that it does not know.
package fanwatch
