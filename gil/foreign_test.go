//go:build amd64 || arm64

package gil

import (
	"strings"
	"sync"
	"testing"
)

// A thread is its goroutine's alone.
func TestForeignGoroutine(t *testing.T) {
	g := new(GIL)
	ctx := t.Context()
	th := g.Attach("t")
	elsewhere := func(f func()) {
		t.Helper()
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := panics(t, f); !strings.Contains(got, `thread "t" of goroutine `) || !strings.Contains(got, "by Attach or Do") {
				t.Errorf("%q", got)
			}
		})
		wg.Wait()
	}
	must(t, th.Acquire(ctx))
	elsewhere(th.Release)
	elsewhere(func() { _ = th.Acquire(ctx) })
	elsewhere(func() { _ = th.Unlocked(ctx, func() {}) })
	th.Release()
	elsewhere(func() { _ = th.Check(ctx) })
	must(t, th.Acquire(ctx))
	elsewhere(func() { th.TryAcquire() })
	th.Release()
}
