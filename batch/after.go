package batch

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Jobs that must run after others (Job.After).
//
// They are held until the whole input has been read: a job that is named may stand anywhere, and
// several may have one name. Then link counts for each how many names are open, and settle lets
// it go to the policy when the last of them is done. A job that has ended is counted where it
// ended: by its slot, by the reader if an earlier run has done it, by skip if it is passed over.
//
// Invariant, from link on: a held task is in the lists of those of its names that are not done, and
// missing is their number; it is never 0 between two steps. What fails passes over all that wait for
// it, and what waits for those, one after the other without recursion.

// dependencies are the names of jobs and who waits for them. Guarded by Batch.mu.
type dependencies struct {
	names  map[string]*named
	held   map[*task]int // the names that are missing; before link -1
	linked bool
}

// named are the jobs of one name.
type named struct {
	open   int // of them have not ended
	failed string
	wait   []*task // held by it
}

// await books a task's name, and holds the task if it must run after others. Called with mu held.
func (b *Batch) await(t *task) (held bool) {
	b.name(t.job.Name, 1)
	if len(t.job.After) == 0 {
		return false
	}
	if b.after.held == nil {
		b.after.held = make(map[*task]int)
	}
	b.after.held[t] = -1
	t.waits.begin(t.arrived, WaitJobs)
	return true
}

// name adds jobs to those of a name. Called with mu held.
func (b *Batch) name(name string, n int) *named {
	if name == "" {
		return nil
	}
	if b.after.names == nil {
		b.after.names = make(map[string]*named)
	}
	g := b.after.names[name]
	if g == nil {
		g = new(named)
		b.after.names[name] = g
	}
	g.open += n
	return g
}

// skipped is a task that is not run, and why.
type skipped struct {
	t   *task
	why error
}

// link lets the held tasks go that wait for nothing any more, now that all are known.
func (b *Batch) link() {
	b.mu.Lock()
	b.after.linked = true
	var free []*task
	var over []skipped
	for _, t := range inOrder(b.after.held) {
		missing, why := 0, error(nil)
		for _, name := range b.needs(t) {
			switch g := b.after.names[name]; {
			case g == nil:
				why = fmt.Errorf("not run: there is no job %q in the input, after which it was to run", name)
			case g.failed != "":
				why = notRun(g.failed)
			case g.open > 0:
				missing++
				g.wait = append(g.wait, t)
			}
		}
		b.after.held[t] = missing
		switch {
		case why != nil:
			over = append(over, skipped{t, why})
		case missing == 0:
			free = append(free, t)
		}
	}
	over = append(over, b.circles(over)...)
	slices.SortFunc(over, func(x, y skipped) int { return x.t.order - y.t.order })
	for _, s := range over {
		delete(b.after.held, s.t)
	}
	for _, t := range free {
		delete(b.after.held, t)
	}
	b.mu.Unlock()
	b.release(free, over)
}

// inOrder are tasks in the order of the input.
func inOrder[V any](tasks map[*task]V) []*task {
	return slices.SortedFunc(maps.Keys(tasks), func(x, y *task) int { return x.order - y.order })
}

