package share

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
)

// Nobody leaves before all have come, each has an index of its own, the action is run once
// each time, by the last.
func TestBarrier(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		const parties, rounds = 5, 1000
		ctx, acted := bounded(t), 0
		b := must(s.Barrier("b", parties, func(context.Context) error { acted++; return nil }))
		var come atomic.Int32
		seen := make([][parties]atomic.Int32, rounds)
		all(parties, func(int) {
			for round := range rounds {
				come.Add(1)
				i := must(b.Wait(ctx))
				if int(come.Load()) < (round+1)*parties || acted < round+1 {
					t.Errorf("left in round %d when %d had come, after %d actions", round, come.Load(), acted)
				}
				seen[round][i].Add(1)
			}
		})
		for round := range seen {
			for i := range seen[round] {
				if n := seen[round][i].Load(); n != 1 {
					t.Fatalf("%d had index %d in round %d", n, i, round)
				}
			}
		}
		if acted != rounds || b.Waiting() != 0 || b.Broken() || b.Parties() != parties {
			t.Errorf("%d actions, %d wait, broken %v, %d parties", acted, b.Waiting(), b.Broken(), b.Parties())
		}
	})
}

// More goroutines than parties meet in several groups.
func TestBarrierMore(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		for _, action := range []func(context.Context) error{nil, func(context.Context) error { runtime.Gosched(); return nil }} {
			b, ctx := must(s.Barrier("b", 3, action)), bounded(t)
			var index [3]atomic.Int32
			var arrivals atomic.Int32
			all(30, func(int) {
				for arrivals.Add(1) <= 1500 { // two may be left waiting, and 28 go on
					index[must(b.Wait(ctx))].Add(1)
				}
			})
			for i := range index {
				if n := index[i].Load(); n != 500 {
					t.Errorf("%d times index %d", n, i)
				}
			}
		}
	})
}

// atBarrier has n wait, and returns their errors when they are done.
func atBarrier(t *testing.T, b *Barrier, n int) (errs func() []error) {
	t.Helper()
	ctx, got := bounded(t), make([]error, n)
	w := start(func() { all(n, func(i int) { _, got[i] = b.Wait(ctx) }) })
	eventually(t, "they wait", func() bool { return b.Waiting() == n })
	asleep(t, n, "(*Barrier).Wait")
	return func() []error {
		w()
		return got
	}
}

// allBroken checks that a barrier has broken for all.
func allBroken(t *testing.T, b *Barrier, errs []error) {
	t.Helper()
	for _, err := range errs {
		if !errors.Is(err, ErrBrokenBarrier) {
			t.Errorf("%v, want a broken barrier", err)
		}
		contains(t, err, "share: wait at barrier")
	}
}

// meets checks that a barrier of 3 is as good as new.
func meets(t *testing.T, b *Barrier) {
	t.Helper()
	ctx := bounded(t)
	all(3, func(int) {
		if _, err := b.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestBarrierBreaks(t *testing.T) {
	cause := errors.New("the cause")
	ways := map[string]func(t *testing.T, b *Barrier) error{
		"abort": func(t *testing.T, b *Barrier) error { return b.Abort() },
		"the action fails": func(t *testing.T, b *Barrier) error {
			_, err := b.WithAction(func(context.Context) error { return cause }).Wait(bounded(t))
			if !errors.Is(err, ErrBrokenBarrier) || !errors.Is(err, cause) {
				t.Errorf("%v", err)
			}
			return nil
		},
		"the action panics": func(t *testing.T, b *Barrier) error {
			contains(t, panics(t, func() {
				_, _ = b.WithAction(func(context.Context) error { panic("a bad action") }).Wait(bounded(t))
			}), "a bad action")
			return nil
		},
		"the action ends its goroutine": func(t *testing.T, b *Barrier) error {
			start(func() {
				_, _ = b.WithAction(func(context.Context) error { runtime.Goexit(); return nil }).Wait(bounded(t))
			})()
			return nil
		},
		"comes with a context that has ended": func(t *testing.T, b *Barrier) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			if _, err := b.Wait(ctx); !errors.Is(err, ErrBrokenBarrier) || !errors.Is(err, cause) {
				t.Errorf("%v", err)
			}
			return nil
		},
	}
	for way, breaks := range ways {
		t.Run(way, func(t *testing.T) {
			onEach(t, func(t *testing.T, s *Space) {
				b := must(s.Barrier("b", 3, nil))
				errs := atBarrier(t, b, 2)
				if err := breaks(t, b); err != nil {
					t.Error(err)
				}
				allBroken(t, b, errs())
				if _, err := b.Wait(t.Context()); !errors.Is(err, ErrBrokenBarrier) || !b.Broken() || b.Waiting() != 0 {
					t.Errorf("broken: %v, %d wait, and who comes gets %v", b.Broken(), b.Waiting(), err)
				}
				if err := b.Reset(); err != nil || b.Broken() {
					t.Errorf("%v, broken after a reset: %v", err, b.Broken())
				}
				meets(t, b)
			})
		})
	}
}

// The context of one ends while they wait.
func TestBarrierCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", 3, nil))
		givesUp(t, map[string]waitFunc{"wait": func(ctx context.Context) error {
			if err := b.Reset(); err != nil {
				t.Error(err)
			}
			_, err := b.Wait(ctx)
			if !errors.Is(err, ErrBrokenBarrier) {
				t.Errorf("%v is no broken barrier", err)
			}
			return err
		}}, "(*Barrier).Wait")
	})
}

func TestBarrierReset(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", 3, nil))
		errs := atBarrier(t, b, 2)
		if err := b.Reset(); err != nil {
			t.Error(err)
		}
		allBroken(t, b, errs())
		meets(t, b)
	})
}

// A reset while the action runs breaks that meeting.
func TestBarrierResetInAction(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		b := must(s.Barrier("b", 3, nil))
		errs := atBarrier(t, b, 2)
		_, err := b.WithAction(func(context.Context) error { return b.Reset() }).Wait(bounded(t))
		allBroken(t, b, append(errs(), err))
		meets(t, b)
	})
}
