package child

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Proc is a running process and its tree. Its methods may be called from any
// goroutine, also after its end.
type Proc struct {
	slot  *Slot
	pid   int
	pidfd int      // the leader's; closed at the end
	mark  string   // of this tree
	v2    *v2group // the slot's, nil without a cgroup
	cpu0  int64    // what its cpu.stat said before the start, in microseconds

	mu          sync.Mutex
	ended       bool // the tree is gone, the slot may be running another
	reaped      bool // the leader has been waited for: its pid and group are no longer ours
	reapedAt    uint64
	stop        Reason        // Exited: not asked to stop
	kill        bool          // skip to the last step
	wall        time.Duration // how long the leader may run; 0: as long as it likes
	paused      bool
	pausedAt    time.Time
	pausedTotal time.Duration
	watch       watch
}

// PID is the leader's process id.
func (p *Proc) PID() int { return p.pid }

// Wake makes the slot ask a full writer again.
func (p *Proc) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake()
}

// wake ends the slot's sleep. Called with p.mu held: that the tree has not ended
// is what keeps the eventfd open.
func (p *Proc) wake() {
	if !p.ended {
		p.slot.wake()
	}
}

// Stop begins the stop sequence; reason becomes the report's, unless another
// came first. It returns at once.
func (p *Proc) Stop(reason Reason) { p.request(reason, false) }

// Kill sends SIGKILL to the whole tree, whatever step its stop sequence is at.
// It returns at once.
func (p *Proc) Kill(reason Reason) { p.request(reason, true) }

func (p *Proc) request(reason Reason, kill bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop == Exited {
		p.stop = reason
	}
	p.kill = p.kill || kill
	p.wake()
}

// SetWall changes how long the command may run, as Spec.Wall does from the start: counted from
// its start, without time spent paused. 0: as long as it likes. It returns at once.
func (p *Proc) SetWall(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sooner := d > 0 && (p.wall == 0 || d < p.wall)
	p.wall = d
	if sooner { // a later end is found when the earlier one has come
		p.wake()
	}
}

// wallLimit is what SetWall or Spec.Wall said last.
func (p *Proc) wallLimit() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wall
}

// Signal sends sig to every process of the tree.
func (p *Proc) Signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return ErrEnded
	}
	p.signalTree(sig)
	return nil
}

// Pause stops the whole tree and returns once it uses no more CPU: when the
// kernel says that the cgroup is frozen, or when every thread of the tree has
// been seen stopped. After 100 ms, or when ctx ends, the tree is resumed and
// Pause returns ErrNotPaused or the context's error. Time paused does not count
// against the wall limit.
func (p *Proc) Pause(ctx context.Context) error {
	if err := p.beginPause(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pauseDeadline, ErrNotPaused)
	defer cancel()
	var err error
	if p.v2 != nil {
		err = p.awaitFrozen(ctx)
	} else {
		err = p.awaitStopped(ctx)
	}
	if err != nil && err != ErrEnded {
		p.Resume()
	}
	return err
}

// beginPause asks for the freeze. A tree that was told to stop is not paused:
// its stop sequence must go on.
func (p *Proc) beginPause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.stop != Exited {
		return ErrEnded
	}
	if !p.paused {
		p.paused, p.pausedAt = true, time.Now()
		if g := p.v2; g != nil {
			g.write("cgroup.freeze", "1")
		}
		p.wake() // its deadlines have changed
	}
	return nil
}

// pausing reports whether the pause that began is still wanted. A stop request
// thaws the tree, and its end ends the pause.
func (p *Proc) pausing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused && !p.ended
}

// awaitFrozen sleeps until the kernel reports the cgroup frozen.
func (p *Proc) awaitFrozen(ctx context.Context) error {
	g := p.v2
	// An own descriptor: what has been seen of the file's changes is kept per open file.
	fd, err := unix.Open(filepath.Join(g.dir, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ErrEnded
	}
	defer unix.Close(fd)
	for {
		if !p.pausing() {
			return ErrEnded
		}
		if g.frozen(fd) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The bound is short, and a context has no descriptor to poll: look at it again.
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 5)
	}
}

