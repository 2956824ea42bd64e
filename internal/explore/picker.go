package explore

import "math/rand/v2"

// picker makes the choices of runs.
type picker interface {
	// pick chooses one of w.offers; -1 ends the run. free: no switch costs anything.
	pick(w *World, free bool) int
	// inner chooses one of an operation's n outcomes.
	inner(w *World, n int) int
	// finish is called at the end of a run.
	finish(w *World)
	// backtrack prepares for the next run, and reports whether there is one.
	backtrack() bool
}

// outcome chooses one of the running operation's n outcomes.
func (w *World) outcome(n int) int {
	i := w.picker.inner(w, n)
	w.log = append(w.log, inner<<kindShift|choice(i))
	return i
}

// unsteady fails a run that does not follow an earlier one to where that made its choice.
// It is the first choice that there always is.
func (w *World) unsteady() int {
	w.fail(Failed, errUnsteady.Error())
	return 0
}

// depthFirst makes every sequence of choices, the last choice changing first.
type depthFirst struct {
	nodes []node
	depth int
}

// node is a choice that was made: the one at i, of n.
type node struct{ n, i int32 }

func (d *depthFirst) pick(w *World, _ bool) int { return d.inner(w, len(w.offers)) }

func (d *depthFirst) inner(w *World, n int) int {
	if n == 1 {
		return 0
	}
	if d.depth == len(d.nodes) {
		d.nodes = append(d.nodes, node{n: int32(n)})
	}
	nd := d.nodes[d.depth]
	d.depth++
	if int(nd.n) != n {
		return w.unsteady()
	}
	return int(nd.i)
}

func (d *depthFirst) finish(w *World) {
	if w.failure == nil && d.depth < len(d.nodes) {
		w.unsteady()
	}
}

func (d *depthFirst) backtrack() bool {
	d.depth = 0
	for n := len(d.nodes); n > 0; n-- {
		if last := &d.nodes[n-1]; last.i+1 < last.n {
			last.i++
			d.nodes = d.nodes[:n]
			return true
		}
	}
	return false
}

// random chooses by chance. How often it switches, and how soon it kills, is different
// from run to run: some bugs need many switches, others few at the right place.
type random struct {
	rng     *rand.Rand
	switchy int // switches one time in so many
	deadly  int // kills or cancels one time in so many
}

func (r *random) start() {
	r.switchy = []int{1, 2, 4, 16}[r.rng.IntN(4)]
	r.deadly = []int{4, 12, 48}[r.rng.IntN(3)]
}

func (r *random) pick(w *World, free bool) int {
	n := len(w.offers)
	if n == 1 {
		return 0
	}
	strands := n
	for strands > 0 && w.offers[strands-1].kind() != runs {
		strands--
	}
	if strands < n && (strands == 0 || r.rng.IntN(r.deadly) == 0) {
		return strands + r.rng.IntN(n-strands)
	}
	if !free && r.rng.IntN(r.switchy) != 0 {
		return 0
	}
	return r.rng.IntN(strands)
}

func (r *random) inner(_ *World, n int) int { return r.rng.IntN(n) }
func (r *random) finish(*World)             {}
func (r *random) backtrack() bool           { return true }
