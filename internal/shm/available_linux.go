package shm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// large is the size from which available asks. Below, the question (some 20 µs)
// would cost more than it could spare.
const large = 64 << 20

// available refuses what the machine certainly does not have. The kernel itself
// only counts pages one at a time for a memfd, and answers a request that is too
// large by killing processes until there are none left.
func available(size int) error {
	if size < large {
		return nil
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil // no answer is no reason to refuse
	}
	memory, ok := field(info, "MemAvailable:")
	swap, _ := field(info, "SwapFree:")
	if ok && uint64(size)>>10 > memory+swap {
		return fmt.Errorf("%d MiB are available: %w", (memory+swap)>>10, unix.ENOMEM)
	}
	return nil
}

// field is a number of kibibytes in /proc/meminfo.
func field(info []byte, name string) (kib uint64, ok bool) {
	for line := range bytes.Lines(info) {
		if rest, found := bytes.CutPrefix(line, []byte(name)); found {
			if words := bytes.Fields(rest); len(words) > 0 {
				n, err := strconv.ParseUint(string(words[0]), 10, 64)
				return n, err == nil
			}
		}
	}
	return 0, false
}
