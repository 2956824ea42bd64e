//go:build unix

package history

import (
	"os"
	"syscall"
)

// errHeld is lock's error when somebody else holds the lock.
const errHeld = syscall.EWOULDBLOCK

// lock takes the file's lock, which the kernel releases when the file is closed or
// its process dies. It is the one that bbolt takes.
func lock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
}

// unlock gives it back. To close the file is not enough while a mapping of it is left.
func unlock(f *os.File) { syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
