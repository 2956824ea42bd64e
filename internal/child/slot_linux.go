package child

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SlotOptions configures a slot. The zero value works.
type SlotOptions struct {
	// Nice is added to the scheduling priority number of every process started
	// here (1 to 19: less CPU when others want it). 0: as this process.
	Nice int
}

// Slot runs one process tree at a time. Open, Run and Close must be called by
// one goroutine, which is locked to its thread in between.
type Slot struct {
	fam     *family
	number  int
	nice    bool
	wakefd  int
	guardfd int // the warden's pidfd, -1 if there is none to watch
	v2      *v2group
	v1      *v1memory
	gen     int
	clean   bool // the last tree was seen to be gone
	buf     []byte

	scanCost atomic.Int64 // of the last scan of /proc, in nanoseconds
	scanAt   atomic.Int64 // when it was, in nanoseconds since 1970
}

// readSize is how much output is read at once.
const readSize = 64 << 10

// Go runs f on a goroutine of its own, locked to a thread that is not the
// process's main thread. That is where a slot is best opened: the main thread
// stands for the process as a whole, so a slot there can't use cgroup v1, which
// goes by thread, and can't end with its goroutine.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return // and the thread ends
		}
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked) // while the main thread is still taken
			f()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}

// Open makes a slot and locks the calling goroutine to its thread. The first
// one also starts the warden. The program must have called Init.
func Open(o SlotOptions) (*Slot, error) {
	fam, number, err := joinFamily()
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	s := &Slot{fam: fam, number: number, guardfd: fam.guard(), buf: make([]byte, readSize)}
	if s.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		runtime.UnlockOSThread()
		leaveFamily()
		return nil, fmt.Errorf("child: open a slot: %w", err)
	}
	if o.Nice != 0 {
		// On Linux the calling thread's own, inherited by what it forks.
		if err := addNice(o.Nice); err != nil {
			s.Close()
			return nil, err
		}
		s.nice = true
	}
	if fam.v2dir != "" {
		if s.v2, err = openV2(filepath.Join(fam.v2dir, "slot"+strconv.Itoa(number))); err != nil {
			s.Close()
			return nil, fmt.Errorf("child: open a slot's cgroup: %w", err)
		}
	}
	return s, nil
}

// addNice lowers the calling thread's priority by n.
func addNice(n int) error {
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the raw call gives 20 - nice
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, min(20-now+n, 19))
	}
	if err != nil {
		return fmt.Errorf("child: nice %d: %w (only root may go below 0)", n, err)
	}
	return nil
}

// Close ends what earlier jobs left running here, and with the last slot the
// warden. A slot with Nice leaves its goroutine locked, so that the thread, whose
// priority can't be raised again, ends together with the goroutine.
func (s *Slot) Close() error {
	if s.v2 == nil && s.gen > 0 {
		s.sweepOld("")
	}
	if s.v1 != nil {
		s.v1.leave()
	}
	if s.v2 != nil {
		s.v2.close()
	}
	unix.Close(s.wakefd)
	if !s.nice {
		runtime.UnlockOSThread()
	}
	leaveFamily()
	return nil
}

// wake ends the slot's sleep, now or the next one.
func (s *Slot) wake() {
	one := [8]byte{1} // in either byte order a number other than 0
	unix.Write(s.wakefd, one[:])
}

// slotMark is what the marks of all trees of this slot begin with.
func (s *Slot) slotMark() string { return s.fam.mark + "." + strconv.Itoa(s.number) + "." }

// sweepOld kills what carries the mark of an earlier tree of this slot; keep is
// the mark to spare. Two rounds without a find, because what is found may fork.
func (s *Slot) sweepOld(keep string) {
	for clean := 0; clean < 2; {
		clean++
		for _, st := range s.scan(s.slotMark(), 0) {
			if keep == "" || !hasMark(st.pid, keep) {
				signalExact(st, unix.SIGKILL)
				clean = 0
			}
		}
	}
}

// scan is scanTree, with its cost remembered.
func (s *Slot) scan(mark string, pgrp int) []procStat {
	began := time.Now()
	tree := scanTree(mark, pgrp)
	now := time.Now()
	s.scanCost.Store(int64(now.Sub(began)))
	s.scanAt.Store(now.UnixNano())
	return tree
}

// mayScan reports whether a scan that nobody waits for costs at most 2 % of the
// time since the last one, shared among so many slots that scan again and again.
func (s *Slot) mayScan(now time.Time, slots int) bool {
	return now.UnixNano()-s.scanAt.Load() > 50*s.scanCost.Load()*int64(slots)
}

