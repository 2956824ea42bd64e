package child

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run is one child's life, seen by its slot's thread. All fields are that
// thread's alone.
type run struct {
	s    *Slot
	spec *Spec
	p    *Proc
	rep  Report
	out  [2]pipe

	dead    bool // the leader has been reaped
	told    bool // and LeaderEnded was called
	empty   bool // and nothing is left of its tree
	lost    bool // it did not die of SIGKILL, or somebody else reaped it
	drained bool // the pipes are read to the end, or given up
	status  syscall.WaitStatus
	usage   syscall.Rusage

	stopping bool
	sent     bool // a signal of the stop sequence reached a living leader
	step     int
	stepAt   time.Time // when the next step is due
	giveUpAt time.Time // set with the last step
	lingerAt time.Time

	user0, system0 int64 // the cgroup's CPU times before the start
	limiter        limiter
	wake           time.Time // the nearest deadline of this turn
	left           []int     // pidfds of what a scan found after the leader's end
	tty            *terminal
	polls          []unix.PollFd
}

const (
	rekillEvery = 100 * time.Millisecond // SIGKILL is repeated, for what forked in between
	giveUpAfter = 5 * time.Second        // of SIGKILL
)

// loop is the reactor: obey what was asked, do what is due, sleep.
func (r *run) loop() {
	if r.spec.Terminal != nil {
		r.tty = openTerminal(r.spec.Terminal, r.p)
		defer r.tty.close()
	}
	r.limiter.begin(r)
	for {
		now := time.Now()
		r.wake = now.Add(time.Hour)
		r.obey(now)
		r.doLimits(now)
		r.doLinger(now)
		r.doStop(now)
		over := r.over()
		r.tellEnd()
		if over {
			return
		}
		r.sleep(now)
	}
}

// tellEnd passes the leader's end on, once.
func (r *run) tellEnd() {
	if !r.dead || r.told || r.spec.LeaderEnded == nil {
		return
	}
	r.told = true
	r.p.mu.Lock()
	asked := r.p.stop
	r.p.mu.Unlock()
	rep := r.rep
	r.classify(&rep, asked)
	r.spec.LeaderEnded(rep)
}

// at lowers this turn's deadline to t.
func (r *run) at(t time.Time) {
	if t.Before(r.wake) {
		r.wake = t
	}
}

// obey reads what other goroutines asked for.
func (r *run) obey(now time.Time) {
	r.p.mu.Lock()
	asked, kill := r.p.stop != Exited, r.p.kill
	r.p.mu.Unlock()
	if asked {
		r.beginStop(now)
	}
	last := len(r.spec.Stop) - 1
	if kill && r.step < last {
		r.step, r.stepAt = last, now
	}
}

// because ends the tree for a reason found on this thread.
func (r *run) because(now time.Time, reason Reason, kill bool) {
	r.p.request(reason, kill)
	r.obey(now)
}

// beginStop starts the stop sequence, once.
func (r *run) beginStop(now time.Time) {
	if !r.stopping {
		r.stopping, r.stepAt = true, now
	}
}

// doLinger stops what outlives the leader for too long.
func (r *run) doLinger(now time.Time) {
	if !r.dead || r.stopping || r.drained && r.empty {
		return
	}
	if r.lingerAt.IsZero() && r.over() { // the usual case: then nothing is killed, and the cgroup can be used again
		return
	}
	if r.lingerAt.IsZero() {
		r.lingerAt = now.Add(max(r.spec.Linger, 0))
	}
	if now.Before(r.lingerAt) {
		r.at(r.lingerAt)
		return
	}
	if !r.empty {
		r.p.mu.Lock()
		r.rep.Left = len(r.p.members())
		r.p.mu.Unlock()
	}
	r.beginStop(now)
}

// doStop does the steps that are due. After the last one, SIGKILL is repeated
// until the tree is empty or hope is lost.
func (r *run) doStop(now time.Time) {
	if !r.stopping || r.dead && r.empty {
		return
	}
	last := len(r.spec.Stop) - 1
	for !now.Before(r.stepAt) {
		st := r.spec.Stop[min(r.step, last)]
		r.p.mu.Lock()
		r.sent = r.sent || !r.dead
		r.p.signalTree(st.Signal)
		r.p.thaw() // a paused tree gets the signal first, then the CPU to act on it
		r.p.mu.Unlock()
		switch {
		case r.step < last:
			r.stepAt = now.Add(st.Wait)
		case r.giveUpAt.IsZero():
			r.giveUpAt = now.Add(giveUpAfter)
			fallthrough
		default:
			r.stepAt = now.Add(rekillEvery)
		}
		r.step++
	}
	r.at(r.stepAt)
	if !r.giveUpAt.IsZero() && !now.Before(r.giveUpAt) {
		r.abandon()
	}
}

