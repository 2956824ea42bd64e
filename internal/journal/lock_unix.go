//go:build unix

package journal

import (
	"os"
	"syscall"
)

// lock takes the file's lock, which the kernel releases when the file is closed
// or its process dies.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
