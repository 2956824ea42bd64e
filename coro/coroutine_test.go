package coro

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// sums is a coroutine that yields the sum of what it got, and returns it when it gets 0.
func sums() *Coroutine[int, int] {
	return New(func(co *Co[int, int], in int) int {
		sum := 0
		for in != 0 {
			sum += in
			in = co.Yield(sum)
		}
		return sum
	})
}

// What is given to Resume arrives, what is yielded and returned comes back, and after the end
// there is nothing.
func TestResume(t *testing.T) {
	c := sums()
	if s := c.State(); s != Suspended {
		t.Errorf("before the first Resume it is %v", s)
	}
	for i, want := range []int{1, 3, 6} {
		if out, err := c.Resume(i + 1); out != want || err != nil || c.State() != Suspended {
			t.Fatalf("Resume(%d): %d, %v, %v", i+1, out, err, c.State())
		}
	}
	if out, err := c.Resume(0); out != 6 || err != nil || c.State() != Done {
		t.Fatalf("the last Resume: %d, %v, %v", out, err, c.State())
	}
	if out, err := c.Resume(1); out != 0 || !errors.Is(err, ErrDone) {
		t.Errorf("Resume after the end: %d, %v", out, err)
	}
	if err := errors.Join(c.Err(), c.Close()); err != nil {
		t.Error(err)
	}
}

// An error, a panic and Goexit reach who resumes, and deferred calls have run.
func TestFailures(t *testing.T) {
	var deferred bool
	for _, test := range []struct {
		name  string
		fail  func() error
		check func(err error) bool
	}{
		{"error", func() error { return io.EOF }, func(err error) bool { return err == io.EOF }},
		{"panic", func() error { panic("alas") }, func(err error) bool {
			var p *PanicError
			return errors.As(err, &p) && p.Value == "alas" && strings.Contains(string(p.Stack), "TestFailures.func")
		}},
		{"panic with an error", func() error { panic(io.EOF) }, func(err error) bool { return errors.Is(err, io.EOF) && err != io.EOF }},
		{"Goexit", func() error { runtime.Goexit(); return nil }, func(err error) bool { return err == ErrGoexit }},
		{"Goexit, then panic", func() error {
			defer panic("alas")
			runtime.Goexit()
			return nil
		}, func(err error) bool { return errors.As(err, new(*PanicError)) }},
		{"panic, recovered after a Goexit", func() error {
			defer func() { _ = recover() }()
			defer panic("alas")
			runtime.Goexit()
			return nil
		}, func(err error) bool { return err == ErrGoexit }},
	} {
		for _, yields := range []int{0, 2} {
			deferred = false
			c := NewFunc(func(co *Co[int, int], _ int) (int, error) {
				defer func() { deferred = true }()
				for range yields {
					co.Yield(1)
				}
				return 7, test.fail()
			})
			for range yields {
				if out, err := c.Resume(0); out != 1 || err != nil {
					t.Fatal(out, err)
				}
			}
			out, err := c.Resume(0)
			if !test.check(err) || out != 0 && test.name != "error" || !deferred || c.State() != Done || c.Err() != err {
				t.Errorf("%s after %d: %d, %v (deferred calls: %v, %v, Err: %v)", test.name, yields, out, err, deferred, c.State(), c.Err())
			}
			if _, err := c.Resume(0); err != ErrDone {
				t.Errorf("%s: Resume after the end: %v", test.name, err)
			}
		}
	}
}

