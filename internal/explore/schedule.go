package explore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// choice is something that was chosen: its kind, and of which strand, participant or
// context, by index.
type choice int32

const (
	runs    choice = iota // a strand does an operation
	kills                 // a participant dies
	cancels               // a context is cancelled
	ends                  // nothing more happens, though something could
	inner                 // an operation has several outcomes: which one
)

const kindShift = 24

func (c choice) kind() choice { return c >> kindShift }
func (c choice) index() int   { return int(c & (1<<kindShift - 1)) }

func (c *scope) label() string {
	if c.n == 0 {
		return c.p.name
	}
	return c.p.name + "#" + strconv.Itoa(c.n)
}

// token is a choice by name, as it stands in a schedule:
//
//	p.a     a strand does an operation; p.a*3 three
//	!p      a participant is killed
//	~p      its context is cancelled; ~p#1 its second one
//	?1      the operation's second outcome, not the first
//	.       nothing more happens
//	...     the run is cut off here, as a livelock
//
// First outcomes at the end of an operation are left out.
type token string

const (
	endToken token = "."
	cutToken token = "..."
)

// token names a choice of this run.
func (w *World) token(c choice) token {
	switch c.kind() {
	case runs:
		return token(w.strands[c.index()].label())
	case kills:
		return token("!" + w.participants[c.index()].name)
	case cancels:
		return token("~" + w.contexts[c.index()].label())
	case inner:
		return token("?" + strconv.Itoa(c.index()))
	}
	return endToken
}

// tokens is the schedule of the last run.
func (w *World) tokens() []token {
	tokens := make([]token, 0, len(w.log)+1)
	for i, c := range w.log {
		last := i+1 == len(w.log) || w.log[i+1].kind() != inner
		if c.kind() != inner || c.index() != 0 || !last {
			tokens = append(tokens, w.token(c))
		}
	}
	if w.failure != nil && w.failure.Kind == Livelock {
		tokens = append(tokens, cutToken)
	}
	return tokens
}

// format writes a schedule down.
func format(tokens []token) string {
	var words []string
	for i := 0; i < len(tokens); {
		n := 1
		for i+n < len(tokens) && tokens[i+n] == tokens[i] {
			n++
		}
		t := string(tokens[i])
		if n > 1 {
			t += "*" + strconv.Itoa(n)
		}
		words = append(words, t)
		i += n
	}
	return strings.Join(words, " ")
}

// parse reads a schedule.
func parse(schedule string) ([]token, error) {
	var tokens []token
	for _, word := range strings.Fields(schedule) {
		t, times, many := strings.Cut(word, "*")
		n := 1
		if many {
			var err error
			if n, err = strconv.Atoi(times); err != nil || n < 1 || n > 1<<24 {
				return nil, fmt.Errorf("schedule: what is %q", word)
			}
		}
		for range n {
			tokens = append(tokens, token(t))
		}
	}
	return tokens, nil
}

// replay follows a schedule. A strict one fails where it can't; another leaves out what
// can't be done, and ends its run by itself.
type replay struct {
	tokens []token
	strict bool
	at     int
}

func (r *replay) pick(w *World, _ bool) int {
	for ; r.at < len(r.tokens); r.at++ {
		t := r.tokens[r.at]
		if t == cutToken {
			w.cur = nil
			w.fail(Livelock, fmt.Sprintf("no end after %d steps", w.steps))
			return -1
		}
		for i, c := range w.offers {
			if w.token(c) == t {
				r.at++
				return i
			}
		}
		if r.strict {
			w.cur = nil
			w.fail(Failed, fmt.Sprintf("the schedule has %s, which is not possible after %d steps", t, w.steps))
			return -1
		}
	}
	return 0
}

func (r *replay) inner(w *World, n int) int {
	if r.at < len(r.tokens) {
		if k, is := strings.CutPrefix(string(r.tokens[r.at]), "?"); is {
			r.at++
			if i, err := strconv.Atoi(k); err == nil && i >= 0 && i < n {
				return i
			}
		}
	}
	return 0
}

func (r *replay) finish(w *World) {
	if r.strict && w.failure == nil && r.at < len(r.tokens) {
		w.fail(Failed, fmt.Sprintf("the schedule has %s after the end, which was after %d steps", r.tokens[r.at], w.steps))
	}
}

func (r *replay) backtrack() bool { return false }

// maxShrink is how many runs shrink spends.
const maxShrink = 2000

// shrink looks for a simpler schedule in which the case fails in the same way: it leaves
// parts of it out, or does them earlier, as long as that makes it fail with fewer
// switches, or as many and fewer steps.
func (w *World) shrink(tokens []token, body func(*World)) []token {
	kind, budget := w.failure.Kind, maxShrink
	simplify := func(parts ...[]token) bool {
		budget--
		w.follow(slices.Concat(parts...), false, body)
		if w.failure == nil || w.failure.Kind != kind {
			return false
		}
		got := w.tokens()
		if !simpler(got, tokens) {
			return false
		}
		tokens = got
		return true
	}
	for again := true; again; {
		again = false
		for at := 0; at < len(tokens) && budget > 0; {
			t, n := tokens[at], 1 // a segment, and its length
			for at+n < len(tokens) && tokens[at+n] == t {
				n++
			}
			before, segment, after := tokens[:at], tokens[at:at+n], tokens[at+n:]
			done := simplify(before, after) || simplify(before, segment[1:], after)
			for j := at - 2; j >= 0 && !done; j-- {
				if before[j] == t {
					done = simplify(before[:j+1], segment, before[j+1:], after)
					break
				}
			}
			if done {
				again = true
			} else {
				at += n
			}
		}
	}
	return tokens
}

// simpler reports whether a has fewer switches than b, or as many and fewer steps.
func simpler(a, b []token) bool {
	x, y := switches(a), switches(b)
	return x < y || x == y && len(a) < len(b)
}

func switches(tokens []token) (n int) {
	for i, t := range tokens {
		if i == 0 || t != tokens[i-1] {
			n++
		}
	}
	return n
}
