package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const sec = time.Second

// jobs makes a workload: arrival and CPU time of each, in seconds.
func jobs(pairs ...[2]float64) Workload {
	w := make(Workload, len(pairs))
	for i, p := range pairs {
		w[i] = Work{Arrive: time.Duration(p[0] * float64(sec)), Bursts: []time.Duration{time.Duration(p[1] * float64(sec))}}
	}
	return w
}

// simulate fails the test if it can't.
func simulate(t testing.TB, w Workload, p Policy, m Machine) *Result {
	t.Helper()
	r, err := Simulate(w, p, m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seconds lists what f says of each job.
func seconds(r *Result, f func(*Outcome) time.Duration) []float64 {
	var all []float64
	for i := range r.Jobs {
		all = append(all, f(&r.Jobs[i]).Seconds())
	}
	return all
}

func waiting(o *Outcome) time.Duration { return o.Waiting }
func ends(o *Outcome) time.Duration    { return o.End }

// The examples of Silberschatz, Galvin, Gagne, Operating System Concepts, chapter
// CPU scheduling, with the answers given there, and a few worked by hand.
func TestTextbook(t *testing.T) {
	convoy := jobs([2]float64{0, 24}, [2]float64{0, 3}, [2]float64{0, 3})
	priorities := jobs([2]float64{0, 10}, [2]float64{0, 1}, [2]float64{0, 2}, [2]float64{0, 1}, [2]float64{0, 5})
	for i, p := range []int{3, 1, 4, 5, 2} { // 1 is the most urgent there
		priorities[i].Priority = -p
	}
	srtf := jobs([2]float64{0, 8}, [2]float64{1, 4}, [2]float64{2, 9}, [2]float64{3, 5})
	for _, tt := range []struct {
		name    string
		w       Workload
		p       Policy
		m       Machine
		waiting []float64
	}{
		{"fcfs", convoy, &FCFS{}, Machine{}, []float64{0, 24, 27}},
		{"fcfs, short ones first", jobs([2]float64{0, 3}, [2]float64{0, 3}, [2]float64{0, 24}), &FCFS{}, Machine{}, []float64{0, 3, 6}},
		{"sjf", jobs([2]float64{0, 6}, [2]float64{0, 8}, [2]float64{0, 7}, [2]float64{0, 3}), &SJF{}, Machine{}, []float64{3, 16, 9, 0}},
		{"sjf does not preempt", srtf, &SJF{}, Machine{}, []float64{0, 7, 15, 9}},
		{"srpt", srtf, &SRPT{Clairvoyant: true}, Machine{}, []float64{9, 0, 15, 2}},
		{"lpt", jobs([2]float64{0, 6}, [2]float64{0, 8}, [2]float64{0, 7}, [2]float64{0, 3}), &LPT{}, Machine{}, []float64{15, 0, 8, 21}},
		{"lpt, two CPUs", jobs([2]float64{0, 3}, [2]float64{0, 3}, [2]float64{0, 2}, [2]float64{0, 2}, [2]float64{0, 2}), &LPT{}, Machine{CPUs: 2}, []float64{0, 0, 3, 3, 5}},
		{"rr", convoy, &RR{Slice: 4 * sec}, Machine{}, []float64{6, 4, 7}},
		{"priority", priorities, &Priority{}, Machine{}, []float64{6, 0, 16, 18, 1}},
		{"priority, preempting", func() Workload {
			w := jobs([2]float64{0, 4}, [2]float64{1, 2}, [2]float64{2, 1})
			w[1].Priority, w[2].Priority = 1, 2
			return w
		}(), &Priority{Preempt: true}, Machine{}, []float64{3, 1, 0}},
		// The job that comes when a slice ends is in front of the one that had it.
		{"rr, arrival at a slice's end", jobs([2]float64{0, 4}, [2]float64{2, 2}), &RR{Slice: 2 * sec}, Machine{}, []float64{2, 0}},
		{"fcfs, degree 1", jobs([2]float64{0, 2}, [2]float64{0, 2}), &FCFS{}, Machine{CPUs: 2, Degree: 1}, []float64{0, 2}},
		{"a switch costs", jobs([2]float64{0, 2}, [2]float64{0, 2}), &RR{Slice: sec}, Machine{Switch: sec / 2}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := simulate(t, tt.w, tt.p, tt.m)
			if tt.waiting == nil { // 0.5 A 1.5 2 B 3 3.5 A 4.5 5 B 6
				if got := seconds(r, ends); !slices.Equal(got, []float64{4.5, 6}) || r.Summary.Switches != 3 || r.Summary.Preemptions != 2 {
					t.Errorf("ends %v, %d switches, %d preemptions", got, r.Summary.Switches, r.Summary.Preemptions)
				}
				return
			}
			if got := seconds(r, waiting); !slices.Equal(got, tt.waiting) {
				t.Errorf("waited %v, want %v", got, tt.waiting)
			}
		})
	}
}

// A job of compute 2, wait 3, compute 1 and one of compute 5, by hand.
func TestMultiprogramming(t *testing.T) {
	w := jobs([2]float64{0, 0}, [2]float64{0, 5})
	w[0].Bursts = []time.Duration{2 * sec, 3 * sec, sec}
	for _, tt := range []struct {
		name   string
		degree int
		p      Policy
		ends   []float64
	}{
		{"fcfs", 0, &FCFS{}, []float64{8, 7}},                  // 0-2 A, 2-7 B, 7-8 A
		{"alone", 1, &FCFS{}, []float64{6, 11}},                // 0-2 A, 2-5 nobody, 5-6 A, 6-11 B
		{"rr", 2, &RR{Slice: sec}, []float64{7, 8}},            // A B A, 3-6 B, 6-7 A, 7-8 B
		{"srpt", 2, &SRPT{Clairvoyant: true}, []float64{6, 8}}, // 0-2 A, 2-5 B, 5-6 A, 6-8 B
	} {
		r := simulate(t, w, tt.p, Machine{Degree: tt.degree})
		if got := seconds(r, ends); !slices.Equal(got, tt.ends) {
			t.Errorf("%s: ends %v, want %v", tt.name, got, tt.ends)
		}
	}
}

// A job sinks level by level, a newcomer begins at the top and takes its place, and
// the boost brings the first one back, as worked by hand.
func TestMLFQ(t *testing.T) {
	p := &MLFQ{
		Levels: []Level{{Slice: sec, Allotment: sec}, {Slice: 2 * sec, Allotment: 2 * sec}, {Slice: 4 * sec}},
		Boost:  20 * sec,
	}
	w := jobs([2]float64{0, 21}, [2]float64{5, 2}, [2]float64{6.5, 1})
	r := simulate(t, w, p, Machine{})
	var got []string
	for _, c := range r.Trace {
		if c.State == Running || c.State == Held {
			got = append(got, fmt.Sprintf("%v %d %v %d", c.At.Seconds(), c.Job, c.Cause, c.Level))
		}
	}
	want := []string{
		"0 1 dispatched 0",
		"1 1 moved down 1",
		"3 1 moved down 2",
		"5 1 preempted 2", // by job 2
		"5 2 dispatched 0",
		"6 2 moved down 1",
		"6.5 2 preempted 1", // by job 3
		"6.5 3 dispatched 0",
		"7.5 2 dispatched 1",
		"8 1 dispatched 2", // job 2 has ended
		"20 1 boosted 0",
		"21 1 moved down 1",
		"23 1 moved down 2",
	}
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			t.Logf("%-30s %s", at(got, i), at(want, i))
		}
		t.Error("got, want")
	}
	if e := seconds(r, ends); !slices.Equal(e, []float64{24, 8, 7.5}) {
		t.Errorf("ends %v", e)
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "-"
}
