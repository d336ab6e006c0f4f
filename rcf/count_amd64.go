package rcf

// count is countGeneric.
func count(rows []uint16, row uint16) int {
	if len(rows) == 0 {
		return 0
	}
	return countBySSE(&rows[0], len(rows), row)
}

// countBySSE is countGeneric for n rows by SSE2, which every amd64 has.
//
//go:noescape
func countBySSE(rows *uint16, n int, row uint16) int
