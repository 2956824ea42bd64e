package history

import (
	"syscall"
	"time"
)

// uptime is how long the machine has been up, by a call that is cheaper than to read
// it in /proc.
func uptime() (time.Duration, bool) {
	var info syscall.Sysinfo_t
	err := syscall.Sysinfo(&info)
	return time.Duration(info.Uptime) * time.Second, err == nil
}
