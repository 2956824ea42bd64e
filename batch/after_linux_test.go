package batch

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ordered is a job of a name that ends as what says, and runs after others.
func ordered(name, what string, after ...string) Job {
	return Job{Command: Command{Argv: []string{"true", what}}, Name: name, After: after}
}

// story runs jobs and tells by their numbers who ended before whom: results in the order of ends.
func story(t *testing.T, o Options, jobs ...Job) (ends []int, got map[int]outcome, sum Summary) {
	t.Helper()
	o.Runner = elsewhere{}
	list, sum, err := run(t, o, jobsOf(jobs...))
	if err != nil {
		t.Fatal(err)
	}
	got = make(map[int]outcome)
	for _, r := range list {
		ends = append(ends, r.Seq)
		got[r.Seq] = r
	}
	return ends, got, sum
}

func TestAfter(t *testing.T) {
	for _, tt := range []struct {
		name string
		jobs []Job
		ends string         // in this order, with one slot
		errs map[int]string // of those that were skipped
	}{
		{"in the order of the names", []Job{ordered("d", "works", "c"), ordered("c", "works", "a", "b"), ordered("b", "works"), ordered("a", "works")}, "[3 4 2 1]", nil},
		{"a whole group", []Job{ordered("", "works", "stage"), ordered("stage", "works"), ordered("stage", "works")}, "[2 3 1]", nil},
		{"its own name does not count", []Job{ordered("a", "works", "a"), ordered("b", "works", "a")}, "[1 2]", nil},
		{"the same name twice", []Job{ordered("b", "works", "a", "a"), ordered("a", "works")}, "[2 1]", nil},
		{"what fails", []Job{ordered("a", "fails"), ordered("b", "works", "a"), ordered("c", "works", "b"), ordered("d", "works")}, "[1 4 2 3]", map[int]string{
			2: "not run: job 1 (a) failed, after which it was to run", 3: "not run: job 2 (b) was not run, after which it was to run"}},
		{"one of a group fails", []Job{ordered("x", "works", "g"), ordered("g", "works"), ordered("g", "fails")}, "[2 3 1]", map[int]string{1: "job 3 (g) failed"}},
		{"a name that is not there", []Job{ordered("a", "works", "z"), ordered("b", "works", "a"), ordered("c", "works")}, "[3 1 2]", map[int]string{
			1: `there is no job "z" in the input`, 2: "job 1 (a) was not run"}},
		{"a circle, and one behind it", []Job{ordered("a", "works", "c"), ordered("b", "works", "a"), ordered("c", "works", "b"), ordered("d", "works", "b"), ordered("e", "works")}, "[5 1 3 2 4]", map[int]string{
			1: `waits for itself: "a" after "c" after "b" after "a"`, 2: "waits for itself", 3: "waits for itself", 4: "job 2 (b) was not run"}},
		{"two circles", []Job{ordered("a", "works", "b"), ordered("b", "works", "a"), ordered("c", "works", "d"), ordered("d", "works", "c")}, "[1 2 3 4]", map[int]string{
			1: `"a" after "b" after "a"`, 2: "waits for itself", 3: `"c" after "d" after "c"`, 4: "waits for itself"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ends, got, sum := story(t, Options{Slots: 1}, tt.jobs...)
			if fmt.Sprint(ends) != tt.ends && len(tt.errs) == 0 {
				t.Errorf("they ended in the order %v, want %s", ends, tt.ends)
			}
			if len(ends) != len(tt.jobs) || sum.Reasons[Skipped] != len(tt.errs) || sum.Failed-sum.Reasons[Skipped]+sum.OK+len(tt.errs) != len(tt.jobs) {
				t.Errorf("%v %+v", ends, sum)
			}
			for seq, r := range got {
				want, skipped := tt.errs[seq]
				if skipped != (r.Reason == Skipped) || skipped && (r.OK() || !strings.Contains(r.Err.Error(), want)) {
					t.Errorf("job %d: %s %v, want %q", seq, r.Reason, r.Err, want)
				}
			}
		})
	}
}

// graph is a Runner that checks, when a job begins, that all it must run after have ended well.
type graph struct {
	t     *testing.T
	jobs  []Job
	fails map[int]bool

	mu   sync.Mutex
	done map[string]int // jobs of a name that have ended well
	ran  map[int]bool
}

func (g *graph) Open(_ int, use func(Slot, error)) { go use(g, nil) }

func (g *graph) Run(s *Start, started func(Running)) (Report, error) {
	var i int
	fmt.Sscan(s.Argv[1], &i)
	j := g.jobs[i]
	g.mu.Lock()
	for _, name := range j.After {
		all := 0
		for _, o := range g.jobs {
			if o.Name == name {
				all++
			}
		}
		if name != j.Name && (g.done[name] < all || all == 0) {
			g.t.Errorf("job %d (%s) began when %d of %d jobs of %q had ended well", i+1, j.Name, g.done[name], all, name)
		}
	}
	g.ran[i] = true
	g.mu.Unlock()
	started(&imagined{stopped: make(chan struct{})})
	rep := Report{PID: 7, Reason: Exited, PeakSource: "unknown"}
	if g.fails[i] {
		rep.ExitCode = 1
		return rep, nil
	}
	g.mu.Lock()
	g.done[j.Name]++
	g.mu.Unlock()
	return rep, nil
}

