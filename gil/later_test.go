package gil

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/waits"
)

// abroad is something whose holder is in another process, which can be told late only.
type abroad struct {
	waits atomic.Uint64 // the goroutine that waits for it, and is no part of a circle
	told  atomic.Int64  // how often another one has said that it depends on that
	c     *waits.DeadlockError
}

func (*abroad) Holders() ([]uint64, bool) { return nil, false }
func (*abroad) String() string            { return "what is held abroad" }
func (*abroad) Told() bool                { return true }

func (a *abroad) Extend(dependents []waits.Agent) (withdraw func(), err error) {
	if dependents[0].Goroutine != a.waits.Load() && a.told.Add(1) > 2 {
		return nil, a.c
	}
	return nil, &waits.Later{After: time.Microsecond}
}

// A wait for the GIL that turns out late to be one of a circle through another process ends.
func TestLateCircle(t *testing.T) {
	g := new(GIL)
	a := &abroad{c: &waits.DeadlockError{Edges: []waits.Edge{{Strand: "s"}}}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	has, over := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		must(t, g.Do(ctx, "waits abroad", func(ctx context.Context, th *Thread) error {
			a.waits.Store(th.goroutine)
			w, err := waits.Begin(ctx, waits.Agent{Goroutine: th.goroutine}, a)
			has <- true
			<-over
			w.End()
			return err
		}))
	})
	<-has
	err := g.Do(ctx, "waits", func(context.Context, *Thread) error { return nil })
	var d *DeadlockError
	if !errors.As(err, &d) || d != a.c || a.told.Load() != 3 {
		t.Errorf("%v, want the circle; told %d times", err, a.told.Load())
	}
	close(over)
	wg.Wait()
}
