// Package rowfile is the Parquet files of the table of readings: it writes, reads and merges them itself, column by
// column.
//
// A commit makes files with [NewWriter], [Writer.Add] and [Writer.Finish]; [RowOf] makes a [Row] of a reading, and the
// [File] that the Writer embeds says what a table wants to know. A compaction gives a [Merger] the files of a day by
// [Merger.Add] and calls [Merger.Merge], which stores one file with each (fan, run, seq) once, reads it back and
// compares. A query opens the end of a file with [OpenIndex], through an [IndexCache], and reads one fan's pages into
// a [FanDay]. [EachRow] reads a whole file, [Index.EachIdentity] the columns that tell rows apart, [DecodeColumns] any
// columns of any Parquet file through the library.
//
// What it promises: files are Parquet that every reader knows, sorted by fan and time, with dictionaries, page index
// and bounds. Files of all earlier versions are read, and files that another program wrote into the table
// (foreign.go). A merge holds two columns at a time, 20 bytes a row and up to 128 MB of the files, and gives the same
// bytes from the same rows. Damaged files are errors, never panics, and take no more memory than they have bytes for.
// Tests hold every part against parquet-go.
//
// The package imports neither Iceberg nor AWS nor Temporal. A Writer, Merger or FanDay is for one goroutine; an Index
// does not change and may be shared.
package rowfile
