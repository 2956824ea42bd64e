package main

import (
	"testing"
	"time"

	"github.com/brood-go/brood/batch"
)

// An estimate goes by what is known of most jobs, else by the rate so far, and is none while the
// number of jobs is not known.
func TestEta(t *testing.T) {
	stats := func(jobs, done, unknown int, left, wall time.Duration) batch.Stats {
		return batch.Stats{Summary: batch.Summary{Jobs: jobs, Done: done, Wall: wall}, InputDone: true, Left: left, Unknown: unknown}
	}
	for _, test := range []struct {
		name  string
		s     batch.Stats
		slots int
		want  time.Duration
		ok    bool
	}{
		{"all are known, before any has ended", stats(10, 0, 0, 100*time.Second, 0), 2, 50 * time.Second, true},
		{"of some that are unknown the others' mean is taken", stats(10, 0, 2, 80*time.Second, 0), 2, 50 * time.Second, true},
		{"more slots than jobs do not help", stats(2, 0, 0, 20*time.Second, 0), 8, 10 * time.Second, true},
		{"half unknown: the rate", stats(10, 5, 3, 2*time.Second, 50*time.Second), 2, 50 * time.Second, true},
		{"nothing known, nothing done: none", stats(10, 0, 10, 0, time.Second), 2, 0, false},
		{"all done", stats(4, 4, 0, 0, 8*time.Second), 2, 0, true},
	} {
		if got, ok := eta(test.s, test.slots); got != test.want || ok != test.ok {
			t.Errorf("%s: %v, %v; want %v, %v", test.name, got, ok, test.want, test.ok)
		}
	}
	more := stats(10, 5, 0, 100*time.Second, 50*time.Second)
	more.InputDone = false
	if got, ok := eta(more, 2); ok {
		t.Errorf("the input goes on: %v", got)
	}
}
