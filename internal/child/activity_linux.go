package child

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Look reports what the tree does at this moment; memory says whether to add up
// its memory too, where pages that several processes share count for each. The
// tree is still looked at while it is being stopped, because it still uses time;
// once it has ended, the error is ErrEnded. Any goroutine may call it at any time.
//
// A tree whose processes are all dead has ended, although nobody has reaped them yet: on a
// busy machine that takes a while, in which it waits for nothing.
//
// A thread that waits for the disk or in vfork counts as waiting, and so does all
// of a tree that is paused. The kernel brings a running thread's time up to date
// at each of its clock's ticks, 1 to 10 ms apart.
//
// The mutex is held throughout, so that the tree can't end meanwhile and its slot
// go on to the next one. A look is short; the slot's thread waits for it.
func (p *Proc) Look(memory bool) (Activity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return Activity{}, ErrEnded
	}
	family := p.family()
	a := Activity{CPU: p.used(family)}
	if !slices.ContainsFunc(family, member.alive) {
		return a, ErrEnded
	}
	for i := range family {
		m := &family[i]
		a.Runnable = a.Runnable || m.runnable()
		if memory {
			a.Memory += m.memory()
		}
	}
	return a, nil
}

// watch is what is remembered of a tree without a cgroup from one look at it to
// the next. Proc's mutex guards it.
type watch struct {
	known []member      // the tree as family saw it last
	met   []procStat    // and what a scan found since
	gone  time.Duration // used by those that ended with nobody in the tree to take over their time
	most  time.Duration // the most that used has said so far
}

// bury notes the exact time of the leader, which has just been reaped.
func (w *watch) bury(leader int, used time.Duration) {
	w.gone += used
	for i := range w.known {
		if w.known[i].pid == leader {
			w.known[i].topmost = false // its time is not added a second time
		}
	}
}

// member is a process of a tree as one look saw it.
type member struct {
	procStat
	cpu     time.Duration // with that of the children it waited for; not read with a cgroup
	topmost bool          // its parent is not of the tree: no other member gets its time when it ends
	tids    []string      // its threads, once eachThread has listed more than one
}

// readMember reads what a process has used and then its entry. In that order,
// an entry that is found to be the right one vouches for the time: a pid that
// went to somebody else in between fails the caller's check.
//
// The process's CPU clock counts nanoseconds, and the threads that have ended too.
// Of /proc, stat has ticks of 10 ms and rounds down; the sum of all threads'
// schedstat lacks the ended ones and costs two system calls a thread more. What
// children used that were waited for is in ticks alone.
func readMember(pid int) (m member, err error) {
	var ts unix.Timespec
	clock := int32(^pid<<3 | 2) // as clock_getcpuclockid of the C library makes it
	cerr := unix.ClockGettime(clock, &ts)
	if m.procStat, err = readStat(pid); err != nil {
		return m, err
	}
	if m.state == 'X' { // being reaped: its parent has its time already, and its ppid is 0
		return m, unix.ESRCH
	}
	m.cpu = ticks(m.waited) + time.Duration(ts.Nano())
	if cerr != nil {
		m.cpu = ticks(m.utime + m.stime)
	}
	return m, nil
}

// family lists the processes of the tree cheaply: with a cgroup the cgroup's,
// otherwise as walk finds them. Called with p.mu held.
func (p *Proc) family() []member {
	if p.v2 == nil {
		return p.walk()
	}
	var all []member
	for _, pid := range p.v2.pids() {
		if st, err := readStat(pid); err == nil {
			all = append(all, member{procStat: st})
		}
	}
	return all
}

