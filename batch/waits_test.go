package batch

import (
	"testing"
	"time"
)

// shut is a change of the gates.
type shut struct {
	at          int // in seconds
	full, short bool
}

func (s shut) why() Wait {
	switch {
	case s.short:
		return WaitMemory
	case s.full:
		return WaitPolicy
	}
	return ""
}

// What a job waited for before it began is what kept the gates shut meanwhile, not before and
// not afterwards. Of two reasons at once memory is the one.
func TestWaitsAtTheGates(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name        string
		gates       []shut
		come, begin int
		want        Waits
	}{
		{"never shut", nil, 1, 3, Waits{CPU: 2 * s}},
		{"full before", []shut{{0, true, false}, {2, false, false}}, 3, 5, Waits{CPU: 2 * s}},
		{"full all the time", []shut{{0, true, false}, {6, false, false}}, 1, 4, Waits{Policy: 3 * s}},
		{"full meanwhile", []shut{{1, true, false}, {3, false, false}}, 0, 5, Waits{CPU: 3 * s, Policy: 2 * s}},
		{"full until it begins", []shut{{1, true, false}, {4, false, false}}, 2, 4, Waits{Policy: 2 * s}},
		{"full afterwards", []shut{{2, true, false}}, 0, 1, Waits{CPU: s}},
		{"full, and told twice", []shut{{1, true, false}, {2, true, false}, {4, false, false}}, 0, 5, Waits{CPU: 2 * s, Policy: 3 * s}},
		{"short before", []shut{{0, false, true}, {2, false, false}}, 3, 5, Waits{CPU: 2 * s}},
		{"short meanwhile", []shut{{1, false, true}, {3, false, false}}, 0, 5, Waits{CPU: 3 * s, Memory: 2 * s}},
		{"short all the time", []shut{{0, false, true}}, 1, 4, Waits{Memory: 3 * s}},
		{"full, then short", []shut{{0, true, false}, {2, false, true}, {5, false, false}}, 0, 6, Waits{CPU: s, Policy: 2 * s, Memory: 3 * s}},
		{"short, then full", []shut{{1, false, true}, {2, true, false}, {5, false, false}}, 0, 6, Waits{CPU: 2 * s, Policy: 3 * s, Memory: s}},
		{"both, then full", []shut{{0, true, true}, {2, true, false}, {3, false, false}}, 0, 4, Waits{CPU: s, Policy: s, Memory: 2 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Batch
			var w waiter
			start := time.Now()
			for sec := range 10 {
				now := start.Add(time.Duration(sec) * s)
				for _, g := range tt.gates {
					if g.at == sec {
						b.gates.set(now, g.why())
					}
				}
				if sec == tt.come {
					w.arrive(now, &b)
				}
				if sec == tt.begin {
					w.until(now, &b)
				}
			}
			if w.sum != tt.want || w.sum.All() != time.Duration(tt.begin-tt.come)*s {
				t.Errorf("waited %+v, want %+v", w.sum, tt.want)
			}
		})
	}
}

// Later waits are told, each of its kind, and what has ended is not counted again.
func TestWaitsThatAreTold(t *testing.T) {
	var b Batch
	var w waiter
	now := time.Now()
	b.gates.set(now, WaitMemory) // makes no difference
	w.until(now, &b)             // there is none
	for i, what := range []Wait{WaitPolicy, WaitMemory, WaitDelay, WaitBackOff, WaitPolicy} {
		w.begin(now, what)
		now = now.Add(time.Duration(i+1) * time.Second)
		w.until(now, &b)
		now = now.Add(time.Minute)
		w.until(now, &b)
	}
	const s = time.Second
	if want := (Waits{Policy: 6 * s, Memory: 2 * s, Delay: 3 * s, BackOff: 4 * s}); w.sum != want || w.sum.All() != 15*s {
		t.Errorf("waited %+v, want %+v", w.sum, want)
	}
}
