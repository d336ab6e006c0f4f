// Package landing is the landing log: the outcome of every record of the stream, in order, as objects of an object
// store. It is the scorer's checkpoint and the source of the lake's tables.
//
// [Log] names the log of one shard; [Logs] finds those of a stream. A scorer restores its models from
// [Log.RestoreSnapshot], replays the segments behind it with [Log.WalkOver], and then calls [Log.Append] for each
// window and [Log.PutSnapshot] from time to time. Readers follow with [Log.Walk]; one that wants the last minutes alone
// begins at [Log.Recent]. [Log.MarkEnded] notes that a closed shard was read to its end.
//
// Segments form a chain, each stored under the sequence number at which the one before it ends, and a place is taken
// once. Of two scorers that append to one place, one gets a [Conflict], which says whether to stop or to reload. An
// appended segment stays; [Log.Tombstone] removes its rows once they are in the tables and keeps its header. Segments
// and snapshots have a version, and those of all earlier versions are read. Damage is an error ([ErrDamaged],
// [Snapshot].Skipped), never a panic.
//
// The package imports neither Iceberg nor AWS nor Temporal. A Log holds no state and may be used concurrently.
package landing
