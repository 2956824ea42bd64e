package share

import (
	"testing"
)

func TestEvent(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		e, ctx := must(s.Event("e")), bounded(t)
		guarded := 0
		if e.IsSet() {
			t.Error("set from the beginning")
		}
		w := start(func() {
			all(10, func(int) {
				if err := e.Wait(ctx); err != nil {
					t.Error(err)
				}
				if guarded != 1 {
					t.Error("what was done before Set is not seen")
				}
			})
		})
		asleep(t, 10, "(*flag).waitSince")
		guarded = 1
		e.Set()
		e.Set()
		w()
		if err := e.Wait(ctx); err != nil || !e.IsSet() {
			t.Errorf("%v, set: %v", err, e.IsSet())
		}
		e.Clear()
		e.Clear()
		if e.IsSet() {
			t.Error("set after Clear")
		}
	})
}

// A pulse is seen by all who wait, although the event is not set any more when they look.
func TestEventPulse(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		e, ctx := must(s.Event("e")), bounded(t)
		for range 20 {
			w := start(func() {
				all(20, func(int) {
					if err := e.Wait(ctx); err != nil {
						t.Error(err)
					}
				})
			})
			asleep(t, 20, "(*flag).waitSince")
			e.Set()
			e.Clear()
			w()
		}
	})
}

func TestEventCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		e := must(s.Event("e"))
		givesUp(t, map[string]waitFunc{"wait": e.Wait}, "(*flag).waitSince")
	})
}
