package share

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/brood-go/brood/internal/strand"
)

// substrates are the kinds of spaces; every test of the public face runs on each.
var substrates = []struct {
	name string
	new  func(t *testing.T) *Space
}{
	{"local", func(t *testing.T) *Space { return closed(t, Local(), nil) }},
	{"shared", func(t *testing.T) *Space {
		s, err := New()
		return closed(t, s, err)
	}},
}

func closed(t *testing.T, s *Space, err error) *Space {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// onEach runs a test on every kind of space.
func onEach(t *testing.T, test func(t *testing.T, s *Space)) {
	for _, sub := range substrates {
		t.Run(sub.name, func(t *testing.T) { test(t, sub.new(t)) })
	}
}

// asStrand is a context of a strand of its own.
func asStrand(t *testing.T, name string) context.Context {
	return strand.With(t.Context(), strand.New(strand.Thread, name))
}

func TestLock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, err := s.Lock("l")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		var last uint64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 2000 {
					g, err := l.Acquire(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					n++
					if g.Token() <= last || g.Recovered() {
						t.Errorf("token %d after %d, recovered %v", g.Token(), last, g.Recovered())
					}
					last = g.Token()
					g.Release()
				}
			})
		}
		wg.Wait()
		if n != 16000 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestSelfDeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, err := s.Lock("l")
		if err != nil {
			t.Fatal(err)
		}
		g, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer g.Release()
		var d *DeadlockError
		if _, err = l.Acquire(t.Context()); !errors.As(err, &d) {
			t.Errorf("%v, want a deadlock", err)
		}
		t.Log(err)
	})
}
