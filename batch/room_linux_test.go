package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brood-go/brood/sched"
)

// Faults of those that make room for others, and of jobs that run after others: each of these tests
// failed, or did not end, before.

// short is a machine whose memory runs short when all jobs have begun.
type short struct {
	*stirred
	free    atomic.Int64
	unknown atomic.Bool
}

const mb = 1 << 20

func newShort() *short {
	s := &short{stirred: newStirred()}
	s.free.Store(1000 * mb)
	return s
}

func (s *short) available() (int64, error) {
	if s.unknown.Load() {
		return 0, errors.New("too many open files")
	}
	return s.free.Load(), nil
}

// suspended lets the second of two jobs stand still for memory, does something, and lets the first
// one end: both must.
func suspended(t *testing.T, then func(b *Batch, m *short)) {
	t.Helper()
	m := newShort()
	first := make(chan struct{})
	s := onStage(&actor{until: first, looks: 1 << 30}, &actor{looks: 50})
	b := s.prepare(t, Options{Slots: 2, MemSuspend: 100 * mb, available: m.available, Trace: m.trace})
	go func() {
		m.until(sched.Running, sched.Running)
		m.free.Store(10 * mb)
		m.until(sched.Running, sched.Held)
		then(b, m)
		close(first)
	}()
	if _, sum := s.play(t, b, s.jobs()); sum.OK != 2 {
		t.Errorf("%+v", sum)
	}
}

// When no more jobs are started, those that stand still for memory go on once there is some.
func TestDrainWhileSuspended(t *testing.T) {
	t.Parallel()
	suspended(t, func(b *Batch, m *short) {
		b.Drain()
		m.free.Store(1000 * mb)
	})
}

// When it can't be known any more how much memory there is, all go on.
func TestMemoryUnknownWhileSuspended(t *testing.T) {
	t.Parallel()
	suspended(t, func(_ *Batch, m *short) { m.unknown.Store(true) })
}

// A tree that does not stand still at once is paused by a later look.
func TestSuspensionIsTriedAgain(t *testing.T) {
	m := newShort()
	first := make(chan struct{})
	var refusals atomic.Int32
	second := &actor{looks: 1 << 30, until: first, refuse: func() bool { return refusals.Add(1) <= 2 }}
	s := onStage(&actor{until: first, looks: 1 << 30}, second)
	b := s.prepare(t, Options{Slots: 2, MemSuspend: 100 * mb, available: m.available, Trace: m.trace})
	go func() {
		m.until(sched.Running, sched.Running)
		m.free.Store(10 * mb)
		<-second.stood
		m.free.Store(1000 * mb)
		close(first)
	}()
	if _, sum := s.play(t, b, s.jobs()); sum.OK != 2 || refusals.Load() != 3 {
		t.Errorf("%+v, tried %d times", sum, refusals.Load())
	}
}

// unmoved is a Runner whose first command ends by itself when it is asked to end.
type unmoved struct {
	imagined
	runs int
}

func (u *unmoved) Open(_ int, use func(Slot, error)) { go use(u, nil) }

func (u *unmoved) Run(s *Start, started func(Running)) (Report, error) {
	u.runs++
	rep := Report{PID: 7, Reason: Exited, PeakSource: "unknown", Start: time.Now()}
	started(&u.imagined)
	if u.runs == 1 {
		<-u.stopped
		rep.ExitCode = 1
	}
	rep.End = time.Now()
	return rep, nil
}

// A job that failed by itself just when it was to make room has failed: that was a try.
func TestFailsWhileEvicted(t *testing.T) {
	u := &unmoved{imagined: imagined{stopped: make(chan struct{})}}
	b, err := New(Options{Slots: 1, Tries: 2, RetryDelay: time.Millisecond, Runner: u})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for len(b.Running()) == 0 || b.Running()[0].PID == 0 { // until it runs
		}
		b.mu.Lock()
		b.evict(false)
		b.mu.Unlock()
	}()
	tries := 0
	sum, err := b.Each(t.Context(), argvs("works"), func(r *Result) error {
		tries = r.Try
		return nil
	})
	if err != nil || sum.OK != 1 || sum.Evicted != 0 || tries != 2 {
		t.Errorf("%+v %v, %d tries", sum, err, tries)
	}
}

// asked is a Runner whose slot 0 says that no job may start, but the first.
type asked struct {
	times atomic.Int32
	over  chan struct{} // ends the job
}

func (a *asked) Open(slot int, use func(Slot, error)) { go use(askedSlot{a, slot}, nil) }

type askedSlot struct {
	*asked
	n int
}

