#include "textflag.h"

// func current() unsafe.Pointer
TEXT ·current(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

// func number() uint64
TEXT ·number(SB), NOSPLIT, $0-8
	MOVQ ·offset(SB), CX
	XORQ AX, AX
	CMPQ CX, $1
	JLS  none
	MOVQ (TLS), AX
	MOVQ (AX)(CX*1), AX
none:
	MOVQ AX, ret+0(FP)
	RET

// func lockedWord() uintptr
TEXT ·lockedWord(SB), NOSPLIT, $0-8
	MOVQ ·lockedAt(SB), CX
	MOVQ $1, AX
	CMPQ CX, $1
	JLS  unknown
	MOVQ (TLS), AX
	MOVQ (AX)(CX*1), AX
unknown:
	MOVQ AX, ret+0(FP)
	RET
