package share

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// substrate is a kind of space.
type substrate struct {
	name string
	new  func(t *testing.T, o Options) *Space
}

// substrates are the kinds of spaces that the system has; every test of the public face runs
// on each.
var substrates = append([]substrate{{"local", func(t *testing.T, o Options) *Space { return closed(t, o.Local(), nil) }}}, shared...)

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
	t.Helper()
	onEachWith(t, Options{}, test)
}

func onEachWith(t *testing.T, o Options, test func(t *testing.T, s *Space)) {
	t.Helper()
	for _, sub := range substrates {
		t.Run(sub.name, func(t *testing.T) { test(t, sub.new(t, o)) })
	}
}

// asStrand is a context of a strand of its own.
func asStrand(ctx context.Context, name string) context.Context {
	return strand.With(ctx, strand.New(strand.Thread, name))
}

// must is for what has no reason to fail, in any goroutine.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// hang bounds every wait of a test that would otherwise hang when something is broken. It
// is never waited for when nothing is.
const hang = 30 * time.Second

// bounded is the test's context, with an end for what hangs.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), hang, fmt.Errorf("%s hangs", t.Name()))
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until something holds that has no event.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
		runtime.Gosched()
	}
}

// asleep waits until n goroutines sleep in a function of this package, given as in a stack, or its beginning.
func asleep(t *testing.T, n int, in string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	eventually(t, fmt.Sprintf("%d goroutines asleep in %s", n, in), func() bool {
		for {
			if m := runtime.Stack(buf, true); m < len(buf) {
				return sleepersIn(string(buf[:m]), in) == n
			}
			buf = make([]byte, 2*len(buf))
		}
	})
}

func sleepersIn(stacks, in string) (n int) {
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		sleeps := strings.Contains(stack, "cell.(*Heap).Wait(") || strings.Contains(stack, "space.(*File).Wait(")
		if sleeps && strings.Contains(stack, "brood/share."+in) {
			n++
		}
	}
	return n
}

// panics calls f and returns what it panics with, as text.
func panics(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		t.Helper()
		v := recover()
		if v == nil {
			t.Error("no panic")
		}
		text = fmt.Sprint(v)
	}()
	f()
	return ""
}

// contains checks a message.
func contains(t *testing.T, text any, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if s := fmt.Sprint(text); !strings.Contains(s, p) {
			t.Errorf("%q does not say %q", s, p)
		}
	}
}

// all runs n goroutines to their end.
func all(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// start runs a goroutine and returns a function that waits for it.
func start(f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() { <-done }
}