// Close runs the deferred calls, and nothing can prevent that.
func TestClose(t *testing.T) {
	var said []string
	c := New(func(co *Co[int, int], _ int) int {
		defer func() { said = append(said, fmt.Sprint("outer ", recover())) }()
		for {
			func() {
				defer func() { said = append(said, fmt.Sprint("inner ", recover())) }()
				co.Yield(1)
			}()
		}
	})
	if _, err := c.Resume(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if want := []string{"inner <nil>", "outer <nil>"}; !slices.Equal(said, want) {
		t.Errorf("deferred calls: %q", said)
	}
	if _, err := c.Resume(0); err != ErrDone || c.State() != Done || c.Err() != nil || c.Close() != nil {
		t.Errorf("after Close: %v, %v, %v", err, c.State(), c.Err())
	}

	begun := false
	c = New(func(*Co[int, int], int) int { begun = true; return 0 })
	if err := c.Close(); err != nil || c.State() != Done {
		t.Error(err, c.State())
	}
	if _, err := c.Resume(0); err != ErrDone || begun {
		t.Errorf("one that was closed before it began: %v, begun: %v", err, begun)
	}
}

// One that panics may yield in a deferred call, and be closed there: the close takes the place of the
// panic, as runtime.Goexit does.
func TestCloseInPanic(t *testing.T) {
	last := false
	c := New(func(co *Co[int, int], _ int) int {
		defer func() { last = true }()
		defer co.Yield(2)
		panic("alas")
	})
	if out, err := c.Resume(0); out != 2 || err != nil || c.State() != Suspended {
		t.Fatal(out, err, c.State())
	}
	if err := c.Close(); err != nil || !last || c.State() != Done || c.Err() != nil {
		t.Errorf("Close: %v, Err: %v, %v, all deferred calls: %v", err, c.Err(), c.State(), last)
	}
	if co := c.co; co.f != nil || co.next != nil || co.yield != nil {
		t.Error("it keeps what it needs no more")
	}
}

// What a deferred call does while the coroutine is closed, Close returns.
func TestCloseFails(t *testing.T) {
	for name, f := range map[string]func(co *Co[int, int]){
		"alas":                   func(*Co[int, int]) { panic("alas") },
		"Yield in a deferred":    func(co *Co[int, int]) { co.Yield(2) },
		"nobody resumes it any ": func(co *Co[int, int]) { defer co.Yield(3); co.Yield(2) },
		"in a panic": func(co *Co[int, int]) {
			defer func() {
				defer func() { panic(fmt.Sprint("in a panic: ", recover())) }()
				co.Yield(2)
			}()
			panic("first")
		},
	} {
		last := false
		c := New(func(co *Co[int, int], _ int) int {
			defer func() { last = true }()
			defer f(co)
			co.Yield(1)
			return 0
		})
		if _, err := c.Resume(0); err != nil {
			t.Fatal(err)
		}
		var p *PanicError
		if err := c.Close(); !errors.As(err, &p) || !strings.Contains(p.Error(), name) || c.Err() != err || !last {
			t.Errorf("%s: Close: %v, Err: %v, all deferred calls: %v", name, err, c.Err(), last)
		}
	}
}

// One that runs can't be resumed or closed: by itself, by one that it has resumed, by
// another goroutine.
func TestRunning(t *testing.T) {
	var outer, inner *Coroutine[int, int]
	check := func(who string) {
		_, err := outer.Resume(0)
		if !errors.Is(err, ErrRunning) || !errors.Is(outer.Close(), ErrRunning) || outer.State() != Running {
			t.Errorf("%s: Resume: %v, Close: %v, %v", who, err, outer.Close(), outer.State())
		}
	}
	inner = New(func(co *Co[int, int], in int) int {
		check("the one it has resumed")
		return co.Yield(in+1) * 2
	})
	outer = New(func(co *Co[int, int], in int) int {
		check("itself")
		n, err := inner.Resume(in)
		done := make(chan struct{})
		go func() {
			defer close(done)
			check("another goroutine")
		}()
		<-done
		m, err2 := inner.Resume(co.Yield(n))
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
		return m
	})
	if out, err := outer.Resume(1); out != 2 || err != nil {
		t.Fatal(out, err)
	}
	if out, err := outer.Resume(5); out != 10 || err != nil {
		t.Fatal(out, err)
	}
}

// Yield is for the coroutine itself.
func TestYieldElsewhere(t *testing.T) {
	yields := func(co *Co[int, int]) (said any) {
		defer func() { said = recover() }()
		co.Yield(1)
		return nil
	}
	var leaked *Co[int, int]
	c := New(func(co *Co[int, int], _ int) int {
		leaked = co
		said := make(chan any)
		go func() { said <- yields(co) }()
		if s := fmt.Sprint(<-said); !strings.Contains(s, "outside of its coroutine") {
			t.Errorf("another goroutine, while it runs: %s", s)
		}
		return co.Yield(2)
	})
	if out, err := c.Resume(0); out != 2 || err != nil {
		t.Fatal(out, err)
	}
	for range 2 {
		if s := fmt.Sprint(yields(leaked)); !strings.Contains(s, "outside of its coroutine") {
			t.Errorf("who resumes it: %s", s)
		}
		if out, err := c.Resume(7); err == nil && out != 7 {
			t.Fatal(out, err)
		}
	}
}

// Goroutines may take turns to resume one, and only one of many at once gets in.
func TestGoroutinesTakeTurns(t *testing.T) {
	c := sums()
	total := 0
	for range 20 {
		const crowd = 8
		outs := make(chan int, crowd)
		for range crowd {
			go func() {
				for {
					out, err := c.Resume(1)
					if err == nil {
						outs <- out
						return
					}
					if err != ErrRunning {
						t.Error(err)
						outs <- 0
						return
					}
					runtime.Gosched()
				}
			}()
		}
		for range crowd {
			total = max(total, <-outs)
		}
	}
	if out, err := c.Resume(0); out != 160 || total != 160 || err != nil {
		t.Error(out, total, err)
	}
}

// One that is dropped is closed.
func TestDropped(t *testing.T) {
	before := coroutines()
	closed := make(chan int, 10)
	for i := range cap(closed) {
		c := New(func(co *Co[int, int], in int) int {
			defer func() { closed <- i }()
			return co.Yield(in)
		})
		if _, err := c.Resume(0); err != nil {
			t.Fatal(err)
		}
		New(func(co *Co[int, int], in int) int { return in }) // never begun: nothing to close
	}
	n := 0
	eventually(t, "all are closed", func() bool {
		runtime.GC()
		for len(closed) > 0 {
			<-closed
			n++
		}
		return n == cap(closed)
	})
	eventually(t, "no coroutine is left", func() bool { return coroutines() <= before })
}

// One that was begun on a locked thread can be ended only there: the runtime would end the
// program.
func TestDroppedOnLockedThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := New(func(co *Co[int, int], in int) int { return co.Yield(in) })
	co := c.co
	if _, err := c.Resume(0); err != nil || co.thread == 0 {
		t.Fatal(err, "thread:", co.thread)
	}
	c = nil
	for range 5 {
		runtime.GC()
	}
	abandon(co)
	if s := State(co.state.Load()); s != Suspended {
		t.Errorf("it is %v", s)
	}
	if err := co.unwind(); err != nil {
		t.Error(err)
	}
}