// Run starts spec and returns when its whole tree has ended. started, if not
// nil, is called on this goroutine once the process runs; it must not block. A
// *StartError says that the process could not be started.
func (s *Slot) Run(spec *Spec, started func(*Proc)) (Report, error) {
	if err := spec.validate(); err != nil {
		return Report{Code: -1, Reason: NotStarted}, err
	}
	sp := spec.withDefaults()
	if s.guardfd < 0 {
		s.guardfd = s.fam.guard()
	}
	if err := s.ready(); err != nil {
		return Report{Code: -1, Reason: NotStarted}, err
	}
	r := &run{s: s, spec: &sp}
	if err := r.start(); err != nil {
		rep := Report{Code: -1, Reason: NotStarted}
		if se, ok := err.(*StartError); ok {
			rep.Code = se.Code()
		}
		return rep, err
	}
	if started != nil {
		started(r.p)
	}
	r.loop()
	return r.end(), nil
}

// ready makes sure that the slot's cgroup can be used, or takes a new one: one
// that was killed can't, and what survives SIGKILL, because it sleeps in the
// kernel, keeps its one occupied.
func (s *Slot) ready() error {
	if s.v2 == nil || !s.v2.killed && (s.clean || !s.v2.populated()) {
		return nil
	}
	s.v2.kill()
	s.gen++
	dir := filepath.Join(s.fam.v2dir, "slot"+strconv.Itoa(s.number)+"."+strconv.Itoa(s.gen))
	g, err := openV2(dir)
	if err != nil {
		return fmt.Errorf("child: replace a slot's cgroup: %w", err)
	}
	s.v2.close()
	s.v2 = g
	return nil
}

// pipe is one output of a running child.
type pipe struct {
	fd   int // -1 when closed, or when there is nothing to copy
	sink interface{ Write([]byte) (int, error) }
	full func() bool
	big  bool
}

// start makes the pipes, readies the memory limit and forks.
func (r *run) start() error {
	s, spec := r.s, r.spec
	r.out[0].fd, r.out[1].fd = -1, -1
	null := s.fam.null.Fd()
	files := []uintptr{null, null, null}
	if spec.Stdin != nil {
		files[0] = spec.Stdin.Fd()
	}
	var childEnds []int
	defer func() {
		for _, fd := range childEnds {
			unix.Close(fd)
		}
	}()
	for i, w := range []interface{ Write([]byte) (int, error) }{spec.Stdout, spec.Stderr} {
		switch w := w.(type) {
		case nil:
		case *os.File:
			files[1+i] = w.Fd()
		default:
			fd, err := r.out[i].open(w)
			if err != nil {
				r.closePipes()
				return startError(spec, err)
			}
			childEnds = append(childEnds, fd)
			files[1+i] = uintptr(fd)
		}
	}
	for _, f := range spec.ExtraFiles {
		files = append(files, f.Fd())
	}
	if spec.Lifeline {
		files = append(files, s.fam.lifeR.Fd())
	}
	if err := r.readyMemory(); err != nil {
		r.closePipes()
		return err
	}
	if err := r.fork(files); err != nil {
		r.closePipes()
		return startError(spec, err)
	}
	return nil
}

// open makes the pipe and returns the child's end.
func (p *pipe) open(w interface{ Write([]byte) (int, error) }) (int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, err
	}
	unix.SetNonblock(fds[0], true)
	p.fd, p.sink = fds[0], w
	if f, ok := w.(interface{ Full() bool }); ok {
		p.full = f.Full
	}
	return fds[1], nil
}

// fork starts the child in the slot's cgroup, in a process group of its own,
// with the parent-death signal set; the runtime checks the parent's pid after
// setting it.
func (r *run) fork(files []uintptr) error {
	s, spec := r.s, r.spec
	s.gen++
	mark := s.slotMark() + strconv.Itoa(s.gen) + ";"
	env := spec.Env
	if env == nil {
		env = os.Environ()
	}
	// The marks of the trees that this process is itself part of stay in front.
	env = append(withoutVars(env, markVar, wardenVar), markVar+"="+os.Getenv(markVar)+mark)
	pidfd := -1
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd}
	if s.v2 != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, s.v2.fd
		r.user0, r.system0 = s.v2.user, s.v2.system // the group is empty: as they were at its last job's end
	}
	if spec.Terminal != nil {
		sys.Foreground, sys.Ctty = true, int(spec.Terminal.Fd())
	}
	r.rep.Start = time.Now()
	pid, err := syscall.ForkExec(spec.Path, spec.Args, &syscall.ProcAttr{Dir: spec.Dir, Env: env, Files: files, Sys: sys})
	if err != nil {
		if spec.Terminal != nil {
			takeTerminal(spec.Terminal)
		}
		return outOfFiles(err, files)
	}
	r.rep.PID = pid
	r.p = &Proc{slot: s, pid: pid, pidfd: pidfd, mark: mark, v2: s.v2, cpu0: r.user0 + r.system0, wall: r.spec.Wall}
	return nil
}

// outOfFiles is the error of a start with these files. A child that may have no descriptor of a
// number gets EBADF when it moves one there: if ours are all open, it is the limit.
func outOfFiles(err error, files []uintptr) error {
	if err != unix.EBADF {
		return err
	}
	for _, fd := range files {
		if _, ferr := unix.FcntlInt(fd, unix.F_GETFD, 0); ferr != nil {
			return err
		}
	}
	return unix.EMFILE
}