// walk lists the leader, what was known and what was met, and their descendants by
// the kernel's lists of children. It makes a scan where that is cheap, for what
// called setsid and lost its parent before it was seen. Zombies are listed too:
// until their parents wait for them, nobody else has their time.
func (p *Proc) walk() []member {
	if now := time.Now(); p.slot.mayScan(now, 1) && p.slot.mayScan(now, openSlots()) {
		p.members()
	}
	w := &p.watch
	all := make([]member, 0, len(w.known)+len(w.met)+1)
	in := make(map[int]bool, cap(all))
	add := func(pid int, right func(*member) bool) (err error) {
		if in[pid] {
			return nil
		}
		m, err := readMember(pid)
		if err == nil && right(&m) {
			all, in[pid] = append(all, m), true
		}
		return err
	}
	if !p.reaped { // until then its pid is nobody else's
		add(p.pid, func(*member) bool { return true })
	}
	for _, old := range w.known {
		err := add(old.pid, func(m *member) bool { return m.start == old.start })
		switch {
		case in[old.pid]:
		case err != nil && err != unix.ESRCH && unix.Kill(old.pid, 0) != unix.ESRCH:
			all, in[old.pid] = append(all, old), true // it is there, but no descriptor was left to read it with
		case old.topmost:
			w.gone += old.cpu
		}
	}
	for _, st := range w.met {
		add(st.pid, func(m *member) bool { return m.start == st.start })
	}
	for i := 0; i < len(all); i++ {
		parent := all[i].pid
		for _, pid := range all[i].children() {
			add(pid, func(m *member) bool { return m.ppid == parent })
		}
	}
	for i := range all {
		all[i].topmost = !in[all[i].ppid]
	}
	w.known, w.met = all, nil
	return all
}

// used is the CPU time of the tree so far. Without a cgroup, what an orphan used
// after the last look at it is lost, and of children that were waited for up to
// two ticks are not seen, because the kernel rounds them down: so the sum may
// fall, and the most seen so far stands. Called with p.mu held.
func (p *Proc) used(family []member) time.Duration {
	w := &p.watch
	if g := p.v2; g != nil {
		if user, system, ok := g.readCPU(); ok {
			w.most = max(w.most, time.Duration(user+system-p.cpu0)*time.Microsecond)
		}
		return w.most
	}
	sum := w.gone
	for i := range family {
		sum += family[i].cpu
	}
	w.most = max(w.most, sum)
	return w.most
}

// eachThread passes what a file says of each thread to f, until f returns false.
func (m *member) eachThread(file string, f func(text []byte) bool) {
	dir := "/proc/" + strconv.Itoa(m.pid) + "/task/"
	buf := make([]byte, 0, 1024)
	if m.threads <= 1 {
		f(readAt(unix.AT_FDCWD, dir+strconv.Itoa(m.pid)+file, buf))
		return
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if m.tids == nil {
		m.tids = make([]string, 0, m.threads)
		for entries := make([]byte, 4096); ; {
			n, err := unix.ReadDirent(fd, entries)
			if err != nil || n <= 0 {
				break
			}
			_, _, m.tids = unix.ParseDirent(entries[:n], -1, m.tids)
		}
	}
	for _, tid := range m.tids {
		if b := readAt(fd, tid+file, buf); b != nil && !f(b) {
			return
		}
	}
}

// children lists the child processes of all threads of a process.
func (m *member) children() (pids []int) {
	m.eachThread("/children", func(text []byte) bool {
		for f := range bytes.FieldsSeq(text) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, n)
			}
		}
		return true
	})
	return pids
}

// alive reports whether the process is more than an entry in the system's table. The first
// thread is a zombie, too, when it has ended before the others.
func (m member) alive() bool { return m.state != 'Z' || m.threads > 1 }

// runnable reports whether a thread of the process runs or wants to.
func (m *member) runnable() (found bool) {
	if m.state == 'R' || m.threads <= 1 { // the state is that of the first thread
		return m.state == 'R'
	}
	m.eachThread("/stat", func(text []byte) bool {
		found = bytes.HasPrefix(text[bytes.LastIndexByte(text, ')')+1:], []byte(" R"))
		return !found
	})
	return found
}

// memory is the resident memory in bytes. It is in the process's stat too, but
// there recent kernels give an estimate that is off by megabytes where there are
// many CPUs.
func (m *member) memory() int64 {
	f := bytes.Fields(readSmall("/proc/" + strconv.Itoa(m.pid) + "/statm"))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
