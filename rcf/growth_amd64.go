package rcf

// growthOf returns the span of a box, and by how much that would grow if the box enclosed point.
func growthOf(box []side, point []float64) growth {
	if !hasAVX {
		return growthOfGeneric(box, point)
	}
	span, distance := growthOfVector(&box[0], &point[0], min(len(box), len(point)))
	return growth{span, distance}
}

// growthOfVector is growthOfGeneric, bit for bit, by AVX.
//
//go:noescape
func growthOfVector(box *side, point *float64, n int) (span, distance float64)

// climbBoxed is climbBoxedGeneric.
func (t *tree) climbBoxed(in *surroundings, point, unseen []float64, below float64, from int) (value float64, top int) {
	if !hasAVX {
		return t.climbBoxedGeneric(in, point, unseen, below, from)
	}
	top, value = climbVector(&t.box[0], &point[0], len(point), int(t.boxed), &in.steps[0][in.lane&(lanes-1)], &unseen[0],
		&in.growth[0],
		from, below)
	return value, top
}

// climbVector is climbBoxedGeneric, bit for bit, by AVX. n is the number of coordinates, steps where the first step
// has the walk.
//
//go:noescape
func climbVector(boxes *side, point *float64, n, boxed int, steps *ref, unseen *float64, found *growth, from int,
	below float64) (top int, value float64)

// hasAVX reports whether processor and operating system have AVX (Intel's manual, volume 1, 14.3: detection of AVX).
var hasAVX = func() bool {
	const osxsave, avx = 1 << 27, 1 << 28
	const xmm, ymm = 1 << 1, 1 << 2
	return cpuid(1)&(osxsave|avx) == osxsave|avx && xgetbv()&(xmm|ymm) == xmm|ymm
}()

func cpuid(leaf uint32) (ecx uint32)
func xgetbv() (eax uint32)
