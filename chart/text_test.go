package chart

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// draw is a schedule as text.
func draw(t testing.TB, s *Schedule, o TextOptions) string {
	t.Helper()
	var b strings.Builder
	if err := Text(&b, s, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// check compares with what was worked by hand. The first newline of want does not count.
func check(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The convoy of Silberschatz's textbook, as in package sched's tests: under round robin
// with turns of 4 the jobs wait 6, 4 and 7.
func TestConvoy(t *testing.T) {
	w := jobs("P1 0 24", "P2 0 3", "P3 0 3")
	check(t, draw(t, simulate(t, w, &sched.FCFS{}, sched.Machine{}), TextOptions{Width: 50}), `
fcfs
CPU 1 |P1                     |P2|P3
P1    ████████████████████████              0
P2    ························███         24s
P3    ···························███      27s
      ┴─────────┴─────────┴─────────┴  waited
      0         10s       20s       30s
`)
}

func TestTextbook(t *testing.T) {
	w := jobs("P1 0 24", "P2 0 3", "P3 0 3")
	check(t, draw(t, simulate(t, w, &sched.RR{Slice: 4 * sec}, sched.Machine{}), TextOptions{Width: 80}), `
rr
CPU 1 |P1     |P2   |P3   |P1
P1    ████████░░░░░░░░░░░░████████████████████████████████████████       6s
P2    ········██████                                                     4s
P3    ··············██████                                               7s
      ┴─────────┴─────────┴─────────┴─────────┴─────────┴─────────┴  waited
      0         5s        10s       15s       20s       25s       30s
`)
	// Compute 2, wait 3, compute 1, beside compute 5, on one CPU: package sched's
	// TestMultiprogramming. In ASCII, and too narrow for the column at the right.
	m := jobs("A 0 2 3 1", "B 0 5")
	check(t, draw(t, simulate(t, m, &sched.RR{Slice: sec}, sched.Machine{Degree: 2}), TextOptions{Width: 42, ASCII: true}), `
rr
CPU 1 |A  |B  |A  |B          |A  |B
A     ####----####~~~~~~~~~~~~####
B     ....####----############----####
      +-------+-------+-------+-------+
      0       2s      4s      6s      8s
`)
	two := jobs("A 0 2", "B 0 1", "C 1 2")
	check(t, draw(t, simulate(t, two, &sched.FCFS{}, sched.Machine{CPUs: 2}), TextOptions{Width: 40}), `
fcfs
CPU 1 |A                  |
CPU 2 |B        |C
A     ████████████████████
B     ██████████
C               ████████████████████
      ┴─────────┴─────────┴─────────┴
      0         1s        2s        3s
`)
}

// A long job sinks level by level and a newcomer begins at the top: package sched's TestMLFQ.
func TestLevels(t *testing.T) {
	p := &sched.MLFQ{Levels: []sched.Level{{Slice: sec, Allotment: sec}, {Slice: 2 * sec, Allotment: 2 * sec}, {Slice: 4 * sec}}, Boost: 20 * sec}
	s := simulate(t, jobs("A 0 21", "B 5 2", "C 6.5 1"), p, sched.Machine{})
	check(t, draw(t, s, TextOptions{Width: 64}), `
mlfq
CPU 1 |A        |B |C||A
A     0011112222░░░░░░22222222222222222222222200111122       3s
B               001░░1                                       1s
C                  00                                         0
      ┴─────────┴─────────┴─────────┴─────────┴────────  waited
      0         5s        10s       15s       20s
`)
}

// The text keeps its width, whatever the names, and is one line for each job.
func TestOddNames(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		s := simulate(t, oddJobs(), &sched.RR{Slice: sec / 2}, sched.Machine{CPUs: 2})
		got := draw(t, s, TextOptions{Width: width})
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if n := len(lines); n < len(odd)+3 || n > len(odd)+5 {
			t.Errorf("%d lines of %d jobs:\n%s", n, len(odd), got)
		}
		for _, line := range lines {
			if Width(line) > width || Clean(line) != line {
				t.Errorf("width %d: %d columns in %q", width, Width(line), line)
			}
		}
	}
}

// Colours are switched off again in each line, and say no more than the characters.
func TestColor(t *testing.T) {
	for _, s := range []*Schedule{
		simulate(t, jobs("A 0 2 3 1", "B 0 5"), &sched.RR{Slice: sec}, sched.Machine{}),
		simulate(t, jobs("A 0 2 3 1", "B 0 5"), &sched.MLFQ{}, sched.Machine{}),
	} {
		with, without := draw(t, s, TextOptions{Color: true}), draw(t, s, TextOptions{})
		if plain(with) != without || with == without || strings.Contains(without, "\x1b") {
			t.Errorf("with colours:\n%s\nwithout:\n%s", with, without)
		}
		for line := range strings.Lines(with) {
			if i := strings.LastIndex(line, "\x1b["); i >= 0 && !strings.HasPrefix(line[i:], "\x1b[0m") {
				t.Errorf("a colour goes on: %q", line)
			}
		}
	}
}

// Of many jobs a screenful is shown, and what is left out is said; one that ran for less
// than a column is seen to have run.
func TestMany(t *testing.T) {
	got := draw(t, many(t, 300, 4), TextOptions{Rows: 10, More: "--rows N shows more"})
	if !strings.Contains(got, "\n290 of 300 jobs are left out: --rows N shows more\n") || strings.Count(got, "\n") > 18 {
		t.Errorf("%s", got)
	}
	s := simulate(t, jobs("long 0 1000", "short 1 0.001"), &sched.SRPT{Clairvoyant: true}, sched.Machine{})
	if got := draw(t, s, TextOptions{}); !strings.Contains(got, "short █") {
		t.Errorf("%s", got)
	}
	// A hundred years, and nothing at all.
	draw(t, simulate(t, sched.Workload{{Bursts: []time.Duration{99 * 365 * 24 * time.Hour}}}, &sched.FCFS{}, sched.Machine{}), TextOptions{})
	draw(t, &Schedule{}, TextOptions{Width: 1})
	draw(t, simulate(t, jobs("none 0 0"), &sched.FCFS{}, sched.Machine{}), TextOptions{})
}

func TestLegend(t *testing.T) {
	for _, width := range []int{20, 40, 80} {
		for _, color := range []bool{false, true} {
			var b strings.Builder
			if err := Legend(&b, TextOptions{Width: width, Color: color}, true); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(plain(b.String())) {
				if Width(strings.TrimSuffix(line, "\n")) > max(width, 42) {
					t.Errorf("width %d: %q", width, line)
				}
			}
		}
	}
}

// broken fails after some bytes.
type broken struct{ left int }

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// An error of the writer comes back.
func TestErrors(t *testing.T) {
	s := many(t, 500, 4)
	for _, left := range []int{0, 100, 5000} {
		if err := Text(&broken{min(left, 100)}, s, TextOptions{}); !errors.Is(err, errBroken) {
			t.Errorf("text: %v", err)
		}
		if err := SVG(&broken{left}, Document{Schedules: []Schedule{*s}}); !errors.Is(err, errBroken) {
			t.Errorf("svg: %v", err)
		}
		if err := TraceEvents(&broken{left}, []Schedule{*s}, nil); !errors.Is(err, errBroken) {
			t.Errorf("events: %v", err)
		}
	}
}
