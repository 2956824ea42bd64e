#include "textflag.h"

// func current() unsafe.Pointer
TEXT ·current(SB), NOSPLIT, $0-8
	MOVD g, R0
	MOVD R0, ret+0(FP)
	RET

// func number() uint64
TEXT ·number(SB), NOSPLIT, $0-8
	MOVD ·offset(SB), R1
	MOVD $0, R0
	CMP  $1, R1
	BLS  none
	ADD  R1, g, R2
	MOVD (R2), R0
none:
	MOVD R0, ret+0(FP)
	RET

// func lockedWord() uintptr
TEXT ·lockedWord(SB), NOSPLIT, $0-8
	MOVD ·lockedAt(SB), R1
	MOVD $1, R0
	CMP  $1, R1
	BLS  unknown
	ADD  R1, g, R2
	MOVD (R2), R0
unknown:
	MOVD R0, ret+0(FP)
	RET
