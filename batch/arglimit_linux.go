package batch

import "syscall"

// oneArgument is how many bytes one argument can have, with the NUL that ends it:
// MAX_ARG_STRLEN, 32 pages.
const oneArgument = 131072

// allArguments is how many bytes the arguments and the environment of a program can have
// together: a quarter of the stack, and three quarters of 8 MB at most.
func allArguments() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_STACK, &l); err != nil {
		return oneArgument
	}
	return int(max(min(l.Cur/4, 6<<20), oneArgument))
}
