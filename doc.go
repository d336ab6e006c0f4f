// Package fanwatch holds the nouns that every other package speaks in: a Reading and where it stood on
// the stream (Position), the Device it came from, the Observation that a model makes of it, the Alert
// that follows and the Policy that decides who is told. It imports the standard library alone.
//
// Everything here that is written to disk, wire or workflow history carries a version: Batch.V,
// Device.V, Observation.V, Alert.V, Policy.V. A reader refuses a version that it does not know.
package fanwatch
