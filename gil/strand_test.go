package gil_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/gil"
	"github.com/brood-go/brood/internal/strand"
)

var forgotten = gil.New(gil.Options{Name: "forgotten"})

// forget takes the GIL and keeps it.
var forget = brood.NewFunc("forgets the GIL", func(ctx context.Context, how string) (int, error) {
	if err := forgotten.Attach("forgetful").Acquire(ctx); err != nil {
		return 0, err
	}
	switch how {
	case "fails":
		return 0, errEnough
	case "panics":
		panic(errEnough)
	}
	return 1, nil
})

var errEnough = errors.New("enough")

// recovered looks that the next one gets the GIL, and knows of the one before; and that the one after
// that knows nothing.
func recovered(t *testing.T, g *gil.GIL, name string) {
	t.Helper()
	for _, want := range []bool{true, false, false} {
		err := g.Do(t.Context(), "next", func(_ context.Context, th *gil.Thread) error {
			if th.Recovered() != want {
				t.Errorf("%s: Recovered is %v, want %v", name, th.Recovered(), want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A task or a thread that returns with the GIL gives it back, whatever it returns, one task after the
// other, and its outcome names it.
func TestForgotten(t *testing.T) {
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	check := func(name string, err error) {
		t.Helper()
		var held *brood.HeldError
		if !errors.As(err, &held) || !slices.Equal(held.Held, []string{`GIL "forgotten"`}) {
			t.Errorf("%s: %v", name, err)
		}
		recovered(t, forgotten, name)
	}
	for _, how := range []string{"returns", "fails", "panics", "returns"} {
		_, err := forget.Call(t.Context(), pool, how)
		if how == "fails" && !errors.Is(err, errEnough) {
			t.Errorf("%s: %v", how, err)
		}
		check("a task that "+how, err)
	}
	th := brood.Go(t.Context(), brood.ThreadOptions{Name: "thread"}, func(ctx context.Context) error {
		return forgotten.Attach("").Acquire(ctx)
	})
	check("a thread", th.Join(t.Context()))
}

// The one who waits for it gets it, and knows; one who gives it up meanwhile knows no more.
func TestForgottenWhileOthersWait(t *testing.T) {
	g := new(gil.GIL)
	s := strand.New(strand.Coroutine, "s")
	var wg sync.WaitGroup
	if err := g.Attach("me").Acquire(strand.With(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		th := g.Attach("waits")
		if err := th.Acquire(t.Context()); err != nil || !th.Recovered() {
			t.Errorf("%v; Recovered: %v", err, th.Recovered())
		}
		th.Release()
		if th.Recovered() || !th.TryAcquire() || th.Recovered() {
			t.Error("it is still recovered")
		}
		th.Release()
	})
	for g.Stats().Waiting == 0 {
		runtime.Gosched()
	}
	if held := strand.End(s); len(held) != 1 || !strings.HasPrefix(held[0], "the GIL") {
		t.Errorf("held: %v", held)
	}
	wg.Wait()
	if held := strand.End(s); len(held) != 0 {
		t.Errorf("ended twice: %v", held)
	}
}

// What another goroutine of a strand has is not taken from it.
func TestOtherGoroutineOfStrand(t *testing.T) {
	g := new(gil.GIL)
	s := strand.New(strand.Task, "s")
	ctx := strand.With(t.Context(), s)
	has, over := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := g.Do(ctx, "child", func(_ context.Context, th *gil.Thread) error {
			has <- true
			<-over
			if !th.Holds() {
				t.Error("it was taken away")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-has
	if held := strand.End(s); len(held) != 0 {
		t.Errorf("held: %v", held)
	}
	close(over)
	wg.Wait()
}
