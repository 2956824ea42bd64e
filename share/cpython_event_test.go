package share

import (
	"context"
	"errors"
	"testing"
)

var eventPorts = map[string]func(t *testing.T, s *Space){
	"event: is set": func(t *testing.T, s *Space) {
		e := must(s.Event("e"))
		for i, step := range []func(){func() {}, e.Set, e.Set, e.Clear, e.Clear} {
			step()
			if want := i == 1 || i == 2; e.IsSet() != want {
				t.Errorf("step %d: set %v", i, !want)
			}
		}
	},
	"event: notify": func(t *testing.T, s *Space) {
		e := must(s.Event("e"))
		for range 2 { // another time, after an explicit clear
			wait := bunch(t, 5, func(ctx context.Context) {
				for range 2 {
					if err := e.Wait(ctx); err != nil {
						t.Error(err)
					}
				}
			})
			asleep(t, 5, "(*flag).waitSince")
			e.Set()
			wait()
			e.Clear()
		}
	},
	"event: timeout": func(t *testing.T, s *Space) {
		e := must(s.Event("e"))
		bunch(t, 5, func(ctx context.Context) {
			for _, ctx := range []context.Context{elapsed(ctx), soon(ctx)} {
				if err := e.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			}
		})()
		e.Set()
		bunch(t, 5, func(ctx context.Context) {
			if err := e.Wait(ctx); err != nil {
				t.Error(err)
			}
		})()
	},
	"event: set and clear": func(t *testing.T, s *Space) {
		e := must(s.Event("e"))
		wait := bunch(t, 5, func(ctx context.Context) {
			if err := e.Wait(ctx); err != nil {
				t.Error(err)
			}
		})
		asleep(t, 5, "(*flag).waitSince")
		e.Set()
		e.Clear()
		wait()
	},
	"multiprocessing: event": func(t *testing.T, s *Space) {
		e, ctx := must(s.Event("e")), bounded(t)
		if err := e.Wait(soon(ctx)); e.IsSet() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		e.Set()
		if err := e.Wait(ctx); err != nil || !e.IsSet() {
			t.Errorf("%v", err)
		}
		e.Clear()
		wait := bunch(t, 1, func(context.Context) {
			asleep(t, 1, "(*flag).waitSince")
			e.Set()
		})
		if err := e.Wait(ctx); err != nil {
			t.Error(err)
		}
		wait()
	},
}
