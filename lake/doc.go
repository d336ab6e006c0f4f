// Package lake is the Apache Iceberg tables that are fed from the landing logs (package landing): commits, compaction,
// retention, queries, and the account that shows that no acknowledged reading was lost or doubled.
//
// [OpenTables] opens them to write, [ReadTables] to read; both give [Tables]: the [Table] of readings and the tables
// of anomalies, refused records and alerts beside it. One committer calls [Tables.Commit] and [Tables.Apply].
// [Tables.PlanCompaction] and its like store files and leave a plan that Apply carries out once, or discards when the
// table has moved on, so that they may run anywhere at any time. [Table.Query] and [Table.Rows] answer what a fan did
// in any period. [Tables.Count] holds acknowledgements, logs and table against each other; [Tables.Verify] reads all
// that the tables say they have.
//
// A commit is one transaction of the catalog: rows and the place in each log up to which they go become visible
// together, so that a reading is in the table once, whatever is killed.
//
// The lake speaks to an object store (package objstore) and to an Iceberg catalog that the caller opens, and links
// neither the AWS SDK nor Temporal: package cloud brings S3, Glue and REST.
package lake
