package batch

import (
	"fmt"
	"strconv"
	"strings"
)

// HaltWhen says what becomes of the running jobs when a batch is halted.
type HaltWhen int

// The ways to halt.
const (
	// HaltNever: the batch runs to its end.
	HaltNever HaltWhen = iota
	// HaltSoon: no new jobs are started, the running ones go on to their end.
	HaltSoon
	// HaltNow: the running jobs are terminated.
	HaltNow
)

// HaltOn says which ends of jobs are counted.
type HaltOn int

// What is counted.
const (
	OnFail    HaltOn = iota // jobs that failed
	OnSuccess               // jobs that exited with code 0
	OnDone                  // both
)

// Halt ends a batch before the end of its input.
type Halt struct {
	When  HaltWhen
	On    HaltOn
	Count int // how many ends halt it
	// Percent, in place of Count, is how many of a hundred jobs halt it, of all that the input has.
	// So it acts once their number is known (Options.Total).
	Percent float64
}

// ParseHalt reads GNU parallel's words: "never", or "now" or "soon" with
// "fail=N", "success=N" or "done=N", or N%, and its shorthands 0, 1, 2, -1, -2 and N%.
func ParseHalt(s string) (Halt, error) {
	switch s {
	case "never", "0":
		return Halt{}, nil
	case "1":
		s = "soon,fail=1"
	case "2":
		s = "now,fail=1"
	case "-1":
		s = "soon,success=1"
	case "-2":
		s = "now,success=1"
	}
	if number, ok := strings.CutSuffix(s, "%"); ok && !strings.Contains(s, ",") {
		s = "soon,fail=" + number + "%"
	}
	var h Halt
	when, rest, ok := strings.Cut(s, ",")
	switch when {
	case "now":
		h.When = HaltNow
	case "soon":
		h.When = HaltSoon
	default:
		ok = false
	}
	on, count, ok2 := strings.Cut(rest, "=")
	switch on {
	case "fail":
		h.On = OnFail
	case "success":
		h.On = OnSuccess
	case "done":
		h.On = OnDone
	default:
		ok = false
	}
	number, percent := strings.CutSuffix(count, "%")
	n, err := strconv.Atoi(number)
	if percent {
		h.Percent, err = strconv.ParseFloat(number, 64)
		ok = ok && h.Percent > 0 && h.Percent <= 100
		n = 1
	} else {
		h.Count = n
	}
	if !ok || !ok2 || err != nil || n < 1 {
		return Halt{}, fmt.Errorf("%q does not say when to halt: use never, or now or soon with fail=N, success=N or done=N, as in now,fail=1, or N%% of all jobs", s)
	}
	return h, nil
}

// first reports whether the first end halts the batch, of so many jobs in all.
func (h Halt) first(total int) bool {
	return h.On != OnSuccess && (h.Count == 1 || h.Percent > 0 && h.Percent*float64(total) == 100)
}

// reached reports whether the ends so far halt the batch, of so many jobs in all; 0 is not known.
func (h Halt) reached(ok, failed, total int) bool {
	if h.When == HaltNever {
		return false
	}
	n := failed
	switch h.On {
	case OnSuccess:
		n = ok
	case OnDone:
		n = ok + failed
	}
	if h.Percent > 0 {
		return total > 0 && float64(n)*100 >= h.Percent*float64(total)
	}
	return n >= h.Count
}
