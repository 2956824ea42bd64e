package batch

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// Each of these was a fault of the live scheduler once.

const turn = 2 * lookCPU // a slice

// of reports whether there is such an event of a job.
func of(events []sched.Event, kind sched.EventKind, job sched.Job) bool {
	return slices.ContainsFunc(events, func(e sched.Event) bool { return e.Kind == kind && e.Job == job })
}

// At a drain some jobs stand still: they have their turns to the end, and what has not begun
// takes none.
func TestDrainEndsWhatIsPaused(t *testing.T) {
	for _, p := range []sched.Policy{&sched.RR{Slice: turn}, &sched.MLFQ{Levels: []sched.Level{{Slice: turn, Allotment: turn}, {Slice: turn}}}} {
		t.Run(p.String(), func(t *testing.T) {
			var cast []*actor
			for range 8 {
				cast = append(cast, &actor{looks: 6})
			}
			s := onStage(cast...)
			var c traced
			b := s.prepare(t, Options{Slots: 1, Degree: 4, Policy: afterAll(p), Trace: c.add})
			go func() {
				<-cast[1].stood
				b.Drain()
			}()
			_, sum := s.play(t, b, s.jobs())
			if n := len(c.begun()); n < 2 || sum.OK != n || sum.Jobs != 8 || sum.NotRun != 8-n {
				t.Errorf("%d began; %+v", n, sum)
			}
		})
	}
}

// A job that waits is paused when it could go on, because another one has its place. That one
// fails and halts the batch: the first one goes on.
func TestHaltEndsWhatIsPaused(t *testing.T) {
	second := &actor{code: 1}
	first := &actor{looks: 8, idle: func() bool { return !isClosed(second.started) }}
	s := onStage(first, second, &actor{looks: 3})
	second.until = first.stood
	b := s.prepare(t, Options{Slots: 1, Degree: 2, Policy: afterAll(&sched.FCFS{}), Halt: Halt{When: HaltSoon, Count: 1}})
	got, sum := s.play(t, b, s.jobs())
	if r := got[1]; sum.OK != 1 || !r.OK() || sum.Failed != 1 || sum.NotRun != 1 || !sum.Halted {
		t.Errorf("%+v", sum)
	}
}

// A job waits for memory while others take turns, and the batch is drained: before there is
// enough, or when there is and the job has no place yet. It does not run, and keeps nobody
// from the place.
func TestDrainWhileMemoryIsShort(t *testing.T) {
	const mb = 1 << 20
	for _, granted := range []bool{false, true} {
		t.Run(map[bool]string{false: "before there is enough", true: "when there is enough"}[granted], func(t *testing.T) {
			var free atomic.Int64
			free.Store(100 * mb)
			small, large := Expectation{Memory: mb}, Expectation{Memory: 500 * mb}
			cast := []*actor{{looks: 25, job: Job{Expect: small}}, {looks: 25, job: Job{Expect: small}}, {looks: 3, job: Job{Expect: large}}}
			s := onStage(cast...)
			o := Options{Slots: 1, Degree: 3, MemFree: 50 * mb, Policy: afterAll(&sched.RR{Slice: turn})}
			o.available = func() (int64, error) { return free.Load(), nil }
			drain, drained := make(chan struct{}), make(chan struct{})
			o.Observe = func(_ time.Duration, events []sched.Event, _ []sched.Decision) {
				switch {
				case of(events, sched.Paused, 2) && free.CompareAndSwap(100*mb, 10_000*mb) && !granted, of(events, sched.Wake, 3) && granted:
					closeOnce(drain)
					<-drained
				}
			}
			b := s.prepare(t, o)
			go func() {
				<-drain
				b.Drain()
				close(drained)
			}()
			_, sum := s.play(t, b, s.jobs())
			if sum.OK != 2 || sum.NotRun != 1 || isClosed(cast[2].started) {
				t.Errorf("%+v", sum)
			}
		})
	}
}

