package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// traceFile is the JSON object format.
type traceFile struct {
	Unit   string            `json:"displayTimeUnit"`
	Other  map[string]string `json:"otherData"`
	Events []traceEvent      `json:"traceEvents"`
}

type traceEvent struct {
	Phase    string `json:"ph"`
	PID, TID *int
	TS, Dur  *float64
	Name     string
	Args     map[string]any
}

// record writes schedules and reads them again: they obey the format.
func record(t testing.TB, schedules ...Schedule) traceFile {
	t.Helper()
	var b bytes.Buffer
	if err := TraceEvents(&b, schedules, map[string]string{"note": "a \"note\""}); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&b)
	var f traceFile
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.Unit != "ms" || f.Other["note"] != `a "note"` {
		t.Errorf("unit %q, %v", f.Unit, f.Other)
	}
	named := make(map[[2]int]bool)
	open := make(map[[2]int][]float64) // ends of what is open on a thread
	last := make(map[[2]int]float64)
	for _, e := range f.Events {
		if e.PID == nil || e.TID == nil || e.TS == nil || e.Name == "" {
			t.Fatalf("%+v: a field is missing", e)
		}
		at := [2]int{*e.PID, *e.TID}
		switch e.Phase {
		case "M":
			if e.Name == "thread_name" {
				named[at] = true
			}
		case "C":
			for _, v := range e.Args {
				if v.(float64) < 0 {
					t.Errorf("counter %v", e.Args)
				}
			}
		case "X":
			if e.Dur == nil || *e.Dur < 0 || !named[at] {
				t.Fatalf("%+v: no duration, or a thread without a name", e)
			}
			const slack = 1e-3 / 2
			if *e.TS < last[at]-slack {
				t.Errorf("%+v begins before the one before", e)
			}
			last[at] = *e.TS
			for n := len(open[at]); n > 0 && open[at][n-1] <= *e.TS+slack; n-- {
				open[at] = open[at][:n-1]
			}
			if n := len(open[at]); n > 0 && *e.TS+*e.Dur > open[at][n-1]+slack {
				t.Errorf("%+v overlaps what it is not in", e)
			}
			open[at] = append(open[at], *e.TS+*e.Dur)
		default:
			t.Errorf("phase %q", e.Phase)
		}
	}
	return f
}

// find is the events of a kind, process and thread.
func find(f traceFile, phase string, pid, tid int) (all []string) {
	for _, e := range f.Events {
		if e.Phase == phase && *e.PID == pid && (*e.TID == tid || tid < 0) {
			s := fmt.Sprintf("%s %g", e.Name, *e.TS/1e6)
			if e.Dur != nil {
				s += fmt.Sprintf("+%g %v", *e.Dur/1e6, e.Args["state"])
			} else if phase == "C" {
				s = fmt.Sprintf("%g: %v %v %v %v", *e.TS/1e6, e.Args["running"], e.Args["blocked"], e.Args["paused"], e.Args["waiting"])
			}
			all = append(all, s)
		}
	}
	return all
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Compute 2, wait 3, compute 1, beside compute 5, first come, first served: 0-2 A, 2-7 B, 7-8 A.
func TestEvents(t *testing.T) {
	f := record(t, *simulate(t, jobs("A 0 2 3 1", "B 0 5"), &sched.FCFS{}, sched.Machine{}))
	equal(t, find(f, "X", 1, 1), "A 0+2 running", "B 2+5 running", "A 7+1 running")
	equal(t, find(f, "X", 2, -1), "B 0+2 ready", "A 2+3 blocked", "A 5+2 paused")
	equal(t, find(f, "C", 1, -1), "0: 1 0 0 1", "2: 1 1 0 0", "5: 1 0 1 0", "7: 1 0 0 0", "8: 0 0 0 0")
}

// A real run: a job keeps its slot while it is blocked or paused, and its states lie in it.
// The slot is known a little before it runs.
func TestEventsOfRun(t *testing.T) {
	at := func(ms int, job sched.Job, s sched.State, place int) sched.Change {
		return sched.Change{At: time.Duration(ms) * time.Millisecond, Job: job, State: s, Place: place}
	}
	trace := []sched.Change{
		at(0, 1, sched.New, 0), at(0, 2, sched.New, 0), at(100, 1, sched.Ready, 1), at(200, 1, sched.Running, 1), at(500, 1, sched.Blocked, 1), at(600, 1, sched.Held, 1),
		at(800, 1, sched.Running, 1), at(1000, 1, sched.Done, 1), at(1000, 2, sched.Running, 1),
	}
	f := record(t, Schedule{Spans: sched.Spans(trace, 2*sec), Place: "slot"})
	equal(t, find(f, "X", 1, 1), "1 0.2+0.8 running", "running 0.2+0.3 running", "blocked 0.5+0.1 blocked", "paused 0.6+0.2 paused", "running 0.8+0.2 running", "2 1+1 running")
	equal(t, find(f, "X", 2, -1), "1 0+0.1 new", "2 0+1 new", "1 0.1+0.1 ready")
}

// Nothing overlaps, whatever the schedule: levels, many jobs, odd names, several policies,
// and even two jobs on one place.
func TestEventsNest(t *testing.T) {
	record(t)
	record(t, Schedule{})
	f := record(t, *many(t, 200, 4), *simulate(t, oddJobs(), &sched.RR{Slice: sec / 3}, sched.Machine{CPUs: 3}))
	if n := len(find(f, "X", 3, -1)); n == 0 {
		t.Error("the second policy has no processes of its own")
	}
	record(t, Schedule{Spans: []sched.Span{
		{Job: 1, State: sched.Running, Place: 1, To: 3 * sec},
		{Job: 2, State: sched.Running, Place: 1, From: sec, To: 5 * sec},
		{Job: 3, State: sched.Running, Place: 1, From: 2 * sec, To: 4 * sec},
		{Job: 4, State: sched.Ready, From: 0, To: sec},
	}})
}
