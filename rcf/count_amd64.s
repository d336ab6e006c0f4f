#include "textflag.h"

// func countBySSE(rows *uint16, n int, row uint16) int
TEXT ·countBySSE(SB), NOSPLIT, $0-32
	MOVQ rows+0(FP), AX
	MOVQ n+8(FP), CX
	MOVWLZX row+16(FP), DX
	MOVQ DX, X0
	PSHUFLW $0, X0, X0
	PSHUFD $0, X0, X0 // the row eight times
	PXOR X1, X1       // eight counts: at most 4,096 each, of 32,768 places
	XORQ BX, BX       // the count of the rest
	SUBQ $16, CX
	JLT rest

sixteen:
	MOVOU (AX), X2
	MOVOU 16(AX), X3
	PCMPEQW X0, X2
	PCMPEQW X0, X3
	PSUBW X2, X1 // -1 where they are equal
	PSUBW X3, X1
	ADDQ $32, AX
	SUBQ $16, CX
	JGE sixteen

rest:
	ADDQ $16, CX
	JEQ sum

one:
	XORQ DI, DI
	CMPW DX, (AX)
	SETEQ DI
	ADDQ DI, BX
	ADDQ $2, AX
	DECQ CX
	JNE one

sum:
	PCMPEQW X2, X2
	PXOR X3, X3
	PSUBW X2, X3   // ones
	PMADDWL X3, X1 // four sums of two
	PSHUFD $0x4e, X1, X2
	PADDL X2, X1
	PSHUFD $0xb1, X1, X2
	PADDL X2, X1
	MOVQ X1, AX
	MOVL AX, AX
	ADDQ BX, AX
	MOVQ AX, ret+24(FP)
	RET
