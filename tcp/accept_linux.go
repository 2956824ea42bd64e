package tcp

import "syscall"

var errAgainHere = []error{syscall.ENONET}
