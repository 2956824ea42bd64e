package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/sched"
)

// measure is a row of the table.
type measure struct {
	group, name string
	show        func(*sched.Summary) string
	value       func(*sched.Summary) float64 // the smaller the better
	figure      string                       // its name beside a picture; "": not there
}

// table has the policies side by side.
type table struct {
	policies []string
	rows     []measure
	cells    [][]string // by row and policy
	best     [][]bool
}

// durations are three rows.
func durations(group string, of func(*sched.Summary) *sched.Spread[time.Duration], figure bool) []measure {
	var all []measure
	for _, x := range []struct {
		name string
		get  func(*sched.Spread[time.Duration]) time.Duration
	}{
		{"mean", func(s *sched.Spread[time.Duration]) time.Duration { return s.Mean }},
		{"p95", func(s *sched.Spread[time.Duration]) time.Duration { return s.P95 }},
		{"max", func(s *sched.Spread[time.Duration]) time.Duration { return s.Max }},
	} {
		m := measure{group: group, name: x.name,
			show:  func(s *sched.Summary) string { return chart.Duration(x.get(of(s))) },
			value: func(s *sched.Summary) float64 { return float64(x.get(of(s))) }}
		if figure && x.name != "p95" {
			m.figure = x.name + " " + group
		}
		all = append(all, m)
	}
	return all
}

// number is one row; with more, more is better.
func number(group, name, figure string, more bool, format func(float64) string, get func(*sched.Summary) float64) measure {
	sign := 1.0
	if more {
		sign = -1
	}
	return measure{group: group, name: name, figure: figure,
		show:  func(s *sched.Summary) string { return format(get(s)) },
		value: func(s *sched.Summary) float64 { return sign * get(s) }}
}

// measures are all rows.
func measures() (all []measure) {
	all = append(all, durations("waiting", func(s *sched.Summary) *sched.Spread[time.Duration] { return &s.Waiting }, true)...)
	all = append(all, durations("turnaround", func(s *sched.Summary) *sched.Spread[time.Duration] { return &s.Turnaround }, true)...)
	all = append(all, durations("response", func(s *sched.Summary) *sched.Spread[time.Duration] { return &s.Response }, true)...)
	percent := func(v float64) string { return decimals(v*100) + "%" }
	return append(all,
		number("slowdown", "mean", "mean slowdown", false, decimals, func(s *sched.Summary) float64 { return s.Slowdown.Mean }),
		number("slowdown", "p95", "", false, decimals, func(s *sched.Summary) float64 { return s.Slowdown.P95 }),
		number("slowdown", "max", "", false, decimals, func(s *sched.Summary) float64 { return s.Slowdown.Max }),
		number("jobs per second", "", "", true, decimals, func(s *sched.Summary) float64 { return s.Throughput }),
		number("CPU use", "", "CPU use", true, percent, func(s *sched.Summary) float64 { return s.CPUUse }),
		measure{group: "makespan", figure: "makespan",
			show:  func(s *sched.Summary) string { return chart.Duration(s.Makespan) },
			value: func(s *sched.Summary) float64 { return float64(s.Makespan) }},
		number("preemptions", "", "preemptions", false, whole, func(s *sched.Summary) float64 { return float64(s.Preemptions) }),
		number("fairness", "", "fairness", true, decimals, func(s *sched.Summary) float64 { return s.Fairness }))
}

func whole(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

// decimals is a number in about three digits.
func decimals(v float64) string {
	switch {
	case math.IsInf(v, 0):
		return "inf"
	case v != 0 && math.Abs(v) < 0.01:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case math.Abs(v) < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case math.Abs(v) < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// newTable compares. What looks the same is equally good, and where all do none is best.
func newTable(results []*sched.Result) *table {
	t := &table{rows: measures()}
	for _, r := range results {
		t.policies = append(t.policies, r.Policy)
	}
	for _, m := range t.rows {
		cells, best := make([]string, len(results)), make([]bool, len(results))
		first := 0
		for i, r := range results {
			cells[i] = m.show(&r.Summary)
			if m.value(&r.Summary) < m.value(&results[first].Summary) {
				first = i
			}
		}
		same := 0
		for i := range cells {
			if best[i] = cells[i] == cells[first]; best[i] {
				same++
			}
		}
		if same == len(cells) {
			clear(best)
		}
		t.cells, t.best = append(t.cells, cells), append(t.best, best)
	}
	return t
}

// figures are those of one policy for a picture.
func (t *table) figures(policy int) (all []chart.Figure) {
	for i, m := range t.rows {
		if m.figure != "" {
			all = append(all, chart.Figure{Name: m.figure, Value: t.cells[i][policy], Best: t.best[i][policy]})
		}
	}
	return all
}

// write writes the table, so many policies side by side as have room.
func (t *table) write(w io.Writer, width int, color bool) {
	const label = 16
	widths := make([]int, len(t.policies))
	for i, p := range t.policies {
		widths[i] = len(p) + 3
		for _, row := range t.cells {
			widths[i] = max(widths[i], len(row[i])+3)
		}
	}
	marked := false
	for from := 0; from < len(t.policies); {
		used, to := label+widths[from], from+1
		for to < len(t.policies) && used+widths[to] <= width {
			used += widths[to]
			to++
		}
		if from > 0 {
			io.WriteString(w, "\n")
		}
		line := strings.Repeat(" ", label)
		for i := from; i < to; i++ {
			line += fmt.Sprintf("%*s ", widths[i]-1, t.policies[i])
		}
		io.WriteString(w, strings.TrimRight(line, " ")+"\n")
		group := ""
		for k, m := range t.rows {
			head := m.group
			if m.group == group {
				head = ""
			}
			group = m.group
			line := fmt.Sprintf("%-11s %-4s", head, m.name)
			if m.name == "" {
				line = fmt.Sprintf("%-*s", label, m.group)
			}
			for i := from; i < to; i++ {
				line += t.cell(k, i, widths[i], color)
				marked = marked || t.best[k][i]
			}
			io.WriteString(w, strings.TrimRight(line, " ")+"\n")
		}
		from = to
	}
	if marked {
		io.WriteString(w, "* the best of its row\n")
	}
}

// cell is one value, right-aligned, with its mark.
func (t *table) cell(row, policy, width int, color bool) string {
	s := t.cells[row][policy]
	fill := strings.Repeat(" ", max(width-len(s)-1, 0))
	switch {
	case !t.best[row][policy]:
		return fill + s + " "
	case color:
		return fill + "\x1b[1;32m" + s + "*\x1b[0m"
	}
	return fill + s + "*"
}
