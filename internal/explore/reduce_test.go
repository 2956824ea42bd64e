package explore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/brood-go/brood/internal/cell"
)

// program is a case made by chance: for each strand, what it does.
type program [][]instruction

// instruction is one operation, on a word, with operands.
type instruction struct{ op, word, a, b int }

func randomProgram(rng *rand.Rand) program {
	p := make(program, 2+rng.IntN(2))
	for i := range p {
		p[i] = make([]instruction, 4-len(p)+rng.IntN(2))
		for j := range p[i] {
			p[i][j] = instruction{rng.IntN(12), rng.IntN(2), rng.IntN(2) * rng.IntN(2), rng.IntN(3)}
		}
	}
	return p
}

// do does an instruction for a strand, and returns what the strand learned.
func (in instruction) do(w *World, p, other *Participant, ctx context.Context, words []cell.Word) string {
	x, m := words[in.word], p.Memory()
	switch in.op {
	case 0:
		return fmt.Sprint(x.Load())
	case 1:
		x.Store(uint64(in.b))
	case 2, 3:
		return fmt.Sprint(x.CompareAndSwap(uint64(in.a), uint64(in.b)))
	case 4, 10, 11:
		return fmt.Sprint(m.Wait(ctx, x, uint32(in.a), 0))
	case 5, 6:
		m.Wake(x, 1)
	case 7:
		return fmt.Sprint(m.Alive(other.ID()))
	case 8:
		return fmt.Sprint(m.Now())
	case 9:
		w.Inside("section", 2)()
		e, _ := m.Extend()
		return fmt.Sprint(e.Index)
	}
	return ""
}

// outcomes runs the program in every way, and collects how the runs end: what the
// strands learned, what the words are, who was killed at work.
func (p program) outcomes(w *World, participants int, picker picker) map[string]bool {
	all := make(map[string]bool)
	w.picker = picker
	for more := true; more; more = picker.backtrack() {
		var outcome func() string
		w.run(func(w *World) {
			words, logs := w.Words("x", 2), make([]string, len(p))
			ps := []*Participant{w.Participant("p"), w.Participant("q"), w.Participant("r")}[:participants]
			for i, code := range p {
				j := i % participants
				ctx := ps[j].Context()
				ps[j].Go(fmt.Sprint("s", i), func() {
					for _, in := range code {
						logs[i] += in.do(w, ps[j], ps[(j+1)%participants], ctx, words) + ","
					}
				})
			}
			outcome = func() string {
				cut := 0 // who died at work: the death of others is in the logs, or nobody saw it
				for _, s := range w.strands {
					if s.p.dead && s.state != ended {
						cut |= 1 << s.index
					}
				}
				return fmt.Sprint(logs, words[0].Load(), words[1].Load(), cut)
			}
		})
		if w.skipped {
			continue
		}
		end := outcome()
		if w.failure != nil {
			end += w.failure.Message
		}
		all[end] = true
	}
	return all
}

// Where kills are not offered, and what Reduce skips, makes no difference: all ways in
// which a program can end are still found.
func TestReductions(t *testing.T) {
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(mix(seed), 0))
		p := randomProgram(rng)
		participants := 2 + rng.IntN(2)
		o := Options{Preemptions: -1, Kills: rng.IntN(2), Cancels: rng.IntN(2), Jumps: rng.IntN(2), AnyWake: true}.withDefaults()
		if seed%20 == 0 {
			o.Kills = 2 // takes long
		}
		w := newWorld(o)
		w.limit, w.anyTime = -1, true
		full := p.outcomes(w, participants, new(depthFirst))
		w.anyTime = false
		if got := p.outcomes(w, participants, new(depthFirst)); !maps.Equal(got, full) {
			t.Errorf("program %d, kills in few places: %s", seed, difference(got, full))
		}
		w.opts.Reduce = true
		if got := p.outcomes(w, participants, newReduced()); !maps.Equal(got, full) {
			t.Errorf("program %d, reduced: %s", seed, difference(got, full))
		}
		w.close()
	}
}

func difference(got, full map[string]bool) string {
	for end := range full {
		if !got[end] {
			return fmt.Sprintf("%d of %d outcomes, without %s", len(got), len(full), end)
		}
	}
	return fmt.Sprintf("%d of %d outcomes", len(got), len(full))
}
