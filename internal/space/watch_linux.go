package space

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/futex"
	"github.com/brood-go/brood/internal/shm"
)

// How often the bytes are asked, because the kernel has no event.
const (
	askEventless = 5 * time.Millisecond // while there are participants without a pidfd
	askAll       = time.Second          // for those who call exec
)

// watch is how a process learns of deaths. See "Deaths". Nothing is started, opened or
// allocated before the first Watch.
type watch struct {
	dead [slots]atomic.Uint32 // the last generation that is dead whatever its byte says

	// The low half of membership that was taken up, and synced; 0 before the first time.
	seen atomic.Uint64

	mu        sync.Mutex // guards what follows; taken before the member's mu
	started   bool
	ended     bool
	known     []known
	eventless int // of known
	set       *os.File
	setfd     int
	asked     time.Time // when all bytes were asked
	own       process
	running   sync.WaitGroup
}

const synced = 1 << 32

// known is what was found in a slot last.
type known struct {
	generation uint32
	state      state
	pidfd      int // of one watched; -1 if it is eventless
}

type state uint8

const (
	unclear state = iota // it is joining, or leaves before it was seen
	watched
	over
)

// Watch implements cell.Memory.
func (f *File) Watch() uint64 {
	m := f.member
	if m.watch.seen.Load() != synced|uint64(m.membership().Load()) {
		m.catchUp(false)
	}
	return m.deaths.Load()
}

// membership is the word that joins and leaves change.
func (m *member) membership() *atomic.Uint32 { return low(m.word(membershipAt)) }

// announce tells all watchers of a join or a leave, through any window.
func announce(mem *shm.Window) {
	w := mem.Uint64(membershipAt)
	w.Add(1)
	futex.Wake(low(w), futex.All)
}

// catchUp takes up who joined and left, and asks the bytes of some: of who is eventless if
// ask is true, of all if that is due. It returns the membership that it has taken up, and when to
// ask again.
func (m *member) catchUp(ask bool) (membership uint32, again time.Duration) {
	w := &m.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, 0
	}
	if !w.started {
		m.start()
	}
	all := ask && time.Since(w.asked) >= askAll
	if all {
		w.asked = time.Now()
	}
	membership = m.membership().Load()
	gone := false
	for i := range m.used() {
		if i != m.self.Slot() && m.look(i, ask, all) {
			gone = true
		}
	}
	if gone {
		m.die()
	}
	w.seen.Store(synced | uint64(membership))
	if w.eventless > 0 {
		return membership, askEventless
	}
	return membership, askAll
}

// look compares a slot with what was known of it, and reports whether somebody is gone
// whose ID may have been seen.
func (m *member) look(i int, ask, all bool) (gone bool) {
	w := &m.watch
	k := &w.known[i]
	generation := m.generationOf(i)
	if k.generation != generation {
		gone = k.generation != 0 && k.state != over
		w.forget(i, k)
		*k = known{generation: generation, pidfd: -1}
	}
	switch k.state {
	case over:
		return gone
	case watched:
		leaves := m.slot(i).pid.Load() == 0
		if !(leaves || all || ask && k.pidfd < 0) || m.locked(i) {
			return gone
		}
		w.forget(i, k)
	case unclear:
		if generation == 0 {
			return gone
		}
		m.begin(i, k)
		if k.state != over {
			return gone
		}
	}
	k.state = over
	return true
}

// forget ends the watching of a slot.
func (w *watch) forget(i int, k *known) {
	if k.state != watched {
		return
	}
	if k.pidfd < 0 {
		w.eventless--
		return
	}
	// Closing is not enough: a child that is being forked may have a duplicate.
	_ = unix.EpollCtl(w.setfd, unix.EPOLL_CTL_DEL, k.pidfd, nil)
	_ = unix.Close(k.pidfd)
	k.pidfd = -1
}

