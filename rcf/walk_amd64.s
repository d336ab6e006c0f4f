#include "textflag.h"
#include "go_asm.h"

// Walks in eight trees are in R8 to R15, as refs. Where they look for their trees is on the stack.

#define SLOTS 0    // the trees' slots
#define QUERIES 64 // their queries; on a line the only coordinate of each
#define DIMS 128   // their cut dimensions
#define ENDS 192   // behind the last step that there is room for
#define RESTS 200  // how many steps the first four walks have stood at their leaves, 16 bits each, then the last four

// FIND looks up what the walk in lane i needs of its tree, and puts it at its root.
#define FIND(i, at) \
	MOVQ (8*i)(AX), CX; \
	MOVQ tree_slots(CX), DX; \
	MOVQ DX, (SLOTS+8*i)(SP); \
	MOVQ tree_cutDim(CX), DX; \
	MOVQ DX, (DIMS+8*i)(SP); \
	MOVQ (24*i)(BX), DX; \
	MOVQ DX, (QUERIES+8*i)(SP); \
	MOVWLZX tree_root(CX), at

#define BEGIN \
	MOVQ trees+0(FP), AX; \
	MOVQ queries+8(FP), BX; \
	FIND(0, R8); \
	FIND(1, R9); \
	FIND(2, R10); \
	FIND(3, R11); \
	FIND(4, R12); \
	FIND(5, R13); \
	FIND(6, R14); \
	FIND(7, R15); \
	MOVQ path_base+16(FP), DI; \
	MOVQ path_len+24(FP), AX; \
	SHLQ $4, AX; \
	ADDQ DI, AX; \
	MOVQ AX, ENDS(SP); \
	MOVQ $0, RESTS(SP); \
	MOVQ $0, (RESTS+8)(SP); \
	MOVQ $0x8000800080008000, SI

// PACK puts four refs into one register.
#define PACK(a, b, c, d, to) \
	MOVQ d, to; \
	SHLQ $16, to; \
	ORQ c, to; \
	SHLQ $16, to; \
	ORQ b, to; \
	SHLQ $16, to; \
	ORQ a, to

// NOTE writes a step down and goes to arrived if all walks are at their leaves.
#define NOTE(arrived) \
	PACK(R8, R9, R10, R11, AX); \
	PACK(R12, R13, R14, R15, BX); \
	MOVQ AX, 0(DI); \
	MOVQ BX, 8(DI); \
	ANDQ SI, AX; \
	ANDQ SI, BX; \
	MOVQ AX, CX; \
	ANDQ BX, CX; \
	CMPQ CX, SI; \
	JEQ arrived; \
	SHRQ $15, AX; \
	SHRQ $15, BX; \
	ADDQ AX, RESTS(SP); \
	ADDQ BX, (RESTS+8)(SP)

// CHILD moves a walk on to the child of the node whose slot is in AX on whose side the coordinate x is, unless it is at
// a leaf.
#define CHILD(at, x) \
	MOVQ AX, CX; \
	SHRQ $32, CX; \
	MOVL CX, BX; \
	SHRL $16, BX; \
	CMPL AX, x; \
	CMOVLLT BX, CX; \
	MOVWLZX CX, CX; \
	TESTW at, at; \
	CMOVLPL CX, at

// ALONG is a step of the walk in lane i on a line.
#define ALONG(i, at) \
	MOVL at, BX; \
	ANDL $0x7fff, BX; \
	MOVQ (SLOTS+8*i)(SP), AX; \
	MOVQ (AX)(BX*8), AX; \
	CHILD(at, (QUERIES+8*i)(SP))

// THROUGH is a step of the walk in lane i in space.
#define THROUGH(i, at) \
	MOVL at, BX; \
	ANDL $0x7fff, BX; \
	MOVQ (DIMS+8*i)(SP), CX; \
	MOVWLZX (CX)(BX*2), CX; \
	MOVQ (QUERIES+8*i)(SP), DX; \
	MOVL (DX)(CX*4), DX; \
	MOVQ (SLOTS+8*i)(SP), AX; \
	MOVQ (AX)(BX*8), AX; \
	CHILD(at, DX)

// WALK is all steps, and the end: the number of steps less the rests are the depths.
#define WALK(STEP) \
next: \
	CMPQ DI, ENDS(SP); \
	JGE short; \
	NOTE(arrived); \
	STEP(0, R8); \
	STEP(1, R9); \
	STEP(2, R10); \
	STEP(3, R11); \
	STEP(4, R12); \
	STEP(5, R13); \
	STEP(6, R14); \
	STEP(7, R15); \
	ADDQ $16, DI; \
	JMP next; \
arrived: \
	SUBQ path_base+16(FP), DI; \
	SHRQ $4, DI; \
	MOVQ $0x0001000100010001, AX; \
	IMULQ DI, AX; \
	MOVQ AX, BX; \
	SUBQ RESTS(SP), AX; \
	SUBQ (RESTS+8)(SP), BX; \
	MOVQ depth+40(FP), CX; \
	MOVQ AX, 0(CX); \
	MOVQ BX, 8(CX); \
	MOVB $1, ret+48(FP); \
	RET; \
short: \
	MOVB $0, ret+48(FP); \
	RET

// COORDINATE replaces a query by its only coordinate.
#define COORDINATE(i) \
	MOVQ (QUERIES+8*i)(SP), AX; \
	MOVL (AX), AX; \
	MOVQ AX, (QUERIES+8*i)(SP)

// func walkOnLine(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool
TEXT ·walkOnLine(SB), NOSPLIT, $216-49
	BEGIN
	COORDINATE(0)
	COORDINATE(1)
	COORDINATE(2)
	COORDINATE(3)
	COORDINATE(4)
	COORDINATE(5)
	COORDINATE(6)
	COORDINATE(7)
	WALK(ALONG)

// func walkInSpace(trees *[lanes]*tree, queries *[lanes][]int32, path []step, depth *[lanes]uint16) bool
TEXT ·walkInSpace(SB), NOSPLIT, $216-49
	BEGIN
	WALK(THROUGH)
