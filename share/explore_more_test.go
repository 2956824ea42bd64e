package share

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

func TestExploreFlag(t *testing.T) {
	search{
		explore.Options{Preemptions: 3, Kills: 1, Cancels: 1},
		explore.Options{Kills: 1, Cancels: 1, AnyWake: true},
	}.run(t, func(w *explore.World) {
		word := w.Word("event")
		setter := w.Participant("setter").Immortal()
		setter.Go("s", func() {
			f := flag{word, setter.Memory()}
			f.set()
			f.clear() // who waits since before the set must not miss it
			f.set()
		})
		for _, p := range processes(w, 2) {
			f := flag{word, p.Memory()}
			for i := range 2 {
				p.Go(fmt.Sprintf("w%d", i), func() {
					ctx := context.Background()
					if i == 0 {
						ctx = p.Context()
					}
					if err := f.waitSince(ctx, f.word.Load()&flagCounted); err != nil && i > 0 {
						w.Fail("%v", err)
					}
				})
			}
		}
	})
}

// A pulse, set and cleared at once, is seen by everybody who waits already.
func TestExplorePulse(t *testing.T) {
	search{
		explore.Options{Preemptions: 4},
		explore.Options{AnyWake: true},
	}.run(t, func(w *explore.World) {
		word, ready := w.Word("event"), w.Word("ready")
		p, q := w.Participant("p"), w.Participant("q")
		p.Go("waiter", func() {
			f := flag{word, p.Memory()}
			first := f.word.Load() & flagCounted
			ready.Store(1)
			p.Memory().Wake(ready, 1)
			if err := f.waitSince(context.Background(), first); err != nil {
				w.Fail("%v", err)
			}
		})
		q.Go("setter", func() {
			for ready.Load() == 0 {
				_ = q.Memory().Wait(context.Background(), ready, 0, q.Memory().Watch())
			}
			f := flag{word, q.Memory()}
			f.set()
			f.clear()
		})
	})
}

func (p process) permits(made int, words []cell.Word) *permits {
	return newPermits(made, p.Memory(), planted.words(words), p.Local(), p.gates())
}

// permitsCase lets strands acquire some of n permits, and release.
func permitsCase(n, procs, strands int, weights []int64, cancels bool) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("semaphore", objectWords)
		for k, p := range processes(w, procs) {
			s := p.permits(n, words)
			for i := range strands {
				weight := weights[(k*strands+i)%len(weights)]
				p.Go(fmt.Sprintf("s%d", i), func() {
					ctx := context.Background()
					if cancels {
						ctx = p.Context()
					}
					ok, err := s.try(ctx, weight, unbounded)
					if !ok && err == nil {
						err = s.wait(ctx, weight)
					}
					if err != nil {
						if !cancels {
							w.Fail("%v", err)
						}
						return
					}
					var leave []func()
					for range weight {
						leave = append(leave, w.Inside("the semaphore", n))
					}
					w.Step("uses it")
					for _, f := range leave {
						f()
					}
					s.release(weight)
				})
			}
		}
		survivor := w.Participant("survivor").Immortal()
		w.Finally(func() error {
			s := process{survivor}.permits(n, words)
			if got := s.available(); got != int64(n) {
				return fmt.Errorf("%d permits of %d are there", got, n)
			}
			if ok, err := s.try(context.Background(), int64(n), unbounded); !ok || err != nil {
				return fmt.Errorf("they can't be had: %v, %v", ok, err)
			}
			return nil
		})
	}
}

func TestExplorePermits(t *testing.T) {
	t.Run("one permit", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Kills: 1, Jumps: 1},
			explore.Options{Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, permitsCase(1, 2, 1, []int64{1}, false))
	})
	t.Run("goroutines", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 1, Kills: 1, Jumps: 1},
			explore.Options{Kills: 1, Jumps: 3, AnyWake: true},
		}.run(t, permitsCase(1, 2, 2, []int64{1}, false))
	})
	t.Run("weights", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 1, Kills: 1, Jumps: 2},
			explore.Options{Kills: 2, Jumps: 3, AnyWake: true},
		}.run(t, permitsCase(2, 3, 1, []int64{1, 2, 1}, false))
	})
	t.Run("cancelled", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 1, Kills: 1, Cancels: 1, Jumps: 2},
			explore.Options{Kills: 1, Cancels: 2, Jumps: 3, AnyWake: true},
		}.run(t, permitsCase(2, 3, 1, []int64{2, 1, 2}, true))
	})
}

