package batch

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/brood-go/brood/internal/cgroup"
)

// Unlimited is as many slots as a process can have: each needs a thread and
// some file descriptors.
const Unlimited = 2000

// CPUs is the number of CPUs that this process may use: its affinity, and the
// CPU quota of its cgroup, rounded up.
func CPUs() int { return cgroup.CPUs() }

// TotalMemory is the memory that this process may use, in bytes: the machine's, or the
// limit of its cgroup.
func TotalMemory() (int64, error) { return cgroup.MemoryTotal() }

// ParseJobs reads a number of jobs as -j takes it: N, N% of the CPUs, +N and -N
// (that many more or fewer than CPUs), 0 for as many as possible. The least is 1.
func ParseJobs(s string, cpus int) (int, error) {
	number := strings.TrimSuffix(s, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number of jobs: use N, N%% of the CPUs, +N or -N from their number, or 0 for as many as possible", s)
	case number != s && n >= 0:
		n = int(math.Round(float64(cpus) * float64(n) / 100))
	case number != s:
		return 0, fmt.Errorf("%q: a share of the CPUs can't be negative", s)
	case s[0] == '+' || s[0] == '-':
		n += cpus
	case n == 0:
		return Unlimited, nil
	}
	if n > Unlimited {
		return 0, fmt.Errorf("%q is more than the %d jobs that one process can supervise: use 0 for as many as possible", s, Unlimited)
	}
	return max(n, 1), nil
}

// ParseSize reads a size in bytes: 512, 64k, 100M, 1.5G, 2T. As in GNU parallel,
// K, M, G, T, P are powers of 1024, and k, m, g, t, p powers of 1000; KiB and KB say the same.
func ParseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "kmgtpKMGTPiB")
	unit := s[len(number):]
	v, err := strconv.ParseFloat(number, 64)
	factor := 1.0
	if letter := strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "i"); letter != "" {
		power := strings.Index("kmgtp", strings.ToLower(letter)) + 1
		base := 1024.0
		if letter == strings.ToLower(letter) && !strings.Contains(unit, "i") {
			base = 1000
		}
		if power == 0 || len(letter) > 1 {
			err = strconv.ErrSyntax
		}
		factor = math.Pow(base, float64(power))
	}
	v *= factor
	if err != nil || v < 0 || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is no size: use bytes, or a suffix as in 64K, 100M, 1.5G", s)
	}
	if v >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is more than any machine has", s)
	}
	return int64(v), nil
}
