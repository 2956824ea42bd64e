package share

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// threads is how many threads the process has.
func threads(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^Threads:\s+(\d+)`).FindSubmatch(status)
	if m == nil {
		t.Fatal("no count of threads")
	}
	return must(strconv.Atoi(string(m[1])))
}

// Ten thousand goroutines that wait for one lock block one thread, and all get it.
func TestManyWaiters(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		n := 10_000
		if raceDetector {
			n = 2_000 // it has room for 8,128 goroutines
		}
		l, ctx := must(s.Lock("l")), bounded(t)
		before, got := threads(t), 0
		g := must(l.Acquire(ctx))
		w := start(func() {
			all(n, func(int) {
				g := must(l.Acquire(ctx))
				got++
				g.Release()
			})
		})
		asleep(t, n, "(*lock).acquireSlow")
		if now := threads(t); now > before+10 {
			t.Errorf("%d threads with %d waiters, %d before", now, n, before)
		}
		g.Release()
		w()
		if got != n {
			t.Errorf("%d of %d got it", got, n)
		}
	})
}
