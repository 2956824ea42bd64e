package explore_test

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// found fails the test unless the search found a failure of the kind.
func found(t *testing.T, res explore.Result, kind explore.Kind) *explore.Failure {
	t.Helper()
	f := res.Failure
	if f == nil {
		t.Fatalf("found nothing: %v", res)
	}
	if f.Kind != kind {
		t.Fatalf("found a failure of another kind than %s: %v", kind, f)
	}
	if len(f.Trace) == 0 {
		t.Errorf("no trace: %v", f)
	}
	return f
}

// passed fails the test unless the search has seen everything and found nothing.
func passed(t *testing.T, res explore.Result) {
	t.Helper()
	if res.Failure != nil {
		t.Fatal(res.Failure)
	}
	if !res.Exhausted {
		t.Errorf("not exhausted: %v", res)
	}
	t.Log(res)
}

// two makes two participants with one strand each, which do the same.
func two(w *explore.World, f func(p *explore.Participant)) {
	for _, name := range []string{"p", "q"} {
		p := w.Participant(name)
		p.Go("a", func() { f(p) })
	}
}

// add adds 1 to a word, if atomic in one step.
func add(word cell.Word, atomic bool) {
	for {
		v := word.Load()
		if !atomic {
			word.Store(v + 1)
			return
		}
		if word.CompareAndSwap(v, v+1) {
			return
		}
	}
}

// counter counts to 2 with two strands.
func counter(atomic bool) func(*explore.World) {
	return func(w *explore.World) {
		n := w.Word("n")
		two(w, func(*explore.Participant) { add(n, atomic) })
		w.Finally(func() error {
			if v := n.Load(); v != 2 {
				return fmt.Errorf("counted %d", v)
			}
			return nil
		})
	}
}

func TestCounter(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 1}, {Preemptions: -1}, {Preemptions: -1, Reduce: true}} {
		found(t, explore.Exhaust(o, counter(false)), explore.Final)
		passed(t, explore.Exhaust(o, counter(true)))
	}
	if res := explore.Exhaust(explore.Options{}, counter(false)); res.Failure != nil {
		t.Errorf("without a preemption the counter can't fail: %v", res.Failure)
	}
	found(t, explore.Random(explore.Options{}, counter(false)), explore.Final)
}

// flags is a mutual exclusion of two flags: each sets its own, then looks at the other's;
// the wrong order is to look first.
func flags(right bool) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("flag", 2)
		for i, name := range []string{"p", "q"} {
			own, other := words[i], words[1-i]
			w.Participant(name).Go("a", func() {
				if right {
					own.Store(1)
				}
				if other.Load() == 1 {
					return
				}
				if !right {
					own.Store(1)
				}
				w.Inside("section", 1)()
			})
		}
	}
}

func TestFlags(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 2}, {Preemptions: -1}, {Preemptions: -1, Reduce: true}} {
		found(t, explore.Exhaust(o, flags(false)), explore.Failed)
		passed(t, explore.Exhaust(o, flags(true)))
	}
}

// testAndSet is a lock that sleeps. The wrong one wakes before it unlocks.
func testAndSet(right bool) func(*explore.World) {
	return func(w *explore.World) {
		lock := w.Word("lock")
		two(w, func(p *explore.Participant) {
			m := p.Memory()
			for !lock.CompareAndSwap(0, 1) {
				if err := m.Wait(context.Background(), lock, 1, m.Watch()); err != nil {
					w.Fail("%v", err)
				}
			}
			w.Inside("section", 1)()
			if !right {
				m.Wake(lock, 1)
			}
			lock.Store(0)
			if right {
				m.Wake(lock, 1)
			}
		})
	}
}

func TestWakeBeforeStore(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 2}, {Preemptions: -1}, {Preemptions: -1, Reduce: true}} {
		f := found(t, explore.Exhaust(o, testAndSet(false)), explore.Hang)
		if !strings.Contains(f.Message, ".a on lock") {
			t.Errorf("the message does not say who sleeps where: %s", f.Message)
		}
		passed(t, explore.Exhaust(o, testAndSet(true)))
	}
	found(t, explore.Random(explore.Options{}, testAndSet(false)), explore.Hang)
}

// mutex is a lock whose word names the owner in its high half; in the low half bit 0 is
// locked, bit 1 says that somebody may sleep.
type mutex struct {
	word   cell.Word
	robust bool // take over from the dead
}