// begin starts to watch a slot whose generation is k's.
func (m *member) begin(i int, k *known) {
	w := &m.watch
	at := m.slot(i)
	pid, namespace, start := at.pid.Load(), at.namespace.Load(), at.start.Load()
	if !m.locked(i) {
		k.state = over
		return
	}
	if pid == 0 {
		return // it announces itself, or its end, when it is ready
	}
	pidfd := -1
	if namespace == w.own.namespace && namespace != 0 && w.set != nil && pid == uint64(int32(pid)) {
		var err error
		pidfd, err = unix.PidfdOpen(int(pid), 0)
		if errors.Is(err, unix.ESRCH) && m.generationOf(i) == k.generation {
			w.dead[i].Store(k.generation)
			k.state = over
			return
		}
		if err != nil {
			pidfd = -1
		}
	}
	// The process of that pid is the participant if it started at the participant's time.
	// If not, a child that was forked holds the byte, or its clock is shifted (a time namespace).
	if now, ok := startOf(strconv.FormatUint(pid, 10)); pidfd >= 0 && ok && now != start {
		_ = unix.Close(pidfd)
		pidfd = -1
	}
	if pidfd >= 0 {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i), Pad: int32(k.generation)}
		if unix.EpollCtl(w.setfd, unix.EPOLL_CTL_ADD, pidfd, &event) != nil {
			_ = unix.Close(pidfd)
			pidfd = -1
		}
	}
	k.state, k.pidfd = watched, pidfd
	if pidfd < 0 {
		w.eventless++
	}
	if !m.locked(i) {
		w.forget(i, k)
		k.state = over
	}
}

// start begins to watch. The caller holds the watch's mu.
func (m *member) start() {
	w := &m.watch
	w.started, w.asked, w.own = true, time.Now(), thisProcess()
	w.known = make([]known, slots)
	if fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		// Not blocking, so that the runtime's poller takes it.
		if err := unix.SetNonblock(fd, true); err == nil {
			w.setfd, w.set = fd, os.NewFile(uintptr(fd), "epoll")
			w.running.Go(m.hear)
		} else {
			_ = unix.Close(fd)
		}
	}
	w.running.Go(m.follow)
}

// hear waits for the deaths of processes.
func (m *member) hear() {
	set := m.watch.set // it is set before this goroutine begins
	conn, err := set.SyscallConn()
	events := make([]unix.EpollEvent, 64)
	for err == nil {
		n := 0
		err = conn.Read(func(fd uintptr) bool {
			var e error
			for n, e = unix.EpollWait(int(fd), events, 0); errors.Is(e, syscall.EINTR); n, e = unix.EpollWait(int(fd), events, 0) {
			}
			return n > 0
		})
		m.exited(events[:max(n, 0)])
	}
	// Closed; or the poller does not take it, and then the bytes have to be asked.
	w := &m.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.known {
		if k := &w.known[i]; !w.ended && k.state == watched && k.pidfd >= 0 {
			w.forget(i, k)
			w.eventless++
		}
	}
	w.set = nil
	_ = set.Close()
}

// exited takes up that processes have exited.
func (m *member) exited(events []unix.EpollEvent) {
	w := &m.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := false
	for _, e := range events {
		k := &w.known[e.Fd]
		if w.ended || k.state != watched || k.generation != uint32(e.Pad) {
			continue
		}
		w.dead[e.Fd].Store(k.generation)
		w.forget(int(e.Fd), k)
		k.state = over
		gone = true
	}
	if gone {
		m.die()
	}
}

// follow takes up joins and leaves.
func (m *member) follow() {
	ask := false
	for {
		membership, again := m.catchUp(ask)
		if ask && again == askAll {
			m.rouse(nil) // a peer may have overwritten what says that somebody sleeps
		}
		// After membership was read: who leaves says so before he announces it.
		if again == 0 || m.leaving.Load() {
			return
		}
		err := futex.Wait(m.membership(), membership, again)
		ask = errors.Is(err, futex.ErrTimeout)
		if err != nil && !ask {
			return // a file that a peer has truncated
		}
	}
}

// end stops watching, and returns when nothing of it is left. The member is leaving, and
// has announced that.
func (w *watch) end() {
	w.mu.Lock()
	w.ended = true
	for i := range w.known {
		w.forget(i, &w.known[i])
	}
	set := w.set
	w.mu.Unlock()
	if set != nil {
		_ = set.Close()
	}
	w.running.Wait()
}

// Self implements cell.Memory.
func (f *File) Self() cell.ID { return f.member.self }

// Alive implements cell.Memory.
func (f *File) Alive(id cell.ID) bool {
	m := f.member
	if id == m.self {
		return true
	}
	return m.alive(id) && m.watch.dead[id.Slot()].Load() != id.Generation()
}
