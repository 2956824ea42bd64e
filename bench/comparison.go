package main

import (
	"fmt"
	"runtime"
	"slices"
)

// side is one way to do the job of a comparison.
type side struct {
	name   string
	run    func() (seconds float64, err error) // once; nil: it can't be had here
	why    string                              // it can't be had
	target float64                             // for brood's time by this one's; 0: none
}

// comparison is a job done in several ways, brood's first.
type comparison struct {
	name  string
	limit float64 // for brood's own time, in seconds; 0: none
	sides []side
}

// table prints a table of those comparisons whose name matches.
func (b *bench) table(title string, cs []comparison) error {
	cs = slices.DeleteFunc(cs, func(c comparison) bool { return !b.only.MatchString(c.name) })
	if len(cs) == 0 {
		return nil
	}
	fmt.Fprintf(b.out, "## %s\n\n| what | brood | peer | its time | brood/peer (range) | target | met |\n|---|---|---|---|---|---|---|\n", title)
	for _, c := range cs {
		if err := b.compare(c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	fmt.Fprintln(b.out)
	return nil
}

// compare runs the sides in turns and prints a row for each peer.
func (b *bench) compare(c comparison) error {
	times := make([][]float64, len(c.sides))
	for round := range b.rounds + 1 {
		for i, s := range c.sides {
			if s.run == nil {
				continue
			}
			runtime.GC() // nobody pays for what another one left
			t, err := s.run()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 { // the first one warms the caches
				times[i] = append(times[i], t)
			}
		}
	}
	for i, s := range c.sides[1:] {
		if s.run == nil {
			fmt.Fprintf(b.out, "| %s | %s | %s | %s | | | |\n", c.name, seconds(median(times[0])), s.name, s.why)
			continue
		}
		ratios := make([]float64, b.rounds)
		for r := range ratios {
			ratios[r] = times[0][r] / times[i+1][r]
		}
		target, met := "", ""
		if s.target > 0 {
			target, met = "≤ "+ratio(s.target), yes(median(ratios) <= s.target)
		}
		fmt.Fprintf(b.out, "| %s | %s | %s | %s | %s (%s–%s) | %s | %s |\n", c.name, seconds(median(times[0])),
			s.name, seconds(median(times[i+1])), ratio(median(ratios)), ratio(slices.Min(ratios)), ratio(slices.Max(ratios)), target, met)
	}
	if c.limit > 0 {
		fmt.Fprintf(b.out, "| %s | %s (%s–%s) | | | | ≤ %s | %s |\n", c.name, seconds(median(times[0])),
			seconds(slices.Min(times[0])), seconds(slices.Max(times[0])), seconds(c.limit), yes(median(times[0]) <= c.limit))
	}
	return nil
}

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "no"
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// seconds writes a time with three digits that count.
func seconds(s float64) string {
	switch {
	case s >= 1:
		return fmt.Sprintf("%.3g s", s)
	case s >= 1e-3:
		return fmt.Sprintf("%.3g ms", s*1e3)
	case s >= 1e-6:
		return fmt.Sprintf("%.3g µs", s*1e6)
	}
	return fmt.Sprintf("%.3g ns", s*1e9)
}

// ratio writes a ratio so that none becomes nought, and a large factor is seen.
func ratio(r float64) string {
	if r > 0 && r < 0.2 {
		return fmt.Sprintf("1/%.3g", 1/r)
	}
	return fmt.Sprintf("%.2f", r)
}
