package share

import (
	"context"
	"fmt"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// search explores a case: in all ways with few preemptions, then by chance. The long mode
// goes further.
type search struct {
	exhaust explore.Options
	random  explore.Options
}

func (s search) run(t *testing.T, body func(*explore.World)) {
	t.Helper()
	if s.exhaust.MaxRuns == 0 {
		s.exhaust.MaxRuns, s.random.Runs = 20_000, 5_000
	}
	if long {
		s.exhaust.MaxRuns *= 40
		s.exhaust.Preemptions++
		s.random.Runs *= 40
	}
	if raceDetector { // one strand runs at a time: there is little for it to see
		s.exhaust.MaxRuns /= 20
		s.random.Runs /= 10
	}
	res := explore.Exhaust(s.exhaust, body)
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", res)
	res = explore.Random(s.random, body)
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", res)
}

// process is a participant with the gates of its handles.
type process struct{ *explore.Participant }

func (p process) mutex(words []cell.Word) mutex {
	return newMutex(p.Memory(), planted.words(words), p.Local(), p.LocalWord("gate"))
}

// Memory, Local and LocalWord are the participant's, with the fault that is planted, if any.
func (p process) Memory() cell.Extender { return planted.inMemory(p.Participant.Memory()) }
func (p process) Local() cell.Extender  { return planted.inLocal(p.Participant.Local()) }
func (p process) LocalWord(name string) cell.Word {
	return planted.inLocalWord(p.Participant.LocalWord(name))
}

func (p process) gates() [2]cell.Word {
	return [2]cell.Word{p.LocalWord("latch's gate"), p.LocalWord("gate")}
}

// processes makes n participants.
func processes(w *explore.World, n int) (all []process) {
	for i := range n {
		all = append(all, process{w.Participant(fmt.Sprintf("p%d", i))})
	}
	return all
}

func TestExploreGate(t *testing.T) {
	search{
		explore.Options{Preemptions: 3, Cancels: 1},
		explore.Options{Cancels: 2},
	}.run(t, func(w *explore.World) {
		p := process{w.Participant("p")}
		g := gate{p.LocalWord("gate"), p.Local()}
		for i := range 3 {
			p.Go(fmt.Sprintf("g%d", i), func() {
				ctx := context.Background()
				if i == 1 {
					ctx = p.Context()
				}
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
	})
}

// ownership checks what owners of a lock see: tokens grow, and who follows one that died
// inside is told.
type ownership struct {
	w      *explore.World
	last   uint64
	inside bool
}

func (h *ownership) enter(g grant) {
	if g.token <= h.last {
		h.w.Fail("token %d after %d", g.token, h.last)
	}
	h.last = g.token
	if h.inside && !g.recovered {
		h.w.Fail("the one before died inside, and the next is not told")
	}
	h.inside = true
}

func (h *ownership) leave() { h.inside = false }

// use locks, enters, leaves, unlocks.
func use(w *explore.World, m *mutex, ctx context.Context, h *ownership) error {
	g, err := m.lock(ctx)
	if err != nil {
		return err
	}
	leave := w.Inside("the lock", 1)
	h.enter(g)
	leave()
	h.leave()
	if !m.unlock(g.token, false) {
		w.Fail("not held any more")
	}
	return nil
}

func mutexCase(procs, strands, rounds int, cancels bool) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("mutex", mutexWords)
		h := &ownership{w: w}
		for _, p := range processes(w, procs) {
			m := p.mutex(words)
			for i := range strands {
				p.Go(fmt.Sprintf("s%d", i), func() {
					for range rounds {
						ctx := context.Background()
						if cancels {
							ctx = p.Context()
						}
						if err := use(w, &m, ctx, h); err != nil && !cancels {
							w.Fail("%v", err)
						}
					}
				})
			}
		}
		survivor := w.Participant("survivor").Immortal()
		w.Finally(func() error {
			m := process{survivor}.mutex(words)
			g, ok := m.try()
			if !ok {
				return fmt.Errorf("the lock is left at %x", words[0].Load())
			}
			if g.token <= h.last {
				return fmt.Errorf("token %d after %d", g.token, h.last)
			}
			return nil
		})
	}
}

func TestExploreMutex(t *testing.T) {
	t.Run("two", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 3, Kills: 1, Jumps: 1},
			explore.Options{Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, mutexCase(2, 1, 2, false))
	})
	t.Run("three", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Kills: 1, Jumps: 2},
			explore.Options{Kills: 2, Jumps: 4, AnyWake: true},
		}.run(t, mutexCase(3, 1, 1, false))
	})
	t.Run("goroutines", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Kills: 1, Jumps: 1},
			explore.Options{Kills: 1, Jumps: 3, AnyWake: true},
		}.run(t, mutexCase(2, 2, 1, false))
	})
	t.Run("cancelled", func(t *testing.T) {
		search{
			explore.Options{Preemptions: 2, Kills: 1, Cancels: 1, Jumps: 1},
			explore.Options{Kills: 1, Cancels: 3, Jumps: 4, AnyWake: true},
		}.run(t, mutexCase(3, 1, 1, true))
	})
}
