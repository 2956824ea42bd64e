//go:build !linux

package history

import "time"

// uptime is not known on this platform, which runs no jobs.
func uptime() (time.Duration, bool) { return 0, false }
