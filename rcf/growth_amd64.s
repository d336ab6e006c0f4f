#include "textflag.h"

// Masks for the last one to three coordinates: from 24-8*n on, four numbers of 64 bits of which the first n are all
// bits.
DATA firstOf<>+0(SB)/8, $-1
DATA firstOf<>+8(SB)/8, $-1
DATA firstOf<>+16(SB)/8, $-1
DATA firstOf<>+24(SB)/8, $0
DATA firstOf<>+32(SB)/8, $0
DATA firstOf<>+40(SB)/8, $0
GLOBL firstOf<>(SB), RODATA|NOPTR, $48

// GROWTH makes X0 the span of the box at AX and its distance to the point at BX. CX is the number of coordinates, which
// AX and BX go through. Y8 is the sum of lengths, Y9 that of distances; Y14 has a bit set if the point is outside,
// which is known before the sums are.
#define GROWTH \
	VXORPD Y8, Y8, Y8; \
	VXORPD Y9, Y9, Y9; \
	VXORPD Y14, Y14, Y14; \
	SUBQ $4, CX; \
	JLT rest; \
four: \
	VMOVUPS (AX), X0; \
	VMOVUPS 16(AX), X1; \
	VMOVUPD (BX), Y2; \
	ADD_SIDES; \
	ADDQ $32, AX; \
	ADDQ $32, BX; \
	SUBQ $4, CX; \
	JGE four; \
rest: \
	ADDQ $4, CX; \
	JEQ sum; \
	LEAQ firstOf<>+24(SB), DX; \
	SHLQ $3, CX; \
	SUBQ CX, DX; \
	VMOVUPD (DX), Y10; \
	VMASKMOVPD (AX), Y10, Y0; /* a side is as wide as a float64 */ \
	VEXTRACTF128 $1, Y0, X1; \
	VMASKMOVPD (BX), Y10, Y2; \
	ADD_SIDES; \
sum: \
	VEXTRACTF128 $1, Y8, X0; \
	VEXTRACTF128 $1, Y9, X1; \
	VADDPD X0, X8, X0; \
	VADDPD X1, X9, X1; \
	VHADDPD X1, X0, X0 // of either, the even sum and the odd one

// ADD_SIDES adds the sides in X0 and X1 for the coordinates in Y2.
#define ADD_SIDES \
	VSHUFPS $0x88, X1, X0, X3; /* the low ends */ \
	VSHUFPS $0xdd, X1, X0, X4; /* the high ends */ \
	VCVTPS2PD X3, Y3; \
	VCVTPS2PD X4, Y4; \
	VSUBPD Y3, Y4, Y5; /* high - low */ \
	VMAXPD Y3, Y2, Y6; \
	VMINPD Y4, Y2, Y7; \
	VSUBPD Y7, Y6, Y7; /* max(low, x) - min(high, x), 0 inside */ \
	VADDPD Y5, Y8, Y8; \
	VORPD Y7, Y14, Y14; \
	VADDPD Y7, Y9, Y9

// func growthOfVector(box *side, point *float64, n int) (span, distance float64)
TEXT ·growthOfVector(SB), NOSPLIT, $0-40
	MOVQ box+0(FP), AX
	MOVQ point+8(FP), BX
	MOVQ n+16(FP), CX
	GROWTH
	VMOVUPD X0, span+24(FP)
	VZEROUPPER
	RET

// func climbVector(boxes *side, point *float64, n, boxed int, steps *ref, unseen *float64, found *growth,
//     from int, below float64) (top int, value float64)
//
// R8 is the level, R9, R10 and R11 are where the walk, unseen and found have the level below it, X11 is the value.
TEXT ·climbVector(SB), NOSPLIT, $0-88
	MOVQ boxes+0(FP), SI
	MOVQ point+8(FP), DI
	MOVQ n+16(FP), R12
	MOVQ boxed+24(FP), R13
	MOVQ from+56(FP), R8
	MOVQ steps+32(FP), R9
	MOVQ unseen+40(FP), R10
	MOVQ found+48(FP), R11
	VMOVSD below+64(FP), X11
	MOVQ R8, AX
	SHLQ $4, AX
	LEAQ -16(R9)(AX*1), R9
	LEAQ -8(R10)(R8*8), R10
	LEAQ -16(R11)(AX*1), R11

level:
	TESTQ R8, R8
	JEQ end
	MOVWLZX (R9), AX
	CMPQ AX, R13
	JGE end
	IMULQ R12, AX
	LEAQ (SI)(AX*8), AX
	MOVQ DI, BX
	MOVQ R12, CX
	GROWTH
	VPTEST Y14, Y14
	JEQ end
	VPERMILPD $1, X0, X1 // the distance
	VMOVUPD X0, (R11)
	VADDSD X1, X0, X2
	VDIVSD X2, X1, X2
	VMOVSD (R10), X3
	VSUBSD X11, X3, X3
	VMULSD X2, X3, X3
	VADDSD X3, X11, X11
	SUBQ $16, R9
	SUBQ $8, R10
	SUBQ $16, R11
	DECQ R8
	JMP level

end:
	MOVQ R8, top+72(FP)
	VMOVSD X11, value+80(FP)
	VZEROUPPER
	RET

// func cpuid(leaf uint32) (ecx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-12
	MOVL leaf+0(FP), AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+8(FP)
	RET

// func xgetbv() (eax uint32)
TEXT ·xgetbv(SB), NOSPLIT, $0-4
	XORL CX, CX
	XGETBV
	MOVL AX, eax+0(FP)
	RET
