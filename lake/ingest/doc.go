// Package ingest brings the objects of a delivery stream (Amazon Data Firehose) into a landing log, and so into the
// lake's tables: readings in the legacy format, as newline-delimited, joined or comma-separated JSON, plain or gzip.
//
// An [Ingestion] names a folder of such objects. [Ingestion.CheckPrefix] reports whether it may be ingested,
// [Ingestion.Run] lands its new objects and returns a [Result], and [Ingestion.Log] is the log that they land in, which
// the committer reads as it reads any shard's.
//
// An object is landed once, however often and from however many places Run is called, and whatever is killed: the log
// says how much of each object it has. An object that cannot be read stops no other; it is passed over and named in
// [Result.Passed] until it is landed, removed or given up. Text that is no reading is quarantined with the reason.
// Hostile bytes are refused within bounded memory.
//
// The package imports the landing log and the object store, neither Iceberg nor AWS nor Temporal. An Ingestion is for
// one goroutine at a time.
package ingest