func (l mutex) lock(ctx context.Context, m cell.Memory) error {
	for {
		deaths := m.Watch()
		v := l.word.Load()
		own := uint64(m.Self())<<32 | v&2 | 1
		switch {
		case v&1 == 0 || l.robust && !m.Alive(cell.ID(v>>32)):
			if l.word.CompareAndSwap(v, own) {
				return nil
			}
		case v&2 == 0:
			l.word.CompareAndSwap(v, v|2)
		default:
			if err := m.Wait(ctx, l.word, uint32(v), deaths); err != nil {
				return err
			}
		}
	}
}

func (l mutex) unlock(m cell.Memory) {
	for {
		v := l.word.Load()
		if l.word.CompareAndSwap(v, 0) {
			if v&2 != 0 {
				m.Wake(l.word, cell.All)
			}
			return
		}
	}
}

func mutexCase(robust bool) func(*explore.World) {
	return func(w *explore.World) {
		l := mutex{w.Word("mutex"), robust}
		two(w, func(p *explore.Participant) {
			ctx := p.Context()
			if l.lock(ctx, p.Memory()) == nil {
				w.Inside("section", 1)()
				l.unlock(p.Memory())
			} else if context.Cause(ctx) != explore.ErrCancelled {
				w.Fail("gave up, though nothing was cancelled")
			}
		})
	}
}

func TestOwnerKilled(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 2, Kills: 1}, {Preemptions: -1, Kills: 1, Reduce: true}} {
		f := found(t, explore.Exhaust(o, mutexCase(false)), explore.Hang)
		if !strings.Contains(f.Schedule, "!") {
			t.Errorf("nobody was killed: %v", f)
		}
		passed(t, explore.Exhaust(o, mutexCase(true)))
		o.Cancels = 1
		passed(t, explore.Exhaust(o, mutexCase(true)))
	}
	found(t, explore.Random(explore.Options{Kills: 1}, mutexCase(false)), explore.Hang)
	if res := explore.Random(explore.Options{Kills: 1, Runs: 2000}, mutexCase(true)); res.Failure != nil {
		t.Error(res.Failure)
	}
}

// handOver is a lock whose word is the owner's ID, and which wakes one sleeper only: if
// that one dies before it acts, its death must wake the other. The wrong one counts the
// deaths after it has looked.
func handOver(right bool) func(*explore.World) {
	return func(w *explore.World) {
		lock := w.Word("lock")
		for _, name := range []string{"p", "q", "r"} {
			p := w.Participant(name)
			if name != "q" {
				p.Immortal()
			}
			p.Go("a", func() {
				m := p.Memory()
				for {
					deaths := m.Watch()
					v := lock.Load()
					if v == 0 || !m.Alive(cell.ID(v)) {
						if lock.CompareAndSwap(v, uint64(p.ID())) {
							break
						}
						continue
					}
					if !right {
						deaths = m.Watch()
					}
					if m.Wait(context.Background(), lock, uint32(v), deaths) != nil {
						w.Fail("Wait failed")
					}
				}
				lock.Store(0)
				m.Wake(lock, 1)
			})
		}
	}
}

func TestWokenAndKilled(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 1, Kills: 1}, {Preemptions: 1, Kills: 1, AnyWake: true}} {
		passed(t, explore.Exhaust(o, handOver(true)))
		f := found(t, explore.Exhaust(o, handOver(false)), explore.Hang)
		if !strings.Contains(f.Schedule, "!q") {
			t.Errorf("q was not killed: %v", f)
		}
	}
}

// passOn is a lock that wakes one sleeper. If that one was cancelled it must pass the
// wake-up on, which the wrong one does not.
func passOn(right bool) func(*explore.World) {
	return func(w *explore.World) {
		lock := w.Word("lock")
		use := func(p *explore.Participant, ctx context.Context) {
			m := p.Memory()
			for {
				if lock.CompareAndSwap(0, 1) {
					break
				}
				if m.Wait(ctx, lock, 1, m.Watch()) != nil {
					if right {
						m.Wake(lock, 1)
					}
					return
				}
			}
			lock.Store(0)
			m.Wake(lock, 1)
		}
		p, q, r := w.Participant("p"), w.Participant("q"), w.Participant("r")
		p.Go("a", func() { use(p, p.Context()) })
		q.Go("a", func() { use(q, context.Background()) })
		r.Go("a", func() { use(r, context.Background()) })
	}
}

