package space

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/futex"
)

// sleeper is a goroutine in Wait. Its fields are guarded by the member's mutex unless they
// say otherwise.
type sleeper struct {
	file *File
	old  uint32
	wake chan struct{} // holds one; filled when a parked one has left the list

	chief       bool     // the one of its word that sleeps in the kernel. Also read after wake
	first, last *sleeper // of a chief: those parked behind it
	prev, next  *sleeper
	parked      bool
	held        int // interrupters that look at it

	// Between the chief and its interrupters: see "Wake argument".
	stop atomic.Bool   // it is to leave the kernel
	left atomic.Uint32 // it will not enter the kernel any more. The interrupters sleep on it
}

var sleepers = sync.Pool{New: func() any { return &sleeper{wake: make(chan struct{}, 1)} }}

// free gives a sleeper back that nobody else refers to.
func (s *sleeper) free() {
	s.file = nil
	sleepers.Put(s)
}

// Wait implements cell.Memory.
func (f *File) Wait(ctx context.Context, w cell.Word, old uint32, deaths uint64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m, p := f.member, w.Pointer()
	m.mu.Lock()
	if f.closed.Load() {
		m.mu.Unlock()
		return cell.ErrClosed
	}
	if m.deaths.Load() != deaths || low(p).Load() != old {
		m.mu.Unlock()
		return nil
	}
	s := sleepers.Get().(*sleeper)
	s.file, s.old = f, old
	chief := m.chiefs[p]
	leads := chief == nil
	if leads {
		s.chief = true
		m.chiefs[p] = s
	} else {
		chief.append(s)
	}
	m.mu.Unlock()
	var err error
	if leads || m.park(ctx, p, s) {
		err = m.lead(ctx, p, s)
	} else {
		s.free()
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case f.closed.Load():
		return cell.ErrClosed
	}
	return err
}

// park waits behind the chief. It reports whether s has become the chief.
func (m *member) park(ctx context.Context, p *atomic.Uint64, s *sleeper) bool {
	select {
	case <-s.wake:
		return s.chief
	case <-ctx.Done():
	}
	m.mu.Lock()
	if s.parked {
		m.chiefs[p].remove(s)
		m.mu.Unlock()
		return false
	}
	m.mu.Unlock()
	<-s.wake // it was woken as well: the caller's algorithm passes that on
	return s.chief
}

// lead sleeps in the kernel, and then sees to those who are parked. It frees s.
func (m *member) lead(ctx context.Context, p *atomic.Uint64, s *sleeper) error {
	word := low(p)
	var unhook func() bool
	if ctx.Done() != nil {
		unhook = context.AfterFunc(ctx, func() { m.interrupt(word, s) })
	}
	var woken bool
	var err error
	for err == nil && !woken && !s.stop.Load() && word.Load() == s.old {
		woken, err = futex.WaitMask(word, s.old, m.mask)
	}
	s.left.Store(1)
	if s.stop.Load() {
		woken = false // by the interrupter, who means nobody else
		futex.Wake(&s.left, futex.All)
	}
	free := unhook == nil || unhook() // otherwise the interrupter may still look at s
	m.mu.Lock()
	m.succeed(p, s, woken)
	free = free && s.held == 0
	s.chief, s.first, s.last = false, nil, nil
	m.mu.Unlock()
	if free {
		s.stop.Store(false)
		s.left.Store(0)
		s.free()
	}
	if err != nil {
		return fmt.Errorf("space: %s: %w", m.path, err) // a file that a peer has truncated
	}
	return nil
}

// succeed takes leave of a chief: whoever has a reason to look again is woken, and the
// first of the others is the next chief. The caller holds mu.
func (m *member) succeed(p *atomic.Uint64, s *sleeper, woken bool) {
	now := low(p).Load()
	for q := s.first; q != nil; {
		next := q.next
		if woken || q.old != now || q.file.closed.Load() {
			s.remove(q)
			q.wake <- struct{}{}
		}
		q = next
	}
	heir := s.first
	if heir == nil {
		delete(m.chiefs, p)
		return
	}
	s.remove(heir)
	heir.first, heir.last, heir.chief = s.first, s.last, true
	m.chiefs[p] = heir
	heir.wake <- struct{}{}
}

// append parks q behind s. The caller holds mu, as for remove.
func (s *sleeper) append(q *sleeper) {
	q.parked, q.prev, q.next = true, s.last, nil
	if s.last != nil {
		s.last.next = q
	} else {
		s.first = q
	}
	s.last = q
}

func (s *sleeper) remove(q *sleeper) {
	if q.prev != nil {
		q.prev.next = q.next
	} else {
		s.first = q.next
	}
	if q.next != nil {
		q.next.prev = q.prev
	} else {
		s.last = q.prev
	}
	q.parked, q.prev, q.next = false, nil, nil
}

// interrupt makes a chief leave the kernel, or not enter it, and returns when it has.
func (m *member) interrupt(word *atomic.Uint32, s *sleeper) {
	s.stop.Store(true)
	pause := 20 * time.Microsecond
	for i := 0; s.left.Load() == 0; i++ {
		futex.WakeMask(word, futex.All, m.mask)
		if i < 3 {
			runtime.Gosched()
			continue
		}
		_ = futex.Wait(&s.left, 0, pause)
		pause = min(2*pause, time.Millisecond)
	}
}

// rouse ends the Wait of all who sleep through f, or of all if f is nil. It returns
// when none of their chiefs is in the kernel.
func (m *member) rouse(f *File) {
	type target struct {
		word  *atomic.Uint32
		chief *sleeper
	}
	var targets []target
	m.mu.Lock()
	for p, chief := range m.chiefs {
		for q := chief.first; q != nil; {
			next := q.next
			if f == nil || q.file == f {
				chief.remove(q)
				q.wake <- struct{}{}
			}
			q = next
		}
		if f == nil || chief.file == f {
			chief.held++
			chief.stop.Store(true)
			targets = append(targets, target{low(p), chief})
		}
	}
	m.mu.Unlock()
	for _, t := range targets {
		m.interrupt(t.word, t.chief)
	}
	m.mu.Lock()
	for _, t := range targets {
		t.chief.held--
	}
	m.mu.Unlock()
}

// die counts a death, and wakes every sleeper. Who calls Wait with an older count
// does not fall asleep.
func (m *member) die() {
	m.mu.Lock()
	m.deaths.Add(1)
	m.mu.Unlock()
	m.rouse(nil)
}

// Wake implements cell.Memory.
func (f *File) Wake(w cell.Word, n int) {
	if n > 0 {
		futex.Wake(low(w.Pointer()), n)
	}
}

// spin is how often Spin looks: 1 to 2 µs, in which a holder that runs releases most locks.
const spin = 1500

// Spin implements cell.Memory. Where there is one processor, whoever would change the
// word does not run meanwhile.
func (f *File) Spin(w cell.Word, old uint32) bool {
	word := low(w.Pointer())
	for range f.member.spin {
		if word.Load() != old {
			return true
		}
	}
	return word.Load() != old
}

// Now implements cell.Memory. The time is the machine's since it started, so that
// participants agree on it.
func (f *File) Now() time.Duration { return f.member.epoch + time.Since(f.member.opened) }
