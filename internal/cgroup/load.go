package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Load is how many processes and threads of the machine run or want to run at this moment, or
// wait for a disk: what the system's load average is the mean of. The one that asks is not
// counted. Any goroutine may call it; it reads one file. Where there is no such file the error
// is errors.ErrUnsupported.
func Load() (int, error) {
	if runtime.GOOS != "linux" {
		return 0, errPlatform
	}
	return load("/")
}

func load(root string) (int, error) {
	text := read(filepath.Join(root, "proc"), "stat")
	runs, ok := field(text, "procs_running")
	waits, ok2 := field(text, "procs_blocked")
	if !ok || !ok2 {
		return 0, fmt.Errorf("cgroup: /proc/stat says nothing of the processes that run")
	}
	return int(max(runs-1, 0) + waits), nil
}

// Swapped is how many pages the machine has read from its swap space and written to it since
// it was started. The errors are those of Load.
func Swapped() (in, out int64, err error) {
	if runtime.GOOS != "linux" {
		return 0, 0, errPlatform
	}
	return swapped("/")
}

func swapped(root string) (in, out int64, err error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/vmstat"))
	if err != nil {
		return 0, 0, fmt.Errorf("cgroup: what the machine swaps: %w", err)
	}
	in, _ = field(string(b), "pswpin") // no such line: a kernel without swap
	out, _ = field(string(b), "pswpout")
	return in, out, nil
}

// DiskTimes is how long each disk of the machine has been at work since it was started, by its
// name. The errors are those of Load.
func DiskTimes() (map[string]time.Duration, error) {
	if runtime.GOOS != "linux" {
		return nil, errPlatform
	}
	return diskTimes("/")
}

func diskTimes(root string) (map[string]time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/diskstats"))
	if err != nil {
		return nil, fmt.Errorf("cgroup: what the machine's disks do: %w", err)
	}
	disks := make(map[string]time.Duration)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 13 {
			continue
		}
		if ms, err := strconv.ParseInt(f[12], 10, 64); err == nil {
			disks[f[2]] = time.Duration(ms) * time.Millisecond
		}
	}
	return disks, nil
}
