package coro

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// locked calls f in a goroutine that is locked to a thread of its own.
func locked(f func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
	})
	wg.Wait()
}

// One that began on another thread, or on any, is not resumed and not closed, and stays as it was.
func TestWrongThread(t *testing.T) {
	refused := func(what string, c *Coroutine[int, int]) {
		t.Helper()
		if err := c.Close(); err != ErrThread {
			t.Errorf("%s: Close: %v", what, err)
		}
		if _, err := c.Resume(1); err != ErrThread || c.State() != Suspended {
			t.Errorf("%s: Resume: %v, %v", what, err, c.State())
		}
	}
	for range 2 {
		c := sums()
		if _, err := c.Resume(1); err != nil {
			t.Fatal(err)
		}
		locked(func() { refused("locked, begun by one that was not", c) })
		if out, err := c.Resume(2); out != 3 || err != nil {
			t.Errorf("afterwards: %d, %v", out, err)
		}
		locked(func() {
			if err := c.Close(); err != ErrThread {
				t.Errorf("Close, locked: %v", err)
			}
		})
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		locked(func() {
			c := sums()
			if _, err := c.Resume(1); err != nil {
				t.Error(err)
			}
			over := make(chan bool)
			go func() { // not in here: that would be the same thread
				defer close(over)
				refused("not locked, begun by one that was", c)
				locked(func() { refused("locked to another thread", c) })
			}()
			<-over
			if out, err := c.Resume(2); out != 3 || err != nil {
				t.Errorf("afterwards: %d, %v", out, err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// One that locks itself is told when it yields, and let go of when it ends, however.
func TestLocksItself(t *testing.T) {
	for _, yields := range []int{1, 0} {
		for name, end := range map[string]func(){"returns": func() {}, "panics": func() { panic("alas") }, "Goexit": runtime.Goexit} {
			c := New(func(co *Co[int, int], _ int) int {
				runtime.LockOSThread()
				runtime.LockOSThread()
				for range yields {
					co.Yield(1)
				}
				end()
				return 2
			})
			out, err := c.Resume(0)
			switch {
			case yields > 0:
				if !errors.As(err, new(*PanicError)) || !strings.Contains(err.Error(), "locked itself") {
					t.Errorf("Yield: %v", err)
				}
			case name == "returns" && (out != 2 || err != nil), name != "returns" && err == nil:
				t.Errorf("%s: %d, %v", name, out, err)
			}
		}
	}
}

// The same for tasks. A loop may run on a locked thread, and then all of it does.
func TestTaskLocksItself(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	sleeper := Start(l, "sleeper", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
	for _, wait := range []func(ctx context.Context) error{
		Pass,
		func(ctx context.Context) error { return Sleep(ctx, time.Second) },
		func(ctx context.Context) error { _, err := NewQueue[int](1).Get(ctx); return err },
		func(ctx context.Context) error { _, err := Gather(ctx, sleeper); return err },
		func(ctx context.Context) error { _, err := Await(ctx, sleeper); return err },
		func(ctx context.Context) error { _, err := Await(ctx, pending{}); return err },
	} {
		l.Go("task", func(ctx context.Context) error {
			if err := Sleep(ctx, time.Second); err != nil { // as it was begun
				return err
			}
			runtime.LockOSThread()
			if err := wait(ctx); err != ErrThread {
				t.Errorf("a wait of one that has locked itself: %v", err)
			}
			runtime.UnlockOSThread()
			if err := Sleep(ctx, time.Second); err != nil {
				return err
			}
			runtime.LockOSThread() // and it ends so
			return nil
		})
	}
	runs(t, l)
	locked(func() {
		l := NewLoop(Options{Clock: Virtual})
		l.Go("task", func(ctx context.Context) error { return Sleep(ctx, time.Second) })
		runs(t, l)
	})
}
