package explore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// What a killed strand's deferred functions do has no effect, and blocks nobody.
func TestKilledForGood(t *testing.T) {
	killed := 0
	res := explore.Exhaust(explore.Options{Kills: 1}, func(w *explore.World) {
		word, other := w.Word("word"), w.Word("other")
		p, q := w.Participant("p"), w.Participant("q").Immortal()
		p.Go("a", func() {
			defer func() {
				defer word.Store(3)
				_ = recover()
				for !other.CompareAndSwap(1, 2) {
					w.Fail("the dead strand goes on")
				}
			}()
			word.Store(1)
			word.Store(2)
			other.Store(1)
			p.Memory().Wake(other, cell.All)
		})
		q.Go("a", func() {
			m := q.Memory()
			for deaths := m.Watch(); m.Alive(p.ID()) && other.Load() == 0; deaths = m.Watch() {
				_ = m.Wait(context.Background(), other, 0, deaths)
			}
		})
		w.Finally(func() error {
			if q.Memory().Alive(p.ID()) {
				return nil
			}
			killed++
			if word.Load() == 3 && other.Load() != 2 {
				return errors.New("a deferred store of the dead")
			}
			return nil
		})
	})
	passed(t, res)
	if killed == 0 {
		t.Error("nobody was killed")
	}
}

// A participant's strands die together; so does its own memory, where deaths wake nobody.
func TestLocal(t *testing.T) {
	gate := func(wake bool) func(*explore.World) {
		return func(w *explore.World) {
			p := w.Participant("p")
			w.Participant("q").Go("a", func() { w.Step("lives") })
			gate, m := p.LocalWord("gate"), p.Local()
			p.Go("a", func() {
				for gate.Load() == 0 {
					_ = m.Wait(context.Background(), gate, 0, m.Watch())
				}
			})
			p.Go("b", func() {
				gate.Store(1)
				if wake {
					m.Wake(gate, 1)
				}
			})
		}
	}
	o := explore.Options{Preemptions: 1, Kills: 1}
	passed(t, explore.Exhaust(o, gate(true)))
	found(t, explore.Exhaust(o, gate(false)), explore.Hang)
	trespass := func(w *explore.World) {
		gate := w.Participant("p").LocalWord("gate")
		w.Participant("q").Go("a", func() { gate.Load() })
	}
	f := found(t, explore.Exhaust(o, trespass), explore.Panic)
	if !strings.Contains(f.Message, "p's own") || f.Stack == "" {
		t.Errorf("the panic of who takes a word that is not its own: %v", f)
	}
}

// Spinning ends, by time if nothing else changes, and is a livelock where it does not.
func TestSpin(t *testing.T) {
	spin := func(release, timed bool) func(*explore.World) {
		return func(w *explore.World) {
			word := w.Word("word")
			p, q := w.Participant("p"), w.Participant("q")
			p.Go("a", func() {
				m := p.Memory()
				for start := m.Now(); !m.Spin(word, 0) && (!timed || m.Now()-start < time.Millisecond); {
				}
			})
			q.Go("a", func() {
				w.Step("works")
				if release {
					word.Store(1)
				}
			})
		}
	}
	o := explore.Options{Preemptions: 1, Jumps: 1}
	passed(t, explore.Exhaust(o, spin(true, false)))
	passed(t, explore.Exhaust(o, spin(false, true)))
	f := found(t, explore.Exhaust(explore.Options{MaxSteps: 50}, spin(false, false)), explore.Livelock)
	if again := found(t, explore.Replay(f.Schedule, spin(false, false)), explore.Livelock); again.Message != f.Message {
		t.Errorf("replayed: %v", again)
	}
}

// Clock jumps happen at every look, or not.
func TestJumps(t *testing.T) {
	seen := make(map[time.Duration]int)
	passed(t, explore.Exhaust(explore.Options{Jumps: 2}, func(w *explore.World) {
		p := w.Participant("p")
		p.Go("a", func() {
			m := p.Memory()
			start := m.Now()
			m.Now()
			seen[m.Now()-start]++
		})
	}))
	if seen[0] != 2 || seen[2*time.Millisecond] != 4 || seen[4*time.Millisecond] != 1 {
		t.Errorf("times seen: %v", seen)
	}
}

