package batch

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// stage is a Runner whose processes are actors. They move only when somebody looks at them:
// the watcher is their clock, so that what happens in which order does not depend on how
// busy the machine is, and an actor that the watcher has lost sight of hangs.
type stage struct {
	cast   []*actor
	places int           // slots that can be opened; 0: all
	wings  chan struct{} // not nil: a slot that can't be opened says so once this is closed

	mu   sync.Mutex
	open int
}

// actor is a process on a stage: what it does, and what became of it.
type actor struct {
	job    Job
	looks  int             // it ends at this look at it, of those at which it computes
	turns  int             // it ends when it is resumed for the time of this number
	until  <-chan struct{} // it ends when this is closed
	idle   func() bool     // it waits for something; nil: never
	refuse func() bool     // it can't be paused; nil: it can
	effort time.Duration   // that a refusal takes
	code   int

	started, stood, over chan struct{} // closed when it first runs, first stands still, has ended

	mu               sync.Mutex
	begun, still     bool
	ended, cancelled bool
	moved, resumed   int
	seen, tries      []time.Time // looks while it moved, and pauses that were tried
}

// lookCPU is the CPU time that an actor uses from one look to the next.
const lookCPU = 10 * time.Millisecond

func onStage(cast ...*actor) *stage {
	for i, a := range cast {
		a.job.Command = Command{Argv: []string{"true", strconv.Itoa(i)}}
		a.started, a.stood, a.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
	}
	return &stage{cast: cast}
}

// jobs are those of all actors.
func (s *stage) jobs() iter.Seq2[Job, error] {
	var list []Job
	for _, a := range s.cast {
		list = append(list, a.job)
	}
	return jobsOf(list...)
}

// play runs jobs to the end. What hangs is ended, and fails the test.
func (s *stage) play(t *testing.T, b *Batch, jobs iter.Seq2[Job, error]) (map[int]Result, Summary) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got := make(map[int]Result)
	sum, err := b.Each(ctx, jobs, func(r *Result) error {
		got[r.Seq] = *r
		return nil
	})
	if err != nil {
		t.Fatalf("%v; %+v", err, sum)
	}
	return got, sum
}

// prepare is New of a batch on the stage.
func (s *stage) prepare(t *testing.T, o Options) *Batch {
	t.Helper()
	o.Runner = s
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *stage) Open(_ int, use func(Slot, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	if s.places > 0 && s.open > s.places {
		go func() {
			if s.wings != nil {
				<-s.wings
			}
			use(nil, errors.New("too many open files"))
		}()
		return
	}
	go use(s, nil)
}

func (s *stage) Run(st *Start, started func(Running)) (Report, error) {
	i, err := strconv.Atoi(st.Argv[1])
	if err != nil {
		return Report{Reason: NotStarted}, err
	}
	a := s.cast[i]
	begin := time.Now()
	a.mu.Lock()
	a.begun = true
	a.mu.Unlock()
	close(a.started)
	started(a)
	select {
	case <-a.over:
	case <-a.until:
		a.mu.Lock()
		a.end()
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rep := Report{PID: 7, Reason: Exited, ExitCode: a.code, Start: begin, End: time.Now(), User: a.cpu(), PeakSource: "unknown"}
	if a.cancelled {
		rep.Reason, rep.ExitCode = Cancelled, -1
	}
	return rep, nil
}

// end and cpu are called with mu held.
func (a *actor) end() {
	if !a.ended {
		a.ended = true
		close(a.over)
	}
}

func (a *actor) cpu() time.Duration { return time.Duration(a.moved) * lookCPU }

func (a *actor) PID() int { return 7 }

func (a *actor) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancelled = !a.ended
	a.end()
}

func (a *actor) Kill() { a.Stop() }

func (a *actor) Pause(context.Context) error {
	a.mu.Lock()
	a.tries = append(a.tries, time.Now())
	a.mu.Unlock()
	if a.refuse != nil && a.refuse() {
		<-time.After(a.effort)
		return ErrNotPaused
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errors.New("it has ended")
	}
	a.still = true
	closeOnce(a.stood)
	return nil
}

func (a *actor) SetTimeout(time.Duration) {}

func (a *actor) Resume() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.still = false
	a.resumed++
	if a.turns > 0 && a.resumed >= a.turns {
		a.end()
	}
	return nil
}

func (a *actor) Look(bool) (Activity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return Activity{}, errors.New("it has ended")
	}
	if a.still {
		return Activity{CPU: a.cpu(), Memory: 1 << 20}, nil
	}
	a.seen = append(a.seen, time.Now())
	if a.idle != nil && a.idle() {
		return Activity{CPU: a.cpu(), Memory: 1 << 20}, nil
	}
	a.moved++
	if a.looks > 0 && a.moved >= a.looks {
		a.end()
	}
	return Activity{CPU: a.cpu(), Memory: 1 << 20, Runnable: true}, nil
}

// stands reports whether it stands still.
func (a *actor) stands() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.still
}

// isClosed reports whether a channel that nobody sends on is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeOnce closes a channel that one goroutine at a time may close.
func closeOnce(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

// seesAll is a policy that, like those that choose, begins when it has seen all of a short input.
type seesAll struct {
	sched.Chooser
	p sched.Policy
}

func afterAll(p sched.Policy) sched.Policy { return seesAll{&sched.SJF{}, p} }

func (s seesAll) Decide(now time.Duration, events ...sched.Event) []sched.Decision {
	return s.p.Decide(now, events...)
}

func (s seesAll) String() string { return s.p.String() }

// watcherWaits returns when the watcher has looked, and waits for the policy to tell it.
func watcherWaits() {
	buf := make([]byte, 1<<20)
	for ; ; runtime.Gosched() {
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			head, rest, _ := strings.Cut(g, "\n")
			if strings.Contains(head, "sync.Mutex.Lock") && strings.Contains(rest, ").lookAround(") {
				return
			}
		}
	}
}
