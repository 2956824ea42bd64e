package share

import (
	"runtime"
	"testing"
	"weak"

	file "github.com/brood-go/brood/internal/space"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// foreign is a task that another process runs.
type foreign struct{}

func (foreign) Holders() ([]uint64, bool) { return nil, false }
func (foreign) String() string            { return "a task" }
func (foreign) Told() bool                { return waits.Places() }
func (foreign) Extend(agents []waits.Agent) (func(), error) {
	return waits.Tell(agents, waits.NewTag(), "a task")
}

// leftBehind opens a space, does something with it, closes it, and leaves no more than a
// weak pointer to its file.
func leftBehind(t *testing.T, use func(*Space)) weak.Pointer[file.File] {
	t.Helper()
	s := must(New())
	f := weak.Make(s.space.mem.(*file.File))
	use(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// Whoever waits while a space is closed, and then takes back what it said there, finds the
// memory mapped.
func TestWithdrawAfterClose(t *testing.T) {
	var w *waits.Wait
	f := leftBehind(t, func(s *Space) {
		must(must(s.Lock("l")).Acquire(t.Context()))
		w = must(waits.Begin(t.Context(), waits.Agent{Goroutine: strand.Goroutine()}, foreign{}))
	})
	for range 3 {
		runtime.GC()
	}
	if f.Value() == nil {
		t.Fatal("the words can be reached, and their file can't")
	}
	w.End()
	eventually(t, "the file is collected", func() bool {
		runtime.GC()
		return f.Value() == nil
	})
}

// A strand that never ends keeps the memory of no more than the last space that it used.
func TestKeepersOfClosedSpaces(t *testing.T) {
	ctx := asStrand(t.Context(), "main")
	use := func(s *Space) { must(must(s.Lock("l")).Acquire(ctx)).Release() }
	f := leftBehind(t, use)
	leftBehind(t, use)
	eventually(t, "the file is collected", func() bool {
		runtime.GC()
		return f.Value() == nil
	})
	runtime.KeepAlive(ctx)
}
