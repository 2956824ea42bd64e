package waits

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// fake is a target whose holders are given.
type fake struct {
	name    string
	holders []uint64
	unknown bool
	loose   bool
}

func (f *fake) Holders() ([]uint64, bool) { return f.holders, !f.unknown }
func (f *fake) String() string            { return f.name }
func (f *fake) Loose() bool               { return f.loose }
func (f *fake) Thing() any                { return f.name }

func heldBy(name string, holders ...uint64) *fake { return &fake{name: name, holders: holders} }

// begin begins a wait that must be let begin.
func begin(t *testing.T, g uint64, targets ...Target) *Wait {
	t.Helper()
	w, err := Begin(t.Context(), Agent{Goroutine: g}, targets...)
	if err != nil {
		t.Fatalf("goroutine %d: %v", g, err)
	}
	t.Cleanup(w.End)
	return w
}

// refused begins a wait that closes a circle.
func refused(t *testing.T, g uint64, targets ...Target) *DeadlockError {
	t.Helper()
	w, err := Begin(t.Context(), Agent{Goroutine: g}, targets...)
	var c *DeadlockError
	if !errors.As(err, &c) {
		w.End()
		t.Fatalf("goroutine %d: %v, want a circle", g, err)
	}
	return c
}

func TestCircles(t *testing.T) {
	t.Cleanup(func() {
		if n := Waiting(); n != 0 {
			t.Errorf("%d waits are left", n)
		}
	})
	t.Run("itself", func(t *testing.T) {
		c := refused(t, 1, heldBy("a", 1))
		if !strings.HasPrefix(c.Error(), fmt.Sprintf("deadlock: goroutine 1 of process %d, which waits for a, which is held by the first", os.Getpid())) {
			t.Error(c)
		}
	})
	t.Run("two", func(t *testing.T) {
		begin(t, 1, heldBy("b", 2))
		c := refused(t, 2, heldBy("a", 1))
		if len(c.Edges) != 2 || !strings.Contains(c.Error(), "which waits for a, which is held by goroutine 1") {
			t.Error(c)
		}
		begin(t, 2, heldBy("c", 3)) // the one that got the error may wait for others
	})
	t.Run("ended", func(t *testing.T) {
		begin(t, 1, heldBy("b", 2)).End()
		begin(t, 2, heldBy("a", 1))
	})
	t.Run("somebody else", func(t *testing.T) {
		begin(t, 1, &fake{name: "b", holders: []uint64{2}, unknown: true})
		begin(t, 2, heldBy("a", 1))
	})
	t.Run("one of two holders can", func(t *testing.T) {
		begin(t, 1, heldBy("b", 2, 3))
		begin(t, 2, heldBy("a", 1))
		refused(t, 3, heldBy("a", 1))
	})
	t.Run("first of several", func(t *testing.T) {
		begin(t, 1, heldBy("b", 2), heldBy("c", 3))
		begin(t, 2, heldBy("a", 1))
		refused(t, 3, heldBy("a", 1))
	})
	t.Run("permits that were handed on, seen by one who waits for their owner", func(t *testing.T) {
		begin(t, 1, &fake{name: "s", holders: []uint64{1}, loose: true})
		begin(t, 2, heldBy("task", 1))
		begin(t, 3, heldBy("lock", 2))
	})
	t.Run("a pool full of those who wait for it", func(t *testing.T) {
		queued := heldBy("a queued task", 1, 2, 3)
		begin(t, 1, queued)
		begin(t, 2, queued)
		if c := refused(t, 3, queued); len(c.Edges) < 2 {
			t.Error(c)
		}
	})
	t.Run("permits that were handed on", func(t *testing.T) {
		begin(t, 1, &fake{name: "s", holders: []uint64{1, 2}, loose: true})
		begin(t, 2, &fake{name: "s", holders: []uint64{1, 2}, loose: true})
	})
	t.Run("permits and a lock", func(t *testing.T) {
		begin(t, 1, &fake{name: "s", holders: []uint64{2}, loose: true})
		refused(t, 2, heldBy("a", 1))
	})
}

// abroad is a target that other processes have a part in.
type abroad struct {
	fake
	told      [][]uint64
	withdrawn int
	err       error
}

func (f *abroad) Told() bool { return true }

func (f *abroad) Extend(agents []Agent) (func(), error) {
	var all []uint64
	for _, a := range agents {
		all = append(all, a.Goroutine)
	}
	f.told = append(f.told, all)
	return func() { f.withdrawn++ }, f.err
}

// A wait abroad is told for all who depend on it, also those who come later, and withdrawn
// when one of the waits that lead there ends.
func TestForeign(t *testing.T) {
	far := &abroad{fake: fake{name: "far", unknown: true}}
	begin(t, 1, heldBy("near", 2))
	second := begin(t, 2, far)
	if len(far.told) != 1 || len(far.told[0]) != 2 {
		t.Fatalf("told of %v, want 2 and 1", far.told)
	}
	third := begin(t, 3, heldBy("nearer", 1))
	if len(far.told) != 2 || len(far.told[1]) != 1 || far.told[1][0] != 3 {
		t.Fatalf("told of %v, then want 3", far.told)
	}
	third.End()
	if far.withdrawn != 1 {
		t.Errorf("%d withdrawn after the third's end", far.withdrawn)
	}
	second.End()
	if far.withdrawn != 2 {
		t.Errorf("%d withdrawn after the second's end", far.withdrawn)
	}
	far.err = errors.New("a circle abroad")
	if _, err := Begin(t.Context(), Agent{Goroutine: 2}, far); err == nil {
		t.Error("no error")
	}
	if n := Waiting(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
}

// flicker is a target that is released while somebody looks.
type flicker struct {
	fake
	asked int
}

func (f *flicker) Holders() ([]uint64, bool) {
	f.asked++
	if f.asked > 1 {
		return nil, true
	}
	return f.holders, true
}

// What a look follows from one answer does not meet another.
func TestChangingHolders(t *testing.T) {
	begin(t, 2, heldBy("b", 1))
	f := &flicker{fake: fake{name: "a", holders: []uint64{2}}}
	if c := refused(t, 1, f); len(c.Edges) != 2 || f.asked != 1 {
		t.Errorf("asked %d times: %v", f.asked, c)
	}
}

// Who can't be told of abroad at first is told of later, and a circle that is found then ends
// the sleep.
func TestLater(t *testing.T) {
	f := &abroad{fake: fake{name: "abroad", unknown: true}, err: errors.Join(&Later{time.Nanosecond})}
	ctx := t.Context()
	w, err := Begin(ctx, Agent{Goroutine: 1}, f)
	if err != nil {
		t.Fatal(err)
	}
	if w.Context(ctx) == ctx {
		t.Error("nothing can end the sleep")
	}
	c := &DeadlockError{Edges: []Edge{{Strand: "s"}}}
	table.Lock()
	f.err = c
	table.Unlock()
	<-w.Context(ctx).Done()
	if err := context.Cause(w.Context(ctx)); err != c {
		t.Errorf("%v, want the circle", err)
	}
	w.End()
	f.err = &Later{time.Hour}
	w = begin(t, 1, f)
	w.End()
	if w.again.Stop() || w.Context(ctx).Err() == nil {
		t.Error("it would be told again after its end")
	}
	if n := Waiting(); n != 0 {
		t.Errorf("%d waits are left", n)
	}
}
