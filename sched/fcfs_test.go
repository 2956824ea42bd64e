package sched

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// drive feeds events and returns the jobs that were told to run, in order.
func drive(p Policy, events ...Event) (ran []Job) {
	for _, e := range events {
		for _, d := range p.Decide(0, e) {
			if d.Action == Run {
				ran = append(ran, d.Job)
			}
		}
	}
	return ran
}

func TestFCFS(t *testing.T) {
	var f FCFS
	if got := drive(&f, Event{Kind: Arrive, Job: 1}, Event{Kind: Arrive, Job: 2}); got != nil {
		t.Errorf("ran %v before there was a place", got)
	}
	if got := drive(&f, Event{Kind: Resize, Places: 1}); !slices.Equal(got, []Job{1}) {
		t.Errorf("with one place: %v", got)
	}
	if got := drive(&f, Event{Kind: Arrive, Job: 3}, Event{Kind: Finish, Job: 1}); !slices.Equal(got, []Job{2}) {
		t.Errorf("after the first: %v", got)
	}
	if got := drive(&f, Event{Kind: Resize, Places: 3}, Event{Kind: Arrive, Job: 4}, Event{Kind: Arrive, Job: 5}); !slices.Equal(got, []Job{3, 4}) {
		t.Errorf("with three places: %v", got)
	}
	// Fewer places than running jobs: nobody is stopped, nobody started.
	if got := drive(&f, Event{Kind: Resize, Places: 1}, Event{Kind: Finish, Job: 2}, Event{Kind: Finish, Job: 3}); got != nil {
		t.Errorf("over its places: %v", got)
	}
	if got := drive(&f, Event{Kind: Finish, Job: 4}); !slices.Equal(got, []Job{5}) {
		t.Errorf("at last: %v", got)
	}
}

// Whatever the order of events: jobs run once, in arrival order, never more at
// once than there are places, and none waits while a place is free.
func TestFCFSInvariants(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var f FCFS
		var next, last Job
		var running []Job
		places := 0
		for range 1000 {
			e := Event{Kind: Arrive, Job: next + 1}
			switch k := rng.IntN(10); {
			case k == 0:
				places = rng.IntN(5)
				e = Event{Kind: Resize, Places: places}
			case k < 5 && len(running) > 0:
				i := rng.IntN(len(running))
				e = Event{Kind: Finish, Job: running[i]}
				running = slices.Delete(running, i, i+1)
			default:
				next++
			}
			for _, d := range f.Decide(0, e) {
				if d.Action != Run || d.Job != last+1 || len(running) >= places {
					t.Fatalf("seed %d: %+v after job %d with %d of %d running", seed, d, last, len(running), places)
				}
				last = d.Job
				running = append(running, d.Job)
			}
			if len(running) < places && last < next {
				t.Fatalf("seed %d: a place is free and job %d waits", seed, last+1)
			}
		}
	}
}
