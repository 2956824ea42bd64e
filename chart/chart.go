// Package chart draws schedules, simulated or real: as text for a terminal, as SVG for a
// browser, and as events for Perfetto and chrome://tracing. It draws what it is given and
// asks nobody: no file, no terminal, no clock.
package chart

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/brood-go/brood/sched"
)

// Schedule is what a chart is of.
type Schedule struct {
	Title string // say, the policy
	// Spans are what the jobs did, in the order of their begins, as sched.Spans makes them.
	Spans []sched.Span
	// Jobs is how many there are, if Spans has only those of the first ones. 0: all are there.
	Jobs int
	// Name is what a job is called, of any characters and any length. nil: by its number.
	Name func(sched.Job) string
	// End is where the time axis ends. 0: with the last span.
	End time.Duration
	// Place is what a place is called. "": CPU.
	Place string
	// Levels says that the jobs' levels mean something.
	Levels bool
	// Figures are told beside the chart, in SVG.
	Figures []Figure
	// Note is said in a line of its own: what is left out, and why.
	Note string
}

// Figure is a number with its name.
type Figure struct {
	Name, Value string
	Best        bool // of all charts beside it
}

// row is what one job did.
type row struct {
	job   sched.Job
	spans []sched.Span
}

// waited is for how long it neither ran nor was blocked.
func (r *row) waited() (d time.Duration) {
	for _, s := range r.spans {
		if s.State == sched.New || s.State == sched.Ready || s.State == sched.Held {
			d += s.To - s.From
		}
	}
	return d
}

// rows are the jobs, by number.
func (s *Schedule) rows() []row {
	at := make(map[sched.Job]int)
	var rows []row
	for _, span := range s.Spans {
		i, ok := at[span.Job]
		if !ok {
			i = len(rows)
			at[span.Job] = i
			rows = append(rows, row{job: span.Job})
		}
		rows[i].spans = append(rows[i].spans, span)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.job, b.job) })
	return rows
}

// stretch is a time that a job had a place without a break. In a real run it keeps it
// while it is blocked or paused.
type stretch struct {
	job      sched.Job
	place    int
	from, to time.Duration
	spans    []sched.Span
}

// place is where a job is in a span; 0: nowhere, as all that have not begun, even if it is
// known where they will be.
func place(s *sched.Span) int {
	if s.State == sched.New || s.State == sched.Ready {
		return 0
	}
	return s.Place
}

// stretches are all of them, by place and time.
func stretches(rows []row) []stretch {
	var all []stretch
	for i := range rows {
		r := &rows[i]
		for k := 0; k < len(r.spans); {
			first := r.spans[k]
			where := place(&first)
			end := k + 1
			for end < len(r.spans) && place(&r.spans[end]) == where && r.spans[end].From == r.spans[end-1].To {
				end++
			}
			if where > 0 {
				all = append(all, stretch{r.job, where, first.From, r.spans[end-1].To, r.spans[k:end]})
			}
			k = end
		}
	}
	slices.SortStableFunc(all, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	return all
}

// end is where the axis ends; at least a nanosecond, so that nothing is divided by 0.
func (s *Schedule) end() time.Duration {
	end := s.End
	if end <= 0 {
		for _, span := range s.Spans {
			end = max(end, span.To)
		}
	}
	return max(end, 1)
}

// name is what a job is called.
func (s *Schedule) name(j sched.Job) string {
	if s.Name != nil {
		return cmp.Or(s.Name(j), fmt.Sprint(j))
	}
	return fmt.Sprint(j)
}

// place is what a place is called.
func (s *Schedule) place(n int) string { return fmt.Sprintf("%s %d", cmp.Or(s.Place, "CPU"), n) }

// steps of an axis that read well.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// step is the smallest one that reads well and of which at most most fit into end.
func step(end time.Duration, most int) time.Duration {
	n := time.Duration(max(most, 1))
	least := max(end/n+min(end%n, 1), 1)
	if least > steps[len(steps)-1] {
		return decimal(least, 24*time.Hour)
	}
	if least <= time.Second/2 {
		return decimal(least, 1)
	}
	i, _ := slices.BinarySearch(steps, least)
	return steps[i]
}

// decimal is the smallest 1, 2 or 5 times a power of ten of unit that is not below least.
func decimal(least, unit time.Duration) time.Duration {
	for {
		for _, m := range []time.Duration{1, 2, 5} {
			if m*unit >= least {
				return m * unit
			}
		}
		unit *= 10
	}
}

// Duration is a time in at most three digits or two units: 320ms, 4.25s, 12m30s, 3d4h.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{1, "ns"}, {time.Microsecond, "us"}, {time.Millisecond, "ms"}, {time.Second, "s"}} {
		if d == 0 {
			return "0"
		}
		// 999.6 of a unit is one of the next.
		if v := float64(d) / float64(u.unit); v < 999.5 && u.unit < time.Second || v < 99.95 && u.unit == time.Second {
			return digits(v) + u.name
		}
	}
	return units(d)
}

// tick is a time at an axis that ends at end: all in units of the same kind.
func tick(d, end time.Duration) string {
	if end > 100*time.Second && d >= time.Minute {
		return units(d)
	}
	return Duration(d)
}

// units is a time of a minute or more in its two largest units.
func units(d time.Duration) string {
	units := []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, u := range units[:3] {
		small := units[i+1]
		if r := d.Round(small.unit); r >= u.unit {
			if rest := r % u.unit / small.unit; rest > 0 && r/u.unit < 100 {
				return fmt.Sprintf("%d%s%d%s", r/u.unit, u.name, rest, small.name)
			}
			return fmt.Sprintf("%d%s", r/u.unit, u.name)
		}
	}
	return d.String()
}

// digits is a number in three digits, without zeros that say nothing.
func digits(v float64) string {
	n := 0
	switch {
	case v < 9.995:
		n = 2
	case v < 99.95:
		n = 1
	}
	s := fmt.Sprintf("%.*f", n, v)
	if n > 0 {
		for s[len(s)-1] == '0' {
			s = s[:len(s)-1]
		}
		if s[len(s)-1] == '.' {
			s = s[:len(s)-1]
		}
	}
	return s
}

// word is a state as charts call it.
func word(s sched.State) string {
	switch s {
	case sched.New:
		return "not admitted yet"
	case sched.Ready:
		return "waiting to begin"
	case sched.Held:
		return "waiting to go on"
	}
	return s.String()
}
