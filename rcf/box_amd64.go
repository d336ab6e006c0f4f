package rcf

// enclose is encloseGeneric. Go's min and max handle NaN and negative zero, which coordinates never are; the vectors do
// not.
func enclose(box []side, point []float32) {
	if !hasAVX || len(point) == 1 {
		encloseGeneric(box, point)
		return
	}
	encloseByVector(&box[0], &point[0], min(len(box), len(point)))
}

// encloseBox is encloseBoxGeneric.
func encloseBox(box, other []side) {
	if !hasAVX || len(box) == 1 {
		encloseBoxGeneric(box, other)
		return
	}
	encloseBoxByVector(&box[0], &other[0], min(len(box), len(other)))
}

// pairBox is pairBoxGeneric.
func pairBox(box []side, a, b []float32) {
	if !hasAVX || len(box) == 1 {
		pairBoxGeneric(box, a, b)
		return
	}
	pairBoxByVector(&box[0], &a[0], &b[0], min(len(box), len(a), len(b)))
}

// replaceBox is replaceBoxGeneric.
func replaceBox(box, by []side) (changed bool) {
	if !hasAVX || len(box) == 1 {
		return replaceBoxGeneric(box, by)
	}
	return replaceBoxByVector(&box[0], &by[0], min(len(box), len(by)))
}

//go:noescape
func encloseByVector(box *side, point *float32, n int)

//go:noescape
func encloseBoxByVector(box, other *side, n int)

//go:noescape
func pairBoxByVector(box *side, a, b *float32, n int)

//go:noescape
func replaceBoxByVector(box, by *side, n int) (changed bool)
