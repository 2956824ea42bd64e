package cgroup

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// CPUs is how many CPUs this process may use: those in its affinity, or fewer if
// the CPU quota of its cgroup (version 1 or 2), rounded up, is less. At least 1.
func CPUs() int { return cpus("/", runtime.NumCPU()) }

// cpus is CPUs with the files below root.
func cpus(root string, affinity int) int {
	quota := min(quotaV2(root), quotaV1(root))
	for n := 1; n < affinity; n++ {
		if quota <= float64(n) {
			return n
		}
	}
	return max(affinity, 1)
}

// unlimited is more CPUs than there are.
const unlimited float64 = 1e9

// quotaV2 is the least cpu.max of the process's cgroup and those above it.
func quotaV2(root string) float64 {
	return least(root, "", unlimited, func(dir string) float64 {
		f := strings.Fields(read(dir, "cpu.max"))
		if len(f) != 2 {
			return unlimited
		}
		return ratio(f[0], f[1])
	})
}

// quotaV1 is the same for the cpu controller of version 1.
func quotaV1(root string) float64 {
	return least(root, "cpu", unlimited, func(dir string) float64 {
		return ratio(read(dir, "cpu.cfs_quota_us"), read(dir, "cpu.cfs_period_us"))
	})
}

// least is the least of what f says of the process's cgroup and those above it, or
// none where there is no such cgroup.
func least[T cmp.Ordered](root, controller string, none T, f func(dir string) T) T {
	dir, mount, err := home(root, controller)
	if err != nil {
		return none
	}
	n := f(dir)
	for dir != mount && len(dir) > len(mount) {
		dir = filepath.Dir(dir)
		n = min(n, f(dir))
	}
	return n
}

// ratio is quota/period; without a quota ("max" or -1) there is no limit.
func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(strings.TrimSpace(quota), 64)
	p, err2 := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return unlimited
	}
	return q / p
}

func read(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return string(b)
}
