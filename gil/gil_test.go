package gil

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// gauge counts who is inside, and at most.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) enter() {
	n := g.now.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
}

func (g *gauge) leave() { g.now.Add(-1) }

// Whatever threads do, one has the GIL at a time, all get it, and nothing is left.
func TestStorm(t *testing.T) {
	threads, rounds := 8, 300
	if long {
		threads, rounds = 32, 20_000
	}
	g := New(Options{SwitchInterval: 20 * time.Microsecond})
	var inside gauge
	var wg sync.WaitGroup
	count := 0 // what the GIL protects
	begin := g.Attach("begin")
	must(t, begin.Acquire(t.Context()))
	var want atomic.Int64
	for i := range threads {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			th := g.Attach(fmt.Sprint(i))
			step := func() {
				inside.enter()
				count++
				want.Add(1)
				inside.leave()
			}
			must(t, th.Acquire(context.Background()))
			th.Release()
			for range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(400))*time.Microsecond)
				err := th.Acquire(ctx)
				for j, n := 0, r.IntN(200); err == nil && j < n; j++ {
					step()
					if r.IntN(8) == 0 {
						err = th.Unlocked(ctx, runtime.Gosched)
					} else {
						err = th.Check(ctx)
					}
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if th.Holds() != (err == nil) {
					t.Errorf("it has the GIL: %v, the error is %v", th.Holds(), err)
				}
				if err == nil {
					step()
					th.Release()
				}
				cancel()
			}
		})
	}
	queued(t, g, threads)
	begin.Release()
	wg.Wait()
	if inside.most.Load() != 1 || int64(count) != want.Load() {
		t.Errorf("%d inside at once, count %d of %d", inside.most.Load(), count, want.Load())
	}
	s := g.Stats()
	if s.Waiting != 0 || g.lock.state.Load() != 0 || g.lock.latch.Load() != 0 {
		t.Errorf("left: %+v, state %x", s, g.lock.state.Load())
	}
	t.Logf("%+v", s)
}

// Threads that compute take turns, and threads that wait for something do so all at once.
func TestWaitsOverlap(t *testing.T) {
	const threads = 6
	g := New(Options{SwitchInterval: 50 * time.Microsecond})
	var compute gauge
	var wg sync.WaitGroup
	together := make(chan int, threads)
	all := make(chan struct{})
	for range threads {
		wg.Go(func() {
			must(t, g.Do(t.Context(), "", func(ctx context.Context, th *Thread) error {
				for range 500 {
					compute.enter()
					compute.leave()
					if err := th.Check(ctx); err != nil {
						return err
					}
				}
				return th.Unlocked(ctx, func() {
					together <- 1
					<-all // until every one of them is here
				})
			}))
		})
	}
	for range threads {
		<-together
	}
	close(all)
	wg.Wait()
	if n := compute.most.Load(); n != 1 {
		t.Errorf("%d computed at once", n)
	}
}

// After a panic or Goexit in Do the GIL is free; in Unlocked it is taken back before.
func TestPanics(t *testing.T) {
	g := new(GIL)
	ctx := t.Context()
	ends := map[string]func(){"panic": func() { panic("mine") }, "Goexit": runtime.Goexit}
	for name, end := range ends {
		for _, unlocked := range []bool{false, true} {
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() {
					if v := recover(); name == "panic" && v != "mine" {
						t.Errorf("recovered %v", v)
					}
				}()
				_ = g.Do(ctx, name, func(ctx context.Context, th *Thread) error {
					if !unlocked {
						end()
					}
					defer func() {
						if !th.Holds() {
							t.Errorf("%s: not taken back", name)
						}
					}()
					return th.Unlocked(ctx, func() {
						if th.Holds() {
							t.Error("it has the GIL within Unlocked")
						}
						end()
					})
				})
				t.Errorf("%s: Do has returned", name)
			})
			wg.Wait()
			must(t, g.Do(ctx, "next", func(context.Context, *Thread) error { return nil }))
		}
	}
}

// rival starts a thread that takes the GIL, says so, and keeps it until it is told to end.
func rival(t *testing.T, g *GIL) (has <-chan bool, end func()) {
	t.Helper()
	took, over := make(chan bool, 1), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		must(t, g.Do(context.Background(), "rival", func(context.Context, *Thread) error {
			took <- true
			<-over
			return nil
		}))
	})
	return took, func() {
		close(over)
		wg.Wait()
	}
}

var errEnough = errors.New("enough")

