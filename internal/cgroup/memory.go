package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// MemoryAvailable is how many bytes processes of ours can still take before the
// kernel must take memory from somebody who uses it: what the machine has
// available, or less where a cgroup of this process (version 1 or 2), or one above
// it, is nearer to its limit. Cached files that nobody has used lately count as
// available. The limit where version 2 begins to throttle, memory.high, counts as
// one. Any goroutine may call it; it reads a dozen small files. Where there is no
// such system, the error is errors.ErrUnsupported.
func MemoryAvailable() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, errPlatform
	}
	return memoryAvailable("/")
}

// MemoryTotal is how many bytes processes of ours can take at most: the machine's
// memory, or the smallest of the same limits. The errors are those of
// MemoryAvailable.
func MemoryTotal() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, errPlatform
	}
	return memoryTotal("/")
}

var errPlatform = fmt.Errorf("cgroup: the memory and load of %s are not known: %w", runtime.GOOS, errors.ErrUnsupported)

// boundless is more memory than there is.
const boundless = math.MaxInt64

// memoryAvailable is MemoryAvailable with the files below root.
func memoryAvailable(root string) (int64, error) {
	n, err := meminfo(root, "MemAvailable:")
	return min(n,
		least(root, "", boundless, func(dir string) int64 {
			return rest(limitV2(dir), dir, "memory.current", "inactive_file")
		}),
		least(root, "memory", boundless, func(dir string) int64 {
			return rest(limitV1(dir), dir, "memory.usage_in_bytes", "total_inactive_file")
		})), err
}

// memoryTotal is MemoryTotal with the files below root.
func memoryTotal(root string) (int64, error) {
	n, err := meminfo(root, "MemTotal:")
	return min(n, least(root, "", boundless, limitV2), least(root, "memory", boundless, limitV1)), err
}

func limitV2(dir string) int64 {
	return min(bytesIn(dir, "memory.max", boundless), bytesIn(dir, "memory.high", boundless))
}

// limitV1 is about 2⁶³ where there is no limit.
func limitV1(dir string) int64 { return bytesIn(dir, "memory.limit_in_bytes", boundless) }

// rest is what a limit leaves: all of it where nobody says what is used.
func rest(limit int64, dir, usage, inactive string) int64 {
	if limit == boundless {
		return boundless
	}
	used := bytesIn(dir, usage, 0)
	cached, _ := field(read(dir, "memory.stat"), inactive)
	return max(limit-max(used-cached, 0), 0)
}

// bytesIn is the number in a file, or none if that is another word ("max") or there
// is no such file.
func bytesIn(dir, name string, none int64) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(read(dir, name)), 10, 64)
	if err != nil || n < 0 {
		return none
	}
	return n
}

// meminfo is a line of /proc/meminfo in bytes.
func meminfo(root, key string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, fmt.Errorf("cgroup: the machine's memory: %w", err)
	}
	kB, ok := field(string(b), key)
	if !ok || kB > boundless>>10 {
		return 0, fmt.Errorf("cgroup: /proc/meminfo says nothing of %s", strings.TrimSuffix(key, ":"))
	}
	return kB << 10, nil
}

// field finds the number after key at the beginning of a line, not below 0.
func field(text, key string) (int64, bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != key {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		return max(n, 0), err == nil && n >= 0
	}
	return 0, false
}