// abandon gives up a tree that does not die of SIGKILL: it sleeps in the kernel.
func (r *run) abandon() {
	if !r.dead {
		r.lost, r.dead = true, true
		go reap(r.p.pid, nil) // takes the zombie when there is one
		r.rep.End = time.Now()
	}
	r.empty, r.s.clean = true, false
}

// over reports whether nothing is left to wait for: no tree, and no pipe that
// still gives something.
func (r *run) over() bool {
	if !r.dead {
		return false
	}
	if !r.empty {
		r.look(time.Now())
	}
	open := r.out[0].fd >= 0 || r.out[1].fd >= 0
	if open && r.empty && r.stopping {
		// The tree is gone, and so are its ends of the pipes. What is in them is
		// read; who holds them now is no concern of ours.
		for i := range r.out {
			for r.out[i].fd >= 0 && !r.isFull(i) && r.feed(i) {
			}
			if !r.isFull(i) {
				r.out[i].close()
			}
		}
		open = r.out[0].fd >= 0 || r.out[1].fd >= 0
	}
	r.drained = !open
	return r.empty && r.drained
}

// look finds out whether anything of the tree is left after its leader's end.
func (r *run) look(now time.Time) {
	p := r.p
	if p.v2 != nil {
		r.empty = !p.v2.populated()
		r.s.clean = r.empty
		return
	}
	if len(r.left) > 0 {
		return // the end of one of these wakes us
	}
	// A group that is empty leaves what called setsid. To look for it means to
	// scan /proc: that is done when it matters, and when it is cheap enough.
	if unix.Kill(-p.pid, 0) == unix.ESRCH && !r.stopping && !r.s.mayScan(now, 1) {
		r.empty = true
		return
	}
	p.mu.Lock()
	members := p.members()
	p.mu.Unlock()
	for _, st := range members {
		if fd, err := unix.PidfdOpen(st.pid, 0); err == nil {
			r.left = append(r.left, fd)
		}
	}
	r.empty = len(members) == 0
	if !r.empty && len(r.left) == 0 {
		r.at(now.Add(time.Millisecond)) // they ended between the two steps: look again
	}
}

// forgetLeft closes the pidfds, so that the next look scans again.
func (r *run) forgetLeft() {
	for _, fd := range r.left {
		unix.Close(fd)
	}
	r.left = r.left[:0]
}

// The fixed places in the poll set; the pidfds of left follow.
const (
	pollLeader = iota
	pollOut
	pollErr
	pollWake
	pollGroup
	pollOOM
	pollGuard
	pollLeft
)

