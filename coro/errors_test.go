package coro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// spiteful is an error whose Unwrap panics.
type spiteful struct{}

func (spiteful) Error() string { return "spiteful" }
func (spiteful) Unwrap() error { panic("no") }

// What a cancelled task says beyond that it was cancelled is not lost.
func TestErrorsOfCancelled(t *testing.T) {
	enough := fmt.Errorf("enough: %w", io.EOF)
	for _, c := range []struct {
		name string
		fail func(ctx error) error
		want error // nil: nothing but that Run's context has ended
	}{
		{"the context's", func(ctx error) error { return ctx }, nil},
		{"wrapped", func(ctx error) error { return fmt.Errorf("x: %w", ctx) }, nil},
		{"joined", func(ctx error) error { return errors.Join(ctx, fmt.Errorf("%w, %w", ctx, context.DeadlineExceeded)) }, nil},
		{"the cause", func(ctx error) error { return errors.Join(fmt.Errorf("x: %w", enough), ctx) }, nil},
		{"joined with another", func(ctx error) error { return errors.Join(ctx, io.ErrUnexpectedEOF) }, io.ErrUnexpectedEOF},
		{"wrapped with another", func(ctx error) error { return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, ctx) }, io.ErrUnexpectedEOF},
		{"what the cause wraps", func(error) error { return io.EOF }, io.EOF},
		{"panic", func(ctx error) error { panic(ctx) }, context.Canceled},
		{"held", func(ctx error) error { return &HeldError{"x", []string{"it"}, ctx} }, context.Canceled},
		{"spiteful", func(error) error { return spiteful{} }, spiteful{}},
	} {
		for _, start := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(context.Background())
			l := NewLoop(Options{Clock: Virtual})
			f := func(ctx context.Context) error { return c.fail(Sleep(ctx, time.Hour)) }
			if start {
				Start(l, "t", func(ctx context.Context) (int, error) { return 0, f(ctx) })
			} else {
				l.Go("t", f)
			}
			l.Go("canceller", func(context.Context) error { cancel(enough); return nil })
			err := l.Run(ctx)
			if c.want == nil {
				if err != enough {
					t.Errorf("%s: Run: %v", c.name, err)
				}
				continue
			}
			all, ok := err.(interface{ Unwrap() []error })
			if !ok || len(all.Unwrap()) != 2 || !strings.HasPrefix(all.Unwrap()[1].Error(), `coro: task "t": `) {
				t.Errorf("%s: Run: %v", c.name, err)
			} else if c.name != "spiteful" && !errors.Is(all.Unwrap()[1], c.want) {
				t.Errorf("%s: Run: %v", c.name, err)
			}
		}
	}
}

// A task that says more than that it was in a deadlock is heard, and so is one that had failed
// before.
func TestErrorsOfDeadlocked(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	get := func(ctx context.Context) error { _, err := NewQueue[int](1).Get(ctx); return err }
	Start(l, "timed out", func(ctx context.Context) (int, error) {
		ctx, cancel := WithTimeout(ctx, time.Second)
		defer cancel()
		return 0, get(ctx)
	})
	l.Go("plain", func(ctx context.Context) error { return errors.Join(get(ctx), ctx.Err()) })
	l.Go("more", func(ctx context.Context) error { return errors.Join(get(ctx), io.EOF) })
	l.Go("panics", func(ctx context.Context) error { panic(get(ctx)) })
	err := run(t, l)
	for _, name := range []string{"timed out", "more", "panics"} {
		if !strings.Contains(err.Error(), fmt.Sprintf("coro: task %q: ", name)) && !strings.Contains(err.Error(), fmt.Sprintf("coro: task %q panicked", name)) {
			t.Errorf("%q is not in %v", name, err)
		}
	}
	if strings.Contains(err.Error(), `task "plain": `) {
		t.Errorf("Run: %v", err)
	}
}

// Many who are told of one deadlock take no longer than their number: what is noted is not
// searched for each.
func TestManyDeadlocked(t *testing.T) {
	l := NewLoop(Options{})
	n := 20_000
	if raceDetector {
		n = 2_000
	}
	for i := range n {
		l.Go("getter", func(ctx context.Context) error {
			_, err := NewQueue[int](1).Get(ctx)
			if i%2 == 0 {
				err = errors.Join(err, io.EOF)
			}
			return err
		})
	}
	err := run(t, l)
	if all, ok := err.(interface{ Unwrap() []error }); !ok || len(all.Unwrap()) != n/2+1 {
		t.Errorf("Run: %.200v", err)
	}
}
