package share

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// openers are all that a space can open, as something that has no name of its own.
func openers(s *Space) map[string]func(name string) error {
	return map[string]func(name string) error{
		"lock":              func(n string) error { _, err := s.Lock(n); return err },
		"rlock":             func(n string) error { _, err := s.RLock(n); return err },
		"semaphore":         func(n string) error { _, err := s.Semaphore(n, 2); return err },
		"bounded semaphore": func(n string) error { _, err := s.BoundedSemaphore(n, 2); return err },
		"event":             func(n string) error { _, err := s.Event(n); return err },
		"condition":         func(n string) error { _, err := s.Condition(n, nil); return err },
		"barrier":           func(n string) error { _, err := s.Barrier(n, 2, nil); return err },
	}
}

// A name is of one kind, and the error says which and what was asked for.
func TestKinds(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		for made, make := range openers(s) {
			if err := make("a " + made); err != nil {
				t.Fatal(err)
			}
			for asked, open := range openers(s) {
				err := open("a " + made)
				if asked == made {
					if err != nil {
						t.Errorf("%s again: %v", made, err)
					}
					continue
				}
				var p *ParamsError
				if !errors.As(err, &p) || !strings.HasPrefix(p.Found, made) || !strings.HasPrefix(p.Asked, asked) {
					t.Errorf("%s opened as a %s: %v", made, asked, err)
				}
				contains(t, err, "share: open "+asked+` "a `+made+`" of `, "it exists as a "+made, "was opened as a "+asked, "take another name")
			}
		}
	})
}

func TestParams(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		must(s.Semaphore("s", 2))
		_, err := s.Semaphore("s", 3)
		contains(t, err, "it exists as a semaphore of 2 permits, and was opened as a semaphore of 3 permits")
		must(s.Barrier("b", 2, nil))
		_, err = s.Barrier("b", 3, nil)
		contains(t, err, "barrier of 2 parties", "barrier of 3 parties")
		l := must(s.Lock("l"))
		must(s.Condition("own", nil))
		_, err = s.Condition("own", l)
		contains(t, err, "it exists as a condition with a lock of its own")
		must(s.Condition("of l", l))
		must(s.Condition("of l", must(s.Lock("l"))))
		_, err = s.Condition("of l", must(s.Lock("m")))
		contains(t, err, "it exists as a condition with the lock of fingerprint")
		_, err = s.Condition("c", must(s2(t).Lock("l")))
		contains(t, err, `share: condition "c": its lock is of another space`)
		for _, n := range []int{-1, -1 << 62, 1 << 31} {
			_, err = s.Semaphore("n", n)
			contains(t, err, `semaphore "n" with`, "give a number from 0 to")
			_, err = s.BoundedSemaphore("n", n)
			contains(t, err, `bounded semaphore "n" with`, "give a number from 0 to")
		}
		for _, n := range []int{-1, 0, 1 << 16} {
			_, err = s.Barrier("n", n, nil)
			contains(t, err, `share: barrier "n" of`, "give a number from 1 to 65535")
		}
	})
}

func TestNames(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		for what, open := range openers(s) {
			for _, name := range []string{"", "*x", "*", strings.Repeat("x", maxName+1), "new\nline", "\x00", "\x1b[31m", "bad \xff utf-8", "\u202e"} {
				err := open(name)
				if err == nil {
					t.Errorf("%s %q was opened", what, name)
					continue
				}
				contains(t, err, "share: "+what+" ", "a name has 1 to 90 bytes, can be printed, and does not begin with *")
			}
			for _, name := range []string{strings.Repeat("x", maxName), "a b", "../../etc/passwd", "ü 日本 🐣", `"quoted" <&>`, ".", "x*", "%s%d"} {
				if err := open(name[:min(len(name), 50)] + what); err != nil {
					t.Errorf("%s %q: %v", what, name, err)
				}
			}
		}
	})
	for _, name := range []string{"", ".hidden", "a/b", "..", "a b", strings.Repeat("x", 101), "ü"} {
		if s, err := Open(name); err == nil {
			t.Errorf("space %q was opened", name)
			s.Close()
		} else {
			contains(t, err, "share: open space ")
		}
	}
}