// belowCase lets one strand of each participant acquire a permit of plenty below a bound of its own.
func belowCase(bounds ...int64) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("semaphore", objectWords)
		most := int(slices.Max(bounds))
		for k, p := range processes(w, len(bounds)) {
			s := p.permits(1000, words)
			p.Go("s", func() {
				ctx := context.Background()
				ok, err := s.try(ctx, 1, bounds[k])
				if !ok && err == nil {
					err = s.waitBelow(ctx, bounds[k])
				}
				if err != nil {
					w.Fail("%v", err)
				}
				leave := w.Inside("the semaphore", most)
				w.Step("uses it")
				leave()
				s.release(1)
			})
		}
		survivor := w.Participant("survivor").Immortal()
		w.Finally(func() error {
			if ok, err := (process{survivor}).permits(1000, words).try(context.Background(), 1, 1); !ok || err != nil {
				return fmt.Errorf("a permit is held: %v, %v", ok, err)
			}
			return nil
		})
	}
}

// Each judges by its own bound, whoever dies, and nobody sleeps on.
func TestExplorePermitsBelow(t *testing.T) {
	for _, bounds := range [][]int64{{1, 1}, {1, 2}, {2, 2, 2}, {1, 2, 1}} {
		t.Run(fmt.Sprint(bounds), func(t *testing.T) {
			search{
				explore.Options{Preemptions: 1, Kills: 1},
				explore.Options{Kills: 1, Jumps: 2, AnyWake: true},
			}.run(t, belowCase(bounds...))
		})
	}
}

// Posted permits are as good as those that were there, and consumed ones never return.
func TestExplorePost(t *testing.T) {
	search{
		explore.Options{Preemptions: 2, Kills: 1},
		explore.Options{Kills: 1, AnyWake: true},
	}.run(t, func(w *explore.World) {
		words := w.Words("semaphore", objectWords)
		all := processes(w, 2)
		poster, taker := all[0], all[1]
		poster.Immortal()
		poster.Go("poster", func() {
			s := poster.permits(0, words)
			s.post(1)
			s.post(1)
		})
		consumed := false
		taker.Go("taker", func() {
			s := taker.permits(0, words)
			ctx := context.Background()
			if err := s.wait(ctx, 2); err != nil {
				w.Fail("%v", err)
			}
			if err := s.consume(ctx, 2); err != nil {
				w.Fail("%v", err)
			}
			consumed = true
		})
		w.Finally(func() error {
			got := poster.permits(0, words).available()
			if got != 0 && (got != 2 || consumed) {
				return fmt.Errorf("%d permits are there, consumed: %v", got, consumed)
			}
			return nil
		})
	})
}

func (p process) waitlist(words []cell.Word) *waitlist {
	gates := p.gates()
	return newWaitlist(p.Memory(), planted.words(words), p.Local(), [3]cell.Word{gates[0], gates[1], p.LocalWord("drained")})
}

// Everybody who waits is notified, by as many notifications as there are waiters who live.
func TestExploreWaitlist(t *testing.T) {
	t.Run("each once", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Cancels: 1},
			explore.Options{Cancels: 2, AnyWake: true},
		}.run(t, notifyCase(1, 2))
	})
	t.Run("goroutines", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 1, Cancels: 1},
			explore.Options{Cancels: 2, AnyWake: true},
		}.run(t, notifyCase(2, 2))
	})
	t.Run("late", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 3, Cancels: 1},
			explore.Options{Cancels: 2, AnyWake: true},
		}.run(t, lateCase)
	})
	t.Run("deaths", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Kills: 1},
			explore.Options{Kills: 2, Cancels: 1, AnyWake: true},
		}.run(t, swallowCase)
	})
}