func TestExtents(t *testing.T) {
	passed(t, explore.Exhaust(explore.Options{Preemptions: 2}, func(w *explore.World) {
		w.LimitExtents(2)
		link := w.Word("link")
		two(w, func(p *explore.Participant) {
			m := p.Memory()
			if _, ok := m.Extent(7); ok {
				w.Fail("an extent that nobody made")
			}
			e, err := m.Extend()
			if err != nil || e.At(cell.ExtentWords-1).Load() != 0 {
				w.Fail("extent %d: %v", e.Index, err)
			}
			e.At(0).Store(e.Index)
			link.CompareAndSwap(0, e.Index)
			linked, ok := m.Extent(link.Load())
			if !ok || linked.At(0).Load() != linked.Index {
				w.Fail("the linked extent is not whole")
			}
		})
		w.Finally(func() error {
			if _, err := w.Participant("r").Memory().Extend(); err != explore.ErrFull {
				return errors.New("no limit")
			}
			return nil
		})
	}))
}

// Wake takes the longest asleep, or with AnyWake each.
func TestWakeOrder(t *testing.T) {
	for _, anyWake := range []bool{false, true} {
		first := make(map[string]int)
		res := explore.Exhaust(explore.Options{AnyWake: anyWake}, func(w *explore.World) {
			word, log := w.Word("word"), ""
			for _, name := range []string{"p", "q", "r"} {
				p := w.Participant(name)
				p.Serve("a", func() {
					_ = p.Memory().Wait(context.Background(), word, 0, 0)
					log += name
				})
			}
			z := w.Participant("z")
			z.Go("a", func() { z.Memory().Wake(word, 1) })
			w.Finally(func() error { first[log]++; return nil })
		})
		passed(t, res)
		if len(first) < 4 || first[""] == 0 {
			t.Errorf("woken: %v", first)
		}
	}
}

// A strand started by a strand takes part; a server may sleep at the end, and others not.
func TestServe(t *testing.T) {
	passed(t, explore.Exhaust(explore.Options{Preemptions: 2, Kills: 1, Cancels: 1}, func(w *explore.World) {
		word := w.Word("requests")
		p, q := w.Participant("p"), w.Participant("q")
		p.Serve("server", func() {
			ctx, m := p.Context(), p.Memory()
			for m.Wait(ctx, word, uint32(word.Load()), m.Watch()) == nil {
			}
			if ctx.Err() == nil {
				w.Fail("ended, but not cancelled")
			}
		})
		q.Go("a", func() {
			q.Go("b", func() { add(word, true); q.Memory().Wake(word, 1) })
		})
	}))
	f := found(t, explore.Exhaust(explore.Options{}, func(w *explore.World) {
		word, p := w.Word("word"), w.Participant("p")
		p.Go("a", func() { w.Step("") })
		w.Finally(func() error { return p.Memory().Wait(context.Background(), word, 0, 0) })
	}), explore.Final)
	if !strings.Contains(f.Message, "sleep on word") {
		t.Errorf("a check that would sleep: %v", f)
	}
}

// A strand that ends the test ends the search, and leaves nothing behind.
func TestGoexit(t *testing.T) {
	ended := make(chan bool)
	go func() {
		defer close(ended)
		explore.Exhaust(explore.Options{}, func(w *explore.World) {
			two(w, func(*explore.Participant) {
				w.Step("")
				new(testing.T).SkipNow()
			})
		})
		t.Error("the search went on")
	}()
	<-ended
}

func BenchmarkRandom(b *testing.B) {
	steps := 0
	for b.Loop() {
		res := explore.Random(explore.Options{Kills: 1, Runs: 1000}, mutexCase(true))
		steps += res.Steps
	}
	b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
}

func BenchmarkExhaust(b *testing.B) {
	for name, o := range map[string]explore.Options{
		"bounded": {Preemptions: 2, Kills: 1},
		"reduced": {Preemptions: -1, Kills: 1, Reduce: true},
	} {
		b.Run(name, func(b *testing.B) {
			steps := 0
			for b.Loop() {
				steps += explore.Exhaust(o, mutexCase(true)).Steps
			}
			b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
