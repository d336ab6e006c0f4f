#include "textflag.h"

// Boxes have the low and high end of each coordinate side by side: of four numbers the odd ones are high ends.

// ENCLOSE extends the CX coordinates of the box at AX to what is at BX: FOUR loads what the next four should contain to
// Y2, as they lie in a box, and takes BX on; ONE does so for one coordinate and X2.
#define ENCLOSE(FOUR, ONE) \
	SUBQ $4, CX; \
	JLT rest; \
four: \
	FOUR; \
	VMOVUPS (AX), Y0; \
	VMINPS Y2, Y0, Y4; \
	VMAXPS Y2, Y0, Y5; \
	VBLENDPS $0xaa, Y5, Y4, Y4; \
	VMOVUPS Y4, (AX); \
	ADDQ $32, AX; \
	SUBQ $4, CX; \
	JGE four; \
rest: \
	ADDQ $4, CX; \
	JEQ end; \
one: \
	ONE; \
	VMOVSD (AX), X0; \
	VMINPS X2, X0, X4; \
	VMAXPS X2, X0, X5; \
	VBLENDPS $0xa, X5, X4, X4; \
	VMOVSD X4, (AX); \
	ADDQ $8, AX; \
	DECQ CX; \
	JNE one; \
end: \
	VZEROUPPER; \
	RET

// Each coordinate of a point is both its ends.
#define FOUR_OF_POINT \
	VMOVUPS (BX), X1; \
	VUNPCKLPS X1, X1, X2; \
	VUNPCKHPS X1, X1, X3; \
	VINSERTF128 $1, X3, Y2, Y2; \
	ADDQ $16, BX

#define ONE_OF_POINT \
	VBROADCASTSS (BX), X2; \
	ADDQ $4, BX

#define FOUR_OF_BOX \
	VMOVUPS (BX), Y2; \
	ADDQ $32, BX

#define ONE_OF_BOX \
	VMOVSD (BX), X2; \
	ADDQ $8, BX

// func encloseByVector(box *side, point *float32, n int)
TEXT ·encloseByVector(SB), NOSPLIT, $0-24
	MOVQ box+0(FP), AX
	MOVQ point+8(FP), BX
	MOVQ n+16(FP), CX
	ENCLOSE(FOUR_OF_POINT, ONE_OF_POINT)

// func encloseBoxByVector(box, other *side, n int)
TEXT ·encloseBoxByVector(SB), NOSPLIT, $0-24
	MOVQ box+0(FP), AX
	MOVQ other+8(FP), BX
	MOVQ n+16(FP), CX
	ENCLOSE(FOUR_OF_BOX, ONE_OF_BOX)

// func pairBoxByVector(box *side, a, b *float32, n int)
TEXT ·pairBoxByVector(SB), NOSPLIT, $0-32
	MOVQ box+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), DX
	MOVQ n+24(FP), CX
	SUBQ $4, CX
	JLT rest

four:
	VMOVUPS (BX), X1
	VMOVUPS (DX), X2
	VMINPS X2, X1, X3
	VMAXPS X2, X1, X4
	VUNPCKLPS X4, X3, X5
	VUNPCKHPS X4, X3, X6
	VMOVUPS X5, (AX)
	VMOVUPS X6, 16(AX)
	ADDQ $32, AX
	ADDQ $16, BX
	ADDQ $16, DX
	SUBQ $4, CX
	JGE four

rest:
	ADDQ $4, CX
	JEQ end

one:
	VMOVSS (BX), X1
	VMOVSS (DX), X2
	VMINPS X2, X1, X3
	VMAXPS X2, X1, X4
	VUNPCKLPS X4, X3, X5
	VMOVSD X5, (AX)
	ADDQ $8, AX
	ADDQ $4, BX
	ADDQ $4, DX
	DECQ CX
	JNE one

end:
	RET

// func replaceBoxByVector(box, by *side, n int) (changed bool)
TEXT ·replaceBoxByVector(SB), NOSPLIT, $0-25
	MOVQ box+0(FP), AX
	MOVQ by+8(FP), BX
	MOVQ n+16(FP), CX
	VXORPS Y2, Y2, Y2
	SUBQ $4, CX
	JLT rest

four:
	VMOVUPS (BX), Y0
	VXORPS (AX), Y0, Y1
	VORPS Y1, Y2, Y2
	VMOVUPS Y0, (AX)
	ADDQ $32, AX
	ADDQ $32, BX
	SUBQ $4, CX
	JGE four

rest:
	ADDQ $4, CX
	JEQ end

one:
	VMOVSD (BX), X0
	VMOVSD (AX), X1
	VXORPS X1, X0, X1
	VORPS Y1, Y2, Y2
	VMOVSD X0, (AX)
	ADDQ $8, AX
	ADDQ $8, BX
	DECQ CX
	JNE one

end:
	VPTEST Y2, Y2
	SETNE changed+24(FP)
	VZEROUPPER
	RET
