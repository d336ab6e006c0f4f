package rcf

// enclose is encloseInGo. Go's min and max take care of NaN and of negative zero, which coordinates never are;
// vectors need not.
func enclose(box []side, point []float32) {
	if !hasAVX || len(point) == 1 {
		encloseInGo(box, point)
		return
	}
	encloseByVector(&box[0], &point[0], min(len(box), len(point)))
}

// encloseBox is encloseBoxInGo.
func encloseBox(box, other []side) {
	if !hasAVX || len(box) == 1 {
		encloseBoxInGo(box, other)
		return
	}
	encloseBoxByVector(&box[0], &other[0], min(len(box), len(other)))
}

// pairBox is pairBoxInGo.
func pairBox(box []side, a, b []float32) {
	if !hasAVX || len(box) == 1 {
		pairBoxInGo(box, a, b)
		return
	}
	pairBoxByVector(&box[0], &a[0], &b[0], min(len(box), len(a), len(b)))
}

// replaceBox is replaceBoxInGo.
func replaceBox(box, by []side) (changed bool) {
	if !hasAVX || len(box) == 1 {
		return replaceBoxInGo(box, by)
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
