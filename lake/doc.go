// Package lake has the Apache Iceberg tables that are fed from the landing logs (package landing): commits, compaction,
// retention, queries, and the count that shows that no acknowledged reading was lost or doubled.
//
// [OpenTables] opens them to write, [ReadTables] to read; both return [Tables]: the [Table] of readings and the tables
// of anomalies, refused records and alerts beside it. One committer calls [Tables.Commit] and [Tables.Apply].
// [Tables.PlanCompaction], [Tables.PlanExpiry] and [Tables.PlanDropPartitions] store a plan, which Apply carries out
// once, or discards where the table has changed; they may run anywhere at any time. [Table.Query] and [Table.Rows]
// return the readings of a fan in a period. [Tables.Count] compares acknowledgements, logs and table; [Tables.Verify]
// reads all data of the tables.
//
// A commit is one transaction of the catalog: rows and the offset of each log become visible together, so that a
// reading is in the table once, whatever is killed.
//
// The lake needs an object store (package objstore) and an Iceberg catalog that the caller opens. It links neither the
// AWS SDK nor Temporal; package cloud has S3, Glue and REST.
package lake