// awaitStopped sends SIGSTOP until two looks in a row find the same processes
// and every thread of them stopped: then none was left that could have forked.
// The kernel has no event for a thread that stops.
//
// A process that has called vfork sleeps uninterruptibly until its child has
// called exec: stopped in between, the child would keep the parent from ever
// being seen stopped. So the children of such a process run on until it wakes.
func (p *Proc) awaitStopped(ctx context.Context) error {
	wait := 100 * time.Microsecond
	last := -1
	for {
		p.mu.Lock()
		if !p.paused || p.ended {
			p.mu.Unlock()
			return ErrEnded
		}
		members := p.members()
		still := stopAll(members)
		p.mu.Unlock()
		if still && len(members) == last {
			return nil
		}
		last = -1
		if still {
			last = len(members)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Millisecond)
		}
	}
}

// stopAll is one look: it sends SIGSTOP to what is not stopped, and reports
// whether all was.
func stopAll(members []procStat) bool {
	still := true
	var asleep []int // uninterruptibly
	for _, st := range members {
		isStopped, sleeps := look(st.pid)
		if sleeps {
			asleep = append(asleep, st.pid)
		}
		if !isStopped {
			still = false
			if !slices.Contains(asleep, st.ppid) { // a child is nearly always after its parent in /proc
				signalExact(st, unix.SIGSTOP)
			}
		}
	}
	for _, st := range members {
		if slices.Contains(asleep, st.ppid) {
			signalExact(st, unix.SIGCONT)
		}
	}
	return still
}

// Resume lets a paused tree run on.
func (p *Proc) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return ErrEnded
	}
	p.thaw()
	p.wake()
	return nil
}

// thaw ends a pause. Called with p.mu held.
func (p *Proc) thaw() {
	if !p.paused {
		return
	}
	p.paused = false
	p.pausedTotal += time.Since(p.pausedAt)
	if g := p.v2; g != nil {
		g.write("cgroup.freeze", "0")
		return
	}
	p.signalTree(unix.SIGCONT)
}

// pauseTime is the time spent paused so far, and whether it is paused now.
func (p *Proc) pauseTime() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return p.pausedTotal + time.Since(p.pausedAt), true
	}
	return p.pausedTotal, false
}

// members lists the living processes of the tree, without a cgroup by a scan that
// finds all there is. Called with p.mu held.
func (p *Proc) members() []procStat {
	if g := p.v2; g != nil {
		var tree []procStat
		for _, pid := range g.pids() {
			if st, err := readStat(pid); err == nil && !st.dead() {
				tree = append(tree, st)
			}
		}
		return tree
	}
	tree := p.slot.scan(p.mark, p.pid)
	if p.reaped {
		// The group's number may belong to somebody else by now: believe it only of
		// processes that were there before the leader was reaped.
		kept := tree[:0]
		for _, st := range tree {
			if st.pgrp != p.pid || st.start < p.reapedAt || hasMark(st.pid, p.mark) {
				kept = append(kept, st)
			}
		}
		tree = kept
	}
	p.watch.met = tree
	return tree
}

// signalTree sends sig to every process of the tree. Called with p.mu held.
func (p *Proc) signalTree(sig unix.Signal) {
	g := p.v2
	if sig == unix.SIGKILL && g != nil && g.kill() == nil {
		return
	}
	if g == nil && !p.reaped {
		unix.Kill(-p.pid, sig) // at one stroke; the unreaped leader pins the group's number
	}
	for _, st := range p.members() {
		if g != nil && !p.inGroup(st.pid) || g == nil && !p.reaped && st.pgrp == p.pid {
			continue
		}
		signalExact(st, sig)
	}
}

// inGroup makes sure that a pid read from the cgroup's list still is in it.
func (p *Proc) inGroup(pid int) bool {
	b := readSmall("/proc/" + strconv.Itoa(pid) + "/cgroup")
	dir := p.v2.dir
	name := filepath.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
	return strings.Contains(string(b), name)
}