func (a askedSlot) Run(_ *Start, started func(Running)) (Report, error) {
	rep := Report{PID: 7, Reason: Exited, PeakSource: "unknown"}
	started(&imagined{stopped: make(chan struct{})})
	if a.n > 0 {
		<-a.over
	} else if a.times.Add(1) > 1 {
		rep.ExitCode = 1
	}
	return rep, nil
}

// The command that is asked is not asked any more when nothing will be started.
func TestLimitIsNotAskedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{over: make(chan struct{})}
		b, err := New(Options{Slots: 2, Limit: "ask", Runner: a})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-time.After(time.Minute)
			if n := a.times.Load(); n < 60 || n > 70 {
				t.Errorf("asked %d times in a minute, every second is right", n)
			}
			b.Drain()
			n := a.times.Load()
			<-time.After(time.Hour)
			if a.times.Load() > n {
				t.Errorf("asked %d times when no more jobs were to start", a.times.Load()-n)
			}
			close(a.over)
		}()
		sum, err := b.Each(t.Context(), argvs("works", "works"), func(*Result) error { return nil })
		if err != nil || sum.OK != 1 || sum.NotRun != 1 {
			t.Errorf("%+v %v", sum, err)
		}
	})
}

// Jobs that have the terminal one at a time stay so.
func TestSetSlotsWithTerminal(t *testing.T) {
	b, err := New(Options{Slots: 1, Terminal: os.Stdin})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetSlots(2); err == nil || b.Slots() != 1 {
		t.Errorf("%v, %d slots", err, b.Slots())
	}
}

// Results of what is passed over come before Each returns or not at all, whenever it is stopped, and
// the numbers add up.
func TestAfterAndStop(t *testing.T) {
	jobs := func(yield func(Job, error) bool) {
		for i := range 3000 {
			if !yield(ordered(fmt.Sprint(i), "works", "nobody"), nil) {
				return
			}
		}
	}
	for i := range 40 {
		b, err := New(Options{Slots: 2, Runner: elsewhere{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var returned atomic.Bool
		delivered := 0
		sum, err := b.Each(ctx, jobs, func(*Result) error {
			if returned.Load() {
				t.Error("a result came after the end")
			}
			if delivered++; delivered == 10*(i+1) {
				switch i % 3 {
				case 0:
					cancel()
				case 1:
					b.Drain()
				default:
					go b.Terminate()
				}
			}
			return nil
		})
		returned.Store(true)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if delivered != sum.Done || sum.Done+sum.NotRun != sum.Jobs {
			t.Fatalf("%d results; %d done, %d not run of %d", delivered, sum.Done, sum.NotRun, sum.Jobs)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range Run(ctx, jobs, Options{Slots: 1, Runner: elsewhere{}}) {
		if n++; n == 100 {
			cancel()
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// What may go on at one moment does so in the order of the input.
func TestAfterInOrder(t *testing.T) {
	for range 5 {
		jobs := []Job{ordered("a", "works")}
		for i := range 50 {
			j := ordered(fmt.Sprint("n", i), "works", "a")
			if i%5 == 0 {
				j.After = []string{"nobody"}
			}
			jobs = append(jobs, j)
		}
		ends, got, _ := story(t, Options{Slots: 1}, jobs...)
		var skips, runs []int
		for _, seq := range ends {
			if got[seq].Reason == Skipped {
				skips = append(skips, seq)
			} else {
				runs = append(runs, seq)
			}
		}
		if !slices.IsSorted(skips) || !slices.IsSorted(runs) || len(skips) != 10 {
			t.Fatalf("ran %v, skipped %v", runs, skips)
		}
	}
}

// Large circles, of jobs and of groups, cost neither for ever nor gigabytes of text.
func TestLargeCircles(t *testing.T) {
	const n = 20_000
	var ring, groups []Job
	for i := range n {
		ring = append(ring, ordered(fmt.Sprint(i), "works", fmt.Sprint((i+1)%n)))
		groups = append(groups, ordered("g", "works", "h"), ordered("h", "works", "g"))
	}
	for _, jobs := range [][]Job{ring, groups} {
		b, err := New(Options{Slots: 1, Runner: elsewhere{}})
		if err != nil {
			t.Fatal(err)
		}
		text := 0
		sum, err := b.Each(t.Context(), jobsOf(jobs...), func(r *Result) error {
			text = max(text, len(r.Err.Error()))
			return nil
		})
		if err != nil || sum.Reasons[Skipped] != len(jobs) || text > 200 {
			t.Errorf("%d of %d were skipped, %v; the longest error has %d bytes", sum.Reasons[Skipped], len(jobs), err, text)
		}
	}
}
