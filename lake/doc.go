// Package lake keeps what the scorers say: the landing log that is every shard's checkpoint (Log), the
// snapshots of the models beside it (Log.PutSnapshot), the Apache Iceberg table that is fed from the log
// (Table), whose files it merges (Table.Compact) and of which it answers what a fan did in any period
// (Table.Query, Table.Rows), and the account that shows that no acknowledged reading was lost or doubled
// (Reconcile).
//
// It speaks to an object store (package objstore) and to an Iceberg catalog that the caller opens, and links
// neither the AWS SDK nor Temporal: package cloud brings S3, Glue and REST.
package lake
