// Package duckdb has an independent reader look at the lake's files, and an independent engine do what a
// compaction does, side by side with it. DuckDB needs cgo, so this is a module of its own: the rest of fanwatch
// must not pay for it.
package duckdb
