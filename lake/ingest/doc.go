// Package ingest brings objects that other programs wrote into a landing log, and so into the lake's tables: what a
// delivery stream (Amazon Data Firehose) stored of readings in the 2019 demo's format, newline-delimited, joined or
// comma-separated JSON, plain or gzip.
//
// An [Ingestion] names a folder of such objects. [Ingestion.CheckPrefix] tells whether it may be ingested, and
// [Ingestion.Run] lands what is new in it and gives a [Result]. [Ingestion.Log] is where: a log of its own, of which a
// committer of the tables takes the rows as of any shard's.
//
// What it promises: an object is landed once, however often and from however many places Run is called, and whatever
// is killed, for the log says how far each object was taken. An object that cannot be read stops no other; it is
// passed over and named in [Result.Passed] until it is landed, removed or given up. What is no reading is quarantined
// with the reason. Hostile bytes are refused within bounded memory.
//
// The package imports the landing log and the object store, neither Iceberg nor AWS nor Temporal. An Ingestion is for
// one goroutine at a time.
package ingest