// Wherever a thread waits, it stops when its context ends, and does not have the GIL.
func TestCancel(t *testing.T) {
	g := New(Options{Name: "mine", SwitchInterval: time.Nanosecond})
	ways := map[string]func(ctx context.Context, th *Thread, has <-chan bool) error{
		"Acquire": func(ctx context.Context, th *Thread, has <-chan bool) error {
			th.Release()
			<-has
			return th.Acquire(ctx)
		},
		"Unlocked": func(ctx context.Context, th *Thread, has <-chan bool) error {
			return th.Unlocked(ctx, func() { <-has })
		},
		"Check": func(ctx context.Context, th *Thread, has <-chan bool) (err error) {
			queued(t, g, 1)
			for err == nil { // until it has given way
				err = th.Check(ctx)
			}
			return err
		},
	}
	for name, way := range ways {
		for _, early := range []bool{true, false} { // the context ends before it waits, or then
			ctx, cancel := context.WithCancelCause(context.Background())
			th := g.Attach("waits")
			must(t, th.Acquire(ctx))
			has, end := rival(t, g)
			var wg sync.WaitGroup
			if early {
				cancel(errEnough)
			} else {
				took := has
				passed := make(chan bool, 1)
				has = passed
				wg.Go(func() {
					passed <- <-took
					queued(t, g, 1)
					cancel(errEnough)
				})
			}
			err := way(ctx, th, has)
			if !errors.Is(err, errEnough) || !strings.HasPrefix(err.Error(), `gil: thread "waits" waits for GIL "mine": `) {
				t.Errorf("%s: the error is %v", name, err)
			}
			if th.Holds() {
				t.Errorf("%s: it has the GIL", name)
			}
			wg.Wait()
			if s := g.lock.state.Load(); s&^flags == 0 || s&flags&^isHanded != 0 { // it may not have noticed yet
				t.Errorf("%s: the state is %x while another one has it and nobody waits", name, s)
			}
			end()
			if s := g.Stats(); s.Waiting != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// Do knows when its thread has lost the GIL on the way.
func TestDoAfterLoss(t *testing.T) {
	g := new(GIL)
	ctx, cancel := context.WithCancelCause(context.Background())
	var end func()
	err := g.Do(ctx, "loses it", func(ctx context.Context, th *Thread) error {
		var has <-chan bool
		has, end = rival(t, g)
		return th.Unlocked(ctx, func() {
			<-has
			cancel(errEnough)
		})
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("Do: %v", err)
	}
	end()
	must(t, g.Do(context.Background(), "next", func(context.Context, *Thread) error { return nil }))
	if err := g.Do(ctx, "free", func(context.Context, *Thread) error { return nil }); err != nil {
		t.Errorf("a free GIL, and a context that has ended: %v", err)
	}
}

// A hand-over that meets a cancellation goes on to the next.
func TestCancelMeetsHandOver(t *testing.T) {
	g := new(GIL)
	rounds := 500
	if long {
		rounds = 50_000
	}
	for range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		me := g.Attach("me")
		must(t, me.Acquire(ctx))
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				ctx := ctx
				if i == 2 {
					ctx = context.Background()
				}
				err := g.Do(ctx, "", func(context.Context, *Thread) error { return nil })
				if err != nil && (i == 2 || !errors.Is(err, context.Canceled)) {
					t.Error(err)
				}
			})
		}
		queued(t, g, 3)
		wg.Go(cancel)
		me.Release()
		wg.Wait()
	}
	if g.lock.state.Load() != 0 {
		t.Errorf("left: state %x, %+v", g.lock.state.Load(), g.Stats())
	}
}

// TryAcquire takes what is free, and never waits.
func TestTryAcquire(t *testing.T) {
	g := New(Options{Name: "mine"})
	th := g.Attach("t")
	if !th.TryAcquire() || !th.Holds() || th.Recovered() {
		t.Error("a free GIL is not taken")
	}
	must(t, th.Check(t.Context())) // one that has never called Acquire
	must(t, th.Unlocked(t.Context(), func() {}))
	want := `gil: thread "t" acquires GIL "mine", which it has already`
	if got := panics(t, func() { th.TryAcquire() }); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	th.Release()
	has, end := rival(t, g)
	<-has
	if th.TryAcquire() || th.Holds() || g.Stats().Waits != 0 {
		t.Errorf("of another one's: it has it, or has waited: %+v", g.Stats())
	}
	end()
	if !th.TryAcquire() {
		t.Error("it was released, and is not taken")
	}
	th.Release()
}

// A misuse that is found under the latch leaves it.
func TestMisuseLeavesLatch(t *testing.T) {
	g := new(GIL)
	me := g.Attach("me")
	must(t, me.Acquire(t.Context()))
	other := &waiter{mine: owned(1 << 40), word: cell.At(new(atomic.Uint64))}
	g.lock.join(other)
	me.word.Store(wordWaits) // another goroutine waits with it
	for _, f := range []func(){func() { g.lock.giveWay(&me.waiter) }, func() { g.lock.join(&me.waiter) }} {
		if got := panics(t, f); got != "gil: a Thread is used by two goroutines at once" || g.lock.latch.Load() != 0 {
			t.Errorf("%q; the latch is %d", got, g.lock.latch.Load())
		}
	}
	me.word.Store(0)
	if err := g.lock.settle(other, errEnough, false); err != errEnough {
		t.Error(err)
	}
	me.Release()
}

// panics is the message that f panics with.
func panics(t *testing.T, f func()) (message string) {
	t.Helper()
	defer func() { message, _ = recover().(string) }()
	f()
	t.Error("no panic")
	return ""
}

func TestMisuse(t *testing.T) {
	g := New(Options{Name: "mine"})
	ctx := t.Context()
	th := g.Attach("t")
	for what, f := range map[string]func(){
		"Release":  th.Release,
		"Check":    func() { _ = th.Check(ctx) },
		"Unlocked": func() { _ = th.Unlocked(ctx, func() { t.Error("called") }) },
	} {
		want := `gil: Release by thread "t", which does not have GIL "mine"`
		if what == "Check" {
			want = strings.Replace(want, "Release", what, 1)
		}
		if got := panics(t, f); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	must(t, th.Acquire(ctx))
	want := `gil: thread "t" acquires GIL "mine", which it has already`
	if got := panics(t, func() { _ = th.Acquire(ctx) }); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	want = `gil: thread "" acquires GIL "mine", which it has already`
	want = strings.Replace(want, `thread ""`, fmt.Sprintf("the thread of goroutine %d", th.goroutine), 1)
	if got := panics(t, func() { _ = g.Do(ctx, "", nil) }); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !th.Holds() || th.Name() != "t" {
		t.Error("after misuse it does not have the GIL any more")
	}
	th.Release()
	if got := panics(t, func() { New(Options{SwitchInterval: -1}) }); !strings.HasPrefix(got, "gil: the switch interval is -1ns") {
		t.Errorf("%q", got)
	}
	if new(GIL).SwitchInterval() != DefaultSwitchInterval {
		t.Error("the default is not the interval")
	}
}
