//go:build !amd64

package rcf

// enclose is encloseInGo.
func enclose(box []side, point []float32) { encloseInGo(box, point) }

// encloseBox is encloseBoxInGo.
func encloseBox(box, other []side) { encloseBoxInGo(box, other) }

// pairBox is pairBoxInGo.
func pairBox(box []side, a, b []float32) { pairBoxInGo(box, a, b) }

// replaceBox is replaceBoxInGo.
func replaceBox(box, by []side) (changed bool) { return replaceBoxInGo(box, by) }
