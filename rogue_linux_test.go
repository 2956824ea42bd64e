package brood

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// rogue is a policy that goes wrong, once it is allowed to.
type rogue struct {
	sched.FCFS
	armed bool // under the pool's lock
	wrong func(r *rogue, now time.Duration, events []sched.Event) []sched.Decision
}

func (*rogue) String() string { return "rogue" }

func (r *rogue) Decide(now time.Duration, events ...sched.Event) []sched.Decision {
	if r.armed {
		return r.wrong(r, now, events)
	}
	return r.FCFS.Decide(now, events...)
}

// decides replaces what a policy decides at a kind of event.
func decides(kind sched.EventKind, ds ...sched.Decision) func(*rogue, time.Duration, []sched.Event) []sched.Decision {
	return func(r *rogue, now time.Duration, events []sched.Event) []sched.Decision {
		if events[len(events)-1].Kind == kind {
			return ds
		}
		return r.FCFS.Decide(now, events...)
	}
}

// panics panics at a kind of event.
func panics(kind sched.EventKind) func(*rogue, time.Duration, []sched.Event) []sched.Decision {
	return func(r *rogue, now time.Duration, events []sched.Event) []sched.Decision {
		if events[len(events)-1].Kind == kind {
			panic("out of order")
		}
		return r.FCFS.Decide(now, events...)
	}
}

// A policy that does what it must not breaks its pool, with an error that names it: what
// runs ends as it would, what waits ends, and nothing hangs.
func TestRoguePolicies(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(*rogue, time.Duration, []sched.Event) []sched.Decision
		says  string
	}{
		"panics at an arrival": {panics(sched.Arrive), "out of order"},
		"panics when asked":    {panics(sched.Resize), "out of order"},
		"panics at an end":     {panics(sched.Finish), "out of order"},
		"runs nothing":         {decides(sched.Resize), "runs none of 3 tasks"},
		"pauses":               {decides(sched.Resize, sched.Decision{Action: sched.Pause, Job: 1}), "pause"},
		"runs what is unknown": {decides(sched.Resize, sched.Decision{Job: 77}), "job 77"},
		"runs what has run":    {decides(sched.Resize, sched.Decision{Job: 1}), "job 1"},
		"runs without a place": {decides(sched.Arrive, sched.Decision{Job: 2}), "places"},
		"runs two at once":     {decides(sched.Resize, sched.Decision{Job: 2}, sched.Decision{Job: 3}), "places"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, sockets := range []bool{false, true} {
				watchdog(t, time.Minute)
				r := &rogue{wrong: c.wrong}
				p := newProcesses(t, PoolOptions{Workers: 1, Policy: r, sockets: sockets})
				path := pipes(t, 1)[0]
				held := readPipe.Submit(t.Context(), p, path)
				eventually(t, "it runs", func() bool { return held.State() == Running })
				p.p.mu.Lock()
				r.armed = true
				p.p.mu.Unlock()
				var waiting []*Future[int]
				for i := range 3 {
					waiting = append(waiting, square.Submit(t.Context(), p, i))
				}
				tell(t, path, "released")
				want(t, "what ran", held, "released")
				failed := 0
				for i, f := range waiting {
					v, err := f.Result(t.Context())
					if err == nil && v == i*i {
						continue // it was its turn before
					}
					failed++
					if err == nil || !strings.Contains(err.Error(), "the policy rogue") || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%v, want one that says %q", err, c.says)
					}
				}
				if failed == 0 {
					t.Error("nothing went wrong")
				}
				if _, err := square.Call(t.Context(), p, 1); err == nil || !strings.Contains(err.Error(), "the policy rogue") {
					t.Errorf("afterwards: %v", err)
				}
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A policy that is broken from the beginning, or has served another pool, is refused or
// found out.
func TestUnusablePolicies(t *testing.T) {
	r := &rogue{armed: true, wrong: panics(sched.Resize)}
	_, err := NewProcessPool(PoolOptions{Policy: r})
	if p := (*PanicError)(nil); !errors.As(err, &p) || !strings.Contains(p.Task, "rogue") {
		t.Error(err)
	}
	for _, places := range []int{0, 1} { // it had nothing that ran, or something
		used := &sched.FCFS{}
		used.Decide(0, sched.Event{Kind: sched.Resize, Places: places}, sched.Event{Job: 5}, sched.Event{Job: 6})
		p := newProcesses(t, PoolOptions{Workers: 1, Policy: used})
		if _, err := square.Call(t.Context(), p, 2); err == nil || !strings.Contains(err.Error(), "a policy serves one pool") {
			t.Error(err)
		}
	}
}
