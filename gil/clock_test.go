package gil

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// stopped is a memory whose clock stands still until it is told to go on.
type stopped struct {
	*cell.Heap
	now   atomic.Int64
	woken sync.Map // words on which somebody was woken
}

func (s *stopped) Wake(w cell.Word, n int) {
	s.woken.Store(w.Pointer(), true)
	s.Heap.Wake(w, n)
}

func (s *stopped) Now() time.Duration { return time.Duration(s.now.Load()) }

// timed is a GIL whose clock and timer are the test's.
type timed struct {
	*GIL
	clock *stopped
	mu    sync.Mutex
	armed []time.Duration // what the timer was set to
	runs  bool            // it is set now
}

func newTimed(o Options) *timed {
	g := &timed{GIL: New(o)}
	g.prepare()
	g.clock = &stopped{Heap: &g.heap}
	g.lock.mem = g.clock
	g.lock.start = func(d time.Duration) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.armed = append(g.armed, d)
		g.runs = true
	}
	return g
}

// pass lets time go by; the timer runs out if it is set, though it may be early.
func (g *timed) pass(d time.Duration) {
	g.clock.now.Add(int64(d))
	g.mu.Lock()
	runsOut := g.runs
	g.runs = false
	g.mu.Unlock()
	if runsOut {
		g.lock.expire()
	}
}

// settings are what the timer was set to so far.
func (g *timed) settings() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.armed)
}

// queued waits until n threads wait.
func queued(t *testing.T, g *GIL, n int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); g.Stats().Waiting != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d threads wait, not %d", g.Stats().Waiting, n)
		}
	}
}