// Of four places one can be opened: nobody waits for a place that there is not.
func TestPlacesThatAreNotThere(t *testing.T) {
	for _, p := range []func() sched.Policy{
		func() sched.Policy { return &sched.RR{Slice: turn} },
		func() sched.Policy { return &sched.FCFS{} },
		func() sched.Policy {
			return &sched.MLFQ{Levels: []sched.Level{{Slice: turn, Allotment: turn}, {Slice: turn}}}
		},
	} {
		for _, slots := range []int{1, 2} {
			var cast []*actor
			for range 6 {
				cast = append(cast, &actor{looks: 3})
			}
			s := onStage(cast...)
			s.places = 1
			_, sum := s.play(t, s.prepare(t, Options{Slots: slots, Degree: 4, Policy: p()}), s.jobs())
			if sum.OK != len(cast) {
				t.Errorf("%s, %d slots: %+v", p(), slots, sum)
			}
		}
	}
}

// A slot can't be opened while a job waits for memory: that one waits anew, too, and what
// bounded the degree meanwhile is over.
func TestPlacesThatAreNotThereAndMemory(t *testing.T) {
	const mb = 1 << 20
	var free atomic.Int64
	free.Store(100 * mb)
	enough, short := make(chan struct{}), make(chan struct{})
	third := &actor{}
	fourth := &actor{job: Job{Expect: Expectation{Memory: 500 * mb}}}
	s := onStage(&actor{until: enough}, &actor{until: enough}, third, fourth)
	third.until, fourth.until = fourth.started, third.started
	s.places, s.wings = 2, make(chan struct{})
	for _, a := range s.cast[:3] {
		a.job.Expect.Memory = mb
	}
	o := Options{Slots: 4, MemFree: 50 * mb, Policy: afterAll(&sched.FCFS{})}
	o.available = func() (int64, error) { return free.Load(), nil }
	o.Observe = func(_ time.Duration, events []sched.Event, _ []sched.Decision) {
		if of(events, sched.Block, 4) {
			close(short)
		}
		if slices.ContainsFunc(events, func(e sched.Event) bool { return e.Kind == sched.Resize && e.Places == 2 }) {
			free.Store(10_000 * mb)
			closeOnce(enough)
		}
	}
	go func() {
		<-s.cast[0].started
		<-s.cast[1].started
		<-short
		close(s.wings)
	}()
	if _, sum := s.play(t, s.prepare(t, o), s.jobs()); sum.OK != 4 {
		t.Errorf("%+v", sum)
	}
}

// The watcher looks while the one that ran has ended and all others stand still. Who is
// resumed then has a slice as well, and the next one after it. It happens twice, because
// the first time the watcher may have been told of something else.
func TestWatcherHearsOfResumed(t *testing.T) {
	cast := []*actor{{turns: 1}, {looks: 8}, {turns: 1}, {looks: 8}}
	s := onStage(cast...)
	windows := 0
	b := s.prepare(t, Options{Slots: 1, Degree: 4, Policy: afterAll(&sched.RR{Slice: turn}), Observe: func(_ time.Duration, events []sched.Event, _ []sched.Decision) {
		if of(events, sched.Finish, 1) || of(events, sched.Finish, 3) {
			windows++
			watcherWaits()
		}
	}})
	_, sum := s.play(t, b, s.jobs())
	if sum.OK != 4 || windows != 2 {
		t.Errorf("%+v, and %d times all stood still", sum, windows)
	}
}

// A tree that can't be paused is tried again ever more seldom. What it cost in vain is not
// what a pause costs: slices stay short.
func TestPauseInVainIsCheap(t *testing.T) {
	busy := &actor{looks: 40, job: Job{NoPause: true}}
	restless := &actor{turns: 1, refuse: func() bool { return !isClosed(busy.over) }, effort: 5 * time.Millisecond}
	s := onStage(restless, busy)
	o := Options{Slots: 1, Degree: 2, Policy: afterAll(&sched.RR{})}
	pauses := 0
	o.Observe = func(_ time.Duration, events []sched.Event, decisions []sched.Decision) {
		for _, e := range events {
			if e.Kind == sched.Paused {
				pauses++
				if e.Cost != 0 {
					t.Errorf("a pause that did not come about cost %v", e.Cost)
				}
			}
		}
		for _, d := range decisions {
			if d.Slice != 0 && d.Slice != 100*time.Millisecond {
				t.Errorf("%+v", d)
			}
		}
	}
	_, sum := s.play(t, s.prepare(t, o), s.jobs())
	if sum.OK != 2 || pauses == 0 || len(restless.tries) < 2 {
		t.Errorf("%+v, %d pauses, tried %d times", sum, pauses, len(restless.tries))
	}
	least := 100 * time.Millisecond
	for i := 1; i < len(restless.tries); i++ {
		if gap := restless.tries[i].Sub(restless.tries[i-1]); gap < least {
			t.Errorf("tried again after %v, at least %v are due", gap, least)
		}
		least = min(2*least, 5*time.Second)
	}
}

