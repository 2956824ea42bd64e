//go:build unix

package journal

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// errHeld is lock's error when somebody else holds the lock.
const errHeld = syscall.EWOULDBLOCK

// lock takes the file's lock, which the kernel releases when the file is closed
// or its process dies. A lock of the open file, not of the process: a library in
// this process that opens and closes the same file does not drop it.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// holder is the process that holds the file's lock, 0 if that can't be known:
// the kernel lists locks by inode, but the device that it prints is not always the
// one that stat knows (btrfs, overlayfs), so the process must also have the file open.
func holder(f *os.File) (pid int) {
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || !ok {
		return 0
	}
	inode := ":" + strconv.FormatUint(uint64(st.Ino), 10)
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK ADVISORY WRITE 708 00:13:1234 0 EOF
		v := strings.Fields(line)
		if len(v) < 8 || v[1] != "FLOCK" || !strings.HasSuffix(v[5], inode) {
			continue
		}
		fds, _ := filepath.Glob("/proc/" + v[4] + "/fd/*")
		for _, fd := range fds {
			if other, err := os.Stat(fd); err == nil && os.SameFile(fi, other) {
				pid, _ = strconv.Atoi(v[4])
				return pid
			}
		}
	}
	return 0
}
