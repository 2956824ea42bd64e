package chart

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

const sec = time.Second

// jobs makes a workload: name, then arrival and bursts in seconds.
func jobs(lines ...string) (w sched.Workload) {
	for _, line := range lines {
		f := strings.Fields(line)
		j := sched.Work{Name: f[0]}
		for i, word := range f[1:] {
			d, err := time.ParseDuration(word + "s")
			if err != nil {
				panic(err)
			}
			if i == 0 {
				j.Arrive = d
			} else {
				j.Bursts = append(j.Bursts, d)
			}
		}
		w = append(w, j)
	}
	return w
}

// simulate makes a schedule.
func simulate(t testing.TB, w sched.Workload, p sched.Policy, m sched.Machine) *Schedule {
	t.Helper()
	r, err := sched.Simulate(w, p, m)
	if err != nil {
		t.Fatal(err)
	}
	s := &Schedule{Title: p.String(), Name: func(j sched.Job) string { return w[j-1].Name }}
	_, s.Levels = p.(sched.Leveler)
	for i := range r.Jobs {
		s.End = max(s.End, r.Jobs[i].End)
	}
	s.Spans = sched.Spans(r.Trace, s.End)
	return s
}

// many is a schedule of n jobs with waits, by MLFQ.
func many(t testing.TB, n, cpus int) *Schedule {
	w, err := sched.Generator{Jobs: n, Load: 0.9, CPUs: cpus, Wait: 0.5, Sizes: sched.Pareto{Alpha: 1.1, Low: 0.1, High: 60}}.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for i := range w {
		w[i].Name = fmt.Sprint(i + 1)
	}
	return simulate(t, w, &sched.MLFQ{}, sched.Machine{CPUs: cpus})
}

// odd names, of which every output must make something that stays what it is.
var odd = []string{
	"two\nlines", "a\ttab", "\x1b[31mred\x07", "日本語の長い名前のジョブです", "invalid \xff\xfe", `<b>&"]]>`, "turned \u202e round",
	strings.Repeat("long ", 1000), "e\u0301combining", "", "🦆🦆", "\x00",
}

func oddJobs() (w sched.Workload) {
	for i, name := range odd {
		w = append(w, sched.Work{Name: name, Arrive: time.Duration(i) * sec / 2, Bursts: []time.Duration{sec, sec, sec}})
	}
	return w
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"}, {1, "1ns"}, {999, "999ns"}, {1500, "1.5us"}, {999_600, "1ms"}, {1234567, "1.23ms"}, {320 * time.Millisecond, "320ms"},
		{sec, "1s"}, {999_700 * time.Microsecond, "1s"}, {4250 * time.Millisecond, "4.25s"}, {12345 * time.Millisecond, "12.3s"}, {99940 * time.Millisecond, "99.9s"},
		{99960 * time.Millisecond, "1m40s"}, {100 * sec, "1m40s"}, {120 * sec, "2m"}, {750 * sec, "12m30s"}, {3599*sec + 600*time.Millisecond, "1h"}, {3 * time.Hour, "3h"},
		{3*time.Hour + 20*time.Minute, "3h20m"}, {76 * time.Hour, "3d4h"}, {24000 * time.Hour, "1000d"}, {-sec, "-1s"},
	} {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("%d ns: %s, want %s", tt.d, got, tt.want)
		}
	}
}

// An axis has round numbers, and at most as many as there is room for.
func TestStep(t *testing.T) {
	for end := time.Duration(1); end < 100*365*24*time.Hour; end += end/3 + 1 {
		for _, most := range []int{1, 5, 12} {
			s := step(end, most)
			if n := int(end / s); n > most || s <= 0 {
				t.Errorf("%v in at most %d steps: of %v", end, most, s)
			}
			if x := Duration(s); len(strings.Trim(x, "012356")) > 2 {
				t.Errorf("%v: a step of %s", end, x)
			}
		}
	}
}

func TestWidth(t *testing.T) {
	for _, tt := range []struct {
		s, clean string
		width    int
	}{
		{"abc", "abc", 3}, {"a\nb\tc", "a b c", 5}, {"日本", "日本", 4}, {"e\u0301", "e\u0301", 1}, {"\x1b[1m", "?[1m", 4}, {"\xff", "?", 1},
		{"\u202e", "?", 1}, {"🦆", "🦆", 2}, {"\u2028", " ", 1}, {"\x00", "?", 1},
	} {
		c := Clean(tt.s)
		if c != tt.clean || Width(c) != tt.width {
			t.Errorf("%q: %q of %d columns, want %q of %d", tt.s, c, Width(c), tt.clean, tt.width)
		}
	}
	for n := range 12 {
		for _, s := range []string{"日本語の名前", "abcdefghijklmnop", "ab", ""} {
			if f := Fit(s, n, "…"); Width(f) > n {
				t.Errorf("Fit(%q, %d) = %q", s, n, f)
			}
		}
	}
	if f := Fit("日本語", 4, "…"); f != "日…" {
		t.Errorf("%q", f)
	}
}