func TestSwallowedWakeUp(t *testing.T) {
	for _, o := range []explore.Options{{Preemptions: 1, Cancels: 1}, {Preemptions: -1, Cancels: 1, Reduce: true}} {
		f := found(t, explore.Exhaust(o, passOn(false)), explore.Hang)
		if !strings.Contains(f.Schedule, "~p") {
			t.Errorf("nothing was cancelled: %v", f)
		}
		passed(t, explore.Exhaust(o, passOn(true)))
	}
}

// The kernel compares 32 bits: who waits for a change of the high half sleeps on.
func TestSameLowHalf(t *testing.T) {
	change := func(to uint64) func(*explore.World) {
		return func(w *explore.World) {
			word := w.Word("word")
			p, q := w.Participant("p"), w.Participant("q")
			p.Go("a", func() {
				m := p.Memory()
				for v := word.Load(); v == 0; v = word.Load() {
					_ = m.Wait(context.Background(), word, uint32(v), m.Watch())
				}
			})
			q.Go("a", func() {
				m := q.Memory()
				word.Store(1)
				m.Wake(word, cell.All)
				word.Store(to)
			})
		}
	}
	o := explore.Options{Preemptions: 2}
	// The sleeper was woken by 1, but looks when the word is 1<<32: it leaves. But it falls
	// asleep if it looked before 1, and waits after 1<<32, whose low half is the old one.
	f := found(t, explore.Exhaust(o, change(1<<32)), explore.Hang)
	if !strings.Contains(f.Error(), "0x100000000") {
		t.Errorf("the trace does not show the word: %v", f)
	}
	passed(t, explore.Exhaust(o, change(2)))
}

func TestReplay(t *testing.T) {
	for i, c := range []struct {
		o    explore.Options
		body func(*explore.World)
	}{
		{explore.Options{Preemptions: 2, Kills: 1}, mutexCase(false)},
		{explore.Options{Preemptions: 1, Cancels: 1, AnyWake: true}, passOn(false)},
		{explore.Options{Preemptions: -1, Cancels: 1, Reduce: true}, passOn(false)},
		{explore.Options{Preemptions: 2}, flags(false)},
	} {
		for _, search := range []func(explore.Options, func(*explore.World)) explore.Result{explore.Exhaust, explore.Random} {
			f := search(c.o, c.body).Failure
			if f == nil {
				t.Fatalf("case %d: found nothing", i)
			}
			again := explore.Replay(f.Schedule, c.body).Failure
			if again == nil || again.Message != f.Message || !slices.Equal(again.Trace, f.Trace) {
				t.Errorf("found %v\nreplayed %v", f, again)
			}
		}
	}
	f := found(t, explore.Replay("p.a*2 q.a*1000", counter(true)), explore.Failed)
	if !strings.Contains(f.Message, "schedule") {
		t.Errorf("not the schedule's fault: %v", f)
	}
}

func TestDeterminism(t *testing.T) {
	o := explore.Options{Seed: 7, Kills: 1, Cancels: 1, Jumps: 1, AnyWake: true}
	a, b := explore.Random(o, mutexCase(false)), explore.Random(o, mutexCase(false))
	if !reflect.DeepEqual(a, b) {
		t.Errorf("one seed, two results:\n%v\n%v", a, b)
	}
	o.Seed, o.Runs = a.Failure.Seed, 1
	if c := explore.Random(o, mutexCase(false)); !reflect.DeepEqual(a.Failure, c.Failure) {
		t.Errorf("the seed does not bring the failure back: %v", c)
	}
	odd := 0
	unsteady := func(w *explore.World) {
		odd++
		two(w, func(*explore.Participant) {
			if odd%2 == 0 {
				w.Step("sometimes")
			}
			w.Step("always")
		})
	}
	if f := explore.Exhaust(explore.Options{Preemptions: -1}, unsteady).Failure; f == nil || !strings.Contains(f.Message, "does not do the same") {
		t.Errorf("a case that changes was not found out: %v", f)
	}
}

func TestNoLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	explore.Random(explore.Options{Kills: 1, Runs: 500}, mutexCase(true))
	explore.Exhaust(explore.Options{Preemptions: 2, Kills: 1}, mutexCase(false))
	func() {
		defer func() { _ = recover() }()
		explore.Exhaust(explore.Options{}, func(w *explore.World) {
			w.Participant("p").Go("a", func() { w.Step("") })
			panic("a case")
		})
	}()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}