// A name of the greatest length is good for every kind, also for a condition, whose lock's
// name is longer.
func TestLongestName(t *testing.T) {
	for what := range openers(nil) {
		onEach(t, func(t *testing.T, s *Space) {
			if err := openers(s)[what](strings.Repeat("x", maxName)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// A handle that was not opened gives an error, or a panic that says so.
func TestNothing(t *testing.T) {
	ctx := asStrand(t.Context(), "me")
	var (
		s   Space
		l   Lock
		r   RLock
		sem Semaphore
		b   BoundedSemaphore
		e   Event
		c   Condition
		bar Barrier
	)
	for what, open := range openers(&s) {
		contains(t, open("x"), "share: open "+what, "of a Space of nothing")
	}
	for name, call := range map[string]func() error{
		"Lock.Acquire":              func() error { _, err := l.Acquire(ctx); return err },
		"RLock.Acquire":             func() error { _, err := r.Acquire(ctx); return err },
		"Semaphore.Acquire":         func() error { _, err := sem.Acquire(ctx); return err },
		"Semaphore.AcquireN":        func() error { _, err := sem.AcquireN(ctx, 2); return err },
		"Semaphore.Consume":         func() error { return sem.Consume(ctx, Guard{}) },
		"BoundedSemaphore.Acquire":  func() error { _, err := b.Acquire(ctx); return err },
		"BoundedSemaphore.AcquireN": func() error { _, err := b.AcquireN(ctx, 2); return err },
		"Event.Wait":                func() error { return e.Wait(ctx) },
		"Condition.Acquire":         func() error { _, err := c.Acquire(ctx); return err },
		"Condition.Wait":            func() error { _, err := c.Wait(ctx, Guard{}); return err },
		"Condition.WaitFor":         func() error { _, err := c.WaitFor(ctx, Guard{}, func() bool { return true }); return err },
		"Barrier.Wait":              func() error { _, err := bar.Wait(ctx); return err },
		"Barrier.Reset":             bar.Reset,
		"Barrier.Abort":             bar.Abort,
		"Space.Close":               s.Close,
		"a condition with it":       func() error { _, err := s2(t).Condition("y", &l); return err },
		"Space.MarshalBinary":       func() error { _, err := s.MarshalBinary(); return err },
		"Lock.MarshalBinary":        func() error { _, err := l.MarshalBinary(); return err },
		"RLock.MarshalBinary":       func() error { _, err := r.MarshalBinary(); return err },
		"Semaphore.MarshalBinary":   func() error { _, err := sem.MarshalBinary(); return err },
		"Bounded.MarshalBinary":     func() error { _, err := b.MarshalBinary(); return err },
		"Event.MarshalBinary":       func() error { _, err := e.MarshalBinary(); return err },
		"Condition.MarshalBinary":   func() error { _, err := c.MarshalBinary(); return err },
		"Barrier.MarshalBinary":     func() error { _, err := bar.MarshalBinary(); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s of nothing has no error", name)
		} else {
			contains(t, err, "share: ", "of nothing")
		}
	}
	for name, call := range map[string]func(){
		"Lock.TryAcquire":       func() { l.TryAcquire(context.Background()) },
		"RLock.TryAcquire":      func() { r.TryAcquire(ctx) },
		"Semaphore.TryAcquire":  func() { sem.TryAcquire(context.Background()) },
		"Semaphore.TryAcquireN": func() { sem.TryAcquireN(context.Background(), 2) },
		"Semaphore.Value":       func() { sem.Value() },
		"Semaphore.Post":        func() { sem.Post(1) },
		"Bounded.TryAcquire":    func() { b.TryAcquire(context.Background()) },
		"Bounded.TryAcquireN":   func() { b.TryAcquireN(context.Background(), 2) },
		"Bounded.Value":         func() { b.Value() },
		"Event.Set":             e.Set,
		"Event.Clear":           e.Clear,
		"Event.IsSet":           func() { e.IsSet() },
		"Condition.Lock":        func() { c.Lock() },
		"Condition.Notify":      func() { c.Notify(1) },
		"Condition.NotifyAll":   func() { c.NotifyAll() },
		"Barrier.WithAction":    func() { bar.WithAction(nil) },
		"Barrier.Parties":       func() { bar.Parties() },
		"Barrier.Waiting":       func() { bar.Waiting() },
		"Barrier.Broken":        func() { bar.Broken() },
	} {
		if text := panics(t, call); !strings.HasPrefix(text, "share: a handle of nothing") {
			t.Errorf("%s of nothing panics with %q", name, text)
		}
	}
	if s.Name() != "" {
		t.Errorf("nothing is named %q", s.Name())
	}
}

// Spaces of this process have names, and their kinds have names.
func TestSpaceNames(t *testing.T) {
	if n := Local(); n.Name() != "" {
		t.Errorf("a local space is named %q", n.Name())
	}
	var all []string
	for k := kindLock; k <= kindSpace; k++ {
		if slices.Contains(all, k.String()) || k.String() == "" {
			t.Errorf("kind %d is named %q", k, k)
		}
		all = append(all, k.String())
	}
	if got := kind(99).String(); got != "object of kind 99" {
		t.Error(got)
	}
}
