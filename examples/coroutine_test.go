//go:build linux

package examples_test

import (
	"strings"
	"testing"
)

// Two coroutines alternate in a fixed order, and keep what they have; a loop wakes its
// tasks in the order of time. A switch costs less than a hand-over by channels, but that is for the
// benchmarks to say: here both are printed.
func TestCoroutine(t *testing.T) {
	o := play(t, "coroutine")
	want := []string{
		"Ann has 1", "Bob has 1", "Ann has 3", "Bob has 3", "Ann has 6", "Bob has 6",
		"Bob is closed", "Ann is closed",
		"tick after 2h0m0s", "tock after 3h0m0s", "tick after 4h0m0s",
		"tock after 6h0m0s", "tick after 6h0m0s", "tock after 9h0m0s",
	}
	if got := strings.Join(want, "\n") + "\n"; !strings.HasPrefix(o.stdout, got) {
		t.Errorf("want\n%s%s", got, o)
	}
	o.find(`9h0m0s have passed in \d+ ms`)
	if n := o.ints(`coroutine: 200000 switches there and back, (\d+) ns each`)[0]; n <= 0 {
		t.Errorf("a switch takes %d ns", n)
	}
	if n := o.ints(`channels: 200000 hand-overs there and back, (\d+) ns each`)[0]; n <= 0 {
		t.Errorf("a hand-over takes %d ns", n)
	}
}
