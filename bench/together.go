package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const eventWakeUp = "event, asleep for 1 ms: Set → it runs"

// together compares processes that wait for each other.
func (b *bench) together(p lockPeers) error {
	many, few := b.some(2000), b.some(1000)
	wakes := newSpreads()
	if err := b.table("Events, barriers and conditions: processes that wait for each other", []comparison{
		{eventWakeUp, 0, b.wakes(wakes, p)},
		{"event, there and back", 0, []side{
			{name: "brood", run: func() (float64, error) { return slowest(events, 2, many, part{}) }},
			p.python.side("multiprocessing.Event", 0, "events", few, 0),
			p.c.side("bare futex in C", 0, "events", many, 0),
		}},
		{"condition, there and back", 0, []side{
			{name: "brood", run: func() (float64, error) { return b.conditions(many) }},
			p.python.side("multiprocessing.Condition", 0, "condition", few, 0),
			p.c.side("pthread_cond in C", 0, "condition", many, 0),
		}},
		b.barrier(2, many, p),
		b.barrier(8, b.some(200), p),
	}); err != nil {
		return err
	}
	wakes.print(b, eventWakeUp)
	return nil
}

// wakes are the sides of the wake-up of a process that is really asleep.
func (b *bench) wakes(s *spreads, p lockPeers) []side {
	n := b.some(100)
	theirs := func(x *peer, name string) side {
		if x.why != "" {
			s.names, s.missing[name] = append(s.names, name), x.why
			return side{name: name, why: x.why}
		}
		return s.side(name, func() ([]float64, error) {
			a, err := x.ask("wake", n, 0)
			return a.Samples, err
		})
	}
	return []side{
		s.side("brood", func() ([]float64, error) { return wakeUps(n) }),
		theirs(p.python, "multiprocessing.Event"),
		theirs(p.c, "bare futex in C"),
	}
}

// wakeUps are the seconds from Set until the process runs that slept.
func wakeUps(n int) ([]float64, error) {
	all, err := crew(events, 2, part{N: n, Pause: time.Millisecond})
	if err != nil {
		return nil, err
	}
	samples := make([]float64, n)
	for i := range samples {
		samples[i] = all[0].At[i] - all[1].At[i]
	}
	return samples, nil
}

// conditions lets two processes take turns.
func (b *bench) conditions(n int) (float64, error) {
	file := filepath.Join(b.dir, "turn")
	if err := os.WriteFile(file, []byte{0}, 0o600); err != nil {
		return 0, err
	}
	return slowest(condition, 2, n, part{File: file})
}

// barrier compares n meetings of processes.
func (b *bench) barrier(processes, n int, p lockPeers) comparison {
	return comparison{fmt.Sprintf("barrier of %d processes", processes), 0, []side{
		{name: "brood", run: func() (float64, error) { return slowest(meet, processes, n, part{}) }},
		p.python.side("multiprocessing.Barrier", 0, "meet", max(n/2, 1), processes),
		p.c.side("pthread_barrier in C", 0, "meet", n, processes),
	}}
}

// spreads collects the samples of all rounds but the first.
type spreads struct {
	names   []string
	samples map[string][]float64
	missing map[string]string // why they can't be had
	rounds  map[string]int
}

func newSpreads() *spreads {
	return &spreads{samples: make(map[string][]float64), missing: make(map[string]string), rounds: make(map[string]int)}
}

// side is a side whose time is the median of its samples.
func (s *spreads) side(name string, run func() ([]float64, error)) side {
	s.names = append(s.names, name)
	return side{name: name, run: func() (float64, error) {
		samples, err := run()
		if s.rounds[name]++; s.rounds[name] > 1 {
			s.samples[name] = append(s.samples[name], samples...)
		}
		return median(samples), err
	}}
}

// print prints those of what.
func (s *spreads) print(b *bench, what string) {
	if len(s.samples) == 0 {
		return
	}
	fmt.Fprintf(b.out, "The samples of %s, of all rounds:\n\n", what)
	b.spreadHeader()
	for _, name := range s.names {
		if samples := s.samples[name]; len(samples) > 0 {
			b.spread(name, samples, 0)
		} else {
			fmt.Fprintf(b.out, "| %s | | %s | | | | |\n", name, s.missing[name])
		}
	}
	fmt.Fprintln(b.out)
}
