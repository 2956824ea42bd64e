package child

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// limiter watches what a tree uses. Wall time is the reactor's own deadline.
// CPU time has no event in the kernel: the next look is due when the tree
// could at the earliest have used up the rest. Memory is the kernel's business
// where a cgroup can be used; otherwise the resident size is looked at.
type limiter struct {
	v1    *v1memory // nil unless it holds this job's limit
	v2    bool      // memory.max holds it
	watch bool      // the resident size is looked at

	peak     int64
	sampled  bool
	sampleAt time.Time
	every    time.Duration
	cpuAt    time.Time
	oomed    bool
}

const (
	firstSample = 2 * time.Millisecond
	lastSample  = 200 * time.Millisecond
	watchEvery  = 5 * time.Millisecond
	cpuEvery    = 5 * time.Millisecond // the shortest time between two looks
)

// readyMemory sets the memory limit before the start: in cgroup v2, else v1.
func (r *run) readyMemory() error {
	s, limit := r.s, r.spec.Memory
	if s.v2 != nil && s.v2.hasMemory() {
		if err := s.v2.setLimit(limit); err != nil {
			return fmt.Errorf("child: set memory.max to %d: %w", limit, err)
		}
		s.v2.resetPeak()
		s.v2.oomKilled()
		r.limiter.v2 = true
		return nil
	}
	if limit == 0 {
		if s.v1 != nil { // the thread is in the group since an earlier job
			return s.v1.begin(-1)
		}
		return nil
	}
	if s.v1 == nil && s.fam.v1dir != "" && unix.Gettid() != os.Getpid() {
		if dir, err := makeFamilyDir(s.fam.v1home); err == nil {
			s.v1, _ = joinV1(s.fam.v1home, filepath.Join(dir, "slot"+strconv.Itoa(s.number)))
		}
	}
	if s.v1 != nil && s.v1.begin(limit) == nil {
		r.limiter.v1 = s.v1
		return nil
	}
	r.limiter.watch = true
	return nil
}

// begin sets the first deadlines.
func (l *limiter) begin(r *run) {
	l.every = firstSample
	l.sampleAt = r.rep.Start.Add(l.every)
	l.cpuAt = r.rep.Start
}

// pollFd is the out-of-memory event to wait for.
func (l *limiter) pollFd() unix.PollFd {
	if l.v1 == nil {
		return unix.PollFd{Fd: -1}
	}
	return unix.PollFd{Fd: int32(l.v1.eventfd), Events: unix.POLLIN}
}

// outOfMemory answers the event: what the kernel killed may be any one process
// of the tree, the rest goes with it.
func (l *limiter) outOfMemory(r *run) {
	l.v1.oomKilled() // the event comes before the kill is counted
	l.oomed = true
	r.because(time.Now(), Memory, true)
}

// doLimits looks at what is due.
func (r *run) doLimits(now time.Time) {
	if r.empty || r.stopping {
		return
	}
	paused, isPaused := r.p.pauseTime()
	if isPaused {
		return // no time runs, and memory does not grow
	}
	if w := r.p.wallLimit(); w > 0 && !r.dead {
		end := r.rep.Start.Add(w + paused)
		if !now.Before(end) {
			r.because(now, Timeout, false)
			return
		}
		r.at(end)
	}
	if r.spec.CPU > 0 {
		r.limiter.checkCPU(r, now)
	}
	r.limiter.sample(r, now)
}

// checkCPU ends a tree that has used up its CPU time.
func (l *limiter) checkCPU(r *run, now time.Time) {
	if now.Before(l.cpuAt) {
		r.at(l.cpuAt)
		return
	}
	rest := r.spec.CPU - r.cpuUsed()
	if rest <= 0 {
		r.because(now, CPUTime, false)
		return
	}
	l.cpuAt = now.Add(max(rest/time.Duration(runtime.NumCPU()), cpuEvery))
	r.at(l.cpuAt)
}

// cpuUsed is the CPU time of the tree so far, noted in the report.
func (r *run) cpuUsed() time.Duration {
	if g := r.p.v2; g != nil {
		u, s := g.cpuTimes()
		user, system := time.Duration(u-r.user0)*time.Microsecond, time.Duration(s-r.system0)*time.Microsecond
		r.noteCPU(user, system)
		return user + system
	}
	_, used := r.family()
	return used
}

// family is Proc.family and what it has used, noted in the report.
func (r *run) family() (family []member, used time.Duration) {
	r.p.mu.Lock()
	family = r.p.family()
	used = r.p.used(family)
	r.p.mu.Unlock()
	if r.p.v2 != nil {
		return family, r.cpuUsed()
	}
	var user, system time.Duration
	for i := range family {
		user += ticks(family[i].utime)
		system += ticks(family[i].stime)
	}
	r.noteCPU(user, system)
	return family, used
}

func (r *run) noteCPU(user, system time.Duration) {
	r.rep.User, r.rep.System = max(r.rep.User, user), max(r.rep.System, system)
}

// sample looks at the resident size of the tree, more and more seldom; under a
// watched limit steadily.
func (l *limiter) sample(r *run, now time.Time) {
	if l.v1 != nil || l.v2 {
		return
	}
	if now.Before(l.sampleAt) {
		r.at(l.sampleAt)
		return
	}
	var sum int64
	family, _ := r.family()
	began := time.Now()
	for i := range family {
		rss, high := resident(family[i].pid)
		sum += rss
		l.peak = max(l.peak, high) // of the leader mostly: it knows of times not looked at
		l.sampled = l.sampled || high > 0
	}
	l.peak = max(l.peak, sum)
	if l.watch && sum > r.spec.Memory {
		l.oomed = true
		r.because(now, Memory, true)
		return
	}
	l.every = min(2*l.every, lastSample)
	if l.watch {
		l.every = watchEvery
	}
	// However many processes there are, looking costs at most a twentieth.
	l.sampleAt = now.Add(max(l.every, 20*time.Since(began)))
	r.at(l.sampleAt)
}

// end notes the peak and reports whether the kernel ended the tree for its
// memory.
func (l *limiter) end(r *run, rep *Report) bool {
	switch {
	case l.v2:
		if n, ok := r.p.v2.peakBytes(); ok {
			rep.Peak, rep.PeakSource = n, PeakCgroup
		}
		l.oomed = l.oomed || r.p.v2.oomKilled()
	case l.v1 != nil:
		if n, ok := l.v1.peakBytes(); ok {
			rep.Peak, rep.PeakSource = n, PeakCgroup
		}
		l.oomed = l.oomed || l.v1.oomKilled()
	case l.sampled:
		rep.Peak, rep.PeakSource = l.peak, PeakSampled
	}
	return l.oomed
}