// What a result says of scheduling is not lost while it waits for its turn.
func TestSpoolKeepsAll(t *testing.T) {
	want := &Result{
		Seq: 2, Slot: 3, Try: 4, Values: []string{"a", "b"}, Command: "c", Dir: "d", Tag: "e", Wait: 5,
		Waits: Waits{CPU: 6, Policy: 7, Memory: 8, Delay: 9, BackOff: 10}, Blocked: 11, Resident: 12, Expect: Expectation{Wall: 13, CPU: 14, Memory: 15},
		Report: Report{PID: 16, ExitCode: 17, Signal: 18, Reason: Exited, Paused: 19, User: 20, System: 21, PeakMemory: 22, PeakSource: "sampled", Left: 23},
	}
	s, err := newSpool("", t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	at, err := s.put(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.get(at)
	if err != nil {
		t.Fatal(err)
	}
	got.stdout, got.stderr = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	v := reflect.ValueOf(*want)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Name != "Err" && v.Field(i).IsZero() {
			t.Errorf("the test does not know of %s", f.Name)
		}
	}
}

// Pause stops all: also what the policy wanted to stand still and what did not until now.
// Afterwards that stays where the policy wants it.
func TestPauseStopsTheRestless(t *testing.T) {
	busy := &actor{looks: 6, job: Job{NoPause: true}}
	restless := &actor{turns: 1, refuse: func() bool { return !busy.stands() && !isClosed(busy.stood) }}
	s := onStage(restless, busy)
	var c traced
	b := s.prepare(t, Options{Slots: 1, Degree: 2, Policy: afterAll(&sched.RR{Slice: turn}), Trace: c.add})
	var steering sync.WaitGroup
	steering.Go(func() {
		<-busy.started
		b.Pause()
		defer b.Resume()
		for i, a := range s.cast {
			if !a.stands() {
				t.Errorf("job %d runs while the batch is paused", i+1)
			}
		}
	})
	_, sum := s.play(t, b, s.jobs())
	steering.Wait()
	if sum.OK != 2 || c.most(sched.Running) != 1 {
		t.Errorf("%+v; %v", sum, c.changes)
	}
}

// While the batch is paused the policy gives the place of one job to another: the trace says
// so of both.
func TestTraceOfPaused(t *testing.T) {
	long := &actor{looks: 6, job: Job{Expect: Expectation{CPU: time.Hour}}}
	short := &actor{looks: 3, job: Job{Expect: Expectation{CPU: time.Second}}}
	s := onStage(long, short)
	var c traced
	b := s.prepare(t, Options{Slots: 1, Degree: 2, Policy: &sched.SRPT{}, Trace: c.add})
	paused, arrived := make(chan struct{}), make(chan struct{})
	go func() {
		<-long.started
		b.Pause()
		close(paused)
		<-arrived
		b.Resume()
	}()
	_, sum := s.play(t, b, func(yield func(Job, error) bool) {
		defer close(arrived)
		_ = yield(long.job, nil)
		<-paused
		yield(short.job, nil)
	})
	held := slices.ContainsFunc(c.changes, func(x sched.Change) bool { return x.Job == 1 && x.State == sched.Held })
	if sum.OK != 2 || c.most(sched.Running) != 1 || !held {
		t.Errorf("%+v; %v", sum, c.changes)
	}
}

// A boost of a job that runs is one in the trace; nobody moves down to a higher level.
func TestTraceOfBoosts(t *testing.T) {
	boosted := make(chan struct{})
	s := onStage(&actor{until: boosted}, &actor{until: boosted})
	level := make(map[sched.Job]int)
	p := &sched.MLFQ{Boost: 3 * turn, Levels: []sched.Level{{Slice: turn, Allotment: turn}, {Slice: turn}}}
	b := s.prepare(t, Options{Slots: 1, Degree: 2, Policy: p, Trace: func(x sched.Change) {
		if x.Cause == sched.MovedDown && x.Level <= level[x.Job] || x.Cause == sched.Boosted && x.Level >= level[x.Job] {
			t.Errorf("job %d: %s from level %d to %d", x.Job, x.Cause, level[x.Job], x.Level)
		}
		level[x.Job] = x.Level
		if x.Cause == sched.Boosted {
			closeOnce(boosted)
		}
	}})
	if _, sum := s.play(t, b, s.jobs()); sum.OK != 2 {
		t.Errorf("%+v", sum)
	}
}

// The batch is ended while a policy that chooses looks at the input, and the input goes on
// when Each has returned: nobody is called.
func TestNobodyIsCalledAfterwards(t *testing.T) {
	var after atomic.Bool
	called := func(what string) {
		if after.Load() {
			t.Errorf("%s was called after Each had returned", what)
		}
	}
	b := onStage().prepare(t, Options{
		Slots: 1, Policy: &sched.SJF{}, Trace: func(sched.Change) { called("Trace") },
		Observe: func(time.Duration, []sched.Event, []sched.Decision) { called("Observe") },
	})
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	_, err := b.Each(ctx, func(yield func(Job, error) bool) {
		_ = yield(Job{}, nil)
		cancel()
		<-returned
	}, func(*Result) error { return nil })
	if err == nil {
		t.Error("no error")
	}
	after.Store(true)
	close(returned)
	for opened := false; !opened; { // by the reader, at the end of the input
		b.mu.Lock()
		opened = b.opened
		b.mu.Unlock()
	}
	b.report() // after it has told
	// So does a reader, or a job that is tried again, that was on its way.
	b.enqueue(&task{})
}

// What is expected to be left of a job does not grow: neither because it waited before, nor
// because it is paused.
func TestLeftOnlyShrinks(t *testing.T) {
	s := onStage(&actor{looks: 12}, &actor{looks: 22}, &actor{looks: 8, job: Job{Expect: Expectation{Wall: time.Hour}}})
	b := s.prepare(t, Options{Slots: 1, Degree: 2, Policy: afterAll(&sched.RR{Slice: turn})})
	over := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		<-s.cast[0].started
		for last := time.Hour; !isClosed(over); {
			left := b.Stats().Left
			if left > last {
				t.Errorf("%v are left, and were %v before", left, last)
				return
			}
			last = left
		}
	})
	_, sum := s.play(t, b, s.jobs())
	close(over)
	sampler.Wait()
	if sum.OK != 3 {
		t.Errorf("%+v", sum)
	}
}