// sleep waits for an event or the nearest deadline, and reacts to the events.
func (r *run) sleep(now time.Time) {
	set := append(r.polls[:0], make([]unix.PollFd, pollLeft)...)
	for i := range set {
		set[i].Fd = -1
	}
	if !r.dead {
		set[pollLeader] = unix.PollFd{Fd: int32(r.p.pidfd), Events: unix.POLLIN}
	}
	for i := range r.out {
		if r.out[i].fd >= 0 && !r.isFull(i) {
			set[pollOut+i] = unix.PollFd{Fd: int32(r.out[i].fd), Events: unix.POLLIN}
		}
	}
	set[pollWake] = unix.PollFd{Fd: int32(r.s.wakefd), Events: unix.POLLIN}
	if r.dead && !r.empty && r.p.v2 != nil {
		set[pollGroup] = unix.PollFd{Fd: int32(r.p.v2.events), Events: unix.POLLPRI}
	}
	set[pollOOM] = r.limiter.pollFd()
	set[pollGuard] = unix.PollFd{Fd: int32(r.s.guardfd), Events: unix.POLLIN}
	for _, fd := range r.left {
		set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	r.polls = set
	ts := unix.NsecToTimespec(int64(max(r.wake.Sub(now), 0)))
	if n, err := unix.Ppoll(set, &ts, nil); err != nil || n == 0 {
		return
	}
	r.react(set)
}

// react does what the events ask for. Output is read before the leader is
// reaped, so that a short job ends in one turn.
func (r *run) react(set []unix.PollFd) {
	if set[pollWake].Revents != 0 {
		var b [8]byte
		unix.Read(r.s.wakefd, b[:])
		r.tty.check(r)
	}
	for i := range r.out {
		if set[pollOut+i].Revents != 0 {
			r.feed(i)
		}
	}
	if set[pollOOM].Revents != 0 {
		r.limiter.outOfMemory(r)
	}
	if set[pollGuard].Revents != 0 {
		r.s.guardfd = r.s.fam.reviveWarden(r.s.guardfd)
	}
	if set[pollLeader].Revents != 0 {
		r.reapLeader()
	}
	for _, p := range set[pollLeft:] {
		if p.Revents != 0 {
			r.forgetLeft()
			break
		}
	}
}

// reapLeader takes the leader's status. The flag is set together with it,
// because from here on its pid may belong to somebody else.
func (r *run) reapLeader() {
	if r.dead {
		return
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	ws, ok := reap(r.p.pid, &r.usage)
	r.noteDeath(ws)
	r.lost = !ok
	if ok {
		r.p.watch.bury(r.p.pid, time.Duration(r.usage.Utime.Nano()+r.usage.Stime.Nano()))
	}
}

// noteDeath records the leader's status. Called with p.mu held.
func (r *run) noteDeath(ws syscall.WaitStatus) {
	r.rep.End = time.Now()
	r.status, r.dead = ws, true
	r.p.reaped, r.p.reapedAt = true, bootTicks()
}

// bootTicks is the time since boot in the unit of procStat.start.
func bootTicks() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return uint64(ts.Nano() / (int64(time.Second) / ticksPerSecond))
}

func (r *run) isFull(i int) bool { return r.out[i].full != nil && r.out[i].full() }

// feed reads once from pipe i and passes it on; false when there was nothing.
func (r *run) feed(i int) bool {
	o := &r.out[i]
	n, err := unix.Read(o.fd, r.s.buf)
	switch {
	case err == unix.EINTR:
		return true
	case err != nil && err != unix.EAGAIN || err == nil && n == 0:
		o.close()
		return false
	case n <= 0:
		return false
	}
	if n == len(r.s.buf) && !o.big {
		o.big = true // much output: fewer turns with a larger pipe, if the system allows
		unix.FcntlInt(uintptr(o.fd), unix.F_SETPIPE_SZ, 4*readSize)
	}
	if o.sink != nil {
		if _, err := o.sink.Write(r.s.buf[:n]); err != nil {
			if r.rep.OutputErr == nil {
				r.rep.OutputErr = err
			}
			o.sink, o.full = nil, nil
		}
	}
	return true
}

func (p *pipe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

func (r *run) closePipes() {
	r.out[0].close()
	r.out[1].close()
}

// end closes the books.
func (r *run) end() Report {
	p, rep := r.p, &r.rep
	p.mu.Lock()
	p.thaw()
	p.ended = true
	asked := p.stop
	rep.Paused = p.pausedTotal
	p.mu.Unlock()
	unix.Close(p.pidfd)
	r.forgetLeft()

	if p.v2 != nil {
		r.cpuUsed() // the group's times include what was never waited for
	}
	rep.User = max(rep.User, time.Duration(r.usage.Utime.Nano()))
	rep.System = max(rep.System, time.Duration(r.usage.Stime.Nano()))
	r.classify(rep, asked)
	return *rep
}

// classify says how the leader ended and why: asked is what the tree was told to
// end for.
func (r *run) classify(rep *Report, asked Reason) {
	sent := r.sent
	if r.limiter.end(r, rep) {
		asked, sent = Memory, true
	}
	rep.Code = -1
	switch {
	case r.lost:
		rep.Reason = Lost
	case r.status.Signaled():
		rep.Reason, rep.Signal, rep.CoreDump = Signaled, r.status.Signal(), r.status.CoreDump()
	default:
		rep.Code = r.status.ExitStatus()
	}
	if asked != Exited && sent && !r.lost {
		rep.Reason = asked
	}
}