// line starts a thread that waits, and notes its name when it has the GIL.
func line(t *testing.T, g *GIL, wg *sync.WaitGroup, name string, order *[]string) {
	t.Helper()
	before := g.Stats().Waiting
	wg.Go(func() {
		must(t, g.Do(context.Background(), name, func(context.Context, *Thread) error {
			*order = append(*order, name)
			return nil
		}))
	})
	queued(t, g, before+1)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// The holder goes on for the interval, and then gives way at its next safe point.
func TestSwitchInterval(t *testing.T) {
	g := newTimed(Options{SwitchInterval: 10 * time.Millisecond})
	ctx := context.Background()
	var wg sync.WaitGroup
	var order []string
	me := g.Attach("computes")
	must(t, me.Acquire(ctx))
	line(t, g.GIL, &wg, "waits", &order)
	if s := g.settings(); len(s) != 1 || s[0] != 10*time.Millisecond {
		t.Errorf("the timer was set to %v, want the interval", s)
	}
	for _, d := range []time.Duration{0, 5 * time.Millisecond, 4 * time.Millisecond} {
		g.pass(d)
		for range 100 {
			must(t, me.Check(ctx))
		}
		if s := g.Stats(); s.Forced != 0 || s.Requests != 0 {
			t.Fatalf("%+v before the interval was over", s)
		}
	}
	if s := g.settings(); s[len(s)-1] != time.Millisecond {
		t.Errorf("the timer was set to %v, want in the end what was left", s)
	}
	g.pass(time.Millisecond)
	if s := g.Stats(); s.Requests != 1 || s.Forced != 0 {
		t.Errorf("%+v when it was over, want one request", s)
	}
	g.pass(time.Hour)
	order = append(order, "before")
	must(t, me.Check(ctx))
	order = append(order, "after")
	if s := g.Stats(); s.Forced != 1 || s.Requests != 1 || s.HandOvers != 2 {
		t.Errorf("%+v after a safe point", s)
	}
	me.Release()
	wg.Wait()
	if want := []string{"before", "waits", "after"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
}

// Without the timer the holder sees by itself, at one of its next safe points, that it is time.
func TestSafePointsLookAtClock(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	var wg sync.WaitGroup
	var order []string
	me := g.Attach("computes")
	must(t, me.Acquire(ctx))
	line(t, g.GIL, &wg, "waits", &order)
	g.clock.now.Add(int64(DefaultSwitchInterval) - 1)
	line(t, g.GIL, &wg, "comes later", &order)
	for range 3 * looksAtClock {
		must(t, me.Check(ctx))
	}
	if s := g.Stats(); s.Forced != 0 {
		t.Errorf("%+v a nanosecond early", s)
	}
	g.clock.now.Add(1)
	for range looksAtClock {
		must(t, me.Check(ctx))
	}
	if s := g.Stats(); s.Forced != 1 || s.Requests != 0 {
		t.Errorf("%+v, want one forced hand-over and no request", s)
	}
	me.Release()
	wg.Wait()
}

// Each who is handed the GIL has an interval of its own.
func TestIntervalBeginsAnew(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	var wg sync.WaitGroup
	first, second := g.Attach("first"), (*Thread)(nil)
	must(t, first.Acquire(ctx))
	has := make(chan bool)
	goOn := make(chan bool)
	wg.Go(func() {
		second = g.Attach("second")
		must(t, second.Acquire(ctx))
		has <- true
		<-goOn
		must(t, second.Check(ctx))
		has <- true
		<-goOn
		must(t, second.Check(ctx))
		second.Release()
	})
	queued(t, g.GIL, 1)
	var order []string
	line(t, g.GIL, &wg, "third", &order)
	g.clock.now.Add(int64(DefaultSwitchInterval) - 1)
	first.Release()
	<-has
	g.pass(1) // an interval since the third has come, none since the second has it
	goOn <- true
	<-has
	if s := g.Stats(); s.Forced != 0 {
		t.Errorf("%+v: the second had no interval", s)
	}
	g.pass(DefaultSwitchInterval)
	goOn <- true
	wg.Wait()
	if s := g.Stats(); s.Forced != 1 {
		t.Errorf("%+v: the second was not asked", s)
	}
}

// The one after one who was asked is asked in time as well, though that one has released the GIL
// and not given way.
func TestAskedAfterHandOver(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	var wg sync.WaitGroup
	var order []string
	first := g.Attach("first")
	must(t, first.Acquire(ctx))
	has, goOn := make(chan bool), make(chan bool)
	wg.Go(func() {
		must(t, g.Do(ctx, "second", func(ctx context.Context, th *Thread) error {
			has <- true
			<-goOn
			return th.Check(ctx)
		}))
	})
	queued(t, g.GIL, 1)
	line(t, g.GIL, &wg, "third", &order)
	g.pass(DefaultSwitchInterval)
	first.Release()
	<-has
	g.pass(DefaultSwitchInterval)
	if s := g.Stats(); s.Requests != 2 || g.lock.state.Load()&isAsked == 0 {
		t.Errorf("%+v: the second, which has the GIL and whom the third waits for, was not asked", s)
	}
	goOn <- true
	wg.Wait()
	if s := g.Stats(); s.Forced != 1 {
		t.Errorf("%+v: it did not give way at its first safe point", s)
	}
}

// Who computes alone is never asked, and there is no timer.
func TestNobodyWaits(t *testing.T) {
	g := newTimed(Options{})
	me := g.Attach("alone")
	must(t, me.Acquire(context.Background()))
	for range 1000 {
		g.clock.now.Add(int64(time.Second))
		must(t, me.Check(context.Background()))
	}
	must(t, me.Unlocked(context.Background(), func() {}))
	me.Release()
	if s := g.Stats(); s != (Stats{}) {
		t.Errorf("%+v, want nothing", s)
	}
	if s := g.settings(); len(s) != 0 {
		t.Errorf("the timer was set to %v", s)
	}
}

// The timer is let run out when nobody waits any more, and is one for all.
func TestOneTimer(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	me := g.Attach("has it")
	var wg sync.WaitGroup
	var order []string
	for range 5 {
		must(t, me.Acquire(ctx))
		for i := range 3 {
			line(t, g.GIL, &wg, fmt.Sprint(i), &order)
		}
		me.Release()
		wg.Wait()
	}
	if s := g.settings(); len(s) != 1 {
		t.Errorf("the timer was set %d times, want once", len(s))
	}
	g.pass(DefaultSwitchInterval)
	g.pass(DefaultSwitchInterval)
	if s := g.settings(); len(s) != 1 {
		t.Errorf("the timer was set %d times though nobody waits", len(s))
	}
	must(t, me.Acquire(ctx))
	line(t, g.GIL, &wg, "late", &order)
	if s := g.settings(); len(s) != 2 {
		t.Errorf("the timer was set %d times, want once more for one who waits after it had run out", len(s))
	}
	me.Release()
	wg.Wait()
}

// The timer of a GIL that nobody has spoilt asks as well, again and again.
func TestTimer(t *testing.T) {
	g := New(Options{SwitchInterval: time.Microsecond})
	ctx := context.Background()
	me := g.Attach("me")
	must(t, me.Acquire(ctx))
	var wg sync.WaitGroup
	var order []string
	for n := range uint64(3) {
		line(t, g, &wg, "waits", &order)
		for end := time.Now().Add(30 * time.Second); g.lock.state.Load()&isAsked == 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%+v: nobody was asked", g.Stats())
			}
		}
		must(t, me.Check(ctx))
		if s := g.Stats(); s.Forced != n+1 {
			t.Errorf("%+v after it gave way %d times", s, n+1)
		}
	}
	me.Release()
	wg.Wait()
}

// First come, first served, whether they are woken or handed the GIL.
func TestOrder(t *testing.T) {
	for _, waited := range []time.Duration{0, DefaultSwitchInterval} {
		g := newTimed(Options{})
		me := g.Attach("me")
		must(t, me.Acquire(context.Background()))
		var wg sync.WaitGroup
		var order, want []string
		for i := range 20 {
			name := fmt.Sprint(i)
			line(t, g.GIL, &wg, name, &order)
			want = append(want, name)
		}
		g.clock.now.Add(int64(waited))
		me.Release()
		wg.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("after %v the order was %v, want %v", waited, order, want)
		}
		if s := g.Stats(); s.HandOvers != 20 || s.Waits != 20 {
			t.Errorf("%+v", s)
		}
	}
}

