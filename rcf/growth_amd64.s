#include "textflag.h"

// Masks for the last one to three coordinates: from 24-8*n on, four numbers of 64 bits of which the first n are all bits.
DATA firstOf<>+0(SB)/8, $-1
DATA firstOf<>+8(SB)/8, $-1
DATA firstOf<>+16(SB)/8, $-1
DATA firstOf<>+24(SB)/8, $0
DATA firstOf<>+32(SB)/8, $0
DATA firstOf<>+40(SB)/8, $0
GLOBL firstOf<>(SB), RODATA|NOPTR, $48

// func growthOfVector(box *side, point *float64, n int) (span, distance float64)
//
// AX and BX go through box and point, CX is how many coordinates are left. Y8 is the sum of lengths, Y9 that of distances,
// Y15 is zero.
TEXT ·growthOfVector(SB), NOSPLIT, $0-40
	MOVQ box+0(FP), AX
	MOVQ point+8(FP), BX
	MOVQ n+16(FP), CX
	VXORPD Y8, Y8, Y8
	VXORPD Y9, Y9, Y9
	VXORPD Y15, Y15, Y15
	SUBQ $4, CX
	JLT rest

four:
	VMOVUPS (AX), X0
	VMOVUPS 16(AX), X1
	VMOVUPD (BX), Y2
	VSHUFPS $0x88, X1, X0, X3 // the low ends
	VSHUFPS $0xdd, X1, X0, X4 // the high ends
	VCVTPS2PD X3, Y3
	VCVTPS2PD X4, Y4
	VSUBPD Y3, Y4, Y5 // high - low
	VSUBPD Y2, Y3, Y6 // low - x
	VSUBPD Y4, Y2, Y7 // x - high
	VMAXPD Y6, Y7, Y7
	VMAXPD Y15, Y7, Y7
	VADDPD Y5, Y8, Y8
	VADDPD Y7, Y9, Y9
	ADDQ $32, AX
	ADDQ $32, BX
	SUBQ $4, CX
	JGE four

rest:
	ADDQ $4, CX
	JEQ sum
	LEAQ firstOf<>+24(SB), DX
	SHLQ $3, CX
	SUBQ CX, DX
	VMOVUPD (DX), Y10
	VMASKMOVPD (AX), Y10, Y0 // a side is as wide as a float64
	VEXTRACTF128 $1, Y0, X1
	VMASKMOVPD (BX), Y10, Y2
	VSHUFPS $0x88, X1, X0, X3
	VSHUFPS $0xdd, X1, X0, X4
	VCVTPS2PD X3, Y3
	VCVTPS2PD X4, Y4
	VSUBPD Y3, Y4, Y5
	VSUBPD Y2, Y3, Y6
	VSUBPD Y4, Y2, Y7
	VMAXPD Y6, Y7, Y7
	VMAXPD Y15, Y7, Y7
	VADDPD Y5, Y8, Y8
	VADDPD Y7, Y9, Y9

sum:
	VEXTRACTF128 $1, Y8, X0
	VEXTRACTF128 $1, Y9, X1
	VADDPD X0, X8, X0
	VADDPD X1, X9, X1
	VHADDPD X1, X0, X0 // of either, the even sum and the odd one
	VMOVUPD X0, span+24(FP)
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
