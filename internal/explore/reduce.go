package explore

// footprint is what a step looked at and what it changed, as sets of objects. Several
// objects may share a bit: then steps count as dependent that are not.
type footprint struct{ reads, writes uint64 }

// independent reports whether two steps of different strands do the same in both orders.
func (f footprint) independent(g footprint) bool {
	return f.writes&(g.reads|g.writes) == 0 && g.writes&f.reads == 0
}

const (
	deathsBit uint64 = 1 << iota
	clockBit
	extentsBit
	killBit
	cancelBit
	spawnBit
	participantShift = iota // 10 bits
	objectShift      = 16
)

func participantBit(p *Participant) uint64 { return 1 << (participantShift + p.index%10) }

// objectBit stands for a word, its queue or a section.
func objectBit(i int) uint64 { return 1 << (objectShift + i%48) }

// reduced is a depth-first search with sleep sets: when all runs that begin with a step
// were seen, they need not be seen again after other steps that are independent of it. The
// step is put to sleep, until one comes that it depends on. A run in which all that could
// go on is asleep differs from one that was seen in the order of independent steps.
type reduced struct {
	nodes []branch
	depth int
	last  int // the last branch of this run that chose a strand or event, or -1
}

func newReduced() *reduced { return &reduced{last: -1} }

// branch is a choice that was made: the one at i.
type branch struct {
	inner  bool
	n, i   int
	offers []choice
	prints []footprint // of what was chosen, with all its outcomes
	asleep []sleeping
}

type sleeping struct {
	c choice
	f footprint
}

func (r *reduced) pick(w *World, _ bool) int {
	r.absorb(w.step)
	if r.depth == len(r.nodes) {
		b := branch{n: len(w.offers), i: -1, offers: append([]choice(nil), w.offers...)}
		b.prints = make([]footprint, b.n)
		if r.last >= 0 {
			b.asleep = r.nodes[r.last].inherit()
		}
		if !b.advance() {
			return -1
		}
		r.nodes = append(r.nodes, b)
	}
	r.last = r.depth
	r.depth++
	b := &r.nodes[r.last]
	if b.inner || b.n != len(w.offers) {
		return w.unsteady()
	}
	return b.i
}

// absorb adds the footprint of the step that was chosen last.
func (r *reduced) absorb(f footprint) {
	if r.last >= 0 {
		p := &r.nodes[r.last].prints[r.nodes[r.last].i]
		p.reads |= f.reads
		p.writes |= f.writes
	}
}

// inherit is what sleeps after the branch's choice: what slept before or was chosen
// before, and does not depend on it.
func (b *branch) inherit() (asleep []sleeping) {
	for _, s := range b.asleep {
		if s.f.independent(b.prints[b.i]) {
			asleep = append(asleep, s)
		}
	}
	for j, c := range b.offers[:b.i] {
		if !b.sleeps(c) && b.prints[j].independent(b.prints[b.i]) {
			asleep = append(asleep, sleeping{c, b.prints[j]})
		}
	}
	return asleep
}

func (b *branch) sleeps(c choice) bool {
	for _, s := range b.asleep {
		if s.c == c {
			return true
		}
	}
	return false
}

// advance goes on to the next choice.
func (b *branch) advance() bool {
	for b.i++; b.i < b.n; b.i++ {
		if b.inner || !b.sleeps(b.offers[b.i]) {
			return true
		}
	}
	return false
}

func (r *reduced) inner(w *World, n int) int {
	if r.depth == len(r.nodes) {
		r.nodes = append(r.nodes, branch{inner: true, n: n})
	}
	b := &r.nodes[r.depth]
	r.depth++
	if !b.inner || b.n != n {
		return w.unsteady()
	}
	return b.i
}

func (r *reduced) finish(w *World) {
	r.absorb(w.step)
	if w.failure == nil && r.depth < len(r.nodes) {
		w.unsteady()
	}
}

func (r *reduced) backtrack() bool {
	r.depth, r.last = 0, -1
	for len(r.nodes) > 0 {
		if r.nodes[len(r.nodes)-1].advance() {
			return true
		}
		r.nodes = r.nodes[:len(r.nodes)-1]
	}
	return false
}
