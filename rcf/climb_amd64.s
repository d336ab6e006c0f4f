#include "textflag.h"
#include "go_asm.h"

// Where four walks on a line have their leaves is in CX, DX, SI and DI, their trees' boxes in R8 to R11, the point in
// all of Y13; Y15 is zero. Y8 has the values, Y9 to Y12 what unseen has for the first to fourth level above the leaves.

// UNSEEN makes y what unseen, at AX, has for the j-th level above the leaves, while CX to DI are depths.
#define UNSEEN(j, x, y) \
	VMOVSD (-8*j)(AX)(CX*8), x; \
	VMOVHPD (-8*j)(AX)(DX*8), x, x; \
	VMOVSD (-8*j)(AX)(SI*8), X0; \
	VMOVHPD (-8*j)(AX)(DI*8), X0, X0; \
	VINSERTF128 $1, X0, y, y

// SIDES makes Y2 the lengths of the sides at the j-th level above the leaves and Y3 by how much the point is outside,
// or less than 0 where it is inside.
#define SIDES(j) \
	MOVWLZX (0-16*j)(CX), AX; \
	MOVWLZX (2-16*j)(DX), BX; \
	VMOVSD (R8)(AX*8), X0; \
	VMOVHPD (R9)(BX*8), X0, X0; \
	MOVWLZX (4-16*j)(SI), AX; \
	MOVWLZX (6-16*j)(DI), BX; \
	VMOVSD (R10)(AX*8), X1; \
	VMOVHPD (R11)(BX*8), X1, X1; \
	VSHUFPS $0x88, X1, X0, X2; /* the low ends */ \
	VSHUFPS $0xdd, X1, X0, X3; /* the high ends */ \
	VCVTPS2PD X2, Y4; \
	VCVTPS2PD X3, Y3; \
	VSUBPD Y4, Y3, Y2; /* high - low */ \
	VSUBPD Y13, Y4, Y4; /* low - x */ \
	VSUBPD Y3, Y13, Y3; /* x - high */ \
	VMAXPD Y3, Y4, Y3

// MIX takes the values on to a level of which SIDES has told.
#define MIX(unseen) \
	VMAXPD Y15, Y3, Y3; \
	VADDPD Y3, Y2, Y2; \
	VDIVPD Y2, Y3, Y2; \
	VSUBPD Y8, unseen, Y4; \
	VMULPD Y2, Y4, Y4; \
	VADDPD Y4, Y8, Y8

// func climbFourVector(trees *[4]*tree, steps *ref, depth *[4]uint16, unseen *float64, x float64,
//     values *[4]float64) (undecided uint32)
TEXT ·climbFourVector(SB), NOSPLIT, $0-52
	MOVQ depth+16(FP), AX
	MOVWLZX 0(AX), CX
	MOVWLZX 2(AX), DX
	MOVWLZX 4(AX), SI
	MOVWLZX 6(AX), DI
	CMPQ CX, $4
	JLT low
	CMPQ DX, $4
	JLT low
	CMPQ SI, $4
	JLT low
	CMPQ DI, $4
	JLT low
	MOVQ unseen+24(FP), AX
	UNSEEN(0, X8, Y8)
	UNSEEN(1, X9, Y9)
	UNSEEN(2, X10, Y10)
	UNSEEN(3, X11, Y11)
	UNSEEN(4, X12, Y12)
	MOVQ steps+8(FP), AX
	SHLQ $4, CX
	SHLQ $4, DX
	SHLQ $4, SI
	SHLQ $4, DI
	ADDQ AX, CX
	ADDQ AX, DX
	ADDQ AX, SI
	ADDQ AX, DI
	MOVQ trees+0(FP), AX
	MOVQ 0(AX), R8
	MOVQ 8(AX), R9
	MOVQ 16(AX), R10
	MOVQ 24(AX), R11
	MOVQ tree_box(R8), R8
	MOVQ tree_box(R9), R9
	MOVQ tree_box(R10), R10
	MOVQ tree_box(R11), R11
	VBROADCASTSD x+32(FP), Y13
	VXORPD Y15, Y15, Y15
	SIDES(1)
	VCMPPD $0, Y15, Y3, Y6 // equal: the point is at an end
	MIX(Y9)
	SIDES(2)
	MIX(Y10)
	SIDES(3)
	MIX(Y11)
	SIDES(4)
	VCMPPD $14, Y15, Y3, Y7 // greater: the climb goes on
	VORPD Y6, Y7, Y7
	MIX(Y12)
	MOVQ values+40(FP), AX
	VMOVUPD Y8, (AX)
	VMOVMSKPD Y7, AX
	MOVL AX, undecided+48(FP)
	VZEROUPPER
	RET

low:
	MOVL $15, undecided+48(FP)
	RET
