package share

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

func (p process) rendezvous(parties int, words []cell.Word) *rendezvous {
	return newRendezvous(parties, p.Memory(), planted.words(words), p.Local(), p.LocalWord("gate"))
}

// Nobody leaves before all have come; and when one dies, all who live learn that it broke.
func TestExploreRendezvous(t *testing.T) {
	body := func(procs, strands, rounds int, action, cancels bool) func(*explore.World) {
		return func(w *explore.World) {
			words, come := w.Words("barrier", objectWords), w.Word("come")
			parties := procs * strands
			var act func(context.Context) error
			if action {
				act = func(context.Context) error {
					w.Step("acts")
					return nil
				}
			}
			for _, p := range processes(w, procs) {
				r := p.rendezvous(parties, words)
				for i := range strands {
					p.Go(fmt.Sprintf("s%d", i), func() {
						ctx := context.Background()
						if cancels {
							ctx = p.Context()
						}
						for round := range rounds {
							count(come)
							_, err := r.wait(ctx, act)
							if err != nil {
								return
							}
							if n := come.Load(); n < uint64((round+1)*parties) {
								w.Fail("left in round %d when %d had come", round, n)
							}
						}
					})
				}
			}
		}
	}
	t.Run("two", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 3},
			explore.Options{AnyWake: true},
		}.run(t, body(2, 1, 3, false, false))
	})
	t.Run("action", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 3},
			explore.Options{AnyWake: true},
		}.run(t, body(2, 1, 2, true, false))
	})
	t.Run("goroutines", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2},
			explore.Options{AnyWake: true},
		}.run(t, body(2, 2, 2, false, false))
	})
	t.Run("cancelled", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 1, Cancels: 1},
			explore.Options{Cancels: 1, AnyWake: true},
		}.run(t, body(3, 1, 1, true, true))
	})
	for name, last := range map[string]bool{"a party dies": false, "the last one dies in its action": true} {
		t.Run(name, func(t *testing.T) {
			search{
				explore.Options{Preemptions: 3, Kills: 1},
				explore.Options{Kills: 1, AnyWake: true},
			}.run(t, partyDies(last))
		})
	}
}

// partyDies: one party has arrived and may die, as the last one in its action or as one
// that waits. The others must not wait for ever.
func partyDies(last bool) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("barrier", objectWords)
		all := processes(w, 3)
		ctx := context.Background()
		arrive := func(p process) (*rendezvous, uint64) {
			r := p.rendezvous(3, words)
			_, state, err := r.arrive(ctx, last) // direct: before the schedule
			if err != nil {
				w.Fail("%v", err)
			}
			return r, number(state)
		}
		for _, p := range all[1:] {
			p.Immortal()
		}
		if last {
			for _, p := range all[1:] {
				r, gen := arrive(p)
				p.Go("w", func() { _ = r.await(ctx, gen) })
			}
			r, gen := arrive(all[0])
			all[0].Go("a", func() {
				_ = r.conclude(ctx, gen, func(context.Context) error {
					w.Step("acts")
					return nil
				})
			})
			return
		}
		for _, p := range all[:2] {
			r, gen := arrive(p)
			p.Go("w", func() { _ = r.await(ctx, gen) })
		}
		all[2].Go("l", func() { _, _ = all[2].rendezvous(3, words).wait(ctx, nil) })
	}
}

// A reset tells all who wait, and nobody else.
func TestExploreReset(t *testing.T) {
	search{
		explore.Options{Preemptions: 3},
		explore.Options{AnyWake: true},
	}.run(t, func(w *explore.World) {
		words := w.Words("barrier", objectWords)
		all := processes(w, 3)
		ended := 0
		for _, p := range all[:2] {
			r := p.rendezvous(2, words)
			p.Go("s", func() {
				for {
					_, err := r.wait(context.Background(), nil)
					if err == nil {
						ended++
						return
					}
					if !errors.Is(err, errBroken) {
						w.Fail("%v", err)
					}
				}
			})
		}
		all[2].Go("resets", func() {
			if err := all[2].rendezvous(2, words).reset(context.Background()); err != nil {
				w.Fail("%v", err)
			}
		})
		w.Finally(func() error {
			if ended != 2 {
				return fmt.Errorf("%d of 2 met", ended)
			}
			return nil
		})
	})
}