// lateCase: all who wait are notified. One that begins to wait after that, in the same
// process, must not take what was given to those before.
func lateCase(w *explore.World) {
	words, changed := w.Words("condition", objectWords), w.Word("changed")
	all := processes(w, 2)
	p, n := all[0], all[1]
	m := p.mutex(w.Words("lock", mutexWords)) // one lock, of which only p's strands need to see the gate
	l := p.waitlist(words)
	ctx := context.Background()
	for _, early := range []string{"e", "f"} {
		e, err := l.join(ctx)
		if err != nil {
			w.Fail("%v", err)
		}
		p.Go(early, func() {
			if err := l.wait(ctx, e); err != nil {
				w.Fail("%v", err)
			}
		})
	}
	n.Go("n", func() {
		n.waitlist(words).notify(2)
		changed.Store(1)
		n.Memory().Wake(changed, cell.All)
	})
	p.Serve("late", func() {
		for changed.Load() == 0 {
			_ = p.Memory().Wait(ctx, changed, 0, p.Memory().Watch())
		}
		g, err := m.lock(ctx)
		if err != nil {
			w.Fail("%v", err)
		}
		ctx := p.Context()
		e, err := l.join(ctx)
		m.unlock(g.token, false)
		if err == nil {
			_ = l.wait(ctx, e)
		}
	})
}

// swallowCase: one notification for three waiters of which two may die. Whoever dies
// with it must not take it along.
func swallowCase(w *explore.World) {
	words := w.Words("condition", objectWords)
	all := processes(w, 3)
	all[2].Immortal()
	woke := 0
	for _, p := range all {
		seen := words
		if p != all[2] { // killed after it took the notification it has had it
			seen = spied(words, func(_ int, old, new uint64) {
				if notified(new) < notified(old) {
					woke++
				}
			})
		}
		l := p.waitlist(seen)
		e, err := l.join(context.Background())
		if err != nil {
			w.Fail("%v", err)
		}
		ctx := context.Background()
		if p != all[2] {
			ctx = p.Context()
		}
		p.Serve("w", func() {
			if l.wait(ctx, e) == nil {
				woke++
			}
		})
	}
	n := process{w.Participant("notifier")}
	given := 0
	n.Go("n", func() { given = n.waitlist(words).notify(1) })
	w.Finally(func() error {
		if given > 0 && woke == 0 {
			return errors.New("the notification went to nobody")
		}
		return nil
	})
}

// spy is words whose changes are told.
type spy struct {
	cell.Word
	i      int
	change func(i int, old, new uint64)
}

func spied(words []cell.Word, change func(i int, old, new uint64)) []cell.Word {
	all := make([]cell.Word, len(words))
	for i, w := range words {
		all[i] = cell.Simulated(w.Pointer(), spy{w, i, change})
	}
	return all
}

func (s spy) Load(*atomic.Uint64) uint64       { return s.Word.Load() }
func (s spy) Store(_ *atomic.Uint64, v uint64) { s.Word.Store(v) }
func (s spy) CompareAndSwap(_ *atomic.Uint64, old, new uint64) bool {
	ok := s.Word.CompareAndSwap(old, new)
	if ok {
		s.change(s.i, old, new)
	}
	return ok
}

// count adds one, by operations.
func count(w cell.Word) {
	for {
		v := w.Load()
		if w.CompareAndSwap(v, v+1) {
			return
		}
	}
}

// notifyCase: all have joined, then one notification is given, and whoever gets it, or is
// cancelled, gives another. So if any is lost, somebody sleeps for ever.
func notifyCase(strands, procs int) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("condition", objectWords)
		for _, p := range processes(w, procs) {
			l := p.waitlist(words)
			for i := range strands {
				e, err := l.join(context.Background()) // direct: before the schedule
				if err != nil {
					w.Fail("%v", err)
				}
				p.Go(fmt.Sprintf("w%d", i), func() {
					ctx := context.Background()
					if i == 0 {
						ctx = p.Context()
					}
					if l.wait(ctx, e) == nil {
						l.notify(1)
					}
				})
			}
		}
		n := process{w.Participant("notifier")}
		n.Go("n", func() { n.waitlist(words).notify(1) })
	}
}