// While the next start is not due, who has begun runs.
func TestDelayLeavesNoPlaceIdle(t *testing.T) {
	const delay = 250 * time.Millisecond
	s := onStage(&actor{looks: 40}, &actor{looks: 3})
	var c traced
	var ran time.Duration
	o := Options{Slots: 1, Degree: 2, Delay: delay, Policy: afterAll(&sched.RR{Slice: turn}), Trace: c.add}
	o.Observe = func(now time.Duration, _ []sched.Event, decisions []sched.Decision) {
		if slices.ContainsFunc(decisions, func(d sched.Decision) bool { return d.Action == sched.Run && d.Job == 1 }) {
			ran = now
		}
	}
	got, sum := s.play(t, s.prepare(t, o), s.jobs())
	if sum.OK != 2 || c.most(sched.Running) != 1 {
		t.Errorf("%+v; %v", sum, c.changes)
	}
	for i, x := range c.changes {
		if x.Job != 1 || x.State != sched.Held || x.At > ran+delay {
			continue
		}
		// The policy let the other one run, and learned that it may not.
		if next := c.changes[i+1]; next.Job != 1 || next.State != sched.Running {
			t.Errorf("the first job is paused after %v, another one may start after %v", x.At-ran, delay)
		}
	}
	checkDelay(t, got, delay)
}

