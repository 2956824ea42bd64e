package child

import (
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// wardenMain guards a family until its process is dead, then ends what is left
// of the trees and removes their cgroups. It never returns.
//
// It takes no notice of INT, TERM and HUP, which tools send to every process of
// a name: it ends when the process it guards does.
func wardenMain() {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGPIPE)
	unix.CloseRange(4, ^uint(0), 0)
	debug.SetGCPercent(-1) // it allocates only while it sweeps
	mark, v2dir, v1dir := os.Args[1], os.Args[2], os.Args[3]
	var buf [16]byte
	for {
		if n, err := unix.Read(3, buf[:]); n == 0 || err != nil && err != unix.EINTR {
			break
		}
	}
	sweep(mark, v2dir, v1dir, 30*time.Second)
	os.Exit(0)
}

// sweep ends everything that carries the family's mark or sits in its cgroups.
// A process may fork while it is looked for, so it goes on until two looks in
// a row find nothing, or, for what SIGKILL can't end, until the bound.
func sweep(mark, v2dir, v1dir string, bound time.Duration) {
	pause := time.Millisecond
	clean := 0
	for end := time.Now().Add(bound); clean < 2 && time.Now().Before(end); {
		found := false
		for _, dir := range []string{v2dir, v1dir} {
			if dir != "" && emptyCgroup(dir) != nil {
				if _, err := os.Stat(dir); err == nil {
					found = true
				}
			}
		}
		for _, st := range scanTree(mark, 0) {
			signalExact(st, unix.SIGKILL)
			found = true
		}
		if found {
			clean = 0
		} else {
			clean++
		}
		time.Sleep(pause) // the kernel has no event for "a process with this mark"
		pause = min(2*pause, 50*time.Millisecond)
	}
}