// needs are the names that a task waits for, each once and without its own.
func (b *Batch) needs(t *task) []string {
	var names []string
	for _, name := range t.job.After {
		if name != "" && name != t.job.Name && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func notRun(failed string) error {
	return fmt.Errorf("not run: %s, after which it was to run", failed)
}

// settle notes how a task ended for those that wait for it.
func (b *Batch) settle(t *task, ok bool) {
	if t.job.Name == "" {
		return
	}
	b.mu.Lock()
	free, over := b.done(t, ok, "failed")
	b.mu.Unlock()
	b.release(free, over)
}

// done takes a task off its name. Called with mu held.
func (b *Batch) done(t *task, ok bool, how string) (free []*task, over []skipped) {
	g := b.after.names[t.job.Name]
	if g == nil {
		return nil, nil
	}
	g.open--
	if !ok && g.failed == "" {
		g.failed = t.called() + " " + how
	}
	if !b.after.linked {
		return nil, nil
	}
	if g.failed != "" {
		for _, w := range g.wait {
			if _, held := b.after.held[w]; held {
				delete(b.after.held, w)
				over = append(over, skipped{w, notRun(g.failed)})
			}
		}
		g.wait = nil
		return nil, over
	}
	if g.open > 0 {
		return nil, nil
	}
	for _, w := range g.wait {
		missing, held := b.after.held[w]
		switch {
		case !held:
		case missing == 1:
			delete(b.after.held, w)
			free = append(free, w)
		default:
			b.after.held[w] = missing - 1
		}
	}
	g.wait = nil
	return free, nil
}

// called is a task's number, with its name if that is another.
func (t *task) called() string {
	if t.job.Name == strconv.Itoa(t.seq) {
		return fmt.Sprintf("job %d", t.seq)
	}
	return fmt.Sprintf("job %d (%s)", t.seq, t.job.Name)
}

// release gives tasks to the policy, and passes over others and what waits for those.
func (b *Batch) release(free []*task, over []skipped) {
	for _, t := range free {
		b.enqueue(t)
	}
	for len(over) > 0 {
		s := over[0]
		over = over[1:]
		if !b.passOver(s) {
			return // the batch is being stopped: it counts as not run, as the rest does
		}
		if s.t.job.Name == "" {
			continue
		}
		b.mu.Lock()
		_, more := b.done(s.t, false, "was not run")
		b.mu.Unlock()
		over = append(over, more...)
	}
}

// passOver delivers the result of a task that is not run.
func (b *Batch) passOver(s skipped) bool {
	b.mu.Lock()
	if b.level > running {
		b.mu.Unlock()
		return false
	}
	b.live++ // Each waits for it: the reader may be who does this
	b.mu.Unlock()
	now := time.Now()
	t := s.t
	r := &Result{Seq: t.seq, Try: t.try, Values: t.job.Values, Dir: b.dir(&t.job), Wait: now.Sub(t.arrived), Err: s.why, Expect: t.job.Expect}
	r.Report = Report{ExitCode: -1, Reason: Skipped, Start: now, End: now, PeakSource: "unknown"}
	_, err := b.expand(t, 0, r)
	if err != nil { // then it could not have run anyway
		r.Command = strings.Join(t.job.Values, " ")
	}
	b.mu.Lock()
	t.waits.until(now, b)
	r.Waits = t.waits.sum
	b.mu.Unlock()
	b.conclude(t, r, false)
	b.mu.Lock()
	b.live--
	b.expected.done(&t.job, r, &b.sum)
	b.count(r)
	if b.ended() {
		b.wakeAll()
	}
	b.mu.Unlock()
	return true
}

// circles finds the held tasks that wait for themselves. gone are to be passed over for another
// reason. Called with mu held, from link.
func (b *Batch) circles(gone []skipped) (over []skipped) {
	left := make(map[*task]int, len(b.after.held)) // the names that can't be done yet
	held := make(map[string]int)                   // tasks of a name that are left
	byName := make(map[string][]*task)
	for t := range b.after.held {
		left[t] = 0
		held[t.job.Name]++
		byName[t.job.Name] = append(byName[t.job.Name], t)
	}
	waits := make(map[string][]*task)
	var next []*task
	for t := range left {
		for _, name := range b.needs(t) {
			if held[name] > 0 {
				left[t]++
				waits[name] = append(waits[name], t)
			}
		}
		if left[t] == 0 {
			next = append(next, t)
		}
	}
	for _, s := range gone { // what waits for them is passed over when they are
		if left[s.t] > 0 {
			left[s.t] = 0
			next = append(next, s.t)
		}
	}
	for len(next) > 0 {
		t := next[len(next)-1]
		next = next[:len(next)-1]
		delete(left, t)
		if held[t.job.Name]--; held[t.job.Name] > 0 || t.job.Name == "" {
			continue
		}
		for _, w := range waits[t.job.Name] {
			if n, ok := left[w]; ok {
				if left[w] = n - 1; n == 1 {
					next = append(next, w)
				}
			}
		}
	}
	for _, t := range inOrder(left) {
		if _, ok := left[t]; ok {
			over = append(over, b.circle(t, left, byName, waits)...)
		}
	}
	return over
}

// namedInCircle is how many jobs of a circle are named: each of them says it.
const namedInCircle = 5

// circle follows what t waits for to a circle, and takes that and all that waits for it out of
// left. Called with mu held.
func (b *Batch) circle(t *task, left map[*task]int, byName, waits map[string][]*task) (over []skipped) {
	var path []*task
	at := make(map[*task]int)
	for {
		if i, ok := at[t]; ok {
			path = path[i:]
			break
		}
		at[t] = len(path)
		path = append(path, t)
		t = b.waitsIn(t, left, byName)
	}
	var names []string
	for _, t := range path[:min(len(path), namedInCircle)] {
		names = append(names, fmt.Sprintf("%q", t.job.Name))
	}
	if more := len(path) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	why := fmt.Errorf("not run: it waits for itself: %s after %s", strings.Join(names, " after "), names[0])
	for _, t := range path {
		over = append(over, skipped{t, why})
	}
	for next := path; len(next) > 0; next = next[1:] { // those behind are passed over when these are
		if _, ok := left[next[0]]; ok {
			delete(left, next[0])
			name := next[0].job.Name
			next = append(next, waits[name]...)
			delete(waits, name) // once for all jobs of the name
		}
	}
	return over
}

// waitsIn is a task of left that t waits for.
func (b *Batch) waitsIn(t *task, left map[*task]int, byName map[string][]*task) *task {
	for _, name := range b.needs(t) {
		for len(byName[name]) > 0 {
			o := byName[name][0]
			if _, ok := left[o]; ok {
				return o
			}
			byName[name] = byName[name][1:] // for good: nothing comes back
		}
	}
	panic("batch: a job that waits for nothing is on no circle")
}
