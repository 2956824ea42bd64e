//go:build linux

package examples_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Of degree 1 the total is the sum of what the jobs take, of degree 3 it is well below,
// although never more than one has the CPU. How much of the CPU the jobs get on a busy
// machine is nobody's promise; but they wait far longer than they compute.
func TestMultiprogramming(t *testing.T) {
	o := play(t, "multiprogramming")
	// Three times 40 + 480 + 40 ms one after the other; with three in memory A, B and C
	// compute until 120 ms, and A again from 520 ms on, when its wait is over: then B, then C.
	o.find("degree 1 simulated: total 1680 ms, CPU use 14 %") // 240 of 1680
	o.find("degree 3 simulated: total 640 ms, CPU use 38 %")  // 240 of 640
	one := o.ints(`degree 1 in fact: total (\d+) ms, CPU use (\d+) %, sum of the jobs' own times (\d+) ms`)
	three := o.ints(`degree 3 in fact: total (\d+) ms, CPU use (\d+) %, sum of the jobs' own times (\d+) ms`)
	if total, sum := one[0], one[2]; total*100 < sum*95 {
		t.Errorf("of degree 1 %d ms in all, want the sum of the jobs' times, %d ms", total, sum)
	}
	if three[0]*10 > one[0]*8 || three[0]*10 > three[2]*8 {
		t.Errorf("of degree 3 %d ms in all, want well below the sum, %d ms, and degree 1, %d ms", three[0], three[2], one[0])
	}
	if three[1] <= one[1] {
		t.Errorf("CPU use %d %% of degree 3, %d %% of degree 1: want more", three[1], one[1])
	}
	o.find("degree 1 at most at once: 1 in memory, 1 running")
	o.find("degree 3 at most at once: 3 in memory, 1 running")
}

// The jobs are A (comes at 0, needs 8 s), B (1, 4), C (2, 1) and D (8, 2). What each policy
// makes of them, worked by hand:
//
//	fcfs  in the order in which they come
//	      A 0-8, B 8-12, C 12-13, D 13-15
//	sjf   at 0 there is only A; at 8 C, B, and D that has just come: C is the shortest,
//	      then D, then B
//	      A 0-8, C 8-9, D 9-11, B 11-15
//	rr    slices of 2 s; at 2 C comes, and A goes behind it; at 8 D comes and is behind A
//	      A 0-2, B 2-4, C 4-5, A 5-7, B 7-9, A 9-11, D 11-13, A 13-15
//	mlfq  1 s at level 0, then 2 s at level 1. A and B sink at once to level 1, because there
//	      is always a newcomer; after C both have their 2 s there, and sink to level 2. At
//	      8 D comes, at level 0, and takes the place of A, which goes behind B
//	      A 0-1 (level 0), B 1-2 (0), C 2-3 (0), A 3-5 (1), B 5-7 (1), A 7-8 (2),
//	      D 8-9 (0), D 9-10 (1), B 10-11 (2), A 11-15 (2)
//
// Turnaround is the end less the arrival, waiting that less what the job needs, response
// the first moment on the CPU less the arrival. Under fcfs and sjf, which pause nobody, a
// job responds when it is done waiting; under rr the first moments are 0, 2, 4 and 11.
func TestScheduling(t *testing.T) {
	file := filepath.Join(t.TempDir(), "picture.svg")
	o := play(t, "scheduling", file)
	o.inOrder(
		"fcfs", `CPU 1 \|A +\|B +\|C +\|D`,
		"sjf", `CPU 1 \|A +\|C +\|D +\|B`,
		"rr", `CPU 1 \|A +\|B +\|C +\|A +\|B +\|A +\|D +\|A`,
		"mlfq", `CPU 1 \|A +\|B +\|C +\|A +\|B +\|A +\|D +\|B +\|A`,
		"mlfq: A comes at 0 and runs 0-1 at level 0, 3-5 at level 1, 7-8 at level 2, 11-15 at level 2",
		"mlfq: B comes at 1 and runs 1-2 at level 0, 5-7 at level 1, 10-11 at level 2",
		"mlfq: C comes at 2 and runs 2-3 at level 0",
		"mlfq: D comes at 8 and runs 8-9 at level 0, 9-10 at level 1",
		"the picture: "+regexp.QuoteMeta(file))
	const tables = `
waiting        A   B   C   D    mean
fcfs           0   7  10   5    5.50
sjf            0  10   6   1    4.25
rr             7   4   2   3    4.00
mlfq           7   6   0   0    3.25

turnaround     A   B   C   D    mean
fcfs           8  11  11   7    9.25
sjf            8  14   7   3    8.00
rr            15   8   3   5    7.75
mlfq          15  10   1   2    7.00

response       A   B   C   D    mean
fcfs           0   7  10   5    5.50
sjf            0  10   6   1    4.25
rr             0   1   2   3    1.50
mlfq           0   0   0   0    0.00
`
	if !strings.Contains(o.stdout, tables) {
		t.Errorf("the tables are not those worked by hand:\n%s\n%s", tables, o)
	}
	for _, text := range []string{"A", "B", "C", "D", "fcfs", "sjf", "rr", "mlfq"} {
		if !slices.Contains(texts(t, file), text) {
			t.Errorf("the picture does not show %s", text)
		}
	}
}

// texts are those of a well-formed document.
func texts(t *testing.T, file string) (all []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for dec := xml.NewDecoder(f); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if text, ok := token.(xml.CharData); ok {
			all = append(all, string(text))
		}
	}
}

// Whether simulated or real, a job goes through the same states for the same causes.
func TestStates(t *testing.T) {
	// The job computes for 900 ms, waits for 400, and computes for 400; its competitor
	// computes for 1250; a slice is 600. The job has the CPU until 600 and the competitor until
	// 1200; the job again for its other 300, until it waits at 1500. When that is over, at
	// 1900, the competitor is in its slice that ends at 2100. Then the job's last 400.
	want := []string{
		"0 ms new arrives",
		"0 ms ready admitted",
		"0 ms running dispatched",
		"600 ms ready slice used up",
		"1200 ms running dispatched",
		"1500 ms blocked waits",
		"1900 ms ready wait over",
		"2100 ms running dispatched",
		"2500 ms done exits",
	}
	o := play(t, "states")
	var simulated, actual []string
	for line := range strings.Lines(o.stdout) {
		left, right, _ := strings.Cut(line, "|")
		simulated = append(simulated, strings.Join(strings.Fields(left), " "))
		actual = append(actual, strings.Join(strings.Fields(right), " "))
	}
	if !slices.Equal(simulated, append([]string{"simulated"}, want...)) {
		t.Errorf("simulated: %q", simulated)
	}
	when := regexp.MustCompile(`^\d+ ms `)
	for i := range actual {
		actual[i] = when.ReplaceAllString(actual[i], "")
	}
	for i := range want {
		want[i] = when.ReplaceAllString(want[i], "")
	}
	if !slices.Equal(actual, append([]string{"in fact"}, want...)) {
		t.Errorf("the real one differs; %s", o)
	}
}
