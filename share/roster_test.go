package share

import (
	"context"
	"errors"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// lone is a heap of which one participant lives. It has an ID of its own.
type lone struct {
	*cell.Heap
	id cell.ID
}

func (m lone) Self() cell.ID         { return m.id }
func (m lone) Alive(id cell.ID) bool { return id == m.id }

// lives gives life to one participant after the other, in different slots.
func lives(n int, live func(i int, m cell.Extender, gates [3]cell.Word)) {
	heap := new(cell.Heap)
	for i := range n {
		slots := 1 << cell.SlotBits
		gate := new(space).gateWord
		live(i, lone{heap, cell.MakeID(i%slots, 1+uint32(i/slots))}, [3]cell.Word{gate(), gate(), gate()})
	}
}

// However many have taken part, and whatever they left, there is room for another.
func TestRosterOfTheDead(t *testing.T) {
	const n = 3000
	ctx := context.Background()
	newWords := func(k kind) []cell.Word {
		words, _, _ := (&heapStore{}).words(k, "x", none)
		return words
	}
	for name, releases := range map[string]bool{"released": true, "held": false} {
		t.Run(name, func(t *testing.T) {
			words := newWords(kindSemaphore)
			lives(n, func(i int, m cell.Extender, gates [3]cell.Word) {
				p := newPermits(10*n, m, words, m, [2]cell.Word(gates[:]))
				if ok, err := p.try(ctx, 2, unbounded); !ok || err != nil {
					t.Fatalf("participant %d: %v, %v", i, ok, err)
				}
				if releases {
					p.release(2)
				}
				if size := len(p.roster.entries()); size != len(words[7:]) {
					t.Fatalf("participant %d: %d entries for one that lives", i, size)
				}
			})
		})
	}
	for name, leaves := range map[string]bool{"left": true, "waiting": false} {
		t.Run(name, func(t *testing.T) {
			words := newWords(kindCondition)
			lives(n, func(i int, m cell.Extender, gates [3]cell.Word) {
				l := newWaitlist(m, words, m, gates)
				w, err := l.join(ctx)
				if err != nil {
					t.Fatalf("participant %d: %v", i, err)
				}
				if leaves {
					l.leave(w)
				}
			})
		})
	}
	t.Run("met", func(t *testing.T) {
		words := newWords(kindBarrier)
		lives(n, func(i int, m cell.Extender, gates [3]cell.Word) {
			r := newRendezvous(1, m, words, m, gates[0])
			if _, err := r.wait(ctx, func(context.Context) error { return nil }); err != nil {
				t.Fatalf("participant %d: %v", i, err)
			}
		})
	})
}

// What the dead leave and others need is not taken over.
func TestRosterKeeps(t *testing.T) {
	ctx := context.Background()
	words, _, _ := (&heapStore{}).words(kindCondition, "c", none)
	n := len(words[4:])
	lives(n+2, func(i int, m cell.Extender, gates [3]cell.Word) {
		l := newWaitlist(m, words, m, gates)
		if _, err := l.join(ctx); err != nil {
			t.Fatal(err)
		}
		if i < n {
			if l.notify(1) != 1 {
				t.Fatal("nobody was notified")
			}
			return // notified, and dies
		}
		if i == n {
			for _, w := range words[4:] {
				if pending(w.Load()) != 1 {
					t.Error("a notification is gone with its entry")
				}
			}
			return
		}
		// All go to the one that lives, who waits once, and the rest is nobody's.
		w, _ := l.roster.hasMine()
		if err := l.wait(ctx, w); err != nil {
			t.Error(err)
		}
	})
	words, _, _ = (&heapStore{}).words(kindBarrier, "b", none)
	parties := len(words[6:]) + 2
	lives(parties-1, func(i int, m cell.Extender, gates [3]cell.Word) {
		r := newRendezvous(parties, m, words, m, gates[0])
		index, _, err := r.arrive(ctx, false)
		if err != nil || index != i {
			t.Fatalf("party %d arrives as %d, %v", i, index, err)
		}
		if i == parties-2 {
			if err := r.await(ctx, 0); !errors.Is(err, errBroken) {
				t.Errorf("the others are dead: %v", err)
			}
		}
	})
}

// heirCase: one waits, in the only entry, and may die; it is given a notification. Another one
// comes meanwhile, and takes over the entry of the dead, or a new one. The notification must not
// go with the entry.
func heirCase(w *explore.World) {
	words := w.Words("condition", objectWords)[:5]
	both := processes(w, 2)
	both[1].Immortal()
	woke, ctx := 0, context.Background()
	l := both[0].waitlist(spied(words, func(_ int, old, new uint64) {
		if owner(old) == owner(new) && notified(new) < notified(old) {
			woke++
		}
	}))
	e, err := l.join(ctx)
	if err != nil {
		w.Fail("%v", err)
	}
	both[0].Serve("w", func() { _ = l.wait(ctx, e) })
	late := both[1].waitlist(words)
	both[1].Serve("late", func() {
		e, err := late.join(ctx)
		if err == nil {
			err = late.wait(ctx, e)
		}
		if err != nil {
			w.Fail("%v", err)
		}
		woke++
	})
	n := process{w.Participant("notifier")}
	n.Immortal()
	given := 0
	n.Go("n", func() { given = n.waitlist(words).notify(1) })
	w.Finally(func() error {
		if given > 0 && woke == 0 {
			return errors.New("the notification went to nobody")
		}
		return nil
	})
}

func TestExploreHeir(t *testing.T) {
	search{
		explore.Options{Preemptions: 3, Kills: 1},
		explore.Options{Kills: 1, AnyWake: true},
	}.run(t, heirCase)
}