// Until the first of the queue has waited for the interval it may be overtaken, and then
// no more.
func TestOvertaking(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	me := g.Attach("me")
	other := &waiter{mine: owned(1 << 40), word: cell.At(new(atomic.Uint64))}
	must(t, me.Acquire(ctx))
	if g.lock.join(other) {
		t.Fatal("the other one has it, too")
	}
	for range 100 {
		must(t, me.Unlocked(ctx, func() {
			if g.lock.state.Load() != hasWaiters|isWoken || other.word.Load() != wordLooks {
				t.Fatal("it is not free, or nobody was woken")
			}
		}))
	}
	if g.lock.look(other) || other.word.Load() != wordWaits {
		t.Error("the other one has looked while we have it, and does not wait on")
	}
	g.clock.now.Add(int64(DefaultSwitchInterval) - 1)
	must(t, me.Unlocked(ctx, func() {}))
	g.clock.now.Add(1)
	me.Release()
	if !g.lock.holds(other) || g.lock.overtake(&me.waiter) {
		t.Error("it was overtaken after the interval")
	}
	must(t, g.lock.settle(other, g.lock.wait(ctx, other), false))
	g.lock.release(other)
	must(t, g.Do(ctx, "next", func(context.Context, *Thread) error { return nil }))
}

// A free GIL is not taken by one who comes when the first of the queue, which is awake and does not run
// yet, has waited for the interval: neither by Acquire nor by TryAcquire.
func TestNoOvertakingOfOverdue(t *testing.T) {
	for _, asked := range []bool{false, true} {
		g := newTimed(Options{})
		ctx := context.Background()
		me := g.Attach("me")
		first := &waiter{mine: owned(1 << 40), word: cell.At(new(atomic.Uint64))}
		must(t, me.Acquire(ctx))
		g.lock.join(first)
		me.Release() // within the interval: the first is woken
		if !me.TryAcquire() {
			t.Error("TryAcquire of a free GIL before the interval is over")
		}
		me.Release()
		if asked {
			g.pass(DefaultSwitchInterval)
		} else {
			g.clock.now.Add(int64(DefaultSwitchInterval))
		}
		if me.TryAcquire() || g.lock.state.Load()&isWoken == 0 {
			t.Errorf("TryAcquire has overtaken; state %x", g.lock.state.Load())
		}
		g.clock.woken.Clear()
		if g.lock.overtake(&me.waiter) || g.lock.join(&me.waiter) {
			t.Fatal("it has overtaken who had waited for the interval")
		}
		if _, ok := g.clock.woken.Load(first.word.Pointer()); !ok {
			t.Error("the first has got it, and was not woken")
		}
		if !g.lock.holds(first) || first.word.Load() != wordHas || g.lock.first != &me.waiter {
			t.Errorf("the first has not got it, or the other one does not wait: state %x", g.lock.state.Load())
		}
		must(t, g.lock.settle(first, g.lock.wait(ctx, first), false))
		g.lock.release(first)
		must(t, me.await(ctx))
		me.Release()
		if s := g.lock.state.Load(); s != 0 {
			t.Errorf("left: state %x", s)
		}
	}
}

// One who is handed the GIL like that sleeps until then, and is woken.
func TestOverdueIsWoken(t *testing.T) {
	g := newTimed(Options{})
	ctx := context.Background()
	var wg sync.WaitGroup
	var order []string
	me := g.Attach("me")
	must(t, me.Acquire(ctx))
	line(t, g.GIL, &wg, "first", &order)
	// As if the first did not run yet: it is free, and said to be woken.
	g.lock.enter()
	g.lock.change(me.waiter.mine, isWoken)
	g.lock.leave()
	g.clock.now.Add(int64(DefaultSwitchInterval))
	must(t, me.Acquire(ctx))
	order = append(order, "me")
	me.Release()
	wg.Wait()
	if want := []string{"first", "me"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
}

// Who gives way at a safe point can't take the GIL back before the one who was handed it.
func TestForcedSwitch(t *testing.T) {
	g := newTimed(Options{})
	other := &waiter{mine: owned(1 << 40), word: cell.At(new(atomic.Uint64))}
	me := g.Attach("me")
	must(t, me.Acquire(context.Background()))
	g.lock.join(other)
	g.pass(DefaultSwitchInterval)
	if !g.lock.giveWay(&me.waiter) || !g.lock.holds(other) || me.Holds() {
		t.Fatal("it did not give way")
	}
	if g.lock.overtake(&me.waiter) {
		t.Error("it has overtaken who was handed the GIL")
	}
	must(t, g.lock.settle(other, nil, false))
	g.lock.release(other)
	must(t, me.await(context.Background()))
	me.Release()
}
