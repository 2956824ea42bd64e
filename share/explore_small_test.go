package share

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// exhausted explores a small case: every interleaving within the options was run.
func exhausted(t *testing.T, o explore.Options, body func(*explore.World)) {
	t.Helper()
	o.MaxRuns = 2_000_000
	if raceDetector {
		o.Preemptions = min(o.Preemptions, 1)
	}
	res := explore.Exhaust(o, body)
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", res)
	if !res.Exhausted {
		t.Error("not exhausted: make the case smaller, or allow more runs")
	}
}

// tryTwo: two strands of two participants try a mutex, and release it.
func tryTwo(w *explore.World) {
	words := w.Words("mutex", mutexWords)
	for _, p := range processes(w, 2) {
		m := p.mutex(words)
		p.Go("s", func() {
			if g, ok := m.try(); ok {
				w.Inside("the lock", 1)()
				if !m.unlock(g.token, false) {
					w.Fail("not held any more")
				}
			}
		})
	}
}

// lockTwo: two strands of two participants wait for a mutex.
func lockTwo(w *explore.World) { mutexCase(2, 1, 1, false)(w) }

func TestExhaust(t *testing.T) {
	cases := []struct {
		name string
		o    explore.Options
		body func(*explore.World)
	}{
		{"try a mutex, in all ways", explore.Options{Preemptions: -1, Reduce: true, Kills: 1}, tryTwo},
		{"wait for a mutex, in all ways", explore.Options{Preemptions: -1, Reduce: true, Kills: 1}, lockTwo},
		{"wait for a mutex", explore.Options{Preemptions: 3, Kills: 1}, lockTwo},
		{"be handed a mutex", explore.Options{Preemptions: 2, Kills: 1, Jumps: 2, AnyWake: true}, lockTwo},
		{"give up a mutex", explore.Options{Preemptions: 2, Kills: 1, Cancels: 1}, mutexCase(2, 1, 1, true)},
		{"a gate", explore.Options{Preemptions: -1, Reduce: true, Cancels: 1}, gateTwo},
		{"a flag, in all ways", explore.Options{Preemptions: -1, Reduce: true, Kills: 1}, flagTwo},
		{"a permit", explore.Options{Preemptions: 2, Kills: 1}, permitsCase(1, 2, 1, []int64{1}, false)},
		{"a permit that is posted", explore.Options{Preemptions: 3, Kills: 1}, postTwo},
		{"a notification", explore.Options{Preemptions: 2, Kills: 1}, notifyTwo},
		{"a meeting", explore.Options{Preemptions: 2, Kills: 1}, meetTwo},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { exhausted(t, c.o, c.body) })
	}
}

// gateTwo: two goroutines want a gate; one may give up.
func gateTwo(w *explore.World) {
	p := process{w.Participant("p")}
	g := gate{p.LocalWord("gate"), p.Local()}
	for i := range 2 {
		ctx := context.Background()
		if i == 1 {
			ctx = p.Context()
		}
		p.Go(fmt.Sprintf("g%d", i), func() {
			if g.enter(ctx) == nil {
				w.Inside("the gate", 1)()
				g.leave()
			}
		})
	}
	w.Finally(func() error {
		if v := g.word.Load(); v != 0 {
			return fmt.Errorf("the gate is left at %x", v)
		}
		return nil
	})
}

// flagTwo: one waits, another sets and clears, and may die after that.
func flagTwo(w *explore.World) {
	word := w.Word("event")
	p, q := process{w.Participant("p").Immortal()}, process{w.Participant("q")}
	word = planted.words([]cell.Word{word})[0]
	f := flag{word, p.Memory()}
	p.Serve("waiter", func() {
		if err := f.waitSince(context.Background(), f.word.Load()&flagCounted); err != nil {
			w.Fail("%v", err)
		}
	})
	q.Go("setter", func() {
		f := flag{word, q.Memory()}
		f.set()
		f.clear()
	})
}

// postTwo: one waits for a permit that another posts.
func postTwo(w *explore.World) {
	words := w.Words("semaphore", objectWords)
	both := processes(w, 2)
	both[1].Immortal()
	both[0].Go("takes", func() {
		s := both[0].permits(0, words)
		if err := s.wait(context.Background(), 1); err != nil {
			w.Fail("%v", err)
		}
		s.release(1)
	})
	both[1].Go("posts", func() { both[1].permits(0, words).post(1) })
	w.Finally(func() error {
		if n := both[1].permits(0, words).available(); n != 1 {
			return fmt.Errorf("%d permits are there, not 1", n)
		}
		return nil
	})
}

// notifyTwo: one of two waits, and may die; the notifier gives two notifications.
func notifyTwo(w *explore.World) {
	words := w.Words("condition", objectWords)
	both := processes(w, 2)
	l := both[0].waitlist(words)
	e, err := l.join(context.Background())
	if err != nil {
		w.Fail("%v", err)
	}
	both[0].Go("w", func() {
		if err := l.wait(context.Background(), e); err != nil {
			w.Fail("%v", err)
		}
	})
	both[1].Immortal()
	both[1].Go("n", func() {
		n := both[1].waitlist(words)
		if k := n.notify(1) + n.notify(1); k > 1 {
			w.Fail("one waits, %d were notified", k)
		}
	})
}

// meetTwo: two parties, of which one may die.
func meetTwo(w *explore.World) {
	words := w.Words("barrier", objectWords)
	both := processes(w, 2)
	both[0].Immortal()
	arrived := w.Word("the other one has arrived")
	r := both[0].rendezvous(2, words)
	both[0].Serve("a", func() {
		if _, err := r.wait(context.Background(), nil); err != nil && !errors.Is(err, errBroken) {
			w.Fail("%v", err)
		} else if err == nil && arrived.Load() == 0 {
			w.Fail("met nobody")
		}
	})
	other := both[1].rendezvous(2, words)
	both[1].Go("b", func() {
		arrived.Store(1)
		_, _ = other.wait(context.Background(), nil)
	})
}
