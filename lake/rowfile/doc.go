// Package rowfile writes, reads and merges the Parquet files of the table of readings, column by column.
//
// A commit makes files with [NewWriter], [Writer.Add] and [Writer.Finish]; [RowOf] converts a reading to a [Row], and
// the [File] that the Writer embeds has the statistics for the table. A compaction adds the files of a day to a
// [Merger] with [Merger.Add] and calls [Merger.Merge], which stores one file with each (fan, run, seq) once, reads it
// back and compares. A query reads the end of a file with [OpenIndex], through an [IndexCache], and one fan's pages
// into a [FanDay]. [EachRow] reads a whole file, [Index.EachIdentity] fan, run and seq of all rows, [DecodeColumns] any
// columns of any Parquet file through parquet-go.
//
// Files are Parquet that every reader can read, sorted by fan and time, with dictionaries, page index and bounds. Files
// of all earlier versions are read, and files that another program wrote into the table (foreign.go). A merge holds two
// columns at a time, 20 bytes a row and up to 128 MB of the files, and the same rows make the same bytes. Damaged files
// are errors, never panics, and take no more memory than they have bytes for. Tests compare every part with parquet-go.
//
// The package imports neither Iceberg nor AWS nor Temporal. A Writer, Merger or FanDay is for one goroutine; an Index
// does not change and may be shared.
package rowfile
