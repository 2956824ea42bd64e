//go:build unix

package tcp

import "syscall"

// descriptorLimit is how many descriptors this process may have; 0: nobody knows.
func descriptorLimit() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int(min(uint64(r.Cur), 1<<30))
}

// descriptorOf is the number of the descriptor of a connection or listener, -1 if it has none.
func descriptorOf(of any) int {
	number := -1
	if c, ok := of.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { number = int(fd) })
		}
	}
	return number
}