// Without a degree nobody can use the place meanwhile; what the job waits for is the same.
func TestDelayIsBooked(t *testing.T) {
	const delay = 100 * time.Millisecond
	ended := make(chan struct{})
	close(ended)
	s := onStage(&actor{until: ended}, &actor{until: ended})
	got, _ := s.play(t, s.prepare(t, Options{Slots: 2, Delay: delay, Policy: afterAll(&sched.FCFS{})}), s.jobs())
	checkDelay(t, got, delay)
}

// checkDelay looks at what two jobs that came together waited for.
func checkDelay(t *testing.T, got map[int]Result, delay time.Duration) {
	t.Helper()
	first, second := got[1].Waits, got[2].Waits
	if second.Delay < delay/2 || first.Delay > second.Delay || second.Memory != 0 {
		t.Errorf("the jobs waited %+v and %+v, the delay is %v", first, second, delay)
	}
	if sum := second.Delay + second.CPU; second.Policy == 0 && sum > got[2].Wait+time.Millisecond {
		t.Errorf("%+v, and it began after %v", second, got[2].Wait)
	}
}

// A job that waits once is blocked once, also when it ends just when it was seen to go on.
func TestBlockedCountsOnce(t *testing.T) {
	const idleAt, busyAt = 25, 40 // looks
	for _, early := range []bool{false, true} {
		a := &actor{looks: 60}
		a.idle = func() bool { return len(a.seen) > idleAt && len(a.seen) <= busyAt }
		end, delivered := make(chan struct{}), make(chan struct{})
		if early {
			a.looks, a.until = 0, end
		}
		s := onStage(a)
		o := Options{Slots: 1, Degree: 2, Policy: &sched.FCFS{}}
		blockedAt, wokeAt := 0, 0 // numbers of looks
		seen := func() int {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.seen)
		}
		o.Trace = func(x sched.Change) {
			if x.State == sched.Blocked {
				blockedAt = seen()
			}
		}
		o.Observe = func(_ time.Duration, events []sched.Event, _ []sched.Decision) {
			if of(events, sched.Wake, 1) {
				wokeAt = seen()
				if early {
					close(end)
					<-delivered // its end is booked
				}
			}
		}
		var r Result
		b := s.prepare(t, o)
		sum, err := b.Each(t.Context(), s.jobs(), func(x *Result) error {
			r = *x
			close(delivered)
			return nil
		})
		if err != nil || sum.OK != 1 || blockedAt != idleAt+2 || wokeAt < busyAt {
			t.Fatalf("%+v, %v; blocked at look %d, on at %d", sum, err, blockedAt, wokeAt)
		}
		// A look is booked with the time at which it began: after the one before.
		least, most := a.seen[wokeAt-2].Sub(a.seen[blockedAt-1]), a.seen[wokeAt-1].Sub(a.seen[blockedAt-2])
		if r.Blocked < least || r.Blocked > most || r.Blocked > r.Runtime() {
			t.Errorf("blocked for %v of %v, it was from %v to %v", r.Blocked, r.Runtime(), least, most)
		}
	}
}

// slowSlots opens the second slot only when it is told to, and counts.
type slowSlots struct {
	local
	opened atomic.Int32
	second chan struct{}
}

func (s *slowSlots) Open(n int, use func(Slot, error)) {
	s.opened.Add(1)
	go func() {
		if n == 2 {
			<-s.second
		}
		s.local.Open(n, use)
	}()
}

// A slot that is on its way counts: no other one is opened for the job that it will take.
func TestSlotsOnTheirWayCount(t *testing.T) {
	r := &slowSlots{second: make(chan struct{})}
	b, err := New(Options{Slots: 2, Degree: 8, Policy: &sched.FCFS{}, Runner: r})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	sum, err := b.Each(t.Context(), jobsOf(text("true"), text("true")), func(*Result) error {
		if n++; n == 2 {
			close(r.second)
		}
		return nil
	})
	if err != nil || sum.OK != 2 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if got := r.opened.Load(); got > 2 {
		t.Errorf("%d slots were opened for two jobs", got)
	}
}