// Of random graphs, with circles and failures, exactly those jobs run that can, in an order that is
// right, and every job has a result.
func TestAfterRandomGraphs(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		g := &graph{t: t, fails: make(map[int]bool), done: make(map[string]int), ran: make(map[int]bool)}
		n := 1 + rng.IntN(40)
		for i := range n {
			j := Job{Command: Command{Argv: []string{"true", fmt.Sprint(i)}}, Name: fmt.Sprint("n", rng.IntN(n))}
			for range rng.IntN(3) {
				j.After = append(j.After, fmt.Sprint("n", rng.IntN(n+1)))
			}
			g.jobs = append(g.jobs, j)
			g.fails[i] = rng.IntN(12) == 0
		}
		list, sum, err := run(t, Options{Slots: 1 + rng.IntN(4), Runner: g}, jobsOf(g.jobs...))
		if err != nil || len(list) != n || sum.Done != n {
			t.Fatalf("seed %d: %d results of %d, %+v, %v", seed, len(list), n, sum, err)
		}
		want := g.runnable()
		for i := range n {
			if g.ran[i] != want[i] {
				t.Fatalf("seed %d: job %d (%s) ran: %v, want %v", seed, i+1, g.jobs[i].Name, g.ran[i], want[i])
			}
		}
	}
}

// runnable is which jobs can run: the least fixed point, worked out as slowly as it can be.
func (g *graph) runnable() map[int]bool {
	can, well := make(map[int]bool), make(map[int]bool)
	for again := true; again; {
		again = false
		for i, j := range g.jobs {
			if can[i] {
				continue
			}
			ok := true
			for _, name := range j.After {
				some := false
				for k, o := range g.jobs {
					if o.Name == name {
						some = true
						ok = ok && (name == j.Name || well[k])
					}
				}
				ok = ok && (some || name == j.Name)
			}
			if ok {
				can[i], well[i], again = true, !g.fails[i], true
			}
		}
	}
	return can
}

// What an earlier run has done counts, as it ended then. What was skipped is run when it can be.
func TestAfterAcrossRuns(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	jobs := []Job{ordered("a", "works"), ordered("b", "fails"), ordered("c", "works", "a"), ordered("d", "works", "b")}
	_, _, sum := story(t, Options{Slots: 1, JobLog: log}, jobs...)
	if sum.OK != 2 || sum.Failed != 2 || sum.Reasons[Skipped] != 1 {
		t.Fatalf("%+v", sum)
	}
	_, got, sum := story(t, Options{Slots: 1, JobLog: log, Resume: Unfinished}, jobs...)
	if sum.Skipped != 3 || sum.Done != 1 || !strings.Contains(got[4].Err.Error(), "job 2 (b) failed in an earlier run") {
		t.Errorf("%+v, %v", sum, got[4].Err)
	}
	_, got, sum = story(t, Options{Slots: 1, JobLog: log, Resume: Failed}, jobs...)
	if sum.Skipped != 2 || got[2].OK() || got[4].Reason != Skipped {
		t.Errorf("%+v", sum)
	}
}

// The failure of one job halts nothing that its skipped dependents would.
func TestAfterAndHalt(t *testing.T) {
	_, _, sum := story(t, Options{Slots: 1, Halt: Halt{When: HaltSoon, Count: 2}},
		ordered("a", "fails"), ordered("b", "works", "a"), ordered("c", "works", "a"), ordered("d", "works"))
	if sum.Halted || sum.Done != 4 {
		t.Errorf("%+v", sum)
	}
}

// With results in the order of the input, those of skipped jobs have their turn.
func TestAfterKeepsOrder(t *testing.T) {
	ends, _, _ := story(t, Options{Slots: 2, KeepOrder: true}, ordered("c", "works", "b"), ordered("b", "works", "a"), ordered("a", "fails"), ordered("d", "works"))
	if !slices.IsSorted(ends) || len(ends) != 4 {
		t.Errorf("%v", ends)
	}
}

// An input longer than the window of what is read ahead: those that wait hold up nobody.
func TestAfterLongInput(t *testing.T) {
	const n = 5000
	jobs := func(yield func(Job, error) bool) {
		for i := range n {
			if !yield(ordered(fmt.Sprint(i), "works", fmt.Sprint(i+1)), nil) {
				return
			}
		}
		yield(ordered(fmt.Sprint(n), "works"), nil)
	}
	var ends []int
	b, err := New(Options{Slots: 2, ReadAhead: 10, Runner: elsewhere{}})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := b.Each(t.Context(), iter.Seq2[Job, error](jobs), func(r *Result) error {
		ends = append(ends, r.Seq)
		return nil
	})
	if err != nil || sum.OK != n+1 || ends[0] != n+1 || ends[n] != 1 {
		t.Errorf("%+v %v", sum, err)
	}
}
