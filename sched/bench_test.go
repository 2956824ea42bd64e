package sched

import (
	"fmt"
	"testing"
	"time"
)

// The cost of an event grows like log n with the number of jobs that are there at once.
func BenchmarkSimulate(b *testing.B) {
	for _, name := range []string{"fcfs", "srpt", "mlfq"} {
		for n := 1000; n <= 1_000_000; n *= 10 {
			w, err := Generator{Jobs: n, Sizes: Pareto{1.1, 0.05, 60}, Seed: 1}.Generate()
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				events := 0
				for b.Loop() {
					p, _ := ByName(name)
					c := &counting{Policy: p}
					simulate(b, w, c, Machine{CPUs: 2, NoTrace: true})
					events = c.events
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
			})
		}
	}
}

// counting counts what a policy is told.
type counting struct {
	Policy
	events int
}

func (c *counting) Decide(now time.Duration, events ...Event) []Decision {
	c.events += len(events)
	return c.Policy.Decide(now, events...)
}
